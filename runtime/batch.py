"""A batch: what the next events of the journal come to, before any of it is in the tables."""

from collections.abc import Callable, Sequence
from typing import Any

from actors import Statement
from persistence import Record
from persistence.views import NOTHING_ASIDE, Aside, ParkedRow
from runtime.projection import FORGOTTEN, Poison, Projection
from runtime.second_tries import text_of
from runtime.set_aside import SetAside


class TooMany(Exception):
    """More events would be set aside than a read model may have."""


class Batch:
    """The statements of events, and those events that are set aside instead."""

    def __init__(
        self,
        projection: Projection,
        aside: SetAside,
        given_up: Poison | None,
        now: Callable[[], int],
        has_had: Callable[[Record, Sequence[Any]], bool] | None = None,
    ) -> None:
        """``given_up`` is an event that was tried often enough; what the rows ``has_had`` is passed over."""
        self.statements: list[Statement] = []
        self.parked: list[ParkedRow] = []
        self.last: Record | None = None
        """The last event that is in it."""
        self.blanks = False
        """Whether no copy of what it overwrites may stay."""
        self._projection = projection
        self._aside = aside
        self._given_up = given_up
        self._now = now
        self._has_had = has_had
        self._keys: set[str] = set()

    @property
    def changes(self) -> bool:
        """Whether anything in the database changes."""
        return bool(self.statements or self.parked)

    @property
    def set_aside(self) -> Aside:
        """What changes in the list of events that are set aside."""
        return Aside(self.parked) if self.parked else NOTHING_ASIDE

    def add(self, record: Record) -> None:
        """Add the next event of the journal. If it can't be, the batch is as before.

        Raises:
            Poison: it can't be projected.
            TooMany: it must wait for an earlier one of its key, but there is no room.
            JournalMismatch, JournalDamaged: it can't be read.
        """
        events = self._projection.events(record)
        if events and not (self._has_had is not None and self._has_had(record, events)):
            poison = self._given_up
            if poison is not None and poison.record.position == record.position:
                self._park(record, self._projection.key_or_stream(record, events), text_of(poison.__cause__))
            elif (self._aside or self._keys) and self._waits(key := self._projection.key(record, events)):
                self._park(record, key)
            else:
                self.statements += self._projection.statements(record, events)
                self.blanks = self.blanks or record.type == FORGOTTEN
        self.last = record

    def _waits(self, key: str) -> bool:
        return key in self._aside or key in self._keys

    def _park(self, record: Record, key: str, error: str = "") -> None:
        there, limit = self._aside.count + len(self.parked), self._projection.model.parked_limit
        if there >= limit:
            raise TooMany(f"{there} events are set aside already, and {record.type} of {key!r} would be one more")
        self._keys.add(key)
        self.parked.append(ParkedRow(record.position, key, self._now(), error))
