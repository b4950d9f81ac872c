"""Schedules: sagas that are started at planned times, and what is known of them."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import (
    ExtraMissing,
    Failed,
    NotTaken,
    OutcomeUnknown,
    Saga,
    UnknownActor,
    UnknownSchedule,
    planned_time,
)
from persistence import Sleeper
from persistence.journal import PAGE
from runtime import ManualClock, Runtime, ScheduledRun, planner
from runtime.planner import has_ended
from runtime.schedule_events import RUNS_KEPT
from tests.extras import need
from tests.runtime.cast import ALL, Begin, BookTrip, Desk, Held, Hold, Note, Play, Room, Trip
from tests.runtime.scheduling import (
    DAY,
    HOUR,
    MINUTE,
    after,
    check_schedules,
    clock_at,
    lasts,
    one,
    outcomes,
    pass_time,
    restarted,
    started,
    writes,
)
from tests.runtime.tools import HeldJournal, quiet, types_of

need("cronsim")

TRIP = BookTrip(["a"])


# -- when -------------------------------------------------------------------------------------------------------------


async def test_once_at_a_time() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, at=after(90))
        await pass_time(runtime, clock, timedelta(seconds=89.9))
        assert started(journal.records) == []
        await pass_time(runtime, clock, timedelta(seconds=0.1))
        assert started(journal.records) == ["s@2001-09-09T01:48:10Z"]
        await pass_time(runtime, clock, DAY, 3)
        info = await one(runtime)
        assert info.upcoming == ()
        assert info.runs == (
            ScheduledRun(after(90), "started", "", Trip.at("s@2001-09-09T01:48:10Z"), after(90), 1, more=False),
        )
        assert (await runtime.result(Trip.at("s@2001-09-09T01:48:10Z"))).rooms == ["a"]
    assert len(started(journal.records)) == 1
    check_schedules(journal.records)


async def test_every_so_often() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=timedelta(seconds=90))
        await runtime.schedule("later", Trip, TRIP, every=HOUR, at=after(60))
        await runtime.schedule("grid", Trip, TRIP, every=HOUR, at=after(-5_400))
        await pass_time(runtime, clock, 3 * MINUTE, 6)
        assert (await one(runtime)).upcoming[:2] == (after(270), after(360))
        assert (await one(runtime, "later")).upcoming[:2] == (after(3_660), after(7_260))
        assert (await one(runtime, "grid")).upcoming[:2] == (after(1_800), after(5_400))  # nothing was missed before
    assert started(journal.records) == ["s@2001-09-09T01:48:10Z", "s@2001-09-09T01:49:40Z"]
    assert started(journal.records, "later") == ["later@2001-09-09T01:47:40Z"]
    check_schedules(journal.records)


async def test_by_cron_in_a_time_zone() -> None:
    journal, clock = HeldJournal(), clock_at("2026-03-28T12:00:00+00:00")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, cron="30 2 * * *", timezone="Europe/Berlin")
        await runtime.schedule("utc", Trip, TRIP, cron="30 2 * * *")
        assert ((await one(runtime)).timezone, (await one(runtime, "utc")).timezone) == ("Europe/Berlin", "UTC")
        await pass_time(runtime, clock, 2 * DAY, 96)
    # The night in which there is no half past two, and the next one.
    assert started(journal.records) == ["s@2026-03-29T01:00:00Z", "s@2026-03-30T00:30:00Z"]
    assert started(journal.records, "utc") == ["utc@2026-03-29T02:30:00Z", "utc@2026-03-30T02:30:00Z"]
    check_schedules(journal.records)


async def test_a_run_knows_its_planned_time() -> None:
    found: list[datetime] = []

    async def play(play: Saga[Any, Any], begin: Begin) -> Held:
        found.append(planned_time(play.key))
        return Held(0)

    Play.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE)
        await pass_time(runtime, clock, 2 * MINUTE, 2)
    assert found == [after(60), after(120)]


async def test_at_a_time_that_is_over_it_starts_at_once() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, at=after(-3_600))
        await quiet(runtime)
        await runtime.schedule("never", Trip, TRIP, at=after(-3_600), catch_up=0)
        await quiet(runtime)
        assert await outcomes(runtime, "never") == [("00:46:40", "missed", "the process was away")]
    assert started(journal.records) == ["s@2001-09-09T00:46:40Z"]


# -- setting, again and anew ------------------------------------------------------------------------------------------


async def test_it_is_durable_when_it_is_set() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
    async with Runtime(restarted(journal), ALL, clock=clock) as runtime:
        assert (await one(runtime)).command == TRIP
        journal = HeldJournal()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        assert await runtime.schedules() == []


async def test_the_same_again_changes_nothing() -> None:
    journal, clock = HeldJournal(), ManualClock()
    ways: list[dict[str, Any]] = [
        {"every": HOUR},
        {"at": after(500), "every": HOUR, "overlap": "queue", "catch_up": 3},
        {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        {"cron": "0 3 * * *"},
        {"at": after(500)},
    ]
    async with Runtime(journal, ALL, clock=clock) as runtime:
        for n, way in enumerate(ways):
            await runtime.schedule(f"{n}", Trip, TRIP, **way)
        written, infos = len(journal.records), await runtime.schedules()
        await pass_time(runtime, clock, timedelta(seconds=100))
        for n, way in enumerate(ways):
            await runtime.schedule(f"{n}", Trip, TRIP, **way)
        assert await runtime.schedules() == infos
    async with Runtime(again := restarted(journal), ALL, clock=clock) as runtime:
        for n, way in enumerate(ways):
            await runtime.schedule(f"{n}", Trip, BookTrip(["a"]), **way)
        assert await runtime.schedules() == infos
    assert len(again.records) == written


async def test_other_content_replaces_it_and_what_has_run_is_kept() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        await pass_time(runtime, clock, MINUTE)
        await runtime.schedule("s", Trip, BookTrip(["b"]), every=HOUR)
        assert [way[1] for way in await outcomes(runtime)] == ["started"]
        await pass_time(runtime, clock, HOUR, 60)
        info = await one(runtime)
        assert (info.command, info.every, len(info.runs)) == (BookTrip(["b"]), HOUR, 2)
    assert started(journal.records) == ["s@2001-09-09T01:47:40Z", "s@2001-09-09T02:47:40Z"]
    assert [len(writes(journal, name)) for name in ("WasHeld", "schedule.set")] == [2, 2]
    check_schedules(journal.records)


async def test_a_time_that_was_seen_to_never_comes_again_whatever_is_set() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        for rooms, drop in ((["a"], False), (["b"], False), (["c"], True), (["c"], False)):
            await runtime.schedule("s", Trip, BookTrip(rooms), at=after(60))
            await pass_time(runtime, clock, MINUTE)
            if drop:
                await runtime.unschedule("s")
        clock.step(-3_600)
        await runtime.schedule("s", Trip, TRIP, every=MINUTE, at=after(0))
        await pass_time(runtime, clock, 30 * MINUTE, 30)
        assert (await one(runtime)).upcoming[0] == after(120)
        await pass_time(runtime, clock, 40 * MINUTE, 40)
    assert started(journal.records)[:2] == ["s@2001-09-09T01:47:40Z", "s@2001-09-09T01:48:40Z"]
    check_schedules(journal.records)


async def test_dropped_it_starts_nothing_any_more() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.unschedule("s")
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        await runtime.schedule("other", Trip, TRIP, every=MINUTE)
        await runtime.unschedule("s")
        await runtime.unschedule("s")
        assert [info.name for info in await runtime.schedules()] == ["other"]
        await pass_time(runtime, clock, MINUTE)
        assert len(await journal.sleeping()) == 1
    assert started(journal.records) == []
    assert len(started(journal.records, "other")) == 1


async def test_paused_it_starts_nothing_and_resumed_it_goes_on() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        await runtime.resume_schedule("s")
        await runtime.pause_schedule("s")
        await runtime.pause_schedule("s")
        assert ((await one(runtime)).paused, (await one(runtime)).upcoming) == (True, ())
        await pass_time(runtime, clock, timedelta(seconds=150), 5)
    async with Runtime(again := restarted(journal), ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["b"]), every=MINUTE, at=after(0))
        await pass_time(runtime, clock, timedelta(seconds=60), 2)
        assert started(again.records) == []
        await runtime.resume_schedule("s")
        await quiet(runtime)
        assert await outcomes(runtime) == [("01:49:40", "skipped", "it was paused")]
        assert ((await one(runtime)).runs[0].since, (await one(runtime)).runs[0].count) == (after(180), 1)
        await runtime.pause_schedule("s")
        await pass_time(runtime, clock, 10 * MINUTE, 5)
        await runtime.resume_schedule("s")
        assert ((await one(runtime)).runs[1].since, (await one(runtime)).runs[1].count) == (after(240), 10)
        await pass_time(runtime, clock, MINUTE)
    assert started(again.records) == ["s@2001-09-09T02:00:40Z"]
    check_schedules(again.records)


async def test_of_its_runs_the_last_twenty_are_remembered() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=MINUTE, overlap="allow")
        await pass_time(runtime, clock, (RUNS_KEPT + 7) * MINUTE, RUNS_KEPT + 7)
        assert [run.planned for run in (await one(runtime)).runs] == [after(60 * n) for n in range(8, RUNS_KEPT + 8)]


async def test_what_runs_is_told() -> None:
    lasts(90)
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), at=after(60))
        await pass_time(runtime, clock, MINUTE)
        assert (await one(runtime)).running == (Play.at("s@2001-09-09T01:47:40Z"),)
        await pass_time(runtime, clock, 2 * MINUTE, 8)
        assert (await one(runtime)).running == ()


# -- what can't be meant ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "doesn't say when"),
        ({"cron": "0 3 * * *", "at": after(5)}, "has cron= and at="),
        ({"cron": "0 3 * * *", "every": HOUR}, "has cron= and every="),
        ({"cron": "0 3 * *"}, "can't be read"),
        ({"cron": "0 3 * * *", "timezone": "Berlin"}, "there is no time zone 'Berlin'"),
        ({"every": HOUR, "timezone": "Europe/Berlin"}, "has a timezone="),
        ({"at": datetime(2026, 1, 1)}, "could be any time zone"),  # noqa: DTZ001
        ({"at": datetime(9999, 1, 1, tzinfo=UTC)}, "after the year 9998"),
        ({"every": timedelta(0)}, "after a second or more"),
        ({"every": timedelta(milliseconds=999)}, "after a second or more"),
        ({"every": HOUR, "overlap": "both"}, "overlap= is one of 'skip', 'allow', 'queue', 'cancel', not 'both'"),
        ({"every": HOUR, "catch_up": -1}, "0 to 100, not -1"),
        ({"every": HOUR, "catch_up": 101}, "0 to 100, not 101"),
        ({"every": HOUR, "catch_up": 1.5}, "0 to 100, not 1.5"),
        ({"every": HOUR, "name": ""}, "needs a name"),
        ({"every": HOUR, "name": "x" * 201}, "needs a name"),
        ({"every": HOUR, "name": "\udc80"}, "needs a name"),
    ],
)
async def test_wrong_input_is_one_clear_error_and_writes_nothing(wrong: dict[str, Any], why: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(ValueError, match=why) as raised:
            await runtime.schedule(wrong.pop("name", "s"), Trip, TRIP, **wrong)
        assert len(str(raised.value)) < 500
    assert journal.records == []


async def test_who_is_no_saga_or_takes_something_else_is_told_at_once() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Trip, Room, Desk]) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Trip doesn't take Hold"):
            await anyone.schedule("s", Trip, Hold("t"), every=HOUR)
        with pytest.raises(NotTaken, match="Desk is no saga"):
            await anyone.schedule("s", Desk, Note("x"), every=HOUR)
        with pytest.raises(UnknownActor):
            await anyone.schedule("s", Play, Begin(), every=HOUR)
        for verb in (runtime.pause_schedule, runtime.resume_schedule):
            with pytest.raises(UnknownSchedule, match="no schedule 's'"):
                await verb("s")
    assert journal.records == []


async def test_without_the_library_only_cron_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        with pytest.raises(ExtraMissing, match=r"pip install 'understudy\[cron\]'"):
            await runtime.schedule("s", Trip, TRIP, cron="0 3 * * *")
        assert journal.records == []
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        await pass_time(runtime, clock, MINUTE)
    assert len(started(journal.records)) == 1


async def test_a_thousand_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Runtime("memory:", ALL, clock=ManualClock()) as runtime:
        for n in range(1_000):
            await runtime.schedule(f"{n}", Trip, TRIP, every=HOUR)
            await runtime.schedule(f"{n}", Trip, TRIP, every=HOUR)
        with pytest.raises(ValueError, match="there are 1,000 schedules"):
            await runtime.schedule("more", Trip, TRIP, every=HOUR)
        await runtime.schedule("7", Trip, TRIP, every=DAY)
        await runtime.unschedule("8")
        await runtime.schedule("more", Trip, TRIP, every=HOUR)
        assert len(await runtime.schedules()) == 1_000


async def test_a_command_that_is_too_large() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Failed, match="can't be stored"):
            await runtime.schedule("s", Trip, BookTrip(["x" * 2_000_000]), every=HOUR)


async def test_its_class_may_be_gone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """P14: others go on meanwhile, and it does when its class is back."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, TRIP, every=HOUR)
        await runtime.schedule("other", Play, Begin(), every=HOUR)
    lasts(0)
    async with Runtime(journal := restarted(journal), [Play, Room], clock=clock) as runtime:
        await pass_time(runtime, clock, 61 * MINUTE, 61)
        assert (await one(runtime)).command is None
    assert (len(started(journal.records)), len(started(journal.records, "other"))) == (0, 1)
    async with Runtime(journal := restarted(journal), ALL, clock=clock) as runtime:
        await pass_time(runtime, clock, 3 * MINUTE, 12)
    assert started(journal.records) == ["s@2001-09-09T02:46:40Z"]
    check_schedules(journal.records)


