"""Looking back: a service's state at any moment, the audit trail of an actor, and of everyone in a saga."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import NotTaken, NotYet, Refused, UnknownActor
from persistence.journal import PAGE
from runtime import HistoryEntry, ManualClock, Position, Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Desk, Held, Hold, Look, Note, Play, Release, Room, Trip, WasHeld
from tests.runtime.tools import HeldJournal, quiet

ROOM = Room.at("r")


async def history_of(runtime: Runtime, address: Any) -> list[HistoryEntry]:
    return [entry async for entry in runtime.history(address)]


async def test_state_of_now_and_then() -> None:
    clock = ManualClock()
    start = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(Room.at("other"), Hold("x"))
        for number in range(1, 5):
            await runtime.ask(ROOM, Hold(f"t{number}"))
            clock.step(60)
        await runtime.ask(ROOM, Release("t2"))
        assert (await runtime.state_of(ROOM)).held == ("t1", "t3", "t4")
        assert (await runtime.state_of(ROOM, version=0)).held == ()
        assert (await runtime.state_of(ROOM, version=2)).held == ("t1", "t2")
        assert (await runtime.state_of(ROOM, version=4)).held == ("t1", "t2", "t3", "t4")
        assert (await runtime.state_of(ROOM, position=3)).held == ("t1", "t2")
        assert (await runtime.state_of(ROOM, at=start - timedelta(seconds=1))).held == ()
        assert (await runtime.state_of(ROOM, at=start)).held == ("t1",)
        assert (await runtime.state_of(ROOM, at=start + timedelta(seconds=61))).held == ("t1", "t2")
        assert await runtime.state_of(Room.at("never")) == Room.initial
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 3


async def test_a_moment_that_has_not_come_is_no_moment() -> None:
    clock = ManualClock()
    now = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    later = now + timedelta(microseconds=1)
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        with pytest.raises(NotYet, match=r"Room/r has no version 1 yet: nothing has happened to it"):
            await runtime.state_of(ROOM, version=1)
        assert await runtime.state_of(ROOM, version=0, position=0, at=now) == Room.initial
        for trip in ("a", "b"):
            await runtime.ask(ROOM, Hold(trip))
        await runtime.ask(Room.at("other"), Hold("x"))
        assert (await runtime.state_of(ROOM, version=2, position=3, at=now)).held == ("a", "b")
        wrong: tuple[tuple[dict[str, Any], Any, str], ...] = (
            ({"version": 3}, 3, r"Room/r has no version 3 yet: its last one is 2"),
            ({"position": 4}, Position(4), "the journal has no position 4 yet: its last one is 3"),
            ({"at": later}, later, rf"at={re.escape(str(later))} has not come yet: it is {re.escape(str(now))}"),
        )
        for moment, same, text in wrong:
            with pytest.raises(NotYet, match=text):
                await runtime.state_of(ROOM, **moment)
            with pytest.raises(NotYet, match=text):
                await runtime.diff(ROOM, 1, same)
        with pytest.raises(ValueError, match="position=-1 is none"):
            await runtime.state_of(ROOM, position=-1)
        with pytest.raises(ValueError, match="position=-1 is none"):
            await runtime.diff(ROOM, Position(-1))
        clock.step(-60)  # or written by another owner, whose clock is ahead
        assert (await runtime.state_of(ROOM, at=now)).held == ("a", "b"), "an event's own time is a moment"
        with pytest.raises(NotYet):
            await runtime.state_of(ROOM, at=later)


async def test_state_of_sees_what_is_durable_and_no_more() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(ROOM, Hold("t1"))
        journal.hold()
        asked = asyncio.create_task(runtime.ask(ROOM, Hold("t2")))
        await journal.arrived.wait()
        assert (await runtime.state_of(ROOM)).held == ("t1",)
        journal.gate.set()
        await asked
        assert (await runtime.state_of(ROOM)).held == ("t1", "t2")


async def test_a_history_of_many_pages() -> None:
    count = 2 * PAGE + 1
    async with Runtime("memory:", ALL) as runtime:
        for number in range(count):
            await runtime.tell(ROOM, Hold(f"t{number}"))
        await quiet(runtime)
        entries = await history_of(runtime, ROOM)
        assert [entry.meta.version for entry in entries] == list(range(1, count + 1))
        assert [entry.event.trip for entry in entries] == [f"t{number}" for number in range(count)]
        assert (await runtime.state_of(ROOM, version=PAGE)).count == PAGE
        assert (await runtime.state_of(ROOM)).count == count


async def test_the_history_says_what_caused_each_event() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(ROOM, Hold("t"), id="one")
        await runtime.ask(ROOM, Look(), id="look")
        first, second = await history_of(runtime, ROOM)
        assert (first.type, first.event.trip, first.command_id) == ("WasHeld", "t", "one")
        assert (first.meta.causation, first.meta.correlation, first.meta.event_id) == ("one", "one", "Room/r@1")
        assert (second.type, second.event, second.command_id) == ("service.handled", {}, "look")
        assert await history_of(runtime, Room.at("never")) == []


async def test_the_trail_of_a_saga_holds_everyone_in_order() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Room.at("flight"), Hold("a stranger"))
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "full"]))
        await runtime.ask(Room.at("flight"), Hold("another stranger"))
        trail = await runtime.trail(Trip.at("t"))
    assert [(entry.meta.actor, entry.type) for entry in trail] == [
        ("Trip", "saga.started"),
        ("Trip", "saga.asked"),
        ("Room", "WasHeld"),
        ("Trip", "saga.answered"),
        ("Trip", "saga.asked"),
        ("Trip", "saga.refused"),
        ("Trip", "saga.compensating"),
        ("Room", "WasReleased"),
        ("Trip", "saga.undone"),
        ("Trip", "saga.compensated"),
    ]
    assert [entry.meta.position for entry in trail] == list(range(2, 12))
    assert {entry.meta.correlation for entry in trail} == {"Trip/t"}
    causes = {entry.type: entry.meta.causation for entry in trail}
    assert causes["WasHeld"] == "Trip/t#flight"
    assert causes["WasReleased"] == "Trip/t!flight"
    assert causes["saga.undone"] == "Trip/t!flight"


async def test_the_trail_of_a_saga_ends_with_its_result() -> None:
    async with Runtime("memory:", ALL) as runtime:
        booked = await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        trail = await runtime.trail(Trip.at("t"))
        assert trail[-1].event == booked
        assert [entry.event for entry in trail if entry.meta.actor == "Room"] == [WasHeld("t"), WasHeld("t")]
        assert [entry.meta.position for entry in trail] == list(range(1, runtime.position + 1))


async def test_the_trail_of_a_saga_that_asked_a_saga_and_a_plain_actor() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("trip", Trip.at("child"), BookTrip(["flight"]))
        await self.ask("note", Desk.at(), Note("done"))
        return Held(1)

    Play.script = story
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Play.at("p"), Begin())
        trail = await runtime.trail(Play.at("p"))
        assert [entry.meta.position for entry in trail] == list(range(1, runtime.position + 1))
    assert {entry.meta.correlation for entry in trail} == {"Play/p"}


async def test_looking_at_whom_nobody_knows() -> None:
    async with Runtime("memory:", [Room]) as runtime:
        with pytest.raises(UnknownActor):
            await runtime.trail(Trip.at("t"))
        with pytest.raises(UnknownActor):
            await history_of(runtime, Trip.at("t"))


async def test_the_trail_of_sagas_that_ask_each_other_ends() -> None:
    async def story(self: Play, command: Begin) -> Held:
        other = "q" if self.key == "p" else "p"
        return await self.ask("other", Play.at(other), command)

    Play.script = story
    async with Runtime("memory:", ALL) as runtime:
        await runtime.tell(Play.at("p"), Begin())
        await quiet(runtime)
        trail = await runtime.trail(Play.at("p"))
    begun = [(key, kind) for key in "pq" for kind in ("saga.started", "saga.asked")]
    assert [(entry.meta.key, entry.type) for entry in trail] == [
        *begun,
        ("q", "saga.failed"),  # it would wait for the one that waits for it
        ("q", "saga.parked"),
        ("p", "saga.failed"),
    ]


async def test_only_a_service_has_a_state() -> None:
    async with Runtime("memory:", ALL) as runtime:
        anyone: Any = runtime
        for address in (Trip.at("t"), Desk.at()):
            with pytest.raises(NotTaken, match=f"{address} is no service"):
                await anyone.state_of(address)


async def test_a_moment_must_say_its_time_zone() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(ValueError, match="could be any time zone"):
            await runtime.state_of(ROOM, at=datetime(2020, 1, 1))  # noqa: DTZ001
