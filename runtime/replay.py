"""Replay for those who look back: a service's state at a moment, from its events or from the snapshot before it."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import msgspec

from actors import Address, EventsErased, NotYet
from actors.reminders import EPOCH
from persistence import BURIED, DELETED, Journal, Record, Snapshot
from persistence.journal import PAGE
from runtime.kinds import INTERNAL, Kind
from runtime.snapshots import state_in


async def stream(journal: Journal, address: Address[Any], after: int = 0) -> AsyncIterator[Record]:
    """Yield the records of an actor's stream behind a version, a page at a time; those that are erased are left out."""
    name = (address.actor, address.key)
    while True:
        page = await journal.read(name, after)
        for record in page:
            yield record
        if len(page) < PAGE:
            return
        after = page[-1].version


class Past(msgspec.Struct, frozen=True):
    """A part of a stream: up to and including a version, a time or a position; None: all of it."""

    version: int | None = None
    time: int | None = None
    """Microseconds since 1970."""
    position: int | None = None

    def has(self, record: Record) -> bool:
        """Whether a record is in it."""
        return (
            (self.version is None or record.version <= self.version)
            and (self.time is None or record.time <= self.time)
            and (self.position is None or record.position <= self.position)
        )

    def holds(self, snapshot: Snapshot, next_: Record | None) -> bool:
        """Whether all events behind a snapshot are certainly in it; ``next_`` is the last of them that can be read."""
        if self.time is None and self.position is None:
            return self.version is None or snapshot.version <= self.version
        return next_ is not None and self.has(next_)


ALL = Past()
"""The whole stream."""


def to_past(version: int | None = None, at: datetime | None = None, position: int | None = None) -> Past:
    """Return what was there at a moment.

    Raises:
        ValueError: a number is negative, or the time doesn't say in which time zone it is.
    """
    if version is not None and version < 0:
        raise ValueError(f"version={version} is none: a stream's first event has version 1, and 0 is before it")
    if position is not None and position < 0:
        raise ValueError(f"position={position} is none: the journal's first event has position 1, and 0 is before it")
    if at is not None and at.tzinfo is None:
        raise ValueError(f"at={at} could be any time zone; write datetime(..., tzinfo=UTC)")
    return Past(version, None if at is None else (at - EPOCH) // EPOCH.resolution, position)


async def check_come(journal: Journal, address: Address[Any], past: Past, now: int) -> None:
    """Check that a moment of an actor's stream has come; what was there then changes no more.

    Raises:
        NotYet: it has not.
    """
    name = (address.actor, address.key)
    if past.version:
        head = (await journal.heads([name])).get(name, 0)
        if past.version > head:
            last = f"its last one is {head}" if head else "nothing has happened to it"
            raise NotYet(f"{address} has no version {past.version} yet: {last}")
    if past.position:
        head = await journal.changed(past.position - 1, 0)
        if past.position > head:
            raise NotYet(f"the journal has no position {past.position} yet: its last one is {head}")
    if past.time is not None and past.time > now:
        # Clocks are set back, and other owners' may be ahead: what was written then has come.
        page = await journal.read_back(name, limit=1)
        if not page or page[0].time < past.time:
            raise NotYet(f"at={_said(past.time)} has not come yet: it is {_said(now)}")


def _said(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


class Replay:
    """A service on its way through its stream."""

    def __init__(self, address: Address[Any], kind: Kind) -> None:
        self._address = address
        self._service = kind.cls(address.key)
        self._kind = kind
        self._state = kind.cls.initial
        self._erased = 0
        self.version = 0
        """It has come so far."""

    async def start(self, journal: Journal, moments: Sequence[Past]) -> AsyncIterator[Record]:
        """Start as late as these moments allow, and return the records that come then."""
        name = (self._address.actor, self._address.key)
        snapshot = (await journal.snapshots([name])).get(name)
        if snapshot is not None:
            first = await journal.read(name, 0, 1)
            # The last event that the snapshot is of, or, where that is erased, the next one.
            last = await journal.read(name, snapshot.version - 1, 1)
            erased = bool(first) and first[0].version > 1
            if last and all(moment.holds(snapshot, last[0]) for moment in moments):
                state = state_in(self._kind, snapshot, erased=erased)
                if state is not None:
                    self._state, self.version = state, snapshot.version
        return stream(journal, self._address, self.version)

    def come_to(self, record: Record) -> None:
        """Take note of what was erased before the next record."""
        if record.version > self.version + 1:
            self._erased = record.version - 1

    def take(self, record: Record) -> None:
        """Take in the next record."""
        self.version = record.version
        if record.type in (DELETED, BURIED):
            self._state, self._erased = self._kind.cls.initial, 0
        elif record.type not in INTERNAL and not self._erased:
            self._state = reduce(self._service.evolve, self._kind.read(record), self._state)

    def state(self) -> Any:
        """Return the state as it is here.

        Raises:
            EventsErased: it can't be told any more.
        """
        if self._erased:
            raise EventsErased(
                f"what {self._address} was then can't be told: its events up to version {self._erased} were erased"
            )
        return self._state
