"""Reminders that are set from outside, or by plain actors, when they fail, and where they show."""

import asyncio
from typing import Any

import pytest

from actors import Mailbox
from persistence import MemoryJournal
from runtime import ManualClock, Runtime
from tests.runtime.cast import (
    ALL,
    DOWN,
    Begin,
    Board,
    BookTrip,
    Desk,
    Held,
    Hold,
    Lines,
    Note,
    Play,
    Release,
    Room,
    Trip,
)
from tests.runtime.reminding import BELL, EVERYBODY, Strike, pass_time, seconds, strike, wind
from tests.runtime.tools import HeldJournal, check_once, content, of, quiet, types_of

ROOM = Room.at("r")
DESK = Desk.at("d")


async def test_a_plain_actor_that_fails_and_is_parked_gets_it_again() -> None:
    journal, clock = HeldJournal(), ManualClock()

    async def fails(desk: Desk, note: Note) -> str:
        if note.text == "bad":
            raise ConnectionError("the mail server is away")
        return "done"

    Desk.script = fails
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "bad", Note("bad"), after=seconds(5))
        await runtime.remind(Desk.at("good"), "good", Note("good"), after=seconds(30))
        await pass_time(runtime, clock, 100, 100)
        assert len(of(journal.records, "service.reminded")) == 1
        Desk.script = None
        await pass_time(runtime, clock, 200, 40)
        assert await runtime.reminders(DESK) == []
    bad = [id_ for id_, text in Desk.inbox if text == "bad"]
    assert len(bad) > 2
    assert len(set(bad)) == 1
    assert [text for _, text in Desk.inbox].count("good") == 1


async def test_a_full_mailbox_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "mailbox", Mailbox(limit=1))
    journal, clock, go = MemoryJournal(), ManualClock(), asyncio.Event()

    async def waits(desk: Desk, note: Note) -> str:
        await go.wait()
        return "done"

    Desk.script = waits
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "note", Note("reminder"), after=seconds(5))
        for text in ("under way", "in the mailbox"):
            await runtime.tell(DESK, Note(text))
            await quiet_turns()
        clock.advance(5)
        await quiet_turns()
        (sleeper,) = await journal.sleeping()
        assert sleeper.wake > clock.now()
        go.set()
        await pass_time(runtime, clock, 10, 10)
    assert [text for _, text in Desk.inbox] == ["under way", "in the mailbox", "reminder"]


async def quiet_turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_failing_actors_keep_nobody_waiting() -> None:
    """FAILURES 21, for reminders to other actors: 101 bad, 1 good."""
    journal, clock = HeldJournal(), ManualClock()
    DOWN.update(f"bad {n}" for n in range(101))
    async with Runtime(journal, ALL, clock=clock) as runtime:
        for n in range(101):
            await runtime.remind(Room.at(f"bad {n}"), "hold", Hold("t"), after=seconds(5))
        await runtime.remind(Room.at("good"), "hold", Hold("t"), after=seconds(5), every=seconds(10))
        await pass_time(runtime, clock, 25, 25)
        assert types_of(journal.records, Room.at("good")) == ["WasHeld"] * 3
        assert len(of(journal.records, "WasHeld")) == 3
        DOWN.clear()
        await pass_time(runtime, clock, 60, 60)
    assert len({record.stream for record in of(journal.records, "WasHeld")}) == 102
    check_once(journal.records)


async def test_a_service_is_parked_when_it_is_due() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 5))
        await runtime.remind(ROOM, "hold", Hold("t"), after=seconds(5))
        await runtime.remind(ROOM, "other", Hold("u"), after=seconds(50))
        await runtime.ask(ROOM, Hold("first"))
    journal.unreadable = {("Room", "r"), ("Bell", "big")}
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await pass_time(runtime, clock, 100, 100)
        assert len(of(journal.records, "WasHeld")) == 1
        journal.unreadable = set()
        await pass_time(runtime, clock, 200, 40)
        assert await runtime.reminders(BELL) == []
    assert [content(record)["trip"] for record in of(journal.records, "WasHeld")] == ["first", "t", "u"]
    assert len(of(journal.records, "Struck")) == 1


async def test_a_refusal_counts_as_done() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.remind(ROOM, "release", Release("nobody"), after=seconds(5))
        await pass_time(runtime, clock, 100, 10)
        assert await runtime.reminders(ROOM) == []
    (record,) = of(journal.records, "service.reminded")
    assert content(record)["refused"] == "r won't release nobody"


async def test_a_saga_is_started_once_and_its_end_is_not_waited_for() -> None:
    journal, clock = HeldJournal(), ManualClock()

    async def naps(play: Play, begin: Begin) -> Held:
        await play.sleep("nap", seconds(60))
        return Held(1)

    Play.script = naps
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.remind(Play.at("p"), "go", Begin("a"), after=seconds(5), every=seconds(10))
        await pass_time(runtime, clock, 5)
        assert await runtime.unfinished() == [Play.at("p")]
        assert len(of(journal.records, "service.reminded")) == 1
        await pass_time(runtime, clock, 10, 10)
        assert len(of(journal.records, "service.reminded")) == 2
        await runtime.remind(Play.at("p"), "other", Begin("b"), after=seconds(5))
        await pass_time(runtime, clock, 30, 30)
        assert [one.name for one in await runtime.reminders(Play.at("p"))] == ["go"]
    assert len(of(journal.records, "saga.started")) == 1
    assert any(
        "another command" in content(record).get("refused", "") for record in of(journal.records, "service.reminded")
    )


async def test_read_models_pass_over_them() -> None:
    clock = ManualClock()
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await runtime.remind(ROOM, "hold", Hold("t"), after=seconds(5))
        await wind(runtime, strike("a", 1), strike("b", 1))
        await pass_time(runtime, clock, 10)
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
    assert [line for _, line in lines] == ["WasHeld t"]


async def test_the_trail_of_a_saga_shows_what_its_steps_have_set() -> None:
    clock = ManualClock()

    async def winds(play: Play, begin: Begin) -> Held:
        return Held(await play.ask("wind", BELL, Strike("a", again=(("b", 5.0),))))

    Play.script = winds
    async with Runtime("memory:", EVERYBODY, clock=clock) as runtime:
        await runtime.ask(Play.at("p"), Begin())
        await pass_time(runtime, clock, 5)
        trail = await runtime.trail(Play.at("p"))
        bell = [entry.type for entry in trail if entry.meta.actor == "Bell"]
        assert bell == ["Struck", "service.reminder"]
        entries = [entry async for entry in runtime.history(BELL)]
    assert {entry.meta.correlation for entry in entries} == {"Play/p"}


async def test_the_history_of_what_was_set_from_outside() -> None:
    async with Runtime("memory:", ALL, clock=ManualClock()) as runtime:
        await runtime.remind(Trip.at("u"), "go", BookTrip(["r"]), after=seconds(0))
        await quiet(runtime)
        keeper: Any = type(DESK)("runtime.reminders", "Trip/u")
        types = [entry.type async for entry in runtime.history(keeper)]
        assert types == ["service.reminder", "service.reminded"]
