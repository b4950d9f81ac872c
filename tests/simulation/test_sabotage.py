"""The kit finds what it is there to find: bugs that are planted into the runtime, each in a few runs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.extras import need
from tests.simulation.sabotage import BUGS, PERSONAL, Plant, found

ENOUGH = 250
"""Runs within which each is found; depth 1 takes about as many."""
GUIDE = Path(__file__).parents[2] / "docs" / "testing.md"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Callable[[Plant], None], monkeypatch: Plant) -> None:
    if bug in PERSONAL:
        need("cryptography")
    failed = found(bug, monkeypatch)
    assert failed.runs <= ENOUGH
    assert len(failed.result.plan.faults) <= 1


def test_the_guides_table_has_them_all() -> None:
    """Its figures are those of the day it was printed: python -m tests.simulation."""
    (table,) = GUIDE.read_text().split("| planted bug |")[1:]
    rows = re.findall(r"^\| ([a-z ]+) \| \d+ \|", table, re.MULTILINE)
    assert rows == [bug.__name__.replace("_", " ") for bug in BUGS]
