"""The pure half of a follower: which events it follows, whose they are, and the statements that they become."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from actors import Event, Meta, ReadModel, Statement, SubjectForgotten
from actors.messages import name_of
from persistence import Record
from runtime.evolution import Several
from runtime.kinds import Kind, meta_of, where
from runtime.log import log

FORGOTTEN = name_of(SubjectForgotten)
MOST_STATEMENTS = 100_000
"""Statements that one event may become; a projection that yields more would not end, or fill the memory."""


class Poison(Exception):
    """One event could not be projected: ``project`` raised, or its statements failed. ``__cause__`` says why."""

    def __init__(self, record: Record, cause: Exception) -> None:
        super().__init__(f"{where(record)} can't be projected: {cause}")
        self.record = record
        self.__cause__ = cause


class Author(Protocol):
    """The author's class."""

    def key(self, event: Any, meta: Meta, /) -> str:
        """Return whose an event is."""
        ...


class Following:
    """Which events a read model or a subscriber follows, and whose they are."""

    def __init__(self, kind: Kind, producers: Sequence[Kind], author: Author, what: str) -> None:
        """``author`` says whose an event is; ``what`` is what users call it."""
        self.author = author
        self._tags = frozenset(kind.cls.tags)
        producers, self._followed = followed(kind, producers)
        self._producers = {
            (producer.name, stored): producer
            for producer in producers
            if self._followed.intersection(producer.events.values())
            for stored, event in producer.evolution.leads_to.items()
            if event is None or event in self._followed
        }
        for producer in producers:
            internal = {name for name, event in producer.internal.items() if event in self._followed}
            self._producers.update({(producer.name, name): producer for name in internal})
        self._categories = {producer.name: producer for producer in producers}
        known = (event for producer in producers for event in (*producer.events.values(), *producer.internal.values()))
        lost = self._followed.difference(known)
        named = {what.replace(" ", "_"): kind.name}
        if lost:
            names = sorted(event.__name__ for event in lost)
            log.warning(f"{what} follows events that no actor here writes", **named, events=names)
        unknown = set(kind.cls.categories).difference(self._categories)
        if unknown:
            log.warning(f"{what} follows actors that are not here", **named, actors=sorted(unknown))

    def follows(self, record: Record) -> bool:
        """Return whether it follows what a record may hold."""
        return (record.stream[0], record.type) in self._producers and self._tags.issubset(record.tags)

    def events(self, record: Record) -> Sequence[Any]:
        """Return those of a record's events that it follows: none, one, or what upcasts make of it.

        Raises:
            JournalMismatch: nobody knows the event any more, so nobody knows whether it should be followed; or it
                doesn't fit.
        """
        if self._tags and not self._tags.issubset(record.tags):
            return ()
        category = record.stream[0]
        producer = self._producers.get((category, record.type))
        if producer is None:
            if "." not in record.type:
                kind = self._categories.get(category)
                if kind is not None and record.type not in kind.evolution.names:
                    raise kind.unknown(record, meta_of(record).revision)
            return ()
        event = producer.event(record)
        if type(event) is Several:
            return [one for one in event if type(one) in self._followed]
        return (event,) if type(event) in self._followed else ()

    def key(self, record: Record, events: Sequence[Any]) -> str:
        """Return whose the events of a record are.

        Raises:
            Poison: the author's code can't say.
        """
        try:
            key: Any = self.author.key(events[0], to_meta(record))
            if not isinstance(key, str):
                raise TypeError(f"{type(self.author).__name__}.key must return text, not {key!r}")
            return key
        except Exception as error:
            raise Poison(record, error) from error

    def key_or_stream(self, record: Record, events: Sequence[Any]) -> str:
        """Return whose the events of a record are: their stream's, where the author's code can't say."""
        try:
            return self.key(record, events)
        except Poison:
            return "/".join(record.stream)


class Projection(Following):
    """What one read model makes of records."""

    def __init__(self, kind: Kind, producers: Sequence[Kind]) -> None:
        self.model: ReadModel = kind.cls()
        super().__init__(kind, producers, self.model, "read model")

    def statements(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        """Return what brings the tables up to date with a whole record: all of its events, or an error.

        Raises:
            Poison: ``project`` has raised, or would not end.
        """
        statements: list[Statement] = []
        try:
            meta = to_meta(record)
            for event in events:
                made: Any = self.model.project(event, meta)
                if made is None or type(made) is Statement:
                    raise TypeError(f"{type(self.model).__name__}.project must yield its statements: yield sql(...)")
                statements += islice(made, MOST_STATEMENTS + 1)
                if len(statements) > MOST_STATEMENTS:
                    raise RuntimeError(f"project yields more than {MOST_STATEMENTS:,} statements for one event")
        except Exception as error:
            raise Poison(record, error) from error
        return statements


def followed(kind: Kind, producers: Sequence[Kind]) -> tuple[list[Kind], set[type[Event]]]:
    """Return the kinds of actors that a read model follows, and which events of them."""
    categories: Sequence[str] = kind.cls.categories
    chosen = [producer for producer in producers if not categories or producer.name in categories]
    events: set[type[Event]] = set(kind.cls.follows.values())
    if Event in events:
        events = {event for producer in chosen for event in producer.events.values()}
    return chosen, events


def mark_of(record: Record) -> str:
    """Return what tells the event at a position from another one that might stand there. It outlives erasing."""
    category, key = record.stream
    text = f"{category}\0{key}\0{record.version}\0{record.time}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def to_meta(record: Record) -> Meta:
    """Return what a record says of where its event stands and where it came from."""
    meta = meta_of(record)
    return Meta(
        actor=record.stream[0],
        key=record.stream[1],
        version=record.version,
        position=record.position,
        time=datetime.fromtimestamp(record.time / 1e6, UTC),
        causation=meta.causation,
        correlation=meta.correlation,
        tags=record.tags,
        context=meta.context or {},
    )
