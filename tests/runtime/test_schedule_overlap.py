"""What becomes of a run whose time comes while the one before has not ended."""

from datetime import timedelta
from typing import Any

import pytest

from actors import Parked, SagaMisuse
from runtime import ManualClock, Runtime
from runtime.schedule_rules import MOST_OPEN
from tests.extras import need
from tests.runtime.cast import ALL, Begin, BookTrip, Held, Play, Trip
from tests.runtime.scheduling import (
    FIRST,
    FOURTH,
    HOUR,
    MINUTE,
    SECOND,
    THIRD,
    after,
    check_schedules,
    cuts,
    lasts,
    one,
    outcomes,
    pass_time,
    restarted,
    run_for,
    started,
    writes,
)
from tests.runtime.tools import HeldJournal, content, of, quiet

need("cronsim")

pytestmark = pytest.mark.usefixtures("no_deadline")


async def test_skip_leaves_out_what_comes_meanwhile() -> None:
    lasts(100)
    journal = HeldJournal()
    assert await run_for(journal, ManualClock(), "skip", 4) == [
        ("01:47:40", "started", ""),
        ("01:48:40", "skipped", f"{FIRST} had not ended"),
        ("01:49:40", "started", ""),
        ("01:50:40", "skipped", f"{THIRD} had not ended"),
    ]
    assert started(journal.records) == [FIRST, THIRD]
    check_schedules(journal.records)


async def test_allow_starts_all_up_to_a_bound() -> None:
    lasts(100_000)
    journal, clock = HeldJournal(), ManualClock()
    found = await run_for(journal, clock, "allow", MOST_OPEN + 2)
    assert len(started(journal.records)) == MOST_OPEN
    assert [(what, why) for _, what, why in found][-3:] == [
        ("started", ""),
        ("skipped", f"{MOST_OPEN} runs had not ended"),
        ("skipped", f"{MOST_OPEN} runs had not ended"),
    ]
    check_schedules(journal.records)


async def test_queue_starts_the_next_one_when_the_one_before_has_ended() -> None:
    lasts(100)
    journal = HeldJournal()
    found = await run_for(journal, ManualClock(), "queue", 5)
    assert found == [
        ("01:47:40", "started", ""),
        ("01:48:40", "started", ""),
        ("01:49:40", "started", ""),
        ("01:50:40", "skipped", f"{SECOND} had not ended, and 1 waited already"),
        ("01:51:40", "waiting", f"{THIRD} had not ended"),
    ]
    begun = of(journal.records, "saga.started")
    ended = of(journal.records, "saga.completed")
    for before, next_ in zip(ended, begun[1:], strict=False):
        assert before.position < next_.position
        assert before.time == next_.time  # at once
    check_schedules(journal.records)


async def test_as_many_wait_as_may_be_caught_up_with() -> None:
    lasts(1_000)
    journal = HeldJournal()
    found = await run_for(journal, ManualClock(), "queue", 5, catch_up=3)
    assert [what for _, what, _ in found] == ["started", "waiting", "waiting", "waiting", "skipped"]


async def test_a_run_that_was_compensated_has_ended() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a", "full"]), every=MINUTE)
        await pass_time(runtime, clock, 2 * MINUTE, 2)
        assert [what for _, what, _ in await outcomes(runtime)] == ["started", "started"]
    assert len(of(journal.records, "saga.compensated")) == 2


async def test_a_run_that_is_parked_has_not_ended() -> None:
    """It holds what it holds; what waits for it goes on waiting, without a storm of looks."""

    async def play(play: Any, begin: Begin) -> Held:
        raise SagaMisuse("this can't work")

    Play.script = play
    journal, clock = HeldJournal(), ManualClock()
    assert [what for _, what, _ in await run_for(journal, clock, "queue", 3)] == ["started", "waiting", "skipped"]
    looked = len(writes(journal, "service.reminded"))
    lasts(0)
    async with Runtime(journal := restarted(journal), ALL, clock=clock) as runtime:
        await pass_time(runtime, clock, MINUTE, 6)
        with pytest.raises(Parked):
            await runtime.result(Play.at(FIRST))
    assert len(writes(journal, "service.reminded")) - looked < 5
    assert started(journal.records) == [FIRST]


