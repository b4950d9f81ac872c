"""Timers of plain actors: in memory only, gone with the incarnation that set them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from actors import Command
from runtime.mailbox import Envelope
from runtime.timers import Timer, Timers

MICROSECOND = timedelta(microseconds=1)


class ActorTimer:
    """One timer of one actor: sends it a message once, or again and again.

    A tick that has not been handled when the next is due stands for both. It is the ``reply`` of its own ticks, so that
    it knows when one was handled.
    """

    __slots__ = ("_all", "_due", "_every", "_message", "_post", "_timer", "_timers", "_under_way", "gone")

    def __init__(
        self,
        timers: Timers,
        siblings: "set[ActorTimer]",
        post: Callable[[Envelope], None],
        message: Command[Any, Any],
        delay: timedelta,
        every: timedelta | None,
    ) -> None:
        if delay < timedelta(0) or (every is not None and every <= timedelta(0)):
            raise ValueError(f"a timer needs a delay of 0 or more, and an interval above 0, not {every or delay}")
        self._timers = timers
        self._all = siblings
        self._post = post
        self._message = message
        self._every = None if every is None else every // MICROSECOND
        self._due = timers.now() + delay // MICROSECOND + 1  # one more, as the clock's reading is cut
        self._under_way = False
        self.gone = False
        """Whether it was cancelled, so that a tick that is in the mailbox is not handled any more."""
        self._timer: Timer = timers.at(self._due, self._fire)

    def cancel(self) -> None:
        """Take the timer back; does nothing when it has fired."""
        self._all.discard(self)
        self.drop()

    def drop(self) -> None:
        """Fire nothing more."""
        self.gone = True
        self._timer.cancel()

    def _fire(self) -> None:
        if self._every is None:
            self._all.discard(self)
        else:
            now = self._timers.now()
            self._due += self._every * max(1, (now - self._due) // self._every + 1)
            self._timer = self._timers.at(self._due, self._fire)
        if not self._under_way:
            self._under_way = True
            self._post(Envelope(self._message, None, self))

    def done(self, _value: Any) -> None:
        """Note that a tick was handled."""
        self._under_way = False

    def failed(self, _error: Exception) -> None:
        """Note that a tick could not be handled."""
        self._under_way = False
