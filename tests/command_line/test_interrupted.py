"""Exports and imports whose process is killed in the middle, and Ctrl-C: the same command goes on."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from persistence import SqliteJournal
from tests.command_line.conftest import ROOT, Run
from tests.unit.journals import everything, fill, grow

EVENTS = 40_000

Interrupt = Callable[[signal.Signals, str, str, Path], int]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    path = tmp_path / "long.db"

    async def make() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        await fill(journal)
        await grow(journal, EVENTS)
        await journal.close()

    asyncio.run(make())
    return f"sqlite:{path}"


@pytest.fixture
def interrupt(environment: dict[str, str]) -> Interrupt:
    """Run a command on a terminal, and send it a signal when it has shown that something is done."""

    def run(sign: signal.Signals, *arguments: str | Path) -> int:
        ours, theirs = pty.openpty()
        shown = b""
        command = [sys.executable, "-m", "persistence", *map(str, arguments)]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=theirs, stdout=subprocess.DEVNULL) as process:
            try:
                os.close(theirs)
                while b"[#" not in shown:
                    shown += os.read(ours, 65536)
                process.send_signal(sign)
                with suppress(OSError):  # what a terminal says when nobody writes to it any more
                    while some := os.read(ours, 65536):
                        shown += some
            finally:
                os.close(ours)
            code = process.wait()
        assert b"Traceback" not in shown
        if code == 0:
            pytest.skip("it was done before the signal came")
        return code

    return run


def content(url: str) -> object:
    async def look() -> object:
        journal = SqliteJournal(url.removeprefix("sqlite:"))
        await journal.open()
        try:
            return await everything(journal)
        finally:
            await journal.close()

    return asyncio.run(look())


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_what_was_interrupted_is_gone_on_with(
    sign: signal.Signals, interrupt: Interrupt, journal: str, run: Run, tmp_path: Path
) -> None:
    archive, copy = tmp_path / "archive", f"sqlite:{tmp_path}/copy.db"
    code = 130 if sign == signal.SIGINT else -signal.SIGKILL
    part = tmp_path / "archive.part"
    assert interrupt(sign, "export", journal, archive) == code
    assert part.exists()
    assert not archive.exists()
    assert run("export", journal, archive).code == 0
    assert not part.exists()
    assert interrupt(sign, "import", copy, archive) == code
    (found,) = run("info", copy, "--json").objects
    assert 0 < found["position"] < EVENTS
    assert run("import", copy, archive).code == 0
    assert content(copy) == content(journal)
