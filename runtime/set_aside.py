"""What a follower has set aside: events that it can't take, and later ones of the same key, in order.

They stand in its own database, and change with its checkpoint. What is in memory here is a copy.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from persistence.views import ParkedRow, SkippedRow, View


class ParkedEvent(msgspec.Struct, frozen=True):
    """An event that is not in a read model's tables, or not handled by a subscriber, and waits for somebody."""

    key: str
    position: int
    time: datetime
    """When it was set aside."""
    error: str
    """Why it could not be taken; "": it waits for an earlier one of its key."""
    attempts: int
    """How often it was tried again since."""


class SkippedEvent(msgspec.Struct, frozen=True):
    """An event that was left out for good: what was wrong, who has decided it, and why."""

    key: str
    position: int
    time: datetime
    error: str
    reason: str
    by: str


class SetAside:
    """The events that one follower has set aside, by key."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, ParkedRow]] = {}
        self.count = 0
        """How many events there are."""
        self.stale = True
        """Whether the database may know better: something may have been committed that nobody took note of."""

    async def load(self, view: View) -> None:
        """Read them anew from the database."""
        rows = await view.parked()
        self._rows.clear()
        self.count = 0
        self.add(rows)
        self.stale = False

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __iter__(self) -> Iterator[str]:
        """Go through the keys, the one that was set aside first comes first."""
        return iter(list(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def first(self, key: str | None) -> ParkedRow | None:
        """Return the first event of a key that is set aside, or (None) of any."""
        of_keys = self._rows.values() if key is None else filter(None, [self._rows.get(key)])
        return min((next(iter(rows.values())) for rows in of_keys), key=lambda row: row.position, default=None)

    def of(self, key: str) -> list[ParkedRow]:
        """Return the events of a key, in order."""
        return list(self._rows.get(key, {}).values())

    def has(self, row: ParkedRow) -> bool:
        """Return whether an event is still set aside."""
        return row.position in self._rows.get(row.key, {})

    def add(self, rows: list[ParkedRow]) -> None:
        """Take note of events that are set aside, or known better."""
        for row in rows:
            of_key = self._rows.setdefault(row.key, {})
            self.count += row.position not in of_key
            of_key[row.position] = row

    def take(self, row: ParkedRow) -> None:
        """Take note that an event is not set aside any more."""
        of_key = self._rows.get(row.key, {})
        if of_key.pop(row.position, None) is None:
            return  # the database was read anew meanwhile
        self.count -= 1
        if not of_key:
            del self._rows[row.key]


def at(time: int) -> datetime:
    """Return a time in microseconds since 1970 as users see it."""
    return datetime.fromtimestamp(time / 1e6, UTC)


def parked(rows: list[ParkedRow]) -> list[ParkedEvent]:
    """Return events that are set aside as users see them."""
    return [ParkedEvent(row.key, row.position, at(row.time), row.error, row.attempts) for row in rows]


def skipped(rows: list[SkippedRow]) -> list[SkippedEvent]:
    """Return skipped events as users see them."""
    return [SkippedEvent(row.key, row.position, at(row.time), row.error, row.reason, row.by) for row in rows]