async def test_another_policy_goes_on_with_what_there_is() -> None:
    lasts(10_000)
    journal, clock = HeldJournal(), ManualClock()
    await run_for(journal, clock, "allow", 3)
    async with Runtime(journal := restarted(journal), ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="queue")
        await pass_time(runtime, clock, MINUTE, 2)
        assert (await outcomes(runtime))[-1] == ("01:50:40", "waiting", f"{THIRD} had not ended")
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="allow")
        await pass_time(runtime, clock, MINUTE, 2)
    assert started(journal.records)[3:] == [FOURTH, "s@2001-09-09T01:51:40Z"]
    check_schedules(journal.records)


async def test_what_waits_goes_on_waiting_while_it_is_paused() -> None:
    lasts(70)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="queue")
        await pass_time(runtime, clock, timedelta(seconds=125), 25)
        assert [what for _, what, _ in await outcomes(runtime)] == ["started", "waiting"]
        await runtime.pause_schedule("s")
        await pass_time(runtime, clock, HOUR, 60)
        assert started(journal.records) == [FIRST]
        await runtime.resume_schedule("s")
        await quiet(runtime)
        assert started(journal.records) == [FIRST, SECOND]
        await pass_time(runtime, clock, timedelta(seconds=20), 2)
        await runtime.schedule("s", Play, Begin(), every=timedelta(seconds=10), overlap="queue")
        await pass_time(runtime, clock, timedelta(seconds=11), 2)
        await runtime.unschedule("s")
        await pass_time(runtime, clock, HOUR, 10)
        await runtime.schedule("s", Play, Begin(), every=HOUR)
        assert (await outcomes(runtime))[-1][1:] == ("skipped", "the schedule was dropped")
    assert started(journal.records) == [FIRST, SECOND]
    check_schedules(journal.records)


async def test_what_waits_goes_on_after_a_crash_within_a_minute() -> None:
    """The one before has ended, and then the process died before the next one could begin: at every point."""
    lasts(3_700)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=HOUR, overlap="queue")
        await pass_time(runtime, clock, 2 * HOUR, 120)
        await pass_time(runtime, clock, 2 * MINUTE, 24)
    both = [f"s@{after(3_600 * n):%Y-%m-%dT%H:%M:%SZ}" for n in (1, 2)]
    assert started(journal.records) == both
    waiting = next(n for n, found in enumerate(journal.records) if content(found).get("waiting"))
    for crash in [cut for cut in cuts(journal) if cut > waiting]:
        clock = ManualClock()
        clock.step((journal.records[crash - 1].time - clock.now()) / 1e6)
        async with Runtime(again := restarted(journal, crash), ALL, clock=clock) as runtime:
            await pass_time(runtime, clock, timedelta(seconds=165), 33)
        assert started(again.records) == both
        check_schedules(again.records)


async def test_a_start_that_was_given_up_blocks_nobody() -> None:
    """The process died again and again while a run was about to be started: it never is, and the next ones are."""
    lasts(0)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=HOUR)
        await pass_time(runtime, clock, HOUR)
    crash = next(n for n, record in enumerate(journal.records) if record.type == "saga.started")
    journal = restarted(journal, crash)
    for crashes in range(1, 7):
        if crashes == 4:
            await beside_the_line(restarted(journal))
        async with Runtime(journal, ALL, clock=clock) as runtime:
            await pass_time(runtime, clock, timedelta(seconds=1))
        if crashes <= 5:
            cut = next(n for n, found in enumerate(journal.records, 1) if content(found).get("crashes") == crashes)
            journal = restarted(journal, cut)
    assert "PoisonMessage" in writes(journal, "service.reminded")[-1]["refused"]
    assert started(journal.records) == []
    async with Runtime(journal := restarted(journal, crashed=False), ALL, clock=clock) as runtime:
        assert (await one(runtime)).running == ()
        await pass_time(runtime, clock, HOUR, 60)
    assert started(journal.records) == ["s@2001-09-09T03:46:40Z"]


async def beside_the_line(journal: HeldJournal) -> None:
    """See that a run whose start still lines up is not taken for one that has ended."""
    clock = ManualClock()
    clock.step(7_200)
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await quiet(runtime)
        assert [what for _, what, _ in await outcomes(runtime)] == ["started", "skipped"]
        assert started(journal.records) == []
