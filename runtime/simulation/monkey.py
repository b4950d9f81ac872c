"""The chaos monkey: starts processes, kills and pauses them at random, and starts them again. For tests and staging."""

import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from runtime.simulation.child import Child

DEADLY = ("KILL", "TERM", "INT", "QUIT", "ABRT", "HUP")
SIGNALS = (*DEADLY, "STOP")
GRACE = 10.0
"""Seconds that a process gets to end by a signal that it can catch; then it is killed."""
PATIENCE = 240.0
"""Seconds until what is waited for is given up, unless something else is said."""
TOLD = 500
"""So many characters of a process's last lines are told in the story."""
KEPT_DEEDS = 2_000
"""So much of the story is kept, the last of it."""


class ProcessFailed(Exception):
    """A process ended with an error, though nobody had sent it a signal to end by; or was started too often."""


class ChaosMonkey:
    """Keeps processes running, and harms them.

    Each ``command`` is run as a process of its own, in a session of its own. ``signals`` are what befalls it, chosen
    by ``seed``: ``KILL``, ``TERM`` and others to end by, after which it is started again, and ``STOP``, after which it
    goes on in ``pause`` seconds (``CONT``); no more than ``paused`` are stopped at once. Something befalls each process
    ``every`` so many seconds, from one to the other; or, with ``lines``, whenever it has written so many lines more:
    then all get as far on a slow machine. A signal is for what the process has started too.

    One that ends with exit code 0, without a signal to end by, has done its work, and is not started again. One that
    ends in another way is a failure: more than ``tolerated`` of them end the block with :class:`ProcessFailed`, and so
    do more than ``starts`` starts. ``on_line`` is called with each whole line that a process writes; what it raises
    ends the block. Of all they say the last lines are kept (100 a process), and 2,000 deeds of the story. An error that
    leaves the block has the story as a note.

    Leaving the block kills all that is left, whatever the reason; on Linux the system does when this process is killed
    itself. The seed fixes what befalls each process, and after how much of what; processes and clocks do the rest.

    Raises:
        ValueError: no command, an unknown signal, or times that can't be meant.
    """

    def __init__(
        self,
        *commands: Sequence[str],
        seed: int = 0,
        every: tuple[float, float] = (0.2, 1.0),
        lines: tuple[int, int] | None = None,
        signals: Sequence[str] = ("KILL",),
        pause: tuple[float, float] = (0.05, 0.5),
        paused: int = 1,
        tolerated: int = 0,
        starts: int = 1_000,
        on_line: Callable[[str], None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if not commands or not all(commands):
            raise ValueError("a monkey needs a command to run: ChaosMonkey([sys.executable, '-m', 'my.node'])")
        for name in signals:
            if name not in SIGNALS:
                raise ValueError(f"{name!r} is none of the signals {', '.join(SIGNALS)}")
        for what, (least, most) in {"every": every, "pause": pause, "lines": lines or (0, 0)}.items():
            if not 0 <= least <= most < float("inf"):
                raise ValueError(f"{what} is a range from its least to its most, not {(least, most)}")
        self.seed = seed
        self.harm: Counter[str] = Counter()
        """How often each signal was sent."""
        self.kills = 0
        """Processes that have ended by its signals."""
        self.failures = 0
        """Processes that have ended in error by themselves."""
        self.starts = 0
        """Processes started."""
        self.children: dict[int, Child] = {}
        """The processes that are there, by the number of their command."""
        self._commands, self._every, self._lines, self._signals = commands, every, lines, signals
        self._pause, self._most_paused, self._tolerated, self._most_starts = pause, paused, tolerated, starts
        self._on_line, self._cwd, self._env = on_line, cwd, env
        self._deeds: deque[str] = deque(maxlen=KEPT_DEEDS)
        self._begun = 0.0
        self._resting = self._ending = False
        self._left = len(commands)
        self._error: Exception | None = None
        self._harming: set[anyio.CancelScope] = set()

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._life = self._live()
        return await self._life.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is not None and not isinstance(error, ProcessFailed):
            error.add_note(self.story)
        return await self._life.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _live(self) -> AsyncGenerator[Self]:
        self._begun, self._news = time.monotonic(), anyio.Event()
        failure: BaseException | None = None
        with anyio.CancelScope() as self._body:
            async with anyio.create_task_group() as keepers:
                for number, command in enumerate(self._commands):
                    keepers.start_soon(self._keep, number, command)
                try:
                    yield self
                except BaseException as error:  # noqa: BLE001 (raised below: a task group would wrap it into a group)
                    failure = error
                self._ending = True
                keepers.cancel_scope.cancel()
            if isinstance(failure, anyio.get_cancelled_exc_class()):
                raise failure  # this scope takes it, if it is its own
        if self._error is not None:
            raise self._error
        if failure is not None:
            raise failure

    # -- for those who watch ------------------------------------------------------------------------------------

    @property
    def story(self) -> str:
        """What was done when, and what the processes said last: for a test that fails to print."""
        head = f"the chaos monkey with seed={self.seed}: {self.starts} starts, {dict(self.harm)}"
        lines = [head, *self._deeds]
        for child in self.children.values():
            lines += _last_words(child)
        return "\n".join(lines)

    async def until(self, happened: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Wait until something is so; it is looked at whenever a process has said something, or something befell one.

        Raises:
            TimeoutError: it was not so in ``timeout`` seconds.
            ProcessFailed: all processes have done their work, and it is not so.
        """
        with anyio.move_on_after(timeout):
            while not happened():
                if not self._left:
                    raise ProcessFailed(f"all processes have done their work, and it has not happened\n{self.story}")
                await self._news.wait()
            return
        raise TimeoutError(f"it has not happened in {timeout:g} seconds")

    async def finished(self, timeout: float = PATIENCE) -> None:
        """Wait until all processes have done their work, each with exit code 0.

        Raises:
            TimeoutError: they have not in ``timeout`` seconds.
        """
        await self.until(lambda: not self._left, timeout)

    def rest(self) -> None:
        """Do no more harm: what is paused goes on, and what runs is left alone."""
        self._resting = True
        for scope in self._harming:
            scope.cancel()

    def send(self, name: str, number: int = 0) -> bool:
        """Send a signal by hand, ``CONT`` too, to the process of a command; return whether it was there."""
        child = self.children.get(number)
        if child is None or not child.send(name):
            return False
        self.harm[name] += 1
        self._note(child, f"SIG{name}")
        return True

    # -- one command's processes --------------------------------------------------------------------------------

    async def _keep(self, number: int, command: Sequence[str]) -> None:
        dice = Random(f"{self.seed} {number}")
        while self._may_start(number):
            child = await Child.start(number, command, self._heard, self._cwd, self._env)
            self.starts += 1
            self.children[number] = child
            self._note(child, "started")
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._harm, child, dice)
                    await child.live()
                    tasks.cancel_scope.cancel()
            finally:
                code = await child.end()
                if self._ending:
                    self._note(child, "ended with the block")
            if self._ended(child, code):
                break
        self._left -= 1
        self._tell()

    def _may_start(self, number: int) -> bool:
        if self._ending or self._error is not None:
            return False
        if self.starts >= self._most_starts:
            self._fail(f"processes were started {self.starts:,} times, and command {number} has not done its work yet")
            return False
        return True

    def _ended(self, child: Child, code: int) -> bool:
        """Take note of an end; return whether that was the last one of its command."""
        self._note(child, f"ended with {code}, having said {child.said:,} lines")
        if child.doomed:
            self.kills += 1
            self._tell()
            return False
        if code == 0:
            return True
        self.failures += 1
        if self.failures > self._tolerated:
            self._fail(f"process {child.pid} of command {child.number} ended by itself with {code}")
            return True
        return False

    def _fail(self, what: str) -> None:
        self._stop(ProcessFailed(f"{what}\n{self.story}"))

    def _stop(self, error: Exception) -> None:
        """End the block by this error, if it is the first one."""
        if self._error is None:
            self._error = error
            self._body.cancel()

    async def _harm(self, child: Child, dice: Random) -> None:
        if not self._signals:
            return
        with anyio.CancelScope() as scope:
            self._harming.add(scope)
            try:
                while not self._resting:
                    await self._moment(child, dice)
                    await self._befall(child, dice.choice(self._signals), dice.uniform(*self._pause))
            finally:
                self._harming.discard(scope)

    async def _moment(self, child: Child, dice: Random) -> None:
        if self._lines is None:
            await anyio.sleep(dice.uniform(*self._every))
        else:
            await child.reaches(child.said + dice.randint(*self._lines))
            await anyio.lowlevel.checkpoint()

    async def _befall(self, child: Child, name: str, pause: float) -> None:
        if name != "STOP":
            self.send(name, child.number)
            await anyio.sleep(GRACE)  # its end ends this too
            self.send("KILL", child.number)
            await anyio.sleep_forever()
        elif sum(one.paused for one in self.children.values()) < self._most_paused:
            self.send(name, child.number)
            try:
                await anyio.sleep(pause)
            finally:
                self.send("CONT", child.number)

    # -- news ---------------------------------------------------------------------------------------------------

    def _heard(self, line: str) -> None:
        if self._on_line is not None:
            try:
                self._on_line(line)
            except Exception as error:  # noqa: BLE001 (raised as it is, from the block)
                error.add_note(self.story)
                self._stop(error)
        self._tell()

    def _note(self, child: Child, what: str) -> None:
        self._deeds.append(f"{time.monotonic() - self._begun:9.3f}  process {child.pid} of {child.number}: {what}")
        self._tell()

    def _tell(self) -> None:
        """Let those who wait look again."""
        self._news.set()
        self._news = anyio.Event()


def _last_words(child: Child) -> list[str]:
    lines = [f"the last words of process {child.pid}:", *(f"  {line[:TOLD]}" for line in list(child.output)[-10:])]
    return [*lines, *(f"  ! {line[:TOLD]}" for line in list(child.errors)[-40:])]
