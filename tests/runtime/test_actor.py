"""Plain actors: their mail comes when its cause is durable, one at a time, at least once, with a stable id."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import pytest

from actors import Actor, Backoff, Command, Failed, Parked, Refused, RestartPolicy
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Desk, Held, Hold, Note, Play, Room, Trip
from tests.runtime.tools import HeldJournal, comes, content, of, quiet, restart_of


async def test_the_message_id_is_the_callers_or_a_fresh_one() -> None:
    async with Runtime("memory:", ALL) as runtime:
        assert await runtime.ask(Desk.at(), Note("a"), id="mine") == "A"
        await runtime.tell(Desk.at(), Note("b"), id="yours")
        await runtime.ask(Desk.at(), Note("c"))
        await runtime.ask(Desk.at(), Note("d"))
    (first, second, third, fourth) = [message for message, _ in Desk.inbox]
    assert (first, second) == ("mine", "yours")
    assert third
    assert third != fourth


async def test_the_message_id_of_a_sagas_step_is_the_same_at_every_try() -> None:
    tries = 0

    async def play(desk: Desk, note: Note) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("no line")
        if tries == 2:
            await asyncio.Event().wait()
        return "done"

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at(), Note("for the saga"))
        return Held(1)

    Desk.script, Play.script = play, story
    journal, clock = HeldJournal(), ManualClock()

    def tried(times: int) -> bool:
        return tries == times

    def failed(times: int) -> bool:
        return len(of(journal.records, "saga.failed")) == times

    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await comes(partial(failed, 1))
        clock.advance(5)
        await comes(partial(tried, 2))
        await runtime.kill(Desk.at())
        assert await asked == Held(1)
    async with Runtime(restart_of(journal.records[:2]), ALL, clock=clock) as runtime:  # the intent is there, no outcome
        assert await runtime.result(Play.at("p")) == Held(1)
    assert {message for message, _ in Desk.inbox} == {"Play/p#note"}
    assert len(Desk.inbox) == 4
    assert "ConnectionError" in content(of(journal.records, "saga.failed")[0])["error"]


async def test_it_keeps_what_it_knows_between_messages_and_loses_it_in_a_crash() -> None:
    async def play(desk: Any, note: Note) -> str:
        desk.known = [*getattr(desk, "known", []), note.text]
        if note.text == "bug":
            raise ZeroDivisionError("a bug")
        return " ".join(desk.known)

    Desk.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        assert await runtime.ask(Desk.at(), Note("a")) == "a"
        assert await runtime.ask(Desk.at(), Note("b")) == "a b"
        assert await runtime.ask(Desk.at("other"), Note("c")) == "c"
        with pytest.raises(Failed, match="Desk failed at Note: ZeroDivisionError: a bug") as failed:
            await runtime.ask(Desk.at(), Note("bug"))
        assert isinstance(failed.value.__cause__, ZeroDivisionError)
        behind = asyncio.create_task(runtime.ask(Desk.at(), Note("d")))
        await quiet(runtime)
        assert not behind.done()  # it is started again after a pause
        clock.advance(2)
        assert await behind == "d"
        await runtime.kill(Desk.at())
        assert await runtime.ask(Desk.at(), Note("e")) == "e"


async def test_a_refusal_is_no_crash() -> None:
    async def play(desk: Any, note: Note) -> str:
        desk.known = getattr(desk, "known", 0) + 1
        if desk.known == 1:
            raise Refused("not now")
        return str(desk.known)

    Desk.script = play
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Refused, match="not now"):
            await runtime.ask(Desk.at(), Note("a"))
        assert await runtime.ask(Desk.at(), Note("b")) == "2"


async def test_the_budget_of_restarts_spent_it_is_parked_and_others_go_on() -> None:
    async def play(desk: Desk, note: Note) -> str:
        if desk.key == "bad":
            raise ValueError("always")
        return "fine"

    Desk.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        with pytest.raises(Failed):
            await runtime.ask(Desk.at("bad"), Note("1"))
        clock.advance(2)
        second = asyncio.create_task(runtime.ask(Desk.at("bad"), Note("2")))
        third = asyncio.create_task(runtime.ask(Desk.at("bad"), Note("3")))
        with pytest.raises(Failed):
            await second
        for asked in (third, runtime.ask(Desk.at("bad"), Note("4"))):
            with pytest.raises(Parked, match="Desk/bad is parked: Desk/bad failed at Note: ValueError: always"):
                await asked
        assert await runtime.ask(Desk.at("good"), Note("1")) == "fine"
        assert runtime.parked() == {Desk.at("bad"): "Desk/bad failed at Note: ValueError: always"}
        await runtime.kill(Desk.at("bad"))
        with pytest.raises(Parked):
            await runtime.ask(Desk.at("bad"), Note("5"))
        runtime.unpark(Desk.at("bad"))
        assert runtime.parked() == {}
        with pytest.raises(Failed):
            await runtime.ask(Desk.at("bad"), Note("6"))
    assert [text for _, text in Desk.inbox] == ["1", "2", "1", "6"]


async def test_a_parked_actor_tries_again_by_itself_after_a_while() -> None:
    """After the faults have ended, all goes on, and nobody has to come. Failure 32."""
    outage = True

    async def play(desk: Desk, note: Note) -> str:
        if outage:
            raise ConnectionError("no line")
        return "sent"

    Desk.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        for _ in range(2):
            with pytest.raises(Failed):
                await runtime.ask(Desk.at(), Note("x"))
            clock.advance(2)
        with pytest.raises(Parked):
            await runtime.ask(Desk.at(), Note("x"))
        outage = False
        clock.advance(60)
        assert await runtime.ask(Desk.at(), Note("x")) == "sent"


async def test_restarts_are_counted_within_a_time() -> None:
    async def play(desk: Desk, note: Note) -> str:
        raise ValueError("always")

    Desk.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        for _ in range(5):
            with pytest.raises(Failed):
                await runtime.ask(Desk.at(), Note("x"))
            clock.advance(61)


async def test_it_asks_others() -> None:
    async def play(desk: Desk, note: Note) -> str:
        try:
            held = await desk.ask(Room.at(note.text), Hold("from the desk"))
            booked = await desk.ask(Trip.at("t"), BookTrip([note.text]))
        except Refused as refused:
            return f"sorry: {refused}"
        return f"{held.number} {booked.trip}"

    Desk.script = play
    async with Runtime("memory:", ALL) as runtime:
        assert await runtime.ask(Desk.at(), Note("r")) == "1 t"
        assert await runtime.ask(Desk.at(), Note("full")) == "sorry: full is full"


async def test_killed_while_it_asks_another_it_gets_the_message_again_and_asks_for_nothing_twice() -> None:
    async def play(desk: Desk, note: Note) -> str:
        return str((await desk.ask(Room.at("r"), Hold("from the desk"))).number)

    Desk.script = play
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Desk.at(), Note("x"), id="mine"))
        await journal.arrived.wait()
        await runtime.kill(Desk.at())
        await comes(lambda: len(Desk.inbox) == 2)
        journal.gate.set()
        assert await asked == "1"
        assert (await runtime.state_of(Room.at("r"))).held == ("from the desk",)
    assert [record.command for record in of(journal.records, "WasHeld")] == ["mine>1"]


# -- errors that nobody expects -------------------------------------------------------------------------------------


class Pass(Command["Gate", str]):
    broken: bool = False


class Gate(Actor):
    """Can't always begin: ``bad`` says which of its incarnations can't."""

    restart = RestartPolicy(restarts=2, backoff=Backoff(timedelta(seconds=1), jitter=0.0))
    bad: ClassVar[set[int]] = set()
    made: ClassVar[int] = 0

    def __init__(self, key: str) -> None:
        super().__init__(key)
        Gate.made += 1
        if Gate.made in Gate.bad:
            raise KeyError("GATE_URL is not set")

    async def receive(self, message: Pass) -> str:
        if message.broken:
            raise ValueError("broken")
        return "passed"


@pytest.fixture
def gate() -> type[Gate]:
    Gate.bad, Gate.made = set(), 0
    return Gate


async def test_one_that_can_not_begin_harms_nobody_else_and_is_parked_in_the_end(gate: type[Gate]) -> None:
    gate.bad = set(range(1, 4))
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [*ALL, gate], clock=clock) as runtime:
        journal.hold()
        held = asyncio.create_task(runtime.ask(Room.at("r"), Hold("x")))
        await journal.arrived.wait()
        passed = asyncio.create_task(runtime.ask(gate.at(), Pass()))  # it begins when the group is written
        await asyncio.sleep(0)
        journal.gate.set()
        assert (await held).number == 1
        for _ in range(2):
            await quiet(runtime)
            assert not passed.done()
            clock.advance(2)
        with pytest.raises(Parked, match="Gate is parked: 'GATE_URL is not set'"):
            await passed
        assert gate.made == 3
        assert (await runtime.ask(Room.at("r"), Hold("y"))).number == 2
        clock.advance(61)
        assert await runtime.ask(gate.at(), Pass()) == "passed"


async def test_one_that_can_not_begin_again_keeps_its_mail_and_no_timer_stops(gate: type[Gate]) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=5))
        return Held(1)

    Play.script = story
    gate.bad = {2}
    clock = ManualClock()
    async with Runtime("memory:", [*ALL, gate], clock=clock) as runtime:
        slept = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        with pytest.raises(Failed, match="broken"):
            await runtime.ask(gate.at(), Pass(broken=True))
        passed = asyncio.create_task(runtime.ask(gate.at(), Pass()))
        for _ in range(3):
            await quiet(runtime)
            clock.advance(2)
        assert await passed == "passed"
        assert await slept == Held(1)
        assert gate.made == 3


class Panic(BaseException):
    """What a library that is written in another language raises."""


async def waits_for_one_that_was_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.Event().wait())
    other.cancel()
    await other


async def panics() -> None:
    raise Panic("at the bottom")


@pytest.mark.parametrize("goes_wrong", [waits_for_one_that_was_cancelled, panics])
async def test_an_error_that_is_no_exception_is_a_failure_like_others(goes_wrong: Any) -> None:
    async def play(desk: Desk, note: Note) -> str:
        if note.text == "bad":
            await goes_wrong()
        return note.text

    Desk.script = play
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        bad = asyncio.create_task(runtime.ask(Desk.at(), Note("bad")))
        good = asyncio.create_task(runtime.ask(Desk.at(), Note("good")))
        other = asyncio.create_task(runtime.ask(Desk.at("other"), Note("good")))
        await quiet(runtime)
        with pytest.raises(Failed, match=r"Desk failed at Note: (CancelledError|Panic)"):
            await bad
        assert await other == "good"
        clock.advance(2)
        assert await good == "good"
