"""Deliveries: the events that a subscriber has taken up, from the oldest that is not done on. Pure.

Those of one key begin one after the other, in order; of different keys, so many at once. The checkpoint may only move
over what is done, or set aside, so that whatever dies nothing is left out; how far the first that is not done may lie
behind the last that was taken is limited, so that one that is slow holds nobody back for long and nothing grows.
"""

from collections import Counter, deque
from collections.abc import Callable, Container, Sequence
from enum import Enum
from typing import Any

import msgspec

from persistence import Record
from persistence.views import ParkedRow

WINDOW = 1_000
"""How many events may be taken up, from the oldest that is not done on."""


class Phase(Enum):
    """What becomes of an event."""

    WAITS = "waits"
    UNDER_WAY = "under way"
    PAUSES = "pauses"
    DONE = "done"
    ASIDE = "aside"


class Delivery(msgspec.Struct, eq=False):
    """One stored event, and what has become of it so far."""

    record: Record
    events: Sequence[Any]
    """What it is today: one event, or what upcasts make of it."""
    key: str
    before: Record | None
    """The record before it in the journal, where that is known: there the checkpoint stands until this one is done."""
    phase: Phase = Phase.WAITS
    broken: Exception | None = None
    """Why it can't be handled at all: whose it is can't be told."""
    attempts: int = 0
    since: int = 0
    """When it was first tried, in microseconds of steady time."""
    error: str = ""
    """Why it is set aside; "": it waits for an earlier one of its key."""


class Deliveries:
    """What was taken up and is not all done."""

    def __init__(self, position: int, at_once: int, aside: Container[str], now: Callable[[], int]) -> None:
        """Begin behind a position.

        ``aside`` has the keys of which something is set aside already; ``now`` tells wall time.
        """
        self.under_way = 0
        self.ahead = position
        """Up to here everything was taken up, or passed over."""
        self.at_once = at_once
        self._aside = aside
        self._now = now
        self._all: deque[Delivery] = deque()
        self._chains: dict[str, deque[Delivery]] = {}
        """By key, those that are not done, in order; the first one may begin."""
        self._ready: deque[Delivery] = deque()
        self._going_aside = Counter[str]()
        """Keys of events that are to be set aside, and not yet are."""
        self._last: Record | None = None

    @property
    def room(self) -> int:
        """How many more events may be taken up."""
        return max(0, WINDOW - len(self._all))

    @property
    def oldest(self) -> Delivery | None:
        """The first one that is not done."""
        return self._all[0] if self._all else None

    @property
    def to_park(self) -> int:
        """How many events are to be set aside, and not yet are."""
        return self._going_aside.total()

    def parks(self, key: str) -> bool:
        """Whether the events of a key are set aside, or going to be."""
        return key in self._going_aside or key in self._aside

    # -- what comes ---------------------------------------------------------------------------------------------

    def passed(self, record: Record) -> None:
        """Pass over an event that isn't followed."""
        self.ahead, self._last = record.position, record

    def add(self, record: Record, events: Sequence[Any], key: str) -> Delivery:
        """Take up the next event."""
        delivery = Delivery(record, events, key, self._last)
        self.passed(record)
        self._all.append(delivery)
        if self.parks(key):
            self._set_aside(delivery)
        elif key in self._chains:
            self._chains[key].append(delivery)
        else:
            self._chains[key] = deque([delivery])
            self._ready.append(delivery)
        return delivery

    # -- what becomes of it -------------------------------------------------------------------------------------

    def start(self) -> Delivery | None:
        """Return an event that may begin now, if there is one; it is under way then."""
        if not self._ready or self.under_way >= self.at_once:
            return None
        delivery = self._ready.popleft()
        delivery.phase = Phase.UNDER_WAY
        delivery.attempts += 1
        self.under_way += 1
        return delivery

    def done(self, delivery: Delivery) -> None:
        """Note that an event that was under way is handled."""
        self.under_way -= 1
        delivery.phase = Phase.DONE
        chain = self._chains[delivery.key]
        chain.popleft()
        if chain:
            self._ready.append(chain[0])
        else:
            del self._chains[delivery.key]

    def pause(self, delivery: Delivery) -> None:
        """Note that an event that was under way has failed, and is tried again later."""
        self.under_way -= 1
        delivery.phase = Phase.PAUSES

    def again(self, delivery: Delivery) -> None:
        """Let an event that pauses begin again; it comes before those that wait for the first time."""
        if delivery.phase is Phase.PAUSES:
            delivery.phase = Phase.WAITS
            self._ready.appendleft(delivery)

    def behind(self, delivery: Delivery) -> int:
        """Return how many events are set aside where this one is: it, and those of its key that were taken up."""
        return len(self._chains[delivery.key])

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Set an event that was under way aside, and with it those of its key that have been taken up."""
        self.under_way -= 1
        delivery.error = error
        for one in self._chains.pop(delivery.key):
            self._set_aside(one)

    def _set_aside(self, delivery: Delivery) -> None:
        delivery.phase = Phase.ASIDE
        self._going_aside[delivery.key] += 1

    # -- how far it is ------------------------------------------------------------------------------------------

    def reached(self) -> tuple[int, Record | None, list[Delivery]]:
        """Return up to where everything is done or set aside, the event that stands there, and what is settled so."""
        settled: list[Delivery] = []
        for delivery in self._all:
            if delivery.phase not in (Phase.DONE, Phase.ASIDE):
                return delivery.record.position - 1, delivery.before, settled
            settled.append(delivery)
        return self.ahead, self._last, settled

    def forget(self, settled: Sequence[Delivery]) -> None:
        """Forget what was settled: the checkpoint is behind it, and what is set aside is kept in the database."""
        for delivery in settled:
            first = self._all.popleft()
            assert first is delivery
            if delivery.phase is Phase.ASIDE:
                self._going_aside[delivery.key] -= 1
                if not self._going_aside[delivery.key]:
                    del self._going_aside[delivery.key]

    def rows(self, settled: Sequence[Delivery]) -> list[ParkedRow]:
        """Return what is set aside of what is settled."""
        now = self._now()
        return [ParkedRow(one.record.position, one.key, now, one.error) for one in settled if one.phase is Phase.ASIDE]
