"""The simulated event loop: asyncio's protocol in virtual time, in one thread, without I/O.

What is ready runs one after the other; which one is next, a schedule says. When nothing is ready, time jumps to the
next timer. Tasks and futures are numbered in the order of their making and hashed by that number, so that sets of them
have the same order in each run.
"""

import asyncio
import contextvars
import heapq
import inspect
import sys
import threading
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from math import ceil, inf
from typing import Any, NoReturn, TypeVar

from actors.request_context import FIRST_USE
from runtime.simulation.errors import Deadlock, Endless, NoRealIO
from runtime.simulation.handles import Handle, SimulatedFuture, SimulatedTask, take
from runtime.simulation.real import REAL
from runtime.simulation.schedule import Schedule
from runtime.simulation.scopes import Numbers, forget, numbered_scopes
from runtime.simulation.threads import no_threads
from runtime.simulation.waiting import who_waits

T = TypeVar("T")

MOST_ROUNDS = 100
"""So often is looked for tasks of a dead process that were started by ending others, and one is told to end."""
NEVER = 2**63
"""A time that doesn't come, in microseconds."""
MOST_STEPS = 300_000
"""How many callbacks one run may take; with so many it seems to go round in circles."""


_Protocol: Any = asyncio.AbstractEventLoop
"""Without its types: of its 29 abstract methods most are refused here by one function."""


