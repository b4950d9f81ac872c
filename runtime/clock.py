"""Clocks: where the runtime gets its time from, so that tests can drive it."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A wake-up that can be taken back."""

    def cancel(self) -> None:
        """Take the wake-up back; does nothing when it has happened."""
        ...


class Clock(Protocol):
    """Two times, and wake-ups.

    Wall time is what people and other machines mean, and what the journal holds; it may be set forward and back. Steady
    time only measures how long something takes.
    """

    def now(self) -> int:
        """Return the wall time in microseconds since 1970 (UTC)."""
        ...

    def steady(self) -> int:
        """Return the steady time in microseconds since some moment of this process's life."""
        ...

    def call_after(self, seconds: float, wake: Callable[[], None]) -> Handle:
        """Call ``wake`` on the running event loop, about ``seconds`` from now."""
        ...


class WakesAtSteps:
    """Base of clocks that call all wake-ups when their wall time is set, so that nobody need look from time to time."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the wall time in microseconds since 1970 (UTC)."""
        return time.time_ns() // 1000

    def steady(self) -> int:
        """Return the steady time in microseconds."""
        return time.monotonic_ns() // 1000

    def call_after(self, seconds: float, wake: Callable[[], None]) -> Handle:
        """Call ``wake`` about ``seconds`` from now."""
        return asyncio.get_running_loop().call_later(seconds, wake)


def stopwatch(clock: Clock) -> Callable[[], float]:
    """Return what tells a clock's steady time in seconds, as fast as it can be told."""
    return time.perf_counter if isinstance(clock, SystemClock) else lambda: clock.steady() / 1e6


class ManualClock:
    """A clock that stands still until :meth:`advance` moves it; for tests."""

    def __init__(self, now: int = 1_000_000_000_000_000) -> None:
        self._steady = 0
        self._set_by: int = now
        """What the wall time is ahead of the steady time."""
        self._wakes: list[_ManualHandle] = []

    def now(self) -> int:
        """Return the time that it has been moved to, in microseconds since 1970 (UTC)."""
        return self._steady + self._set_by

    def steady(self) -> int:
        """Return by how much it has been moved on, in microseconds."""
        return self._steady

    def call_after(self, seconds: float, wake: Callable[[], None]) -> Handle:
        """Call ``wake`` when the clock has been moved that far."""
        handle = _ManualHandle(self._steady + round(seconds * 1e6), wake)
        self._wakes.append(handle)
        return handle

    def advance(self, seconds: float) -> None:
        """Move the clock on, and call what has become due, earliest first."""
        end = self._steady + round(seconds * 1e6)
        while True:
            self._wakes = [handle for handle in self._wakes if not handle.cancelled]
            due = min((handle for handle in self._wakes if handle.due <= end), key=_due, default=None)
            if due is None:
                break
            self._wakes.remove(due)
            self._steady = max(self._steady, due.due)
            due.wake()
        self._steady = end

    def step(self, seconds: float) -> None:
        """Set the wall time forward or back, as an administrator might, without calling anything."""
        self._set_by += round(seconds * 1e6)


def _due(handle: "_ManualHandle") -> int:
    return handle.due


class _ManualHandle:
    __slots__ = ("cancelled", "due", "wake")

    def __init__(self, due: int, wake: Callable[[], None]) -> None:
        self.due = due
        self.wake = wake
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def seconds(timeout: object) -> float:
    """Return a timeout that somebody gave, which is in seconds.

    Raises:
        TypeError: it is no number; type checkers find it before.
    """
    if isinstance(timeout, (int, float)):
        return timeout
    raise TypeError(f"timeout= is in seconds, timeout=5.0 say, and not a {type(timeout).__name__}")
