"""How a follower gets on: how many events a second, how old the next one is, and what last went wrong."""

from collections.abc import Callable

WINDOW = 60
"""Seconds over which the rate is taken."""
SLOTS = 12
"""Parts that the window moves on by; so much is kept, whatever happens."""
SLOT = WINDOW * 1_000_000 // SLOTS
TEXT = 1_000
"""Characters of an error that are kept."""


class Meter:
    """How often something happened lately, by steady time."""

    def __init__(self, steady: Callable[[], int]) -> None:
        """``steady`` tells steady time, in microseconds."""
        self._steady = steady
        self._began = steady()
        self._slot = self._began // SLOT
        self._counts = [0] * SLOTS

    def add(self, count: int) -> None:
        """Note that it has happened so many times."""
        slot = self._steady() // SLOT
        if slot != self._slot:
            self._move(slot)
        self._counts[slot % SLOTS] += count

    def rate(self) -> float:
        """Return how often a second it has happened, over the last minute or since it is counted."""
        now = self._steady()
        if now // SLOT != self._slot:
            self._move(now // SLOT)
        begin = max((now // SLOT - SLOTS + 1) * SLOT, self._began)
        return sum(self._counts) * 1e6 / max(now - begin, SLOT)

    def _move(self, slot: int) -> None:
        for gone in range(max(self._slot + 1, slot - SLOTS + 1), slot + 1):
            self._counts[gone % SLOTS] = 0
        self._slot = slot


class Progress:
    """How one follower gets on."""

    def __init__(self, steady: Callable[[], int], now: Callable[[], int]) -> None:
        """``steady`` and ``now`` tell steady and wall time, in microseconds."""
        self._meter = Meter(steady)
        self._now = now
        self._first = 0
        self._last = 0
        self.last_error: str | None = None
        """What went wrong last, if anything ever did."""

    def took(self, time: int) -> None:
        """Note that events were taken, of which the first has this time, in microseconds since 1970."""
        self._first = time

    def done(self, events: int, time: int) -> None:
        """Note that so many events are done, of which the last has this time."""
        self._meter.add(events)
        self._first, self._last = 0, time

    def failed(self, error: BaseException) -> None:
        """Note what went wrong."""
        self.last_error = f"{type(error).__name__}: {error}"[:TEXT]

    def rate(self) -> float:
        """Return how many events a second were done lately."""
        return self._meter.rate()

    def age(self, waiting: int = 0) -> float:
        """Return the age in seconds of the oldest event that is not done, ``waiting`` being the time of the next one.

        Where it is not known, it is that of the last one that is done: it is no younger.
        """
        time = self._first or waiting or self._last
        return max(0, self._now() - time) / 1e6 if time else 0.0
