"""The pure half of a fold at work: the state that records lead to, and how a snapshot of it is written down."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec

from actors import Fold, Statement
from persistence import Record
from runtime.failures import no_state
from runtime.kinds import Kind
from runtime.projection import Poison, Projection, to_meta

STATE = "select kept from fold"
"""Finds the snapshot."""


class NotKept(Exception):
    """The state can't be in a snapshot; the log says why."""


class Unreadable(Exception):
    """What is kept is no snapshot of today's state."""


class Snapshot(NamedTuple):
    """A state, and the position that it is of."""

    state: Any
    position: int


class _Kept(msgspec.Struct):
    position: int
    state: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


class FoldProjection(Projection):
    """What one fold makes of records: no statements, but the next state."""

    def __init__(self, kind: Kind, producers: Sequence[Kind]) -> None:
        super().__init__(kind, producers)
        self.fold = cast(Fold[Any], self.model)  # the kind's class is one: see projection_of
        self.state: Any = kind.cls.initial
        """The state behind all records that were given to :meth:`statements`."""
        self._kind = kind

    def statements(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        """Fold a whole record into the state: all of its events, or an error and none of them.

        Raises:
            Poison: ``evolve`` has raised, or returned something else than a state.
        """
        self.state = self.evolved(self.state, record, events)
        return []

    def evolved(self, state: Any, record: Record, events: Sequence[Any]) -> Any:
        """Return the state behind a record.

        Raises:
            Poison: ``evolve`` has raised, or returned something else than a state.
        """
        fold = self.fold
        try:
            meta = to_meta(record)
            for event in events:
                state = fold.evolve(state, event, meta)
                if not isinstance(state, fold.state_type):
                    raise no_state(self._kind.name, fold.state_type, state)
        except Exception as error:
            raise Poison(record, error) from error
        return state

    def row(self, state: Any, position: int, value: str) -> Statement:
        """Return what keeps a state; ``value`` is what stands for a value in the engine's statements.

        Raises:
            NotKept: it can't be kept.
        """
        data = self._kind.state.encode(state)
        if data is None:
            raise NotKept(f"the state of {self._kind.name} can't be kept; the log says why")
        kept = _encode(_Kept(position, msgspec.Raw(data))).decode()
        text = f"insert into fold values (1, {value}) on conflict (one) do update set kept = excluded.kept"  # noqa: S608 (no input)
        return Statement(text, (kept,))

    def read(self, kept: Any) -> Snapshot:
        """Return what is kept; None: nothing is yet.

        Raises:
            Unreadable: it is damaged, or not of today's class.
        """
        if kept is None:
            return Snapshot(self._kind.cls.initial, 0)
        form = self._kind.state
        try:
            if not form.fingerprint:
                raise ValueError("a state of this class can't be kept")
            found = _decode(kept)
            return Snapshot(form.decode(found.state), found.position)
        except (ValueError, TypeError, RecursionError) as error:
            raise Unreadable(f"what is kept of {self._kind.name} can't be read: {error}") from error


def projection_of(kind: Kind, producers: Sequence[Kind]) -> Projection:
    """Return what a read model makes of records."""
    return (FoldProjection if issubclass(kind.cls, Fold) else Projection)(kind, producers)


def schema_of(kind: Kind) -> str:
    """Return what makes the tables of a read model; those of a fold name the form of its state."""
    if issubclass(kind.cls, Fold):
        form = kind.state.fingerprint
        return f"create table fold (one integer primary key, kept text not null) /* {form} */"
    return str(kind.cls.schema)
