"""The same plan is the same run: on every machine, under every PYTHONHASHSEED, and however often."""

import gc
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from actors import context
from runtime.simulation.faults import plan_of
from runtime.simulation.loop import SimulatedLoop
from runtime.simulation.node import SimulatedNode
from runtime.simulation.run import Run, Setup
from runtime.simulation.world import World
from tests.runtime.cast import ALL, Account, Board, BookTrip, Desk, Lines, Note, Room, TakeTour, Tour, Trip
from tests.simulation.company import ACTORS, INVARIANTS, SCENARIOS, post
from tests.simulation.test_runtime import transfers

PLANS = [
    "seed-0",
    "seed-1+random",
    "seed-2+random+crash-w1.1",
    "seed-3+pct+kill-t4.before+fail-w2.after",
    "seed-4+pct+late-t5.3600+crash-w3.0+step-w4.-3600",
    "seed-5+random+full-w1.30",
]


async def travel(world: World) -> None:
    for name in ("t1", "t2", "t3"):
        await world.runtime.ask(Trip.at(name), BookTrip(["flight", "hotel", "cab"]), id=name)
    with context(user="ana"):  # from the first one on, a process goes by other ways
        await world.runtime.ask(Desk.at("d"), Note("hello"), id="n")
    await world.runtime.ask(Board.at(), Lines(), consistent=True)


async def tour(world: World) -> None:
    await world.runtime.start(Tour.at("long"), TakeTour(["flight", "full"], "ana"))
    await world.runtime.ask(Tour.at("t"), TakeTour(["flight", "hotel"], "ana", nap=60.0), id="t")
    await world.sleep(timedelta(days=1))


SETUP = Setup([travel, tour], [Room, Account, Trip, Tour, Board, Desk])


def traces() -> list[str]:
    return [Run(SETUP, plan_of(plan)).go().trace for plan in PLANS]


def test_the_same_plan_is_the_same_run() -> None:
    first = traces()
    assert traces() == first
    assert len(set(first)) == len(PLANS)


def test_nothing_of_it_is_broken() -> None:
    for plan in PLANS:
        assert Run(SETUP, plan_of(plan)).go().broken is None, plan


def test_nothing_is_left_of_runs() -> None:
    """But for the last one, which caches of asyncio's or of the interpreter's own may still know."""

    def left() -> int:
        gc.collect()
        return sum(isinstance(one, SimulatedLoop | SimulatedNode) for one in gc.get_objects())

    before = left()
    company = Setup(SCENARIOS, ACTORS, INVARIANTS, post)
    for plan in PLANS:
        Run(SETUP, plan_of(plan)).go()
    for kept in range(20):
        Run(company, plan_of(f"seed-{kept}+random+crash-w1.{kept}+kill-h1.after")).go()
    refused = Setup([transfers], ALL)
    for kept in range(20):
        Run(refused, plan_of(f"seed-{kept}+pct+crash-w2.1")).go()
    assert left() - before <= 4  # of two processes


@pytest.mark.parametrize("seed", ["0", "1", "77"])
def test_in_another_process_too(seed: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation.test_determinism"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == traces()


if __name__ == "__main__":
    print(*traces())
