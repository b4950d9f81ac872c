"""A run whose time has come has the one before it cancelled: compensated, if that can be, and waited for."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Address, SagaMisuse
from runtime import ManualClock, Runtime, planner
from runtime.saga_events import Started
from runtime.saga_progress import Told, told
from tests.extras import need
from tests.runtime.cast import ALL, DOWN, Begin, Held, Hold, Play, Release, Room
from tests.runtime.flowing import CAST, Go, Job, Work
from tests.runtime.scheduling import (
    FIRST,
    MINUTE,
    SECOND,
    THIRD,
    check_schedules,
    lasts,
    pass_time,
    run_for,
    started,
    writes,
)
from tests.runtime.tools import HeldJournal, of, quiet

need("cronsim")

pytestmark = pytest.mark.usefixtures("no_deadline")


async def test_cancel_has_the_one_before_compensated_and_then_begins() -> None:
    lasts(1_000)
    journal = HeldJournal()
    found = await run_for(journal, ManualClock(), "cancel", 3)
    assert [what for _, what, _ in found] == ["started", "started", "started"]
    story = [
        (record.type, record.stream[1])
        for record in of(journal.records, "saga.started", "saga.compensating", "saga.compensated")
    ]
    assert story == [
        ("saga.started", FIRST),
        ("saga.compensating", FIRST),
        ("saga.compensated", FIRST),
        ("saga.started", SECOND),
        ("saga.compensating", SECOND),
        ("saga.compensated", SECOND),
        ("saga.started", THIRD),
    ]
    (going_back, _) = writes(journal, "saga.compensating")
    assert going_back == {"reason": f"the time of {SECOND} has come", "by": "schedule s"}
    assert len(of(journal.records, "WasReleased")) == 2
    assert of(journal.records, "saga.started")[1].time == of(journal.records, "saga.compensated")[0].time  # at once
    check_schedules(journal.records)


async def test_what_is_past_its_pivot_is_waited_for() -> None:
    async def play(play: Any, begin: Begin) -> Held:
        await play.pivot("pay", Room.at("paid"), Hold(play.key))
        await play.sleep("nap", timedelta(seconds=150))
        return Held(0)

    Play.script = play
    journal = HeldJournal()
    found = await run_for(journal, ManualClock(), "cancel", 4)
    assert found == [
        ("01:47:40", "started", ""),
        ("01:48:40", "skipped", f"{THIRD} took its place"),
        ("01:49:40", "started", ""),
        ("01:50:40", "waiting", f"{THIRD} had not ended"),
    ]
    assert of(journal.records, "saga.compensating") == []
    assert started(journal.records) == [FIRST, THIRD]
    check_schedules(journal.records)


@pytest.mark.parametrize("nap", [59, 60, 61])
async def test_what_has_come_to_its_end_is_not_taken_back(nap: int) -> None:
    """A run ends in the moment in which the next one's time comes."""
    lasts(nap)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="cancel")
        await pass_time(runtime, clock, 5 * MINUTE, 300)
    ends = of(journal.records, "saga.completed", "saga.compensated")
    assert len(ends) == len({record.stream for record in ends}) == 4  # each has one end
    kinds = {59: {"saga.completed"}, 61: {"saga.compensated"}}
    assert {record.type for record in ends} <= kinds.get(nap, {"saga.completed", "saga.compensated"})
    check_schedules(journal.records)


async def test_a_run_that_is_parked_is_cancelled_too() -> None:
    async def play(play: Any, begin: Begin) -> Held:
        await play.ask("room", Room.at("r"), Hold(play.key), undo=Release(play.key))
        raise SagaMisuse("this can't work")

    Play.script = play
    journal = HeldJournal()
    found = await run_for(journal, ManualClock(), "cancel", 3)
    assert [what for _, what, _ in found] == ["started"] * 3
    assert len(of(journal.records, "WasReleased")) == 2


async def test_an_undo_that_fails_is_no_storm_of_looks() -> None:
    """What is going back, and can't, is waited for: one look a minute."""
    lasts(1_000)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="cancel")
        await pass_time(runtime, clock, timedelta(seconds=90), 9)
        DOWN.add("r")
        await pass_time(runtime, clock, 10 * MINUTE, 60)
        assert started(journal.records) == [FIRST]
        DOWN.clear()
        await pass_time(runtime, clock, 2 * MINUTE, 12)
    assert len(of(journal.records, "saga.compensating")) >= 1
    assert len(writes(journal, "service.reminded")) < 30
    check_schedules(journal.records)


async def test_nor_where_the_look_at_it_is_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends between the planner's look and the cancelling."""
    lasts(0)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="cancel")
        await pass_time(runtime, clock, MINUTE)

        looks = 0

        async def before(journal: Any, address: Address[Any]) -> Told:
            nonlocal looks
            looks += 1
            if looks > 2:
                return await told(journal, address)
            one = Told(address)
            one.story.started = Started(msgspec.Raw(b"null"))
            return one

        monkeypatch.setattr(planner, "told", before)
        await pass_time(runtime, clock, MINUTE)
        assert looks > 2
        await pass_time(runtime, clock, 2 * MINUTE, 4)
    assert of(journal.records, "saga.compensating") == []
    assert started(journal.records)[:2] == [FIRST, SECOND]
    check_schedules(journal.records)


async def test_one_that_is_queued_is_cancelled_too() -> None:
    """It has not begun, for others have the places of its class: nothing is to be undone."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        busy = [Job.at(name) for name in ("one", "two")]
        for job in busy:
            await runtime.start(job, Work())
        await runtime.schedule("s", Job, Work(waits=False), every=MINUTE, overlap="cancel")
        await pass_time(runtime, clock, 2 * MINUTE, 12)
        assert {one.saga.key: one.status async for one in runtime.sagas(type=Job)} == {
            "one": "running",
            "two": "running",
            FIRST: "compensated",
            SECOND: "queued",
        }
        for job in busy:
            await runtime.ask(job, Go())
        await quiet(runtime)
        assert (await runtime.progress_of(Job.at(SECOND))).status == "completed"
