"""Slow turns: while an actor has its turn nobody else has, so one that takes long is named in the log."""

from collections.abc import Callable
from datetime import timedelta

from runtime.bursts import Bursts
from runtime.cells import Cell
from runtime.clock import Clock, stopwatch
from runtime.log import log
from runtime.mailbox import Envelope

SLOW_TURN = timedelta(milliseconds=100)
"""How long a turn may take before it is named in the log, unless the runtime is told otherwise."""


class SlowTurns:
    """Names the actors whose turns are slow, once a burst for each class."""

    def __init__(self, clock: Clock, limit: timedelta | None) -> None:
        self.stopwatch: Callable[[], float] = stopwatch(clock) if limit is not None else float
        """Return steady time, in seconds; where there is no limit, 0.0, which is faster."""
        self.limit = limit.total_seconds() if limit is not None else float("inf")
        """The longest that a turn should take, in seconds."""
        self._bursts = Bursts(clock)

    def took(self, cell: Cell, envelope: Envelope, seconds: float) -> None:
        """Note that the turn of a message took longer than the limit."""
        untold = self._bursts.untold(cell.kind)
        if untold is not None:
            name = type(envelope.message).__name__
            log.warning("slow turn", actor=cell.name, message=name, seconds=round(seconds, 3), untold_before=untold)
