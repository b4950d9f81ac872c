"""Handlers that do what they should not: each ends in a clear outcome, harms only its own actor, and leaves no task."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors import Actor, Decision, DefinitionError, Failed, OutcomeUnknown, Parked
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Hold, Look, Room
from tests.runtime.crew import CREW, HEARD, NOW_AND_THEN, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, node_of, quiet

EVERYONE = [*ALL, *CREW]
BOTH = pytest.mark.parametrize("cls", CREW, ids=lambda cls: cls.__name__)


class Panic(BaseException):
    """What a library that is written in another language raises."""


def raises(error: BaseException) -> Callable[[], Any]:
    def play() -> Any:
        raise error

    return play


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing returned": (lambda: None, "TypeError: Say declares the reply str, but nothing was returned"),
    "wrong type": (lambda: 7, "TypeError: Say declares the reply str, but it was a int"),
    "class": (lambda: str, "TypeError: Say declares the reply str, but it was the class str"),
    "error": (raises(ValueError("a bug")), "ValueError: a bug"),
    "own BaseException": (raises(Panic("at the bottom")), "Panic: at the bottom"),
    "GeneratorExit": (raises(GeneratorExit()), "GeneratorExit: "),
    "StopIteration": (raises(StopIteration(1)), ""),
    "CancelledError": (raises(asyncio.CancelledError()), "CancelledError: "),
}


def scripted(cls: type[Any], bad: Callable[[], Any]) -> None:
    """Let an actor do something bad when it is told so."""

    def play(actor: Any, message: Any) -> Any:
        return bad() if message.text == "bad" else message.text

    async def play_later(actor: Any, message: Any) -> Any:
        return play(actor, message)

    if cls is Clerk:
        Clerk.script = play
    else:
        Agent.script = play_later


async def ends_clearly(runtime: Runtime, clock: ManualClock, cls: type[Any], text: str) -> None:
    """Check that the asker is told, that others go on, and that the actor starts again and goes on with its mail."""
    bad = asyncio.create_task(runtime.ask(cls.at("b"), Say("bad")))
    behind = asyncio.create_task(runtime.ask(cls.at("b"), Say("behind")))
    assert await runtime.ask(cls.at("other"), Say("good")) == "good"
    with pytest.raises(Failed, match=rf"{cls.__name__}/b failed at Say: {text}"):
        await bad
    assert not behind.done()
    clock.advance(2)
    assert await behind == "behind"
    counts = node_of(runtime).directory.cell(cls.at("b")).kind.counts
    assert (counts.failures, counts.restarts) == (1, 1)


@BOTH
@pytest.mark.parametrize("what", BAD)
async def test_whatever_a_handler_does_its_asker_is_told_and_it_starts_again(cls: type[Any], what: str) -> None:
    bad, text = BAD[what]
    scripted(cls, bad)
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        await ends_clearly(runtime, clock, cls, text)


@BOTH
async def test_a_poison_message_harms_only_its_own_actor(cls: type[Any]) -> None:
    """It is not handled again and again: each one costs a restart, then the actor is parked. Failure 22."""
    scripted(cls, raises(ValueError("poison")))
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        for _ in range(10):
            runtime.tell(cls.at("b"), Say("bad"))
        for _ in range(10):
            await quiet(runtime)
            clock.advance(2)
            assert await runtime.ask(cls.at("other"), Say("good")) == "good"
        assert HEARD.count(("b", "bad")) == 3  # as its policy says: two restarts
        assert node_of(runtime).dead_letters.count == 10
        with pytest.raises(Parked, match="poison"):
            await runtime.ask(cls.at("b"), Say("good"))


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("where", ["receive", "started", "stopped"])
async def test_a_coroutine_where_nobody_awaits_it_is_said(asked: bool, where: str) -> None:
    """It is closed as well, so Python has nothing to warn of."""

    async def forgotten() -> str:
        return "never"

    class Sync(Actor):
        restart = NOW_AND_THEN

        def started(self) -> Any:
            return forgotten() if where == "started" else None

        def receive(self, message: Say) -> Any:
            return forgotten() if where == "receive" else message.text

        def stopped(self) -> Any:
            return forgotten() if where == "stopped" else None

    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Sync], clock=clock) as runtime:
        if asked:
            reply = asyncio.create_task(runtime.ask(Sync.at("s"), Say("x")))
            for _ in range(5):
                await quiet(runtime)
                clock.advance(2)
            error = (await asyncio.gather(reply, return_exceptions=True))[0]
            assert ("x" if where == "stopped" else f"{where} returned a coroutine") in str(error)
        else:
            runtime.tell(Sync.at("s"), Say("x"))
            await quiet(runtime)
        assert await runtime.ask(Clerk.at("c"), Say("good")) == "good"


def test_what_can_not_work_is_said_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match=r"Hooked.started is async, but receive is not"):

        class Hooked(Actor):  # pyright: ignore[reportUnusedClass]
            def receive(self, message: Say) -> str:
                return ""

            async def started(self) -> None: ...

    with pytest.raises(DefinitionError, match=r"Streams.receive yields; it has one reply"):

        class Streams(Actor):  # pyright: ignore[reportUnusedClass]
            async def receive(self, message: Say) -> AsyncIterator[str]:
                yield ""

    with pytest.raises(DefinitionError, match=r"Yields.receive yields; it has one reply"):

        class Yields(Actor):  # pyright: ignore[reportUnusedClass]
            def receive(self, message: Say) -> Any:
                yield ""


# -- services -------------------------------------------------------------------------------------------------------

REPLY = "Look declares the reply int, but"
WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nothing returned": (lambda command: None, r"Room.decide must return command.reply\(...\), not None"),
    "class": (lambda command: Decision, r"Room.decide must return command.reply\(...\), not the class Decision"),
    "wrong type": (lambda command: Decision("seven", ()), f"{REPLY} it was a str"),
    "no reply": (lambda command: command.reply(None), f"{REPLY} nothing was returned"),
    "error": (lambda command: 1 / 0, "division by zero"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("request_id", [None, "one"])
async def test_a_decision_that_can_not_be_is_a_failure_and_no_crash(
    what: str, request_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, text = WRONG[what]
    decide = Room.decide

    def decide_wrong(self: Room, state: Any, command: Any) -> Any:
        return wrong(command)

    monkeypatch.setattr(Room, "decide", decide_wrong)
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        with pytest.raises(Failed, match="Room/r failed at Look: " if request_id else text):
            await runtime.ask(Room.at("r"), Look(), id=request_id)
        monkeypatch.setattr(Room, "decide", decide)
        assert await runtime.ask(Room.at("r"), Look(), id=request_id) == 0
        assert node_of(runtime).directory.cell(Room.at("r")).kind.counts.failures == 0


async def test_a_decide_that_is_async_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def decide_later() -> None: ...

    returned = decide_later()

    def decide(self: Room, state: Any, command: Any) -> Any:
        return returned

    monkeypatch.setattr(Room, "decide", decide)
    async with Runtime("memory:", EVERYONE) as runtime:
        with pytest.raises(Failed, match="not a coroutine; write def decide, without async"):
            await runtime.ask(Room.at("r"), Look())
    assert inspect.getcoroutinestate(returned) == inspect.CORO_CLOSED  # or Python would warn of it


@pytest.mark.parametrize("error", [Panic("at the bottom"), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("where", ["decide", "evolve", "replay", "__init__"])
async def test_a_panic_of_a_service_harms_only_itself(
    where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        if where in ("replay", "__init__"):
            await runtime.kill(Room.at("r"))
        method = "evolve" if where == "replay" else where

        def panics(self: Any, *args: Any) -> Any:
            if method == "__init__" and args[0] != "r":
                self.key = args[0]
                return None
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Room, method, panics)
            asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("u")))
            await quiet(runtime)
            with pytest.raises((Parked, OutcomeUnknown), match=r"Room/r is parked|Room/r crashed"):
                await asked
        assert await runtime.ask(Room.at("other"), Hold("t"))
        clock.advance(61)
        assert await runtime.ask(Room.at("r"), Look()) == 1
