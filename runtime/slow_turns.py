"""Slow turns: while an actor has its turn nobody else has, so one that takes long is named in the log."""

from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any

from actors import Address
from runtime.bursts import Bursts
from runtime.clock import Clock, stopwatch
from runtime.log import log

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

    def took(self, actor: Address[Any], message: object, seconds: float) -> None:
        """Note that the turn of a message, or what a text says, took longer than the limit."""
        untold = self._bursts.untold(actor.actor)
        if untold is not None:
            name = message if isinstance(message, str) else type(message).__name__
            log.warning("slow turn", actor=str(actor), message=name, seconds=round(seconds, 3), untold_before=untold)


class Timed:
    """A coroutine of an async actor, each of whose steps between two waits is a turn."""

    def __init__(self, work: Coroutine[Any, Any, Any], slow: SlowTurns, actor: Address[Any], message: object) -> None:
        self._work = work
        self._slow = slow
        self._actor = actor
        self._message = message

    def __await__(self) -> Generator[Any, Any, Any]:
        work, slow, stopwatch = self._work, self._slow, self._slow.stopwatch
        value: Any = None
        error: BaseException | None = None
        while True:
            began = stopwatch()
            try:
                waits = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                took = stopwatch() - began
                if took > slow.limit:
                    slow.took(self._actor, self._message, took)
            try:
                value, error = (yield waits), None
            except GeneratorExit:
                work.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 (a cancellation, say; the author's code is to see it)
                value, error = None, thrown
