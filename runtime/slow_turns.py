"""Slow turns: while an actor has its turn nobody else has, so one that takes long is named in the log.

Turns are timed together, as many as a cell is given at a time, because a look at the clock costs a part of a turn. When
several took too long together, the next ones of their class are timed one by one.
"""

from collections.abc import Callable
from datetime import timedelta

from runtime.bursts import Bursts
from runtime.cells import Cell
from runtime.clock import Clock, stopwatch
from runtime.kinds import Kind
from runtime.log import log
from runtime.mailbox import Envelope

SLOW_TURN = timedelta(milliseconds=100)
"""How long a turn may take before it is named in the log, unless the runtime is told otherwise."""
LOOKS = 1_000
"""How many turns of a class are timed one by one after some of it were slow together."""
SURELY = 10
"""Several turns that took as many times the limit together are told even though each may have kept it."""


class SlowTurns:
    """Names the actors whose turns are slow, once a burst for each class."""

    def __init__(self, clock: Clock, limit: timedelta | None) -> None:
        self.stopwatch: Callable[[], float] = stopwatch(clock) if limit is not None else float
        """Return steady time, in seconds; where there is no limit, 0.0, which is faster."""
        self.limit = limit.total_seconds() if limit is not None else float("inf")
        """The longest that one turn should take, in seconds."""
        self.suspects: dict[Kind, int] = {}
        """Classes whose turns are to be timed one by one, and how many of them still."""
        self._bursts = Bursts(clock)

    def suspect(self, kind: Kind) -> bool:
        """Whether turns of this class are to be timed one by one; to be asked once for each."""
        left = self.suspects.get(kind)
        if left is None:
            return False
        if left > 1:
            self.suspects[kind] = left - 1
        else:
            del self.suspects[kind]
        return True

    def took(self, cell: Cell, turns: int, last: Envelope | None, seconds: float) -> None:
        """Note that so many turns took longer than the limit together; ``last`` is the message of the last one."""
        if turns > 1:
            self.suspects[cell.kind] = LOOKS
            if seconds <= self.limit * min(turns, SURELY):
                return
        untold = self._bursts.untold(cell.kind)
        if untold is None:
            return
        if turns > 1 or last is None:
            log.warning("slow turns", actor=cell.name, turns=turns, seconds=round(seconds, 3), untold_before=untold)
        else:
            name = type(last.message).__name__
            log.warning("slow turn", actor=cell.name, message=name, seconds=round(seconds, 3), untold_before=untold)
