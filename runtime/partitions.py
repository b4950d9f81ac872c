"""Which partition of a read model an event belongs to, and a page of the journal as what each partition is to do."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import anyio

from actors import Statement
from persistence import Record
from persistence.views import View
from runtime.projection import FORGOTTEN, Projection


class Partitions:
    """The partitions of one read model's tables, while there are some: each has the events of some keys."""

    def __init__(self, projection: Projection, view: View) -> None:
        self._projection = projection
        self._view = view

    def level(self, position: int) -> bool:
        """Whether none is further than a position, up to which all are: the rows are the fold of a prefix."""
        return max(self._view.partitioned, default=0) <= position

    def of(self, record: Record, events: Sequence[Any]) -> int:
        """Return whose a record's events are. It is the same in every process."""
        key = self._projection.key_or_stream(record, events)
        return crc32(key.encode("utf-8", "surrogatepass")) % len(self._view.partitioned)

    def has_had(self, record: Record, events: Sequence[Any]) -> bool:
        """Whether a record's events are in the rows already: their partition is ahead of the others."""
        if self.level(record.position - 1):
            return False
        return record.position <= self._view.partitioned[self.of(record, events)]

    def concerns_all(self, records: Sequence[Record]) -> bool:
        """Whether some record is about rows of any key: a person is forgotten in all that there are."""
        return any(record.type == FORGOTTEN and self._projection.follows(record) for record in records)


class Page:
    """Some records that follow each other, and the statements of each partition."""

    def __init__(self, projection: Projection, partitions: Partitions, count: int) -> None:
        self.records: Sequence[Record] = ()
        self.statements: list[list[Statement]] = [[] for _ in range(count)]
        self.done = anyio.Event()
        """Set when every partition has run its own."""
        self._left = count
        self._projection = projection
        self._partitions = partitions

    def add(self, record: Record) -> None:
        """Add the next record.

        Raises:
            Poison: it can't be projected.
            JournalMismatch, JournalDamaged: it can't be read.
        """
        if events := self._projection.events(record):
            statements = self._projection.statements(record, events)
            self.statements[self._partitions.of(record, events)] += statements

    def one_is_done(self) -> None:
        """Take note that one partition has run its statements."""
        self._left -= 1
        if not self._left:
            self.done.set()
