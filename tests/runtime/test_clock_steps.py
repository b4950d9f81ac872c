"""Failure 31: the wall clock is set by an hour while sagas run, across restarts, and while events are written."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Hold, Look, Room, TakeTour, Tour, Toured
from tests.runtime.tools import HeldJournal, check_books, content, of, quiet, restart_of

HOUR = 3_600


async def pass_time(runtime: Runtime, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds // 10):
        clock.advance(10)
        await quiet(runtime)


@pytest.mark.parametrize("again", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_a_sagas_sleep_is_never_early_by_the_clock_on_the_wall(step: int, again: bool) -> None:
    """P8, P11: set back, it lasts as much longer; set forward, it is over; and the saga ends once, whole."""
    journal, clock = HeldJournal(), ManualClock()
    due = clock.now() / 1e6 + 60
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(Tour.at("t"), TakeTour(["a", "b"], "ana", nap=60.0))
        await pass_time(runtime, clock, 30)
        clock.step(step)
        if not again:
            await pass_time(runtime, clock, 7_300)
    if again:
        journal = restart_of(journal.records)
        async with Runtime(journal, ALL, clock=clock) as runtime:
            await pass_time(runtime, clock, 7_300)
    check_books(journal.records)
    (withdrawn,) = of(journal.records, "Withdrawn")
    assert withdrawn.time / 1e6 >= due
    assert of(journal.records, "saga.completed")


@pytest.mark.parametrize("url", ["memory:", "sqlite:{}/journal.db"])
async def test_times_that_go_back_change_no_order(tmp_path: Path, url: str) -> None:
    """P2, P3: versions and positions are the order, not times; a repeat is known, whenever it comes."""
    clock = ManualClock()
    async with Runtime(url.format(tmp_path), [Room], clock=clock) as runtime:
        moments: list[int] = []
        for number, step in enumerate((0, -HOUR, 2 * HOUR, -HOUR, 0)):
            clock.step(step)
            moments.append(clock.now())
            assert (await runtime.ask(Room.at("r"), Hold(f"t{number}"), id=f"id-{number}")).number == number + 1
        assert (await runtime.ask(Room.at("r"), Hold("t1"), id="id-1")).number == 2
        await runtime.kill(Room.at("r"))
        assert await runtime.ask(Room.at("r"), Look()) == 5
        history = [entry async for entry in runtime.history(Room.at("r"))]
        assert [entry.meta.version for entry in history] == [1, 2, 3, 4, 5]
        assert [round(entry.meta.time.timestamp() * 1e6) for entry in history] == moments
        assert (await runtime.state_of(Room.at("r"), version=3)).held == ("t0", "t1", "t2")
        then = datetime.fromtimestamp((moments[0] - 1) / 1e6, UTC)
        assert (await runtime.state_of(Room.at("r"), at=then)).held in ((), ("t0", "t1"))


async def test_deadlines_of_callers_do_not_follow_the_wall() -> None:
    """A saga that naps keeps its asker waiting for as long as the asker said, by steady time."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["a"], "ana", nap=5.0), timeout=60))
        await quiet(runtime)
        clock.step(-30)
        await pass_time(runtime, clock, 50)
        assert isinstance(await asked, Toured)
    assert content(of(journal.records, "Withdrawn")[0]) == {"type": "Withdrawn", "amount": 10}
