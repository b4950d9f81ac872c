"""Reminders that are set from outside, or by plain actors, for actors of every kind."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from actors import (
    Actor,
    ActorMisuse,
    Command,
    Event,
    Failed,
    Mailbox,
    NotTaken,
    OutcomeUnknown,
    Service,
    State,
    UnknownActor,
)
from actors.reminders import Remind
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
from tests.runtime.reminding import BELL, EVERYBODY, Strike, check_never_early, pass_time, strike, wind
from tests.runtime.tools import HeldJournal, check_once, content, node_of, of, quiet, restart_of, types_of

ROOM = Room.at("r")
DESK = Desk.at("d")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


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


# -- when it fails --------------------------------------------------------------------------------------------------


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
