"""P11, P12, P14: a saga that only waits leaves the memory, and is woken when it is time: never early, never lost."""

import asyncio
import gc
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Refused
from persistence import AT_ONCE, NEVER, MemoryJournal
from runtime import ManualClock, Runtime
from runtime.saga_story import SOMEDAY
from tests.runtime.cast import ALL, DOWN, Approve, Begin, Board, Desk, Held, Hold, Note, Play, Room, Where
from tests.runtime.playing import PLAY, House, hold, house, later, stands
from tests.runtime.tools import HeldJournal, comes, node_of, of, quiet, steps_of, types_of


async def naps(self: Play, command: Begin) -> Held:
    held: Held = await hold(self, "a")
    await self.sleep("nap", timedelta(seconds=100))
    return held


async def waits(self: Play, command: Begin) -> Held:
    held: Held = await hold(self, "a")
    await self.receive(Approve)
    return held


def in_memory(at: House) -> bool:
    cell = node_of(at.runtime).find(PLAY)
    return cell is not None and cell.phase.value == "running"


async def wake_of(journal: MemoryJournal) -> int:
    if ("Play", "p") in await journal.unfinished():
        return AT_ONCE
    return next((s.wake for s in await journal.sleeping(None, 10) if s.stream == ("Play", "p")), NEVER)


async def test_it_leaves_the_memory_and_is_woken_by_the_alarm() -> None:
    Play.script = naps
    async with house() as at:
        await at.begin()
        assert not in_memory(at)
        assert await wake_of(at.journal) == at.clock.now() + 100_000_000
        await at.passes(99.9, step=33.3)
        assert not in_memory(at)
        assert steps_of(at.journal.records, PLAY, "answered") == ["a"]
        await at.passes(0.2)
        assert await at.status() == "completed"
        assert await wake_of(at.journal) == NEVER
    (answered,) = [r for r in of(at.journal.records, "saga.answered") if b"nap" in r.data]
    assert answered.time >= at.journal.records[0].time + 100_000_000


async def test_who_waits_for_its_end_keeps_it_and_who_has_given_up_does_not() -> None:
    Play.script = naps
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin(), timeout=50))
        await quiet(at.runtime)
        assert in_memory(at)
        await at.passes(51, step=17)
        with pytest.raises(Exception, match="unknown"):
            await asked
        assert await at.runtime.ask(PLAY, Where()) == "at the door"
        await quiet(at.runtime)
        cell = node_of(at.runtime).find(PLAY)
        assert cell is None or cell.resting
        await at.passes(49, step=7)
        assert await at.runtime.result(PLAY) == Held(1)


@pytest.mark.parametrize("seconds", [5, 100])
@pytest.mark.parametrize("when", ["before it is durable", "asleep", "at its time"])
async def test_a_kill_loses_no_time(seconds: int, when: str) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=seconds))
        return Held(1)

    Play.script = story
    async with house() as at:
        if when == "before it is durable":
            at.journal.hold()
            told = asyncio.create_task(at.runtime.start(PLAY, Begin()))
            await at.journal.arrived.wait()
            await at.runtime.kill(PLAY)
            at.journal.gate.set()
            await told
            await quiet(at.runtime)
        else:
            await at.begin()
        if when == "asleep":
            await at.runtime.kill(PLAY)
        await at.passes(seconds - 1)
        assert await at.status() == "running"
        if when == "at its time":
            at.clock.advance(1)
            await at.runtime.kill(PLAY)
            await quiet(at.runtime)
        await at.passes(1)
        assert await at.status() == "completed"


async def test_a_journal_that_is_lost_and_mended_loses_no_time() -> None:
    Play.script = naps
    async with house() as at:
        await at.begin()
        at.journal.fail = ["before"]
        with pytest.raises(Exception, match="could not be written"):
            await at.runtime.ask(Room.at("z"), Hold("z"))
        await at.passes(60, step=10)
        assert await at.status() == "running"
        await at.passes(40, step=10)
        assert await at.status() == "completed"


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_the_group_in_which_it_goes_to_sleep_is_lost(fate: str) -> None:
    Play.script = naps
    async with house() as at:
        at.journal.fail = [fate]
        with pytest.raises(Exception, match="unknown"):
            await at.runtime.start(PLAY, Begin())
        await at.passes(3)
        await at.begin()
        await at.passes(110, step=10)
        assert await at.runtime.result(PLAY) == Held(1)
    assert stands(at.journal.records) == {"a": 1}


