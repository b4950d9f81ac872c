"""The pure half of a projector: which events a read model follows, whose they are, and the statements they become."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from actors import Meta, ReadModel, Statement, SubjectForgotten
from actors.messages import name_of
from persistence import Record
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


class Projection:
    """What one read model makes of records."""

    def __init__(self, kind: Kind, producers: Sequence[Kind]) -> None:
        self.model: ReadModel = kind.cls()
        self._followed = follows = set(kind.cls.follows.values())
        self._producers = {
            (producer.name, stored): producer
            for producer in producers
            if follows.intersection(producer.events.values())
            for stored, event in producer.evolution.leads_to.items()
            if event is None or event in follows
        }
        self._categories = {producer.name: producer for producer in producers}
        lost = follows - {event for producer in producers for event in producer.events.values()}
        if lost:
            names = sorted(event.__name__ for event in lost)
            log.warning("read model follows events that no actor here writes", read_model=kind.name, events=names)

    def follows(self, record: Record) -> bool:
        """Return whether the read model follows what a record may hold."""
        return (record.stream[0], record.type) in self._producers

    def events(self, record: Record) -> Sequence[Any]:
        """Return those of a record's events that the read model follows: none, one, or what upcasts make of it.

        Raises:
            JournalMismatch: nobody knows the event any more, so nobody knows whether it should be followed; or it
                doesn't fit.
        """
        category = record.stream[0]
        producer = self._producers.get((category, record.type))
        if producer is None:
            if "." not in record.type:
                kind = self._categories.get(category)
                if kind is not None and record.type not in kind.evolution.names:
                    raise kind.unknown(record, meta_of(record).revision)
            return ()
        return [event for event in producer.read(record) if type(event) in self._followed]

    def key(self, record: Record, events: Sequence[Any]) -> str:
        """Return whose the events of a record are.

        Raises:
            Poison: the read model can't say.
        """
        try:
            key: Any = self.model.key(events[0], to_meta(record))
            if not isinstance(key, str):
                raise TypeError(f"{type(self.model).__name__}.key must return text, not {key!r}")
            return key
        except Exception as error:
            raise Poison(record, error) from error

    def statements(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        """Return what brings the tables up to date with a whole record: all of its events, or an error.

        Raises:
            Poison: ``project`` has raised, or would not end.
        """
        statements: list[Statement] = []
        try:
            meta = to_meta(record)
            for event in events:
                for statement in self.model.project(event, meta):
                    statements.append(statement)
                    if len(statements) > MOST_STATEMENTS:
                        raise RuntimeError(f"project yields more than {MOST_STATEMENTS:,} statements for one event")
        except Exception as error:
            raise Poison(record, error) from error
        return statements


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
    )
