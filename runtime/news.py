"""News: who follows a stream is told when something in it has become durable."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from persistence import Batch, Stream


class News:
    """Those who follow streams."""

    def __init__(self) -> None:
        self._followers: dict[Stream, dict[asyncio.Event, None]] = {}
        self.closed = False
        """Whether nothing more will be told."""

    @contextmanager
    def of(self, stream: Stream) -> Generator[asyncio.Event]:
        """Be told of a stream: the event is set whenever there may be something new."""
        event = asyncio.Event()
        followers = self._followers.setdefault(stream, {})
        followers[event] = None
        try:
            yield event
        finally:
            followers.pop(event, None)
            if not followers:
                del self._followers[stream]

    def tell(self, batches: Sequence[Batch]) -> None:
        """Tell of what has become durable."""
        if self._followers:
            for batch in batches:
                for append in batch:
                    for event in self._followers.get(append.stream, ()):
                        event.set()

    def close(self) -> None:
        """Tell all that there will be no more."""
        self.closed = True
        self.tell_all()

    def tell_all(self) -> None:
        """Tell all to look: what has become durable is not known."""
        for followers in self._followers.values():
            for event in followers:
                event.set()
