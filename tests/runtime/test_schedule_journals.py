"""Schedules on real journals: after a restart, with several owners, with personal data, and as the check sees them."""

from pathlib import Path
from typing import Any

import pytest

from actors import Address, Elsewhere, Personal
from persistence import MemoryKeys
from persistence.sqlite import SqliteJournal
from runtime import ManualClock, Runtime, check_journal
from tests.extras import need
from tests.postgres import needs_server, url_of
from tests.runtime.cast import ALL, BookTrip, Room, Trip
from tests.runtime.people import ALL as PEOPLE
from tests.runtime.people import ANA, SECRET, Welcome, WelcomeSaga
from tests.runtime.scheduling import HOUR, MINUTE, check_schedules, one, pass_time, restarted, started, writes
from tests.runtime.tools import HeldJournal, quiet

need("cronsim")


async def test_a_file_keeps_them(tmp_path: Path) -> None:
    url, clock = f"sqlite:{tmp_path / 'trips.db'}", ManualClock()
    async with Runtime(url, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), cron="0 * * * *", timezone="Europe/Berlin")
        await runtime.schedule("paused", Trip, BookTrip(["b"]), every=MINUTE)
        await runtime.pause_schedule("paused")
        await runtime.schedule("dropped", Trip, BookTrip(["b"]), every=MINUTE)
        await runtime.unschedule("dropped")
        before = await runtime.schedules()
        assert [info.name for info in before] == ["paused", "s"]
    clock.advance(3_600)
    async with Runtime(url, ALL, clock=clock) as runtime:
        await quiet(runtime)
        assert (await runtime.result(Trip.at("s@2001-09-09T02:00:00Z"))).rooms == ["a"]
        paused, s = await runtime.schedules()
        assert paused == before[0]
        assert s.upcoming == (*before[1].upcoming[1:], s.upcoming[-1])
        assert [run.outcome for run in s.runs] == ["started"]
    journal = SqliteJournal(tmp_path / "trips.db")
    await journal.open()
    try:
        report = await check_journal(journal, ALL)
        assert report.ok, report.problems
    finally:
        await journal.close()


async def test_the_check_before_a_deployment_reads_what_they_start() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL, clock=ManualClock()) as runtime:
        for name in ("one", "two", "dropped"):
            await runtime.schedule(name, Trip, BookTrip(["a"]), every=HOUR)
        await runtime.unschedule("dropped")
        await runtime.truncate(Address("runtime.schedules", "two"), 2)
    assert (await check_journal(journal, ALL)).ok
    (found,) = (await check_journal(journal, [Room])).problems
    assert (found.actor, found.what, found.count) == ("runtime.schedules", "command that it starts sagas with", 2)
    assert "there is no actor 'Trip' here" in found.reason


@needs_server
async def test_each_belongs_to_the_owner_who_has_set_it(schema: str) -> None:
    clock = ManualClock()
    urls = [f"{url_of(schema)}&owner={name}" for name in ("ana", "bob")]
    ana, bob = (Runtime(url, ALL, clock=clock) for url in urls)
    async with ana, bob:
        await ana.schedule("ana's", Trip, BookTrip(["a"]), every=MINUTE)
        await bob.schedule("bob's", Trip, BookTrip(["b"]), every=HOUR)
        assert [info.name for info in await ana.schedules()] == ["ana's"]
        assert [info.name for info in await bob.schedules()] == ["bob's"]
        for verb in (bob.pause_schedule, bob.resume_schedule, bob.unschedule):
            with pytest.raises(Elsewhere, match="'ana'"):
                await verb("ana's")
        with pytest.raises(Elsewhere):
            await bob.schedule("ana's", Trip, BookTrip(["a"]), every=MINUTE)
        clock.advance(60)
        key = (await one(ana, "ana's")).upcoming[0]
        await pass_time(ana, clock, MINUTE, 2)
        (run, *_) = (await one(ana, "ana's")).runs
        assert run.saga is not None
        assert (await ana.result(run.saga)).rooms == ["a"]
        assert run.planned <= key
        assert (await bob.state_of(Room.at("b"))).held == ()
        assert (await one(bob, "bob's")).runs == ()
    async with Runtime(urls[0], ALL, clock=clock) as ana:
        assert [info.name for info in await ana.schedules()] == ["ana's"]


async def test_what_is_personal_is_sealed_and_the_same_again_is_known() -> None:
    keys, journal, clock = MemoryKeys(), HeldJournal(), ManualClock()
    command = Welcome(Personal(ANA, SECRET))
    async with Runtime(journal, PEOPLE, keys=keys, clock=clock) as runtime:
        await runtime.schedule("s", WelcomeSaga, command, every=HOUR)
        written = len(journal.records)
        await runtime.schedule("s", WelcomeSaga, command, every=HOUR)
        assert len(journal.records) == written
        assert SECRET.encode() not in b"".join(record.data for record in journal.records)
    async with Runtime(again := restarted(journal), PEOPLE, keys=keys, clock=clock) as runtime:
        await runtime.schedule("s", WelcomeSaga, Welcome(Personal(ANA, SECRET)), every=HOUR)
        assert len(again.records) == written
        assert (await one(runtime)).command == command
        await runtime.schedule("s", WelcomeSaga, Welcome(Personal(ANA, "other")), every=HOUR)
        assert len(writes(again, "schedule.set")) == 2


async def test_its_stream_grows_and_is_read_from_a_snapshot() -> None:
    """A thousand runs later it is read back from there, and goes on."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Trip, BookTrip(["a"]), every=MINUTE)
        await pass_time(runtime, clock, 200 * MINUTE, 200)
        stream = ("runtime.schedules", "s")
        assert (await journal.snapshots([stream]))[stream].version > 400
        before = await one(runtime)
        await runtime.kill(Address[Any](*stream))
        assert await one(runtime) == before
        check_schedules(journal.records)
        await runtime.truncate(Address[Any](*stream), 400)
        await runtime.kill(Address[Any](*stream))
        assert await one(runtime) == before
        await pass_time(runtime, clock, MINUTE)
    assert len(started(journal.records)) == 201