async def test_a_start_that_is_refused_hurts_nobody() -> None:
    """Somebody has started a saga under a run's key, with another command."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.ask(Trip.at("s@2001-09-09T01:47:40Z"), BookTrip(["mine"]))
        await runtime.schedule("s", Trip, TRIP, every=MINUTE)
        await pass_time(runtime, clock, 2 * MINUTE, 2)
        assert types_of(journal.records, Room.at("a")) == ["WasHeld"]
        assert [run[1] for run in await outcomes(runtime)] == ["started", "started"]


async def test_what_was_looked_at_before_it_was_set_anew_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the planner's look and the schedule's decision it becomes another one, or is paused."""
    lasts(90)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap="allow")
        await pass_time(runtime, clock, MINUTE)
        meanwhile: list[Any] = [
            runtime.pause_schedule("s"),
            runtime.schedule("s", Play, Begin("new"), every=MINUTE, at=after(0)),
        ]

        async def slow(*args: Any) -> bool:
            if meanwhile:
                await meanwhile.pop()
            return await has_ended(*args)

        monkeypatch.setattr(planner, "has_ended", slow)
        await pass_time(runtime, clock, MINUTE)
        assert len(started(journal.records)) == 1
        await pass_time(runtime, clock, MINUTE)
        assert (len(started(journal.records)), (await one(runtime)).paused) == (1, True)
        await runtime.resume_schedule("s")
        await pass_time(runtime, clock, MINUTE)
    commands = [found["command"]["line"] for found in writes(journal, "saga.started")]
    assert commands == ["", "new"]
    check_schedules(journal.records)


async def test_one_that_moves_on_while_they_are_listed_is_listed_once() -> None:
    moves: list[bool] = []

    class Moving(HeldJournal):
        """A run begins between two pages of those that sleep."""

        async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
            page = await super().sleeping(after, limit)
            if moves:
                moves.pop()
                await pass_time(runtime, clock, MINUTE)
            return page

    lasts(0)
    clock = ManualClock()
    async with Runtime(Moving(), ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE)
        moves.append(True)
        (info,) = await runtime.schedules()
        assert [run.outcome for run in info.runs] == ["started"]
