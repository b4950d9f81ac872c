"""Runs the demos as their users do: as processes of their own."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

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
