"""Runs ``python -m persistence``: most tests in their own process, those about processes in one of its own."""

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from demos.page import Page
from demos.trip import ACTORS, load
from persistence import SqliteJournal
from persistence.command_line import VARIABLE, main
from runtime import Runtime
from tests.unit.journals import fill

ROOT = Path(__file__).parents[2]


class Done(msgspec.Struct, frozen=True):
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def complaint(self) -> str:
        """The one line that is said of what is wrong; nothing else is written."""
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("python -m persistence: ")
        return self.err.removeprefix("python -m persistence: ").rstrip("\n")


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def do(*arguments: str | Path) -> Done:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return do


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a process of its own finds around it: the entry points as the project declares them, installed or not."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "metadata" / "understudy-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: understudy\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in declared.items()
        )
    )
    return {**os.environ, "PYTHONPATH": f"{info.parent}{os.pathsep}{ROOT}", "TERM": "xterm", "PYTHONUTF8": "1"}


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Start:
    """Start a command in a process of its own, in the test's folder."""

    def begin(*arguments: str | Path, **extra: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "persistence", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.fixture
def process(start: Start) -> Run:
    """Run a command in a process of its own, to its end."""

    def do(*arguments: str | Path, **extra: str) -> Done:
        with start(*arguments, **extra) as process:
            out, err = process.communicate()
        return Done(process.returncode, out, err)

    return do


Begin = Callable[..., Awaitable[Process]]


@pytest.fixture
def begin(environment: dict[str, str], tmp_path: Path) -> Begin:
    """Start a command in a process of its own, beside what this test's event loop does."""

    async def do(*arguments: str | Path) -> Process:
        command = [sys.executable, "-W", "error", "-m", "persistence", *map(str, arguments)]
        return await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE)

    return do


Beside = Callable[..., Awaitable[Done]]


@pytest.fixture
def beside(begin: Begin) -> Beside:
    """Run a command to its end, beside what this test's event loop does."""

    async def do(*arguments: str | Path) -> Done:
        process = await begin(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    return do


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with a bit of everything, which nobody holds."""
    path = tmp_path / "all.db"

    async def make() -> None:
        journal = SqliteJournal(path)
        await journal.open()
        await fill(journal)
        await journal.close()

    asyncio.run(make())
    return path


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:{path}"


@pytest.fixture
def trips(tmp_path: Path) -> str:
    """A journal of the trip demo."""
    url = f"sqlite:{tmp_path}/trips.db"

    async def book() -> None:
        async with Runtime(url, ACTORS) as runtime:
            await load.run(runtime, 30, 0, Page(None))

    asyncio.run(book())
    return url