@pytest.mark.parametrize("story", [naps, waits])
async def test_every_prefix_wakes_in_time(story: Any) -> None:
    Play.script = story
    async with house() as at:
        await at.begin()
        await at.passes(100, step=25)
        if story is waits:
            await at.runtime.ask(PLAY, Approve(), id="1")
        await at.runtime.result(PLAY)
    whole = at.journal.records
    for crash in range(1, len(whole)):
        async with house(whole[:crash], later(whole[:crash])) as again:
            await again.passes(101, step=10)
            if story is waits:
                await again.runtime.ask(PLAY, Approve(), id="1")
            await again.passes(1)
            assert await again.runtime.result(PLAY) == Held(1)
            assert stands(again.journal.records) == {"a": 1}


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_the_clock_is_set(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never early by the clock on the wall, which may be set; and not lost."""
    monkeypatch.setattr(Play, "deadline", None)
    Play.script = naps
    async with house() as at:
        await at.begin()
        began = at.clock.now()
        at.clock.step(step)
        await at.passes(20, step=10)
        assert await at.status() == ("running" if step < 0 else "completed")
        await at.passes(3700, step=50)
        assert await at.status() == "completed"
    (answered,) = [r for r in of(at.journal.records, "saga.answered") if b"nap" in r.data]
    assert answered.time >= began + 100_000_000


async def test_a_deadline_wakes_it_too() -> None:
    Play.script = waits
    async with house() as at:
        await at.begin()
        assert not in_memory(at)
        assert await wake_of(at.journal) == at.clock.now() + 300_000_000
        await at.passes(299, step=50)
        assert await at.status() == "running"
        await at.passes(1)
        with pytest.raises(Refused, match="the deadline has passed"):
            await at.runtime.result(PLAY)
    assert stands(at.journal.records) == {}


async def test_one_that_waits_for_ever_sleeps_till_somebody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", None)
    Play.script = waits
    async with house() as at:
        await at.begin()
        assert not in_memory(at)
        assert await wake_of(at.journal) == SOMEDAY
        assert await at.runtime.unfinished() == [PLAY]
        await at.passes(86_400, step=14_400)
    async with house(at.journal.records, at.clock) as again:
        assert not in_memory(again)
        assert [one.status async for one in again.runtime.sagas(status="running")] == ["running"]
        await again.runtime.ask(PLAY, Approve())
        assert await again.runtime.result(PLAY) == Held(1)
        assert await again.runtime.unfinished() == []


async def test_sleeps_that_no_calendar_holds() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.select(self.sleep("nap", timedelta.max), self.receive(Approve, timeout=timedelta.max))
        return Held(1)

    Play.script = story
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Play, "deadline", timedelta.max)
        async with house() as at:
            await at.begin()
            progress = await at.runtime.progress_of(PLAY)
            assert [step.until for step in progress.steps] == [None, None]
            assert progress.deadline is None
            await at.runtime.ask(PLAY, Approve())
            assert await at.runtime.result(PLAY) == Held(1)


async def test_sleeps_that_no_journal_holds(tmp_path: Path) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta.max)
        return Held(1)

    Play.script = story
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", ALL) as runtime:
        await runtime.start(PLAY, Begin())
        assert (await runtime.progress_of(PLAY)).status == "running"


async def test_sleep_until() -> None:
    told: list[datetime] = []

    async def story(self: Play, command: Begin) -> Held:
        await self.sleep_until("past", datetime(1969, 1, 1, tzinfo=UTC))
        await self.sleep_until("nap", datetime.fromtimestamp(1_000_000_100, UTC))
        told.append(self.now())
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        assert steps_of(at.journal.records, PLAY, "answered") == ["past"]
        await at.passes(99.5, step=20)
        assert await at.status() == "running"
        await at.passes(1)
        assert await at.status() == "completed"
    assert told[-1] >= datetime.fromtimestamp(1_000_000_100, UTC)


async def test_sleep_until_needs_a_time_zone() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep_until("nap", datetime(2030, 1, 1))  # noqa: DTZ001
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        assert "in any time zone; write datetime" in str((await at.runtime.progress_of(PLAY)).error)


# -- journals that want everybody awake ---------------------------------------------------------------------------


@pytest.mark.parametrize("story", [naps, waits])
@pytest.mark.parametrize("then", ["wait", "kill", "restart"])
async def test_after_an_import_or_an_upgrade_it_goes_to_sleep_and_is_woken_all_the_same(story: Any, then: str) -> None:
    """An import has everybody wake at once, and so had older releases all sagas that were not at their end."""
    Play.script = story
    async with house() as at:
        await at.begin()
    clock, journal = at.clock, HeldJournal(at.journal.records, [("Play", "p"), ("Play", "q")])
    async with Runtime(journal, ALL, clock=clock) as runtime:
        again = House(runtime, journal, clock)
        await quiet(runtime)
        assert len(journal.records) == len(at.journal.records)  # that is no event of its story
        assert await wake_of(journal) not in (AT_ONCE, NEVER)
        assert not in_memory(again)
        if then == "kill":
            await runtime.kill(PLAY)
        if then == "restart":
            journal = HeldJournal(journal.records, (), {("Play", "p"): await wake_of(journal)})
    if then == "restart":
        async with Runtime(journal, ALL, clock=clock) as runtime:
            await wakes(House(runtime, journal, clock), story)
        return
    journal = HeldJournal(at.journal.records, [("Play", "p")])
    async with Runtime(journal, ALL, clock=clock) as runtime:
        if then == "kill":
            await quiet(runtime)
            await runtime.kill(PLAY)
        await wakes(House(runtime, journal, clock), story)


async def wakes(at: House, story: Any) -> None:
    await at.passes(101, step=10)
    if story is waits:
        await at.runtime.ask(PLAY, Approve())
    await at.passes(1)
    assert types_of(at.journal.records, PLAY)[-1] == "saga.completed"
    assert await wake_of(at.journal) == NEVER


async def test_one_that_has_ended_is_told_to_rest_after_an_import() -> None:
    Play.script = naps
    async with house() as at:
        await at.begin()
        await at.passes(101, step=20)
    journal = HeldJournal(at.journal.records, [("Play", "p")])
    async with Runtime(journal, ALL) as runtime:
        await quiet(runtime)
        assert await runtime.unfinished() == []
    assert len(journal.records) == len(at.journal.records)


async def test_the_same_on_sqlite(tmp_path: Path) -> None:
    Play.script = naps
    clock, path = ManualClock(), tmp_path / "j.db"
    async with Runtime(f"sqlite:{path}", ALL, clock=clock) as runtime:
        await runtime.start(PLAY, Begin())
        await quiet(runtime)
    with sqlite3.connect(path) as db:
        assert db.execute("update streams set wake = 0 where category = 'Play'").rowcount == 1
    db.close()
    for _ in range(2):
        async with Runtime(f"sqlite:{path}", ALL, clock=clock) as runtime:
            journal = node_of(runtime).journal
            while await journal.unfinished():
                await quiet(runtime)
            assert [sleeper.stream for sleeper in await journal.sleeping(None, 10)] == [("Play", "p")]
            await comes(lambda runtime=runtime: node_of(runtime).find(PLAY) is None)  # type: ignore[misc]
            clock.advance(50)
            await quiet(runtime)
    async with Runtime(f"sqlite:{path}", ALL, clock=clock) as runtime:
        assert await runtime.result(PLAY) == Held(1)


# -- many ---------------------------------------------------------------------------------------------------------


def plays() -> int:
    return sum(isinstance(one, Play) for one in gc.get_objects())


async def test_thousands_that_sleep_take_no_memory_and_all_wake() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=100))
        return Held(1)

    Play.script = story
    clock, many = ManualClock(), 2_500  # more than the alarm keeps in memory
    gc.collect()
    before = plays()
    actors = [cls for cls in ALL if cls is not Board]
    async with Runtime("memory:", actors, clock=clock) as runtime:
        for first in range(0, many, 500):
            await asyncio.gather(*[runtime.start(Play.at(f"{n}"), Begin()) for n in range(first, first + 500)])
        await quiet(runtime)
        gc.collect()
        assert len(node_of(runtime).directory) == 0
        assert plays() <= before
        clock.advance(99)
        await quiet(runtime)
        assert len(node_of(runtime).directory) == 0
        for _ in range(100):
            clock.advance(1)
            await quiet(runtime)
            if not await runtime.unfinished():
                break
        assert await runtime.unfinished() == []
        assert (await runtime.progress_of(Play.at("2499"))).status == "completed"


async def test_a_hundred_that_fail_do_not_keep_a_good_one_asleep() -> None:
    """Failure 21: their code is broken, and each is parked when it wakes."""

    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=100))
        if command.line == "bad":
            raise ZeroDivisionError
        return Held(1)

    Play.script = story
    async with house() as at:
        for n in range(101):
            await at.runtime.start(Play.at(f"bad {n}"), Begin("bad"))
        await at.begin()
        await at.passes(100, step=50)
        assert await at.status() == "completed"
        parked = [one async for one in at.runtime.sagas(status="parked")]
        assert len(parked) == 101


async def test_one_that_waits_beside_something_else_stays() -> None:
    gate = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        await gate.wait()
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.parallel(self.sleep("nap", timedelta(seconds=50)), self.ask("say", Desk.at(), Note("x")))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        assert in_memory(at)
        assert await wake_of(at.journal) == AT_ONCE
        gate.set()
        await quiet(at.runtime)
        assert not in_memory(at)
        await at.passes(50, step=10)
        assert await at.status() == "completed"
    DOWN.clear()
