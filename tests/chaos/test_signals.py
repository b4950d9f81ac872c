"""A process that is told to end does so in good order, and what it acknowledged is there (failure 24)."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from runtime import Runtime, stop_on_signals
from tests.runtime.cast import ALL, Board, Lines

ROOT = Path(__file__).parents[2]


async def start(journal: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.stopping", f"sqlite:{journal}", cwd=ROOT, stdout=PIPE, stderr=PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_was_acknowledged_before_the_signal_is_there(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "journal.db"
    process = await start(path)
    assert process.stdout is not None
    assert process.stderr is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(500)]
    process.send_signal(number)
    acknowledged += (await process.stdout.read()).decode().split()
    assert (await process.stderr.read()).decode() == ""
    assert await process.wait() == 128 + number
    assert not path.with_name("journal.db-wal").exists()  # it was closed in good order
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert runtime.groups == 0
    held = {line.split()[1] for _, line in lines if line.startswith("WasHeld")}
    assert held >= set(acknowledged)


async def test_a_block_that_ends_by_itself_leaves_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert signal.getsignal(signal.SIGTERM) is not before
    assert (stop.signal, stop.exit_code) == (None, 0)
    assert signal.getsignal(signal.SIGTERM) is before


async def test_the_first_signal_ends_the_block() -> None:
    with stop_on_signals(signal.SIGUSR1) as stop:
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.Event().wait()
    assert (stop.signal, stop.exit_code) == (signal.SIGUSR1, 128 + signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL  # a second one ends the process at once, also now


async def test_a_task_that_others_cancel_as_well_is_cancelled() -> None:
    async def work() -> None:
        with stop_on_signals(signal.SIGUSR1):
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), stop_on_signals(signal.SIGUSR1):
        raise ZeroDivisionError


TWICE = """
import asyncio, signal
from runtime import stop_on_signals

async def main():
    with stop_on_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # before the loop has looked at the first
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_two_at_once_end_the_process_at_once() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", TWICE, cwd=ROOT, stderr=PIPE)
    _, said = await process.communicate()
    assert (process.returncode, said) == (-signal.SIGTERM, b"")
