"""A child process, with all that it starts: what it says, signals to it, and its end, after which nothing is left."""

import atexit
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process

from persistence.connection import shielded

KEPT_LINES = 100
"""So many of a process's last lines are kept; and as many of its errors."""
LONGEST_LINE = 100_000
"""Characters of a line that are kept."""
LEASH = str(Path(__file__).with_name("leash.py"))

_groups: set[int] = set()
"""The process groups that are there, for the case that this process ends without ending them first."""


@atexit.register
def _end_groups() -> None:
    for group in _groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


class Lines:
    """Bytes as they come, as lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    async def read(self, stream: ByteReceiveStream) -> None:
        """Take the lines to the stream's end. A last line without an end is none: who wrote it was killed."""
        async for chunk in stream:
            *lines, rest = (self._rest + chunk).split(b"\n")
            self._rest = rest[:LONGEST_LINE]
            for line in lines:
                self._take(line[:LONGEST_LINE].decode(errors="replace"))


class Child:
    """One process; ``number`` says which of the commands it runs."""

    def __init__(self, number: int, process: Process, on_line: Callable[[str], None]) -> None:
        self.number = number
        self.pid = process.pid
        self.said = 0
        """Lines that it has written on its standard output."""
        self.output: deque[str] = deque(maxlen=KEPT_LINES)
        self.errors: deque[str] = deque(maxlen=KEPT_LINES)
        """The last lines on its standard error."""
        self.paused = False
        self.doomed = False
        """Whether it was sent a signal to end by."""
        self._process = process
        self._on_line = on_line
        self._news = anyio.Event()

    @classmethod
    async def start(
        cls,
        number: int,
        command: Sequence[str],
        on_line: Callable[[str], None],
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
    ) -> "Child":
        """Start a command. Its standard input is a pipe in which nothing comes, and which ends with this process."""
        leash = [sys.executable, "-I", "-S", LEASH, f"{os.getpid()}"]
        with anyio.CancelScope(shield=True):  # asyncio leaves a task behind where it is cancelled in the middle
            # A session of its own: Ctrl-C is for this process, which then ends that one, and what that one has started.
            process = await anyio.open_process([*leash, *command], cwd=cwd, env=env, start_new_session=True)
            _groups.add(process.pid)
            return cls(number, process, on_line)
        raise AssertionError("a scope that nobody cancels swallowed an error")

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    def send(self, name: str) -> bool:
        """Send a signal to it and all that it has started: ``send("KILL")``; return whether it was still there."""
        if not self.alive:
            return False
        number = signal.Signals[f"SIG{name}"]
        if name not in ("STOP", "CONT"):
            self.doomed = True
        else:
            self.paused = name == "STOP"
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)
            return True
        return False

    async def live(self) -> None:
        """Read what it says until it ends."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with anyio.create_task_group() as reading:
            reading.start_soon(Lines(self._take).read, self._process.stdout)
            reading.start_soon(Lines(self.errors.append).read, self._process.stderr)
            await self._process.wait()
            self._end_group()  # what it has started would keep its output open

    async def reaches(self, lines: int) -> None:
        """Wait until it has said so many lines."""
        while self.said < lines:
            await self._news.wait()

    async def end(self) -> int:
        """Kill it, and all that it has started, where that has not happened; nothing is left of it then.

        Return its exit code, less than 0 where it was killed by a signal.
        """
        return await shielded(self._end())

    async def _end(self) -> int:
        self._end_group()
        code = await self._process.wait()
        self._end_group()  # what it may have started in its last moment
        await self._process.aclose()
        _groups.discard(self.pid)
        return code

    def _end_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says so of those that have ended
            os.killpg(self.pid, signal.SIGKILL)

    def _take(self, line: str) -> None:
        self.said += 1
        self.output.append(line)
        self._on_line(line)
        self._news.set()
        self._news = anyio.Event()
