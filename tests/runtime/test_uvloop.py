"""The same on uvloop, in a process of its own: a loop of another kind must leave nothing behind either."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = ("tests/runtime/test_actor.py", "tests/runtime/test_kills.py", "tests/runtime/test_shutdown.py")


def test_actors_sagas_and_their_ends_on_uvloop() -> None:
    if find_spec("uvloop") is None:
        assert "CI" not in os.environ, "uvloop is not installed: pip install 'understudy[uvloop]'"
        pytest.skip("uvloop is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.runtime.on_uvloop", "-p", "no:cacheprovider", *HERE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
