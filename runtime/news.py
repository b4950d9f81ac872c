"""News: who follows a stream, or watches a read model, is told when there may be something new, and looks for himself.

Each has one flag. Who is slow finds it set, and sees the latest; nothing ever queues up here.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from persistence import Batch, Record, Stream
from runtime.projection import Projection

ANY = ""
"""In place of a key: whatever changes in a read model."""
CLOSELY = 100
"""Of so many records at once it is looked up whose they are; of more, all who watch the read model are told."""

Changed = Callable[[Sequence[Record]], None]
"""Told that rows of a read model have changed: those that come of these records or (none) any."""


def untold(_: Sequence[Record]) -> None:
    """Tell nobody."""


class News:
    """Those who follow streams, and read models by the keys of their events."""

    def __init__(self) -> None:
        self._followers: dict[str, dict[str, dict[asyncio.Event, None]]] = {}
        """By the class of actors, then by the key."""
        self.closed = False
        """Whether nothing more will be told."""

    @contextmanager
    def of(self, stream: Stream, event: asyncio.Event | None = None) -> Generator[asyncio.Event]:
        """Be told of a stream, or of a read model: the event is set whenever there may be something new."""
        event = event or asyncio.Event()
        category, key = stream
        of_category = self._followers.setdefault(category, {})
        of_category.setdefault(key, {})[event] = None
        try:
            yield event
        finally:
            of_category[key].pop(event, None)
            if not of_category[key]:
                del of_category[key]
            if not of_category:
                del self._followers[category]

    def tell(self, batches: Sequence[Batch]) -> None:
        """Tell of what has become durable."""
        followers = self._followers
        if followers:
            for batch in batches:
                for append in batch:
                    of_category = followers.get(append.stream[0])
                    if of_category is not None and append.events:
                        _set(of_category.get(append.stream[1], ()))

    def rows(self, projection: Projection, records: Sequence[Record]) -> None:
        """Tell of rows of a read model that have changed; see :data:`Changed`."""
        of_model = self._followers.get(type(projection.model).__name__)
        if of_model is None:
            return
        keys: Iterable[str] = of_model
        if 0 < len(records) <= CLOSELY and of_model.keys() != {ANY}:
            keys = _keys_of(projection, records) or of_model
        for key in keys:
            _set(of_model.get(key, ()))

    def close(self) -> None:
        """Tell all that there will be no more."""
        self.closed = True
        self.tell_all()

    def tell_all(self) -> None:
        """Tell all to look: what has become durable is not known."""
        for category in self._followers:
            self.tell_category(category)

    def tell_category(self, category: str) -> None:
        """Tell all who follow a class of actors, or watch a read model, to look."""
        for events in self._followers.get(category, {}).values():
            _set(events)


def _set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()


def _keys_of(projection: Projection, records: Sequence[Record]) -> dict[str, None]:
    """Return whose rows may have changed; none: that can't be said."""
    keys: dict[str, None] = {ANY: None}
    try:
        for record in records:
            events = projection.events(record)
            if events:
                keys[projection.key(record, events)] = None
    except Exception:  # noqa: BLE001 (the author's code, or a record that the projector stops at: it says so, not we)
        return {}
    return keys
