"""Timers: many of them, one wake-up of the clock, never early.

A node has two sets: **timers** by wall time, for what the journal holds (a saga's sleep, a reminder), and **delays** by
steady time, for what only this process waits for (a pause before a retry, a timeout): setting the clock back an hour
must not make a pause of 50 ms an hour long.
"""

import asyncio
import heapq
from collections.abc import Callable
from math import inf

from runtime.clock import Clock, Handle, WakesAtSteps
from runtime.log import log
from runtime.own_loop import runs

LONGEST_NAP = 10.0
"""The clock is looked at again after so many seconds at the latest, so that a step of wall time is noticed."""


class Timer:
    """One timer; ``cancel`` takes it back."""

    __slots__ = ("_timers", "due", "fire", "order")

    def __init__(self, timers: "Timers", due: int, order: int, fire: Callable[[], None]) -> None:
        self._timers = timers
        self.due = due
        self.order = order
        self.fire: Callable[[], None] | None = fire

    def __lt__(self, other: "Timer") -> bool:
        return (self.due, self.order) < (other.due, other.order)

    def cancel(self) -> None:
        """Take the timer back; does nothing when it has fired."""
        if self.fire is not None:
            self.fire = None
            self._timers.forget_one()


class Timers:
    """The timers of one runtime, in the order in which they are due."""

    def __init__(
        self, clock: Clock, now: Callable[[], int] | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Go by the time that ``now`` tells: by default the clock's wall time; ``loop`` is where they wake up."""
        self._clock = clock
        self._loop = loop
        self.now = now or clock.now
        """Return the time by which they go, in microseconds."""
        self._longest_nap = inf if isinstance(clock, WakesAtSteps) else LONGEST_NAP
        self._heap: list[Timer] = []
        self._count = 0
        self._cancelled = 0
        self._handle: Handle | None = None
        self._wakes_at = 0
        self._closed = False

    def at(self, due: int, fire: Callable[[], None]) -> Timer:
        """Call ``fire`` when the time has reached ``due``, in microseconds; never before."""
        self._count += 1
        timer = Timer(self, due, self._count, fire)
        heapq.heappush(self._heap, timer)
        if self._handle is None or due < self._wakes_at:
            if self._loop is None or runs(self._loop):
                self._arm()
            else:  # on another loop, which may end, it would never go off, nor those behind it
                self._loop.call_soon_threadsafe(self._arm)
        return timer

    def after(self, seconds: float, fire: Callable[[], None]) -> Timer:
        """Call ``fire`` in so many seconds."""
        # Rounded up, and one more: the clock's own reading is cut to whole microseconds.
        return self.at(self.now() + int(seconds * 1e6) + 1, fire)

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds."""
        over = asyncio.Event()
        timer = self.after(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def forget_one(self) -> None:
        """Count a cancelled timer; when most are, sweep them out, so that the heap stays in proportion."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.fire is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Fire nothing more."""
        self._closed = True
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap and not self._closed:
            now = self.now()
            nap = min(max(0.0, (self._heap[0].due - now) / 1e6), self._longest_nap)
            self._wakes_at = now + round(nap * 1e6)
            self._handle = self._clock.call_after(nap, self._wake)

    def _wake(self) -> None:
        self._handle = None
        now = self.now()
        while self._heap and (self._heap[0].fire is None or self._heap[0].due <= now):
            timer = heapq.heappop(self._heap)
            fire, timer.fire = timer.fire, None
            if fire is None:
                self._cancelled -= 1
            else:
                try:
                    fire()
                except Exception as error:  # noqa: BLE001 (one that fails must not stop the others)
                    log.error("timer failed", error=repr(error))
        if self._handle is None:
            self._arm()
