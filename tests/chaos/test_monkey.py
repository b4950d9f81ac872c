"""The chaos monkey: what it does to processes, what it tells of it, and that nothing is left of them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import anyio
import pytest

from runtime.simulation import monkey as monkeys
from runtime.simulation.child import KEPT_LINES, LONGEST_LINE
from runtime.simulation.monkey import ChaosMonkey, ProcessFailed
from tests.runtime.tools import comes

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
CHATTERING = """
import os, sys, time
number = 0
while True:
    number += 1
    print(os.getpid(), number, flush=True)
    time.sleep(0.001)
"""
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{CHATTERING}"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


class Heard:
    """Who said something, and how many lines of it."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}

    def __call__(self, line: str) -> None:
        pid, _, number = line.partition(" ")
        assert int(number) == self.lines.get(int(pid), 0) + 1  # all of them, and whole
        self.lines[int(pid)] = int(number)

    def nobody_is_left(self) -> None:
        for pid in self.lines:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_it_kills_and_starts_again() -> None:
    heard = Heard()
    async with ChaosMonkey(python(CHATTERING), seed=3, lines=(1, 20), on_line=heard) as monkey:
        await monkey.until(lambda: monkey.kills >= 8)
        assert monkey.harm["KILL"] >= 8
        assert monkey.starts >= 8
    assert set(monkey.harm) == {"KILL"}
    assert len(heard.lines) >= 8
    heard.nobody_is_left()
    assert monkey.story.startswith("the chaos monkey with seed=3: ")
    assert monkey.story.count(": SIGKILL") == monkey.harm["KILL"]
    assert monkey.story.count(": ended with -9, having said ") >= 8


async def test_by_the_clock_too() -> None:
    heard = Heard()
    async with ChaosMonkey(python(CHATTERING), every=(0.0, 0.1), on_line=heard) as monkey:
        await monkey.until(lambda: monkey.kills >= 5)
    heard.nobody_is_left()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_it_pauses_no_more_than_it_may() -> None:
    heard, most = Heard(), 0

    def paused() -> int:
        nonlocal most
        most = max(most, sum(state_of(pid) == "T" for pid in heard.lines))
        return monkey.harm["CONT"]

    commands = [python(CHATTERING)] * 4
    async with ChaosMonkey(
        *commands, signals=("STOP",), lines=(1, 5), pause=(0.0, 0.02), paused=2, on_line=heard
    ) as monkey:
        await monkey.until(lambda: paused() >= 30)
        assert monkey.kills == 0
        assert len(heard.lines) == 4  # all the same processes
    assert most == 2
    heard.nobody_is_left()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_one_that_is_paused_says_nothing_until_it_goes_on() -> None:
    heard = Heard()
    async with ChaosMonkey(python(CHATTERING), signals=(), on_line=heard) as monkey:
        await monkey.until(lambda: heard.lines)
        (pid,) = heard.lines
        assert monkey.send("STOP")
        await comes(lambda: state_of(pid) == "T")  # a signal takes its time
        for _ in range(100):  # what it had said before
            await asyncio.sleep(0)
        before = heard.lines[pid]
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert heard.lines[pid] == before
        assert monkey.send("CONT")
        await monkey.until(lambda: heard.lines[pid] > before)
        assert not monkey.send("KILL", 7)  # there is no such process
    assert monkey.harm == {"STOP": 1, "CONT": 1}


async def test_one_that_is_paused_when_the_block_ends_is_gone_too() -> None:
    heard = Heard()
    async with ChaosMonkey(
        python(CHATTERING), signals=("STOP",), lines=(1, 1), pause=(3600, 3600), on_line=heard
    ) as monkey:
        await monkey.until(lambda: monkey.harm["STOP"])
    heard.nobody_is_left()


async def test_who_does_not_end_by_a_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monkeys, "GRACE", 0.01)
    async with ChaosMonkey(python(DEAF), signals=("TERM",), lines=(1, 5)) as monkey:
        await monkey.until(lambda: monkey.kills >= 2)
    assert monkey.harm["KILL"] >= 2
    async with ChaosMonkey(python(CHATTERING), signals=("TERM",), lines=(1, 5)) as monkey:
        monkeypatch.setattr(monkeys, "GRACE", 3600.0)
        await monkey.until(lambda: monkey.kills >= 2)
    assert monkey.harm["KILL"] == 0


