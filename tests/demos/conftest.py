"""Runs the demos as their users do: as processes of their own."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from demos.killing import HALF_WAY

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the demos find around them; temporary files go where the test cleans up."""
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PYTHONIOENCODING")}
    return {**known, "TMPDIR": str(tmp_path), "TERM": "xterm", "PYTHONUTF8": "1"}


@pytest.fixture
def trip(environment: dict[str, str]) -> Run:
    """Run ``python -m demos.trip`` to its end."""
    return runner("demos.trip", environment)


@pytest.fixture
def orders(environment: dict[str, str]) -> Run:
    """Run ``python -m demos.orders`` to its end."""
    return runner("demos.orders", environment)


@pytest.fixture
def bank(environment: dict[str, str]) -> Run:
    """Run ``python -m demos.bank`` to its end."""
    return runner("demos.bank", environment)


@pytest.fixture
def profile(environment: dict[str, str]) -> Run:
    """Run ``python -m demos.profile`` to its end."""
    return runner("demos.profile", environment)


def stop_by_signal(
    start: Start, module: str, journal: str, *load: str, number: signal.Signals = signal.SIGTERM
) -> None:
    """Run a demo, end it by a signal when it has said which journal it is on, and check how it ends."""
    with start(module, "--journal", journal, *load) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any("ournal" in line for line in process.stdout)
        process.send_signal(number)
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == 128 + number
    assert said == f"python -m {module}: stopped; go on with --journal {journal}\n"


def kill_half_way(start: Start, module: str, *arguments: str) -> None:
    """Start a process that is made to be killed, and kill it when it says that it is half way."""
    with start(module, *arguments) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{HALF_WAY}\n"
        process.kill()


def kill_at_work(start: Start, module: str, journal: str, *load: str, word: str) -> None:
    """Start a demo with a load, and kill it when it says this of its work."""
    with start(module, *load, "--journal", journal) as process:
        assert process.stdout is not None
        assert any(word in line for line in process.stdout)
        process.kill()


def totals(run: Run, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run with --json, and return the object that is all there is on standard output."""
    done = run("--json", *arguments)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_complaint(run: Run, module: str, *arguments: str, said: str) -> None:
    """Run what can't be run, and check that it says why, in one line."""
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"python -m {module}: {said}")


def check_help(run: Run, *options: str) -> None:
    """Check that the help tells of these options, and fits into a terminal."""
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in options:
        assert option in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def runner(module: str, environment: dict[str, str]) -> Run:
    def run(*arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={**environment, **extra}, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def start(environment: dict[str, str]) -> Start:
    """Start a module of the demos."""

    def begin(module: str, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", module, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    return begin


@pytest.fixture
def on_a_terminal(environment: dict[str, str]) -> Callable[..., str]:
    """Run ``python -m demos.trip`` on a terminal, and return all that it shows there."""

    def run(*arguments: str, **extra: str) -> str:
        ours, theirs = pty.openpty()
        shown = b""
        try:
            with subprocess.Popen(
                [sys.executable, "-m", "demos.trip", *arguments],
                cwd=ROOT,
                env={**environment, **extra},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            ) as process:
                os.close(theirs)
                with suppress(OSError):  # what a terminal says when nobody writes to it any more
                    while some := os.read(ours, 65536):
                        shown += some
            assert process.returncode == 0
        finally:
            os.close(ours)
        return shown.decode()

    return run
