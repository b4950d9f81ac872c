"""What becomes of times that are missed, and of those that come twice because a clock was set."""

from datetime import timedelta
from typing import Any

import pytest

from actors import OutcomeUnknown
from runtime import ManualClock, Runtime
from runtime.schedule_times import COUNTED
from tests.extras import need
from tests.runtime.cast import ALL, DOWN, BookTrip, Trip
from tests.runtime.scheduling import (
    DAY,
    HOUR,
    MINUTE,
    after,
    check_schedules,
    clock_at,
    one,
    pass_time,
    restarted,
    started,
)
from tests.runtime.tools import HeldJournal, content, of, quiet

need("cronsim")

pytestmark = pytest.mark.usefixtures("no_deadline")


# -- what is missed -----------------------------------------------------------------------------------------------


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


# -- clocks -------------------------------------------------------------------------------------------------------


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
