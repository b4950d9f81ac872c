"""The types of ``actors``: what is right passes both type checkers, and each mistake is found by both."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORRECT, MISTAKES = HERE / "correct.py", HERE / "mistakes.py"


class Found(NamedTuple):
    """What a checker found: its messages by file and line."""

    messages: Mapping[tuple[str, int], str]

    def lines_of(self, file: Path) -> set[int]:
        return {line for name, line in self.messages if name == file.name}


def marked() -> dict[int, str]:
    """Return what is wrong on the marked lines of mistakes.py."""
    lines = enumerate(MISTAKES.read_text().splitlines(), start=1)
    return {number: line.partition("# mistake: ")[2] for number, line in lines if "# mistake: " in line}


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    # 0: nothing found, 1: errors found; anything else means that the checker itself did not work.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def run_mypy() -> Found:
    # Named files are checked even where the configuration leaves them out. Code that a mistake cuts off is not another.
    options = ("--strict", "--no-warn-unreachable", "--no-error-summary", "--no-pretty")
    out = run("mypy", *options, str(CORRECT), str(MISTAKES))
    parts = [re.fullmatch(r"(.+?):(\d+): error: (.+)", line) for line in out.splitlines()]
    return Found({(Path(part[1]).name, int(part[2])): part[3] for part in parts if part})


def run_pyright() -> Found:
    # Pyright skips what its configuration excludes even when it is named, so there is one beside this file.
    out = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(HERE)))
    assert out["summary"]["filesAnalyzed"] == 2
    errors: list[dict[str, Any]] = [entry for entry in out["generalDiagnostics"] if entry["severity"] == "error"]
    return Found(
        {(Path(error["file"]).name, error["range"]["start"]["line"] + 1): error["message"] for error in errors}
    )


@pytest.fixture(scope="module", params=[run_mypy, run_pyright], ids=["mypy", "pyright"])
def found(request: pytest.FixtureRequest) -> Found:
    found: Found = request.param()
    return found


def test_the_public_api_is_accepted(found: Found) -> None:
    assert {where: text for where, text in found.messages.items() if where[0] != MISTAKES.name} == {}


@pytest.mark.parametrize("line", [pytest.param(line, id=f"{line} {what}") for line, what in marked().items()])
def test_a_mistake_is_found(found: Found, line: int) -> None:
    assert line in found.lines_of(MISTAKES)


def test_nothing_but_the_mistakes_is_found(found: Found) -> None:
    unmarked = found.lines_of(MISTAKES) - marked().keys()
    assert {line: found.messages[MISTAKES.name, line] for line in unmarked} == {}


def test_there_are_mistakes_to_find() -> None:
    assert len(marked()) > 50
