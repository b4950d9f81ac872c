"""Reminders that are set from outside, or by plain actors, for actors of every kind."""

import asyncio
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from actors import Actor, ActorMisuse, Command, Event, Failed, NotTaken, OutcomeUnknown, Service, State, UnknownActor
from actors.reminders import Remind
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Board, BookTrip, Desk, Hold, Lines, Note, Room, Trip
from tests.runtime.reminding import BELL, EVERYBODY, check_never_early, pass_time, seconds, strike, wind
from tests.runtime.tools import HeldJournal, node_of, restart_of, types_of

ROOM = Room.at("r")
DESK = Desk.at("d")


class Alarmed(Command["Sleeper", None]):
    """Remind yourself, as the test says."""

    how: str
    after: float = 0.0


class Woken(Command["Sleeper", None]):
    text: str


class Sleeper(Actor):
    """A plain actor that sets reminders for itself."""

    woken: ClassVar[list[tuple[str, str]]] = []

    async def receive(self, message: Alarmed | Woken) -> None:
        match message:
            case Woken(text):
                Sleeper.woken.append((text, self.message_id))
            case Alarmed("once", after):
                await self.remind("nap", Woken("once"), after=seconds(after))
            case Alarmed("often", after):
                await self.remind("nap", Woken("often"), every=seconds(after))
            case Alarmed("at", after):
                await self.remind("nap", Woken("at"), at=datetime.fromtimestamp(after, UTC))
            case Alarmed("wrong"):
                anything: Any = Hold("t")
                await self.remind("nap", anything, after=seconds(1))
            case Alarmed():
                await self.forget("nap")


@pytest.fixture(autouse=True)
def nobody_woken() -> None:
    Sleeper.woken.clear()


# -- to every kind ------------------------------------------------------------------------------------------------


async def test_for_a_service_a_saga_and_a_plain_actor() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.remind(ROOM, "hold", Hold("t"), after=seconds(5))
        await runtime.remind(Trip.at("t"), "go", BookTrip(["a", "b"]), after=seconds(6))
        await runtime.remind(DESK, "note", Note("hi"), at=datetime.fromtimestamp(clock.now() / 1e6 + 7, UTC))
        assert [(one.name, one.to, one.own) for one in await runtime.reminders(DESK)] == [("note", DESK, False)]
        await pass_time(runtime, clock, 4)
        assert types_of(journal.records, ROOM) == []
        await pass_time(runtime, clock, 3, 3)
        assert types_of(journal.records, ROOM) == ["WasHeld"]
        assert await runtime.result(Trip.at("t")) is not None
        assert [text for _, text in Desk.inbox] == ["hi"]
        await pass_time(runtime, clock, 100, 10)
        for address in (ROOM, Trip.at("t"), DESK):
            assert await runtime.reminders(address) == []
        assert await journal.sleeping() == []
    assert len(Desk.inbox) == 1
    check_never_early(journal.records)


async def test_it_is_durable_when_remind_returns_and_gone_when_forget_does() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.remind(DESK, "note", Note("hi"), after=seconds(5)))
        await journal.arrived.wait()
        assert not asked.done()
        journal.gate.set()
        await asked
        assert len(await journal.sleeping()) == 1
        await runtime.forget(DESK, "note")
        await runtime.forget(DESK, "note")
        assert await journal.sleeping() == []
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await runtime.remind(DESK, "note", Note("hi"), after=seconds(5))
        await pass_time(runtime, clock, 10)
    assert Desk.inbox == []


async def test_the_same_name_for_the_same_actor_replaces() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        for text in ("a", "b"):
            await runtime.remind(DESK, "note", Note(text), after=seconds(5))
        await runtime.remind(Desk.at("other"), "note", Note("c"), after=seconds(5))
        await runtime.remind(Desk.at(), "note", Note("d"), after=seconds(5))
        await pass_time(runtime, clock, 5)
    assert sorted(text for _, text in Desk.inbox) == ["b", "c", "d"]


async def test_an_interval_until_it_is_dropped() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "note", Note("tick"), every=seconds(10))
        await pass_time(runtime, clock, 35, 35)
        assert len(Desk.inbox) == 3
        assert len({id_ for id_, _ in Desk.inbox}) == 3
        await runtime.forget(DESK, "note")
        await pass_time(runtime, clock, 35, 35)
    assert len(Desk.inbox) == 3


async def test_what_nobody_takes_is_told_at_once() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Desk doesn't take Hold"):
            await anyone.remind(DESK, "x", Hold("t"), after=seconds(1))
        with pytest.raises(NotTaken):
            await anyone.remind(Board.at(), "x", Lines(), after=seconds(1))
        with pytest.raises(
            UnknownActor, match="no actor 'Bell' here, only Account, Board, Desk, Play, Room, Tour, Trip"
        ):
            await anyone.remind(BELL, "x", Hold("t"), after=seconds(1))
        with pytest.raises(UnknownActor):
            await runtime.forget(BELL, "x")
        with pytest.raises(UnknownActor):
            await runtime.reminders(BELL)
        with pytest.raises(ValueError, match="both after= and at="):
            await runtime.remind(DESK, "x", Note("x"), after=seconds(1), at=datetime.now(UTC))
    assert journal.records == []


async def test_a_thousand_for_each_actor() -> None:
    async with Runtime("memory:", ALL) as runtime:
        for n in range(1_000):
            await runtime.remind(DESK, f"{n}", Note("x"), after=seconds(5))
        with pytest.raises(Failed, match="1,000 reminders are pending"):
            await runtime.remind(DESK, "more", Note("x"), after=seconds(5))
        await runtime.remind(Desk.at("other"), "more", Note("x"), after=seconds(5))


