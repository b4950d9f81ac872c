"""What becomes of a run whose time comes while the one before has not ended; what is missed; clocks that are set."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Address, OutcomeUnknown, Parked, SagaMisuse
from actors.schedules import Overlap
from runtime import ManualClock, Runtime, planner
from runtime.saga_events import Started
from runtime.saga_progress import Told, told
from runtime.schedule_rules import MOST_OPEN
from runtime.schedule_times import COUNTED
from tests.extras import need
from tests.runtime.cast import ALL, DOWN, Begin, BookTrip, Held, Hold, Play, Release, Room, Trip
from tests.runtime.flowing import CAST, Go, Job, Work
from tests.runtime.scheduling import (
    DAY,
    HOUR,
    MINUTE,
    after,
    check_schedules,
    clock_at,
    cuts,
    lasts,
    one,
    outcomes,
    pass_time,
    restarted,
    started,
    writes,
)
from tests.runtime.tools import HeldJournal, content, of, quiet

need("cronsim")

FIRST, SECOND, THIRD, FOURTH = (f"s@2001-09-09T01:{minute}:40Z" for minute in (47, 48, 49, 50))


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", None)


async def run_for(
    journal: HeldJournal, clock: ManualClock, overlap: Overlap, minutes: int, catch_up: int = 1
) -> list[tuple[str, str, str]]:
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap=overlap, catch_up=catch_up)
        await pass_time(runtime, clock, minutes * MINUTE, minutes * 6)
        return await outcomes(runtime)


# -- overlaps ---------------------------------------------------------------------------------------------------------


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


# -- what is missed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", [0, 1, 3, 100])
@pytest.mark.parametrize("crashed", [False, True])
async def test_what_was_missed_comes_so_often_and_no_more(catch_up: int, crashed: bool) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), every=HOUR, overlap="allow", catch_up=catch_up)
    clock.advance(DAY.total_seconds() + 1)
    async with Runtime(journal := restarted(journal, crashed=crashed), ALL, clock=clock) as runtime:
        await quiet(runtime)
        missed = 24 - min(24, catch_up)
        begun = [f"s@{after(3_600 * hour):%Y-%m-%dT%H:%M:%SZ}" for hour in range(missed + 1, 25)]
        assert started(journal.records) == begun
        runs = (await one(runtime)).runs
        if missed and catch_up <= 3:
            assert (runs[0].outcome, runs[0].since, runs[0].planned, runs[0].count, runs[0].more) == (
                "missed", after(3_600), after(3_600 * missed), missed, False,
            )  # fmt: skip
        await pass_time(runtime, clock, HOUR, 4)
        assert len(started(journal.records)) == len(begun) + 1
    check_schedules(journal.records)


@pytest.mark.parametrize("way", [{"cron": "* * * * *", "timezone": "Europe/Berlin"}, {"every": MINUTE}])
async def test_a_year_away(way: dict[str, Any]) -> None:
    """Half a million runs were missed: what is written is not more than for one."""
    journal, clock = HeldJournal(), clock_at("2026-01-01T00:00:30+00:00")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), **way)
    clock.advance(365 * DAY.total_seconds())
    before = len(journal.records)
    async with Runtime(journal := restarted(journal), ALL, clock=clock) as runtime:
        await quiet(runtime)
        missed, run = (await one(runtime)).runs
        assert (missed.outcome, missed.count, missed.more) == (
            ("missed", COUNTED + 59, True) if "cron" in way else ("missed", 525_599, False)
        )
        assert (run.outcome, run.planned - missed.planned) == ("started", MINUTE)
    assert len(started(journal.records)) == 1
    assert len(journal.records) - before < 15
    check_schedules(journal.records)


async def test_a_short_delay_of_a_process_that_is_there_misses_nothing() -> None:
    """The journal can't be written for a while: what is up to a minute late comes, also where nothing is caught up."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        for name, catch_up in (("s", 0), ("more", 3)):
            await runtime.schedule(
                name, Trip, BookTrip(["a"]), every=timedelta(seconds=20), overlap="allow", catch_up=catch_up
            )
        await quiet(runtime)
        journal.hold()
        clock.step(130)  # (no timer fires meanwhile)
        journal.gate.set()
        await pass_time(runtime, clock, timedelta(seconds=10))
    for name in ("s", "more"):
        planned = [key.rpartition("T")[2] for key in started(journal.records, name)]
        assert planned == ["01:48:00Z", "01:48:20Z", "01:48:40Z", "01:49:00Z"]
    check_schedules(journal.records)


# -- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("step", [-3_600, 3_600])
@pytest.mark.parametrize("way", [{"every": HOUR}, {"cron": "47 * * * *"}, {"every": 10 * MINUTE, "catch_up": 100}])
async def test_a_clock_that_is_set_repeats_nothing_and_loses_nothing(
    step: int, again: bool, way: dict[str, Any]
) -> None:
    """Each planned time has one run, whatever the clock does."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), overlap="allow", **way)
        first = (await one(runtime)).upcoming[0]
        await pass_time(runtime, clock, 90 * MINUTE, 18)
        clock.step(step)
        if not again:
            await pass_time(runtime, clock, 3 * HOUR, 36)
    if again:
        async with Runtime(journal := restarted(journal), ALL, clock=clock) as runtime:
            await pass_time(runtime, clock, 3 * HOUR, 36)
    planned = [key.partition("@")[2] for key in started(journal.records)]
    gap = HOUR if len(planned) < 8 else 10 * MINUTE
    assert planned == [f"{first + n * gap:%Y-%m-%dT%H:%M:%SZ}" for n in range(len(planned))]
    assert first + len(planned) * gap > after(clock.now() / 1e6 - 1e9)
    check_schedules(journal.records)


@pytest.mark.parametrize("every", [MINUTE, HOUR], ids=["in memory", "not in memory"])
async def test_a_clock_that_is_set_back_while_a_run_is_planned_starts_nothing_early(every: timedelta) -> None:
    """P11: the time had come, and then it had not; it comes again."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), every=every)
        await quiet(runtime)
        clock.advance(every.total_seconds())
        clock.step(-50)
        await quiet(runtime)
        assert started(journal.records) == []
        await pass_time(runtime, clock, timedelta(seconds=49), 10)
        assert started(journal.records) == []
        await pass_time(runtime, clock, MINUTE, 6)
        assert started(journal.records)[0] == f"s@{after(every.total_seconds()):%Y-%m-%dT%H:%M:%SZ}"
    check_schedules(journal.records)


async def test_it_goes_on_when_the_journal_can_be_written_again() -> None:
    """P14."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), every=HOUR)
        journal.fail = ["before", "after", "before", "after"]
        await pass_time(runtime, clock, 65 * MINUTE, 130)
        assert started(journal.records) == ["s@2001-09-09T02:46:40Z"]
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await runtime.pause_schedule("s")
        await pass_time(runtime, clock, HOUR, 60)
    assert len(started(journal.records)) == 2
    assert content(of(journal.records, "saga.completed")[0])
    check_schedules(journal.records)
    DOWN.clear()


# -- cancelling -------------------------------------------------------------------------------------------------------


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