async def test_one_that_has_done_its_work_is_left_in_peace() -> None:
    commands = [python("print('done')"), python(CHATTERING)]
    said: list[str] = []
    async with ChaosMonkey(commands[0], signals=(), on_line=said.append) as monkey:
        await monkey.finished()
    assert (said, monkey.starts) == (["done"], 1)
    with pytest.raises(TimeoutError, match="it has not happened in 1e-05 seconds"):
        async with ChaosMonkey(*commands, signals=()) as monkey:
            await monkey.finished(timeout=0.00001)


async def test_what_can_happen_no_more_is_not_waited_for() -> None:
    with pytest.raises(ProcessFailed, match="all processes have done their work, and it has not happened"):
        async with ChaosMonkey(python("print('done')"), signals=()) as monkey:
            await monkey.until(lambda: False)


FAILING = """
import pathlib, sys
file = pathlib.Path(sys.argv[1])
times = len(file.read_text()) if file.exists() else 0
file.write_text("x" * (times + 1))
if times < int(sys.argv[2]):
    sys.exit("no such luck")
"""


async def test_one_that_fails_by_itself_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed) as raised:
        async with ChaosMonkey(python(FAILING, f"{tmp_path / 'file'}", "3"), signals=()) as monkey:
            await monkey.until(lambda: False)
    told = str(raised.value)
    assert "of command 0 ended by itself with 1" in told
    assert "! no such luck" in told
    assert "with seed=0: 1 starts" in told


async def test_as_many_failures_as_are_tolerated(tmp_path: Path) -> None:
    async with ChaosMonkey(python(FAILING, f"{tmp_path / 'file'}", "2"), signals=(), tolerated=2) as monkey:
        await monkey.finished()
    assert (monkey.failures, monkey.starts) == (2, 3)
    with pytest.raises(ProcessFailed):
        async with ChaosMonkey(python(FAILING, f"{tmp_path / 'other'}", "2"), signals=(), tolerated=1) as monkey:
            await monkey.finished()
    assert monkey.starts == 2


async def test_a_command_that_is_not_there() -> None:
    with pytest.raises(ProcessFailed, match="no-such-program: No such file or directory"):
        async with ChaosMonkey(["no-such-program"]) as monkey:
            await monkey.finished()


async def test_starts_are_bounded() -> None:
    monkey = ChaosMonkey(python(CHATTERING), lines=(1, 2), starts=3)
    with pytest.raises(ProcessFailed, match="processes were started 3 times, and command 0 has not done its work"):
        async with monkey:
            await monkey.until(lambda: False)
    assert (monkey.starts, monkey.kills) == (3, 3)


async def test_an_error_passes_with_the_story_as_a_note() -> None:
    heard = Heard()

    async def work() -> None:
        async with ChaosMonkey(python(CHATTERING), seed=12, lines=(1, 2), on_line=heard) as monkey:
            await monkey.until(lambda: monkey.kills >= 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await work()
    (note,) = raised.value.__notes__
    assert "seed=12" in note
    assert "SIGKILL" in note
    heard.nobody_is_left()


async def test_what_the_one_who_listens_raises_ends_the_block() -> None:
    def listen(line: str) -> None:
        assert line.endswith(" 1"), "more than one"

    with pytest.raises(AssertionError, match="more than one") as raised:
        async with ChaosMonkey(python(CHATTERING), seed=12, signals=(), on_line=listen) as monkey:
            await monkey.until(lambda: False)
    (note,) = raised.value.__notes__
    assert "seed=12" in note


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_nothing_is_left_when_it_is_cancelled(how: str) -> None:
    heard, scope, far = Heard(), anyio.CancelScope(), asyncio.Event()

    async def work() -> None:
        with scope:
            async with ChaosMonkey(python(CHATTERING), python(CHATTERING), lines=(5, 50), on_line=heard) as monkey:
                await monkey.until(lambda: len(heard.lines) >= 3)
                far.set()
                await monkey.until(lambda: False)

    task = asyncio.create_task(work())
    await far.wait()
    if how == "task":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        scope.cancel()
        await task
    heard.nobody_is_left()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
async def test_nothing_is_left_when_its_process_is_ended(how: str, tmp_path: Path) -> None:
    """By SIGINT all is ended in good order, with what the child has started; else the system ends the child."""
    if how != "SIGINT" and sys.platform != "linux":
        return  # only Linux ends who has lost his parent
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = os.fdopen(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb")  # so that they can open it too
    reader = asyncio.StreamReader()
    company = "with a child" if how == "SIGINT" else "alone"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.monkeyed", fifo, company, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert await process.stdout.readline() == b"ready\n"
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), held)
        process.send_signal(signal.Signals[how])
        await process.communicate()
        assert await reader.read() == b""  # nobody holds it any more
        transport.close()


