"""Messages that nobody waits for and that were not handled: kept, counted, told once a burst, without their content."""

import asyncio
import logging
from typing import Any

import pytest

from actors import Address, Command, Mailbox, MailboxFull, NotTaken, Refused, UnknownActor
from runtime import ManualClock, Runtime
from runtime.dead_letters import KEPT, DeadLetters
from tests.runtime.cast import ALL, DOWN, Begin, Held, Hold, Odd, Play, Release, Room
from tests.runtime.crew import CREW, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

EVERYONE = [*ALL, *CREW]
SECRET = "4929 1234 5678 9012"


def letters(runtime: Runtime) -> list[tuple[str, str, str]]:
    found = node_of(runtime).dead_letters.recent
    return [(str(letter.address), letter.message, letter.error.partition("(")[0]) for letter in found]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "dead letter" in record.getMessage()]


PARKED: list[tuple[Address[Any], Any]] = [
    (Room.at("r"), Hold(SECRET)),
    (Clerk.at("c"), Say(SECRET)),
    (Agent.at("a"), Say(SECRET)),
]


@pytest.mark.parametrize(("address", "message"), PARKED, ids=str)
async def test_what_is_told_to_a_parked_actor(address: Any, message: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        runtime.tell(address, message)
        cell = node_of(runtime).directory.cell(address)
        cell.stop("parked")
        cell.park(ValueError("no use"))
        runtime.tell(address, message)
        await quiet(runtime)
        assert letters(runtime) == [(str(address), type(message).__name__, "Parked")] * 2
    assert SECRET not in caplog.text


async def test_what_is_told_and_refused_or_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    def play(clerk: Clerk, message: Any) -> str:
        raise Refused("no") if message.text == SECRET else ValueError("a bug")

    async def play_later(agent: Agent, message: Any) -> str:
        raise ValueError("a bug")

    Clerk.script, Agent.script = play, play_later
    DOWN.add("down")
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        tells: list[tuple[Any, Any]] = [
            (Room.at("r"), Release("x")),
            (Room.at("down"), Hold(SECRET)),
            (Room.at("r"), Odd("not a decision")),
            (Clerk.at("c"), Say(SECRET)),
            (Clerk.at("d"), Say("x")),
            (Agent.at("a"), Say(SECRET)),
        ]
        for address, message in tells:
            runtime.tell(address, message)
            await quiet(runtime)
        assert letters(runtime) == [
            ("Room/r", "Release", "Refused"),
            ("Room/down", "Hold", "Failed"),
            ("Room/r", "Odd", "Failed"),
            ("Clerk/c", "Say", "Refused"),
            ("Clerk/d", "Say", "Failed"),
            ("Agent/a", "Say", "Failed"),
        ]
    assert len(told(caplog)) == 6
    assert SECRET not in caplog.text


async def test_a_saga_that_is_told_to_begin_with_another_command() -> None:
    async def story(self: Play, command: Begin) -> Held:
        return Held(1)

    Play.script = story
    async with Runtime("memory:", EVERYONE) as runtime:
        await runtime.ask(Play.at("p"), Begin("one"))
        runtime.tell(Play.at("p"), Begin("another"))
        await quiet(runtime)
        assert letters(runtime) == [("Play/p", "Begin", "CommandIdReused")]


async def test_what_is_told_in_a_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def panics(self: Room, state: Any, command: Any) -> Any:
        raise Panic("at the bottom")

    monkeypatch.setattr(Room, "decide", panics)
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        runtime.tell(Room.at("r"), Hold("x"))
        await quiet(runtime)
        assert letters(runtime) == [("Room/r", "Hold", "OutcomeUnknown")]


async def test_what_was_told_and_is_lost_with_the_journal() -> None:
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        journal.hold()
        lost = asyncio.create_task(runtime.ask(Room.at("r"), Hold("x")))
        await journal.arrived.wait()
        await runtime.kill(Room.at("r"))
        runtime.tell(Room.at("r"), Hold("told"))  # waits for its recovery
        runtime.tell(Agent.at("a"), Say("told"))  # waits for its cause
        journal.fail = ["before"]
        journal.gate.set()
        await comes(lost.done)
        await quiet(runtime)
        assert sorted(letters(runtime)) == [("Agent/a", "Say", "Failed"), ("Room/r", "Hold", "Failed")]


async def test_overflow_drop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(Clerk, "mailbox", Mailbox(2, "drop"))
    async with Runtime("memory:", EVERYONE) as runtime:
        for _ in range(500):
            runtime.tell(Clerk.at("c"), Say(SECRET))
        assert letters(runtime) == [("Clerk/c", "Say", MailboxFull.__name__)] * 498
        assert node_of(runtime).dead_letters.count == 498
    assert len(told(caplog)) == 1
    assert SECRET not in caplog.text


class Strange(Command[Any, None]):
    text: str = SECRET


async def test_who_sends_what_nobody_takes_is_told_at_once() -> None:
    """No dead letter: the sender has the error, outside as well as in an actor."""
    errors: list[Exception] = []

    def play(clerk: Clerk, message: Say) -> str:
        wrong: list[tuple[Address[Any], Any]] = [(Room.at("r"), Strange()), (Address("Nobody", "n"), Say())]
        for address, strange in wrong:
            try:
                clerk.tell(address, strange)
            except (NotTaken, UnknownActor) as error:
                errors.append(error)
        return ""

    Clerk.script = play
    async with Runtime("memory:", EVERYONE) as runtime:
        for address in (Room.at("r"), Clerk.at("c"), Agent.at("a"), Play.at("p")):
            with pytest.raises(NotTaken, match=rf"{address.actor} doesn't take Strange, only ") as error:
                runtime.tell(address, Strange())
            assert SECRET not in str(error.value)
        with pytest.raises(UnknownActor, match="there is no actor 'Nobody' here, only Account, Agent, "):
            runtime.tell(Address[Any]("Nobody", "n"), Say())
        await runtime.ask(Clerk.at("c"), Say())
        assert [type(error) for error in errors] == [NotTaken, UnknownActor]
        assert letters(runtime) == []


def nobody(address: Address[Any], message: str, error: Exception) -> None:
    """Be told of a dead letter, and do nothing."""


def test_they_are_bounded_and_told_once_a_burst(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    dead = DeadLetters(clock, nobody)
    caplog.set_level(logging.WARNING)
    for _ in range(3 * KEPT):
        dead.add(Room.at("r"), Hold(SECRET), MailboxFull("full"))
    assert (len(dead.recent), dead.count) == (KEPT, 3 * KEPT)
    assert len(told(caplog)) == 1
    clock.advance(9)
    dead.add(Room.at("other"), Hold(SECRET), MailboxFull("full"))
    assert len(told(caplog)) == 1
    dead.add(Room.at("r"), Hold(SECRET), Refused("another sort"))
    assert len(told(caplog)) == 2
    clock.advance(2)
    dead.add(Room.at("r"), Hold(SECRET), MailboxFull("full"))
    assert len(told(caplog)) == 3
    assert f"untold_before={3 * KEPT}" in told(caplog)[-1]
    assert SECRET not in caplog.text
    assert SECRET not in repr(dead.recent)
    assert KEPT <= 10_000


def test_sorts_are_bounded_too() -> None:
    dead = DeadLetters(ManualClock(), nobody)
    for number in range(2 * KEPT):
        dead.add(Address[Any](f"Class{number}", ""), Hold("x"), MailboxFull("full"))
    assert len(dead._bursts._bursts) <= KEPT  # pyright: ignore[reportPrivateUsage]