async def test_a_user_may_have_reminders_of_his_own() -> None:
    class Chime(Event):
        pass

    class Toll(Command["Reminders", None]):
        pass

    class Reminders(Service[State, Toll, Chime]):
        initial = State()

        def decide(self, state: State, command: Toll) -> Any:
            return command.reply(None, Chime())

        def evolve(self, state: State, event: Chime) -> State:
            return state

    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [Reminders], clock=clock) as runtime:
        anyone: Any = runtime
        await anyone.remind(Reminders.at("x"), "x", Toll(), after=seconds(1))
        await pass_time(runtime, clock, 1)
    assert types_of(journal.records, Reminders.at("x")) == ["Chime"]


async def test_a_decision_may_remind_another_actor() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, Remind("mail", Note("later"), after=seconds(5), to=DESK), strike("a", 5))
        (mail, own) = await runtime.reminders(BELL)
        assert (mail.to, mail.command, own.to) == (DESK, Note("later"), BELL)
        await runtime.kill(BELL)
        await pass_time(runtime, clock, 5)
    assert [text for _, text in Desk.inbox] == ["later"]
    assert types_of(journal.records, BELL)[-1] == "service.reminded"


# -- plain actors -------------------------------------------------------------------------------------------------


async def test_a_plain_actor_reminds_itself() -> None:
    journal, clock = HeldJournal(), ManualClock()
    sleeper = Sleeper.at("s")
    async with Runtime(journal, [Sleeper], clock=clock) as runtime:
        await runtime.ask(sleeper, Alarmed("once", 5))
        assert len(await journal.sleeping()) == 1
        await pass_time(runtime, clock, 4.9)
        assert Sleeper.woken == []
        await pass_time(runtime, clock, 0.1)
        await runtime.ask(sleeper, Alarmed("at", clock.now() / 1e6 + 5))
        await runtime.ask(sleeper, Alarmed("often", 5))  # the same name: it replaces
        await pass_time(runtime, clock, 10, 10)
        await runtime.ask(sleeper, Alarmed("forget"))
        await pass_time(runtime, clock, 10, 10)
        with pytest.raises(Failed, match="Sleeper doesn't take Hold"):
            await runtime.ask(sleeper, Alarmed("wrong"))
    assert [text for text, _ in Sleeper.woken] == ["once", "often", "often"]


async def test_a_plain_actor_gets_it_again_with_the_same_id_after_a_crash() -> None:
    """At least once: wherever the node dies."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [Sleeper], clock=clock) as runtime:
        await runtime.ask(Sleeper.at("s"), Alarmed("once", 5))
        await pass_time(runtime, clock, 5)
    assert types_of(journal.records, type(DESK)("runtime.reminders", "Sleeper/s")) == [
        "service.reminder", "service.reminded",
    ]  # fmt: skip
    ((_, first),) = Sleeper.woken
    again = restart_of(journal.records[:1])
    async with Runtime(again, [Sleeper], clock=clock) as runtime:
        await pass_time(runtime, clock, 1)
    assert Sleeper.woken == [("once", first)] * 2
    async with Runtime(restart_of(again.records), [Sleeper], clock=clock) as runtime:
        await pass_time(runtime, clock, 100)
    assert len(Sleeper.woken) == 2


async def test_killing_who_keeps_them_sends_no_second_copy() -> None:
    clock, begun, go = ManualClock(), asyncio.Event(), asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        begun.set()
        await go.wait()
        return "done"

    Desk.script = play
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "note", Note("hi"), after=seconds(5))
        clock.advance(5)
        await begun.wait()
        keeper = type(DESK)("runtime.reminders", "Desk/d")
        for _ in range(3):
            await runtime.kill(keeper)
            await runtime.reminders(DESK)
            clock.advance(100)
        node = node_of(runtime)
        cell = node.find(keeper)
        assert cell is not None
        node.release(cell)  # it may not go: something is under way
        assert node.find(keeper) is cell
        go.set()
        await pass_time(runtime, clock, 100, 10)
        assert await runtime.reminders(DESK) == []
    assert len(Desk.inbox) == 1


async def test_one_that_is_replaced_while_it_is_under_way_comes_too() -> None:
    clock, begun, go = ManualClock(), asyncio.Event(), asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        begun.set()
        await go.wait()
        return "done"

    Desk.script = play
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "note", Note("first"), after=seconds(5))
        clock.advance(5)
        await begun.wait()
        await runtime.remind(DESK, "note", Note("second"), after=seconds(5))
        go.set()
        await pass_time(runtime, clock, 4)
        assert [text for _, text in Desk.inbox] == ["first"]
        await pass_time(runtime, clock, 1)
        assert [text for _, text in Desk.inbox] == ["first", "second"]


async def test_who_keeps_them_may_be_awake_before_they_are_due() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.remind(DESK, "note", Note("later"), after=seconds(5))
        await runtime.remind(DESK, "now", Note("now"), after=seconds(0))
        await runtime.kill(type(DESK)("runtime.reminders", "Desk/d"))
        assert len(await runtime.reminders(DESK)) >= 1
        await pass_time(runtime, clock, 4.9)
        assert [text for _, text in Desk.inbox] == ["now"]
        await pass_time(runtime, clock, 0.1)
    assert [text for _, text in Desk.inbox] == ["now", "later"]


async def test_an_actor_without_a_runtime_says_so() -> None:
    with pytest.raises(ActorMisuse, match="Sleeper is not run by a runtime"):
        await Sleeper("s").remind("nap", Woken("x"), after=seconds(1))
    with pytest.raises(ActorMisuse):
        await Sleeper("s").forget("nap")