def deeds(monkey: ChaosMonkey) -> list[str]:
    return [line.rpartition(": ")[2] for line in monkey.story.splitlines() if ": SIG" in line]


async def test_one_seed_is_one_fate() -> None:
    fates: list[list[str]] = []
    for seed in (5, 5, 6):
        async with ChaosMonkey(
            python(CHATTERING), seed=seed, lines=(1, 5), pause=(0.0, 0.001), signals=("KILL", "STOP", "TERM")
        ) as monkey:
            await monkey.until(lambda: len(deeds(monkey)) >= 12)
        fates.append(deeds(monkey)[:12])
    assert fates[0] == fates[1] != fates[2]


async def test_it_rests_when_it_is_told_to() -> None:
    heard = Heard()
    async with ChaosMonkey(
        *[python(CHATTERING)] * 2, signals=("KILL", "STOP"), lines=(1, 5), pause=(3600, 3600), on_line=heard
    ) as monkey:
        await monkey.until(lambda: monkey.harm["STOP"])
        monkey.rest()
        await monkey.until(lambda: not any(child.paused for child in monkey.children.values()))
        harm, starts = dict(monkey.harm), monkey.starts
        now = {child.number: child.said for child in monkey.children.values()}
        await monkey.until(lambda: all(monkey.children[number].said > now[number] + 50 for number in now))
        # One that had been sent its signal already was started again all the same.
        assert monkey.starts <= starts + 1
        assert monkey.harm["STOP"] == harm["STOP"]
        assert monkey.harm["CONT"] == monkey.harm["STOP"]


TALKATIVE = f"""
import os, sys, time
for number in range(1_000):
    print("line", number)
    print("trouble", number, file=sys.stderr)
print("x" * {3 * LONGEST_LINE}, flush=True)
print("the end", flush=True)
os.write(1, b"half a li")
time.sleep(3600)
"""


async def test_what_is_kept_is_bounded() -> None:
    said: list[str] = []
    async with ChaosMonkey(python(TALKATIVE), signals=(), on_line=said.append) as monkey:
        await monkey.until(lambda: said and said[-1] == "the end")
        child = monkey.children[0]
        monkey.send("KILL")
        await monkey.until(lambda: monkey.kills)
    assert said[:1_000] == [f"line {number}" for number in range(1_000)]
    assert len(said) == 1_002
    assert max(map(len, said)) <= 2 * LONGEST_LINE
    assert (len(child.output), len(child.errors)) == (KEPT_LINES, KEPT_LINES)
    assert child.errors[-1] == "trouble 999"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"signals": ("STOP", "CONT")}, "'CONT' is none of the signals KILL, TERM"),
    ({"every": (1.0, 0.5)}, "every is a range from its least to its most"),
    ({"pause": (-1.0, 0.5)}, "pause is a range"),
    ({"lines": (5, 1)}, "lines is a range"),
]


@pytest.mark.parametrize(("options", "told"), BAD)
def test_what_it_can_not_do(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ChaosMonkey(["true"], **options)


@pytest.mark.parametrize("commands", [(), ([],)])
def test_nothing_to_run(commands: tuple[list[str], ...]) -> None:
    with pytest.raises(ValueError, match="a monkey needs a command to run"):
        ChaosMonkey(*commands)
