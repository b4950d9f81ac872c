"""What is due in a simulated loop: callbacks, tasks and futures with numbers, and which of them may be next."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from runtime.simulation.schedule import Schedule


class Handle:
    """A callback that is due, or will be at a time, in microseconds."""

    __slots__ = ("_cancelled", "args", "callback", "context", "due", "number")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        due: int,
        number: int,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context if context is not None else contextvars.copy_context()
        self.due = due
        self.number = number
        self._cancelled = False

    def cancel(self) -> None:
        """Don't call it."""
        self._cancelled = True
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it is not to be called."""
        return self._cancelled

    def when(self) -> float:
        """Return its time, in seconds."""
        return self.due / 1e6

    def __lt__(self, other: "Handle") -> bool:
        return (self.due, self.number) < (other.due, other.number)


class SimulatedTask(asyncio.Task[Any]):
    """A task with a number, which is also its hash."""

    number: int

    def __new__(cls, *_: Any, loop: Any, **__: Any) -> Self:  # pyright: ignore[reportInconsistentConstructor]
        """Make it, with its number first: it is put into a set before it is made."""
        task = super().__new__(cls)
        task.number = loop.next_number()
        return task

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedFuture(asyncio.Future[Any]):
    """A future with a number, which is also its hash."""

    number: int

    def __new__(cls, *, loop: Any) -> Self:  # pyright: ignore[reportInconsistentConstructor]
        """Make it, with its number first."""
        future = super().__new__(cls)
        future.number = loop.next_number()
        return future

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


def take(ready: deque[Handle], schedule: Schedule) -> Handle:
    """Take the one that the schedule wants next, of those that may be next.

    The callbacks of one task keep their order, those of one future too, and so do all that are no task's.
    """
    places: list[int] = []
    lanes: list[object] = []
    behind: set[object] = set()
    for place, handle in enumerate(ready):
        if handle.cancelled():
            continue
        owner = getattr(handle.callback, "__self__", None)
        lane: object = owner.number if isinstance(owner, SimulatedTask) else None
        first: Any = handle.args[0] if handle.args else None
        about: object = first if _is_future(first) else lane
        if lane not in behind and about not in behind:
            places.append(place)
            lanes.append(lane)
        behind.add(lane)
        behind.add(about)
    if not places:
        return ready.popleft()
    place = places[0] if len(places) == 1 else places[schedule.choose(lanes)]
    handle = ready[place]
    del ready[place]
    return handle


def _is_future(it: object) -> bool:
    return isinstance(it, asyncio.Future)
