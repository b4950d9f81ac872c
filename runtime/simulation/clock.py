"""The simulated clock: the loop's virtual time, and a wall time that can be set."""

from collections.abc import Callable
from typing import Protocol

from runtime.clock import Handle, WakesAtSteps

BEGINNING = 1_767_225_600_000_000
"""The wall time at which simulations begin: 2026-01-01, in microseconds since 1970."""


class Loop(Protocol):
    """What tells the virtual time."""

    now: int

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Handle:
        """Call something after so many seconds."""
        ...


class SimulatedClock(WakesAtSteps):
    """A clock by a simulated event loop. ``step`` sets the wall time; the steady time never goes back."""

    def __init__(self, loop: Loop, ahead: int = BEGINNING) -> None:
        """``ahead`` is what the wall time is ahead of the steady time, in microseconds."""
        self._loop = loop
        self.ahead = ahead
        self._wakes: dict[_Wake, None] = {}

    def now(self) -> int:
        """Return the wall time in microseconds since 1970 (UTC)."""
        return self._loop.now + self.ahead

    def steady(self) -> int:
        """Return the virtual time in microseconds."""
        return self._loop.now

    def call_after(self, seconds: float, wake: Callable[[], None]) -> Handle:
        """Call ``wake`` in so many seconds, or when the wall time is set before that."""
        entry = _Wake(self._wakes, wake)
        entry.handle = self._loop.call_later(seconds, entry.call)
        return entry

    def step(self, seconds: float) -> None:
        """Set the wall time forward or back, as a time server might."""
        self.ahead += round(seconds * 1e6)
        for entry in list(self._wakes):
            entry.at_once(self._loop)


class _Wake:
    """A wake-up that is waited for."""

    __slots__ = ("_all", "_wake", "handle")

    def __init__(self, all_: "dict[_Wake, None]", wake: Callable[[], None]) -> None:
        self._all = all_
        self._wake = wake
        self.handle: Handle | None = None
        all_[self] = None

    def call(self) -> None:
        self._all.pop(self, None)
        self._wake()

    def at_once(self, loop: Loop) -> None:
        if self.handle is not None:
            self.handle.cancel()
        self.handle = loop.call_later(0, self.call)

    def cancel(self) -> None:
        self._all.pop(self, None)
        if self.handle is not None:
            self.handle.cancel()
