"""What was explored of the demos: ``python -m tests.demos`` prints the table that docs/testing.md has."""

import time

import pytest

from runtime.simulation import Simulation
from tests.demos.explored import EXPLORED, Exploration, letters_to_nobody

PAIRS = 1_000
"""Runs with up to two faults, and with schedules of both sorts."""


def row(name: str, one: Exploration) -> str:
    """Return a row of the table."""
    begun = time.process_time()
    single = one.explore(Simulation(), 1, 0)
    between = time.process_time()
    more = one.explore(Simulation(), 2, PAIRS)
    ended = time.process_time()
    sampled = ended - between - (between - begun)
    return (
        f"| {name} | {single.runs:,} | {single.journals:,} | {between - begun:.0f} s | "
        f"{more.runs - single.runs:,} | {more.schedules:,} | {more.journals:,} | {sampled:.0f} s |"
    )


if __name__ == "__main__":
    deep = "runs at depth 2, sampled | orders of turns | journals | time"
    print(f"| demo | runs at depth 1, all | journals | time | {deep} |")
    print("|---|---|---|---|---|---|---|---|")
    with pytest.MonkeyPatch.context() as patch:
        letters_to_nobody(patch)
        for name, one in EXPLORED.items():
            print(row(name, one), flush=True)