class SimulatedLoop(_Protocol):  # type: ignore[misc]
    """One simulated process's event loop: from its start to its end, or to its death."""

    def __init__(self, now: int = 0, schedule: Schedule | None = None, most_steps: int = MOST_STEPS) -> None:
        """Start at ``now``, in microseconds; without a schedule what is ready first runs first."""
        self.now = now
        """The time, in microseconds."""
        self.steps = 0
        """Callbacks called so far."""
        self.dead = False
        """Whether the process has died: nothing in it runs any more."""
        self.problems: list[dict[str, Any]] = []
        """What nobody caught."""
        self._schedule = schedule
        self._most_steps = most_steps
        self._ready: deque[Handle] = deque()
        self._timers: list[Handle] = []
        self._count = 0
        self._running = self._closed = False
        self._thread = threading.get_ident()
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._left: list[SimulatedTask] = []
        self._numbers = Numbers(self.next_number)
        self._refused: NoRealIO | None = None

    def next_number(self) -> int:
        """Return the next number for what is made here."""
        self._count += 1
        return self._count

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T]) -> T | None:
        """Run to the end of ``main`` and return its result, or to the death of the process (None).

        Raises:
            Deadlock, Endless: it will never end, or doesn't seem to.
            NoRealIO: a thread was started.
        """
        task = self.create_task(main, name="main")
        with self._in_charge():
            while not (self.dead or task.done()):
                self._step()
        if self.dead:
            return None
        result: T = task.result()
        return result

    @contextmanager
    def _in_charge(self) -> Generator[None]:
        """Be the running loop, whichever was before."""
        old, hooks = events._get_running_loop(), sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalize)
        self._running = True
        try:
            with numbered_scopes(self._numbers), no_threads(self._thread, self.refuse), FIRST_USE.anew():
                yield
        finally:
            self._running = False
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(old)

    def _step(self) -> None:
        ready = self._ready
        if not ready and not self._pass_time():
            raise Deadlock(f"nothing can happen any more, and it has not ended:\n{who_waits(self)}")
        schedule = self._schedule
        handle = ready.popleft() if schedule is None or len(ready) == 1 else take(ready, schedule)
        if handle.cancelled():
            return
        self.steps += 1
        if self.steps > self._most_steps:
            raise Endless(f"it has taken {self.steps - 1:,} steps and has not ended:\n{who_waits(self)}")
        try:
            handle.context.run(handle.callback, *handle.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (as each event loop does)
            self.call_exception_handler({"message": f"a callback failed: {handle.callback!r}", "exception": error})
        if self._refused is not None:
            raise self._refused

    def _pass_time(self) -> bool:
        """Jump to the next timer; return whether there was one."""
        timers = self._timers
        while timers and timers[0].cancelled():
            heapq.heappop(timers)
        if not timers:
            return False
        self.now = max(self.now, timers[0].due)
        while timers and timers[0].due <= self.now:
            self._ready.append(heapq.heappop(timers))
        return True

    def refuse(self, what: str) -> NoReturn:
        """Refuse to do what is no simulation, and end the run: who asked for it may well swallow the error.

        Raises:
            NoRealIO: always.
        """
        self._refused = NoRealIO(what)
        raise self._refused

    def die(self) -> None:
        """End the process here: nothing that it was in the middle of goes on, and nothing is cleaned up."""
        self.dead = True
        self._left = self._tasks()
        self._ready.clear()
        self._timers.clear()

    def _tasks(self) -> list[SimulatedTask]:
        found: list[Any] = [task for task in asyncio.all_tasks(self) if isinstance(task, SimulatedTask)]
        return [task for task in found if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CLOSED]

    async def end_here(self) -> NoReturn:
        """Let the process die in the middle of a task."""
        self.die()
        await self.create_future()
        raise AssertionError("the dead don't go on")

    def bury(self) -> None:
        """Let go of all that was under way. What its code does at its end has no effect here any more."""
        self.dead = True
        with self._in_charge(), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what had not begun is closed unawaited
            for _ in range(MOST_ROUNDS):  # what is closed may start tasks to clean up
                left = {*self._left, *self._tasks()}
                self._left.clear()
                if not left:
                    break
                for task in sorted(left, key=hash):
                    _close(task, self)
        forget(self)
        self._ready.clear()
        self._timers.clear()
        self._closed = True

    # -- what asyncio wants of an event loop ----------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self.now / 1e6

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Call something when it is its turn."""
        self._count += 1
        handle = Handle(callback, args, context, self.now, self._count)
        if not self.dead:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Call something when it is its turn; from this thread only."""
        if threading.get_ident() != self._thread:
            self.refuse("a thread")
        return self.call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Call something at a time of this loop, in seconds."""
        self._count += 1
        due = NEVER if when == inf else ceil(round(when * 1e6, 3))  # never early
        if due <= self.now and when > self.time():
            due = self.now + 1  # who was called a fraction of a microsecond early waits for it: time must go on
        handle = Handle(callback, args, context, due, self._count)
        if not self.dead and due < NEVER:
            heapq.heappush(self._timers, handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Call something after so many seconds."""
        return self.call_at(self.now / 1e6 + delay, callback, *args, context=context)

    def create_future(self) -> Any:
        """Return a new future."""
        return SimulatedFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **more: Any) -> Any:
        """Start a task."""
        return SimulatedTask(coro, loop=self, name=name or f"task {self._count + 1}", context=context, **more)

    def set_task_factory(self, factory: object) -> None:
        """Refuse: tasks are numbered here."""
        if factory is not None:
            raise NotImplementedError("a simulated event loop makes its tasks itself")

    def get_task_factory(self) -> None:
        """Return None: there is none."""
        return

    def is_running(self) -> bool:
        """Whether it is running."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def get_debug(self) -> bool:
        """Return False: debugging an event loop is about real time."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Do nothing."""

    def get_exception_handler(self) -> Any:
        """Return what is told of exceptions that nobody caught, if that was set."""
        return self._handler

    def set_exception_handler(self, handler: Any) -> None:
        """Have exceptions that nobody caught told."""
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught, to be looked at after the run."""
        self.problems.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of what nobody caught; the dead are not heard."""
        if not self.dead:
            (self._handler or SimulatedLoop._by_default)(self, context)

    @staticmethod
    def _by_default(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)

    def _finalize(self, generator: Any) -> None:
        if not self.dead:
            self.create_task(_ended(generator))

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: they end with the run."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is none."""


class _ProcessDied(BaseException):
    """Ends what is left of a dead process."""


_tasks: Any = asyncio.tasks


def _close(task: SimulatedTask, loop: SimulatedLoop) -> None:
    """End a task of a dead process, in as many throws as its clean-up wants to wait.

    It is thrown, and not closed: closing doesn't get through to what an async generator awaits.
    """
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 (no attribute that type checkers know)
    coroutine: Any = task.get_coro()
    _tasks._enter_task(loop, task)  # cancel scopes are left by the task that has entered them
    try:
        for _ in range(MOST_ROUNDS):
            coroutine.throw(_ProcessDied())
        coroutine.close()
    except BaseException:  # noqa: BLE001, S110 (whatever its clean-up raises: nobody is there to hear it)
        pass
    finally:
        _tasks._leave_task(loop, task)


async def _ended(generator: Any) -> None:
    """Close a generator, in a coroutine of which can be told where it is; what ``aclose`` returns is none."""
    await generator.aclose()


def _refusal(what: str) -> Callable[..., NoReturn]:
    def refuse(loop: SimulatedLoop, *_: object, **__: object) -> NoReturn:
        loop.refuse(what)

    return refuse


for _name, _what in REAL.items():
    setattr(SimulatedLoop, _name, _refusal(_what))
