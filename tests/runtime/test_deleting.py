"""Deleting: services and sagas that have ended begin anew, or never again; nothing of them is left."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import DeletedForGood, NotTaken, Refused, ReplyErased
from persistence import ERASED
from runtime import ManualClock, Runtime
from tests.runtime.cast import (
    ALL,
    Account,
    Begin,
    Board,
    BookTrip,
    Desk,
    Held,
    Hold,
    Look,
    Note,
    Play,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.crew import Agent
from tests.runtime.keeping import ROOM, back, cell_of, fill, history_of, left, snapshot_of, undo
from tests.runtime.reminding import BELL, EVERYBODY, Bell, strike, wind
from tests.runtime.tools import HeldJournal, comes, quiet, types_of


@pytest.fixture(params=["memory:", "sqlite:"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/journal.db"


async def test_one_that_is_deleted_begins_anew(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 5)
        await runtime.delete(ROOM)
        for _ in range(2):
            assert await left(runtime) == [6]
            assert await runtime.ask(ROOM, Look()) == 0
            with pytest.raises(ReplyErased):
                await runtime.ask(ROOM, Hold("t3"), id="id 3")
            await runtime.kill(ROOM)
        assert (await runtime.ask(ROOM, Hold("new"), id="new")).number == 1
        await runtime.kill(ROOM)
        assert (await runtime.ask(ROOM, Hold("new"), id="new")).number == 1
        assert (await runtime.state_of(ROOM)).held == ("new",)
        assert cell_of(runtime, ROOM).version == 7
        await runtime.delete(Room.at("never"))
        assert await left(runtime, Room.at("never")) == []


async def test_nothing_of_the_state_is_left_anywhere() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for verb in ({}, {"for_good": True}):
            await runtime.ask(ROOM, Hold("a secret"))
            await runtime.snapshot(ROOM)
            assert any(b"a secret" in record.data for record in journal.records)
            await runtime.delete(ROOM, **verb)
            snapshot = await snapshot_of(journal, ROOM)
            assert snapshot is not None
            assert b"a secret" not in (snapshot.data or b"")
            assert not any(b"a secret" in record.data + record.meta for record in journal.records)


async def test_its_reminders_go_with_it() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10.0))
        await runtime.delete(BELL)
        assert await runtime.reminders(BELL) == []
        clock.advance(20)
        await quiet(runtime)
        assert await runtime.state_of(BELL) == Bell.initial
        await wind(runtime, strike("b", 10.0))
        await back(runtime, BELL)
        clock.advance(20)
        await quiet(runtime)
        assert (await runtime.state_of(BELL)).texts == ("b",)


async def test_one_that_is_deleted_for_good_refuses_everything(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 3)
        await runtime.delete(ROOM, for_good=True)
        await runtime.delete(ROOM, for_good=True)
        await runtime.delete(ROOM)
        for _ in range(2):
            assert await left(runtime) == [4]
            for command, command_id in ((Hold("x"), None), (Hold("x"), "new"), (Hold("t1"), "id 1"), (Look(), None)):
                request: Any = command
                with pytest.raises(DeletedForGood, match="Room/r was deleted for good; use another key"):
                    await runtime.ask(ROOM, request, id=command_id)
            with pytest.raises(Refused, match="Room/r: Room/r was deleted for good"):
                await runtime.transact((ROOM, Hold("x")), (Account.at("a"), Withdraw(1)), id="tx")
            assert await undo(runtime, ROOM, "t1", "id 1", "undo").wait(0) is None
            assert await undo(runtime, ROOM, "t9", "never", "undo 2").wait(0) is None
            await runtime.snapshot(ROOM)
            await runtime.truncate(ROOM, 4)
            assert await runtime.state_of(ROOM) == Room.initial
            await runtime.kill(ROOM)
        assert runtime.position == 4


async def test_a_saga_goes_back_where_a_step_meets_one_that_was_deleted_for_good() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Room.at("hotel"), Hold("x"))
        await runtime.delete(Room.at("hotel"), for_good=True)
        with pytest.raises(Refused, match="hotel was deleted for good"):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        assert (await runtime.state_of(Room.at("flight"))).held == ()


async def test_a_saga_can_be_deleted_when_it_has_ended(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("back"), BookTrip(["flight", "full"]))
        flights = await left(runtime, Room.at("flight"))
        for key in ("t", "back"):
            await runtime.delete(Trip.at(key))
            await runtime.delete(Trip.at(key))
            for _ in range(2):
                with pytest.raises(DeletedForGood, match=f"Trip/{key} was deleted; use another key"):
                    await runtime.ask(Trip.at(key), BookTrip(["flight", "hotel"]))
                with pytest.raises(DeletedForGood):
                    await runtime.result(Trip.at(key))
                await runtime.kill(Trip.at(key))
            gone, buried = await history_of(runtime, Trip.at(key))
            assert (gone.type, buried.type) == (ERASED, "journal.buried")
            assert gone.event["last"] == buried.meta.version - 1
        assert await left(runtime, Room.at("flight")) == flights
        assert await runtime.unfinished() == []
        with pytest.raises(Refused, match="Trip/never has not ended"):
            await runtime.delete(Trip.at("never"))
        assert (await runtime.ask(Trip.at("never"), BookTrip(["flight"]))).trip == "never"


async def test_a_saga_that_has_not_ended_is_not_deleted() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("desk", Desk.at(), Note("x"))
        return Held(1)

    gate = asyncio.Event()

    async def answer(_desk: Desk, _note: Note) -> str:
        await gate.wait()
        return ""

    Play.script, Desk.script = story, answer
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await comes(lambda: Desk.inbox)
        with pytest.raises(Refused, match="Play/p has not ended, so it can't be deleted"):
            await runtime.delete(Play.at("p"))
        gate.set()
        assert await asked == Held(1)
        await runtime.delete(Play.at("p"))
        assert types_of(journal.records, Play.at("p"))[-1] == "journal.buried"


async def test_only_services_and_sagas_are_deleted() -> None:
    async with Runtime("memory:", [*ALL, Agent]) as runtime:
        for address in (Desk.at(), Board.at(), Agent.at("a")):
            with pytest.raises(NotTaken, match="is no service"):
                await runtime.delete(address)
