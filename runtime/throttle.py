"""Throttles: what sagas send to a class of actors goes no faster than its rate.

The times of the last ones are kept, so no span of time has more than the rate says, however its edges lie. After a
restart they are not known: the rate holds for each process.
"""

from collections import deque
from collections.abc import Callable

from actors import Rate
from persistence import NEVER
from runtime.priorities import Turns
from runtime.timers import Timer, Timers


class Waiting:
    """Something that waits until it may go: then ``go`` is called. It has gone when it is ``sent``."""

    __slots__ = ("_throttle", "go", "may_go", "over")

    def __init__(self, throttle: "Throttle", go: Callable[[], None]) -> None:
        self._throttle = throttle
        self.go = go
        self.may_go = False
        self.over = False
        """Whether it was sent, or was taken back."""

    def sent(self) -> None:
        """Take note that it goes now, which may be a moment later than it might have."""
        if self.may_go and not self.over:
            self.over = True
            self._throttle.gone()

    def cancel(self) -> None:
        """Let it not go any more; does nothing when it was sent."""
        if not self.over:
            self.over = True
            if self.may_go:
                self._throttle.stayed()
            else:
                self._throttle.forget_one()


class Lane:
    """Those that wait with one priority, by the class that sends them; each class goes in turn."""

    __slots__ = ("by_class",)

    def __init__(self) -> None:
        self.by_class: dict[str, deque[Waiting]] = {}

    def add(self, sender: str, waiting: Waiting) -> None:
        """Let one wait behind the others of its sender's class."""
        self.by_class.setdefault(sender, deque()).append(waiting)

    def pop(self) -> Waiting:
        """Take the next one; its class is then the last to have its turn."""
        sender = next(iter(self.by_class))
        waiting = self.by_class.pop(sender)
        first = waiting.popleft()
        if waiting:
            self.by_class[sender] = waiting
        return first

    def sweep(self) -> None:
        """Drop those that were cancelled."""
        kept = {sender: deque(one for one in waiting if not one.over) for sender, waiting in self.by_class.items()}
        self.by_class = {sender: waiting for sender, waiting in kept.items() if waiting}


class Throttle:
    """Lets things go no faster than a rate: by priority, then class by class in turn, then in the order of coming."""

    def __init__(self, rate: Rate, delays: Timers) -> None:
        self._most, self._span = rate.at_a_moment, rate.span
        self._delays = delays
        self._gone: deque[int] = deque(maxlen=self._most)
        """When the last ones went."""
        self._going = 0
        """How many may go, and have not gone yet: they may do so at any time to come."""
        self._turns = Turns()
        self._lanes: dict[int, Lane] = {}
        self._size = self._cancelled = 0
        self._timer: Timer | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._size - self._cancelled

    def take(self) -> bool:
        """Whether something may go at once, without waiting; then it has gone."""
        now = self._delays.now()
        if self.waiting or self._closed or self._due() > now:
            return False
        self._gone.append(now)
        return True

    def add(self, priority: int, sender: str, go: Callable[[], None]) -> Waiting:
        """Have something go when it may; ``sender`` is the class of who sends it."""
        waiting = Waiting(self, go)
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = Lane()
        lane.add(sender, waiting)
        self._size += 1
        self._look_again()
        return waiting

    def gone(self) -> None:
        """Take note that one that might go has gone."""
        self._going -= 1
        self._gone.append(self._delays.now())
        self._look_again()

    def stayed(self) -> None:
        """Take note that one that might go never will."""
        self._going -= 1
        self._stop_timer()
        self._look_again()

    def forget_one(self) -> None:
        """Count one that was cancelled; when most are, sweep them out."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > self._size:
            for priority, lane in list(self._lanes.items()):
                lane.sweep()
                if not lane.by_class:
                    del self._lanes[priority]
            self._size -= self._cancelled
            self._cancelled = 0

    def clear(self) -> None:
        """Forget who waits, but not when the last ones went."""
        self._lanes.clear()
        self._size = self._cancelled = self._going = 0
        self._stop_timer()

    def close(self) -> None:
        """Let nothing go any more."""
        self._closed = True
        self._stop_timer()

    def _due(self) -> int:
        """Return when the next one may go."""
        room = self._most - self._going
        if not room:
            return NEVER
        return self._gone[-room] + self._span if len(self._gone) >= room else 0

    def _let_go(self) -> None:
        self._timer = None
        while self._size and not self._closed and self._due() <= self._delays.now():
            priority = self._turns.next(self._lanes.keys())
            lane = self._lanes[priority]
            one = lane.pop()
            if not lane.by_class:
                del self._lanes[priority]
            self._size -= 1
            if one.over:
                self._cancelled -= 1
                continue
            one.may_go = True
            self._going += 1
            self._turns.taken(priority)
            one.go()
        self._look_again()

    def _look_again(self) -> None:
        """Set the timer for the next one, if there is one, and nobody has to go before."""
        if self._timer is None and self._size and not self._closed and self._due() < NEVER:
            self._timer = self._delays.at(max(self._due(), self._delays.now()), self._let_go)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
