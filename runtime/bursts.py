"""Bursts: what happens often is told once, and then counted, until it has been quiet for a while."""

from collections.abc import Hashable

from runtime.clock import Clock

BURST = 10_000_000
"""Microseconds in which things of one sort are one burst: the first is told, the others are counted."""
SORTS = 1_000
"""How many sorts are told apart; with more, all are forgotten, and the next of each is told again."""


class Bursts:
    """Says what is worth a line in the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bursts: dict[Hashable, tuple[int, int]] = {}
        """Of each sort: when its burst began, and how many were not told."""

    def untold(self, sort: Hashable) -> int | None:
        """Note one of a sort; return how many of it were not told before it, or None: don't tell this one either."""
        now = self._clock.steady()
        began, untold = self._bursts.get(sort, (None, 0))
        if began is not None and now - began < BURST:
            self._bursts[sort] = (began, untold + 1)
            return None
        if len(self._bursts) >= SORTS:
            self._bursts.clear()
        self._bursts[sort] = (now, 0)
        return untold
