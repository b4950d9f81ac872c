"""Actors that can't begin or end, take too long, or won't go: a clear outcome, and nobody else is harmed."""

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, ActorMisuse, Failed, Parked
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Hold, Room
from tests.runtime.crew import CREW, HEARD, NOW_AND_THEN, Agent, Clerk, Say
from tests.runtime.test_bad_input import Panic, raises, scripted
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

EVERYONE = [*ALL, *CREW]


# -- the beginning and the end --------------------------------------------------------------------------------------


class Fragile(Actor):
    """Breaks where the test says; async, so that its hooks may wait."""

    restart = NOW_AND_THEN
    time_limit = timedelta(seconds=5)
    where: ClassVar[str] = ""
    how: ClassVar[Any] = None
    ended: ClassVar[int] = 0

    def __init__(self, key: str) -> None:
        super().__init__(key)
        if self.where == "__init__":
            Fragile.how()

    async def started(self) -> None:
        if self.where == "started":
            await Fragile.how()

    async def receive(self, message: Say) -> str:
        return message.text

    async def stopped(self) -> None:
        Fragile.ended += 1
        if self.where == "stopped":
            await Fragile.how()


async def never() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("can't")


async def panics() -> None:
    raise Panic("can't")


@pytest.mark.parametrize(
    ("where", "how", "text"),
    [
        ("__init__", raises(ValueError("can't")), "can't"),
        ("__init__", raises(Panic("can't")), "can't"),
        ("started", fails, "can't"),
        ("started", panics, "can't"),
        ("started", never, "it took longer than 0:00:05, the actor's time_limit"),
    ],
)
async def test_one_that_can_not_begin_is_parked_and_others_go_on(where: str, how: Any, text: str) -> None:
    """A restart loop is bounded. Failure 23."""
    Fragile.where, Fragile.how = where, how
    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Fragile], clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Fragile.at("f"), Say("x")))
        for _ in range(10):
            for _ in range(10):
                await asyncio.sleep(0)
            assert await runtime.ask(Agent.at("other"), Say("good")) == "good"
            clock.advance(3)
            if asked.done():
                break
        with pytest.raises(Parked, match=text):
            await asked
        counts = node_of(runtime).directory.cell(Fragile.at("f")).kind.counts
        assert (counts.failures, counts.restarts, counts.turns) == (3, 2, 0)
        Fragile.where = ""
        clock.advance(61)
        assert await runtime.ask(Fragile.at("f"), Say("x")) == "x"


@pytest.mark.parametrize("how", [fails, panics, never])
async def test_one_that_can_not_end_has_ended_all_the_same(how: Any, caplog: pytest.LogCaptureFixture) -> None:
    Fragile.where, Fragile.how, Fragile.ended = "stopped", how, 0
    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Fragile], clock=clock) as runtime:
        assert await runtime.ask(Fragile.at("f"), Say("x")) == "x"
        await quiet(runtime)
        node_of(runtime).release(node_of(runtime).directory.cell(Fragile.at("f")))
        await comes(lambda: Fragile.ended)
        again = asyncio.create_task(runtime.ask(Fragile.at("f"), Say("y")))  # the next one waits for its end
        for _ in range(10):
            await asyncio.sleep(0)
        assert again.done() == (how is not never)
        clock.advance(61)
        assert await again == "y"
        Fragile.where = ""
    assert "actor failed at its end" in caplog.text


# -- those that take too long, or won't go --------------------------------------------------------------------------


class Slow(Actor):
    """Does what the test says, within five seconds."""

    restart = NOW_AND_THEN
    time_limit = timedelta(seconds=5)
    script: ClassVar[Any] = None

    async def receive(self, message: Say) -> str:
        HEARD.append((self.key, message.text))
        await asyncio.sleep(0)
        return str(await Slow.script()) if message.text == "bad" else message.text


async def swallows_once() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "too late"
    return ""


async def swallows_once_and_goes_on() -> str:
    await swallows_once()
    return await swallows_once()


async def cancels_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return ""


async def cancels_itself_and_returns() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


@pytest.mark.parametrize("script", [never, swallows_once, swallows_once_and_goes_on])
async def test_what_takes_too_long_is_cut_off(script: Any) -> None:
    """Also where it would not hear of it; what comes behind is not touched."""
    Slow.script = script
    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Slow], clock=clock) as runtime:
        bad = asyncio.create_task(runtime.ask(Slow.at("s"), Say("bad")))
        behind = asyncio.create_task(runtime.ask(Slow.at("s"), Say("behind")))
        await comes(lambda: HEARD)
        clock.advance(4)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not bad.done()
        for _ in range(3):
            clock.advance(11)
            for _ in range(10):
                await asyncio.sleep(0)
        with pytest.raises(Failed, match="TimeoutError: it took longer than 0:00:05, the actor's time_limit"):
            await bad
        assert await behind == "behind"
        assert HEARD == [("s", "bad"), ("s", "behind")]


async def test_one_that_cancels_itself_has_failed() -> None:
    Slow.script = cancels_itself
    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Slow], clock=clock) as runtime:
        bad = asyncio.create_task(runtime.ask(Slow.at("s"), Say("bad")))
        behind = asyncio.create_task(runtime.ask(Slow.at("s"), Say("behind")))
        await quiet(runtime)
        with pytest.raises(Failed, match="Slow/s failed at Say: CancelledError"):
            await bad
        clock.advance(2)
        assert await behind == "behind"


async def test_a_cancel_that_comes_after_its_message_hits_nobody_else() -> None:
    Slow.script = cancels_itself_and_returns
    async with Runtime("memory:", [*EVERYONE, Slow], clock=ManualClock()) as runtime:
        asked = [asyncio.create_task(runtime.ask(Slow.at("s"), Say(text))) for text in ("bad", "good", "bad", "good")]
        assert await asyncio.gather(*asked) == ["done", "good", "done", "good"]


async def test_a_handler_that_leaves_tasks_behind_keeps_nobody_waiting() -> None:
    """They are its own to end: the runtime closes without them, and they can't send any more."""
    left: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def leave(agent: Agent, message: Say) -> str:
        async def background() -> str:
            await go.wait()
            return await agent.ask(Clerk.at("c"), Say("late"))

        left.append(asyncio.create_task(background()))
        return "done"

    Agent.script = leave
    async with Runtime("memory:", EVERYONE) as runtime:
        assert await runtime.ask(Agent.at("a"), Say()) == "done"
    go.set()
    with pytest.raises(ActorMisuse, match=r"Agent is not run by a runtime .* or has ended"):
        await left[0]


@pytest.mark.parametrize("where", ["decide", "Clerk", "Agent"])
def test_an_interrupt_is_let_through(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the program, whoever's turn it was; the runtime closes, and the journal holds what was done before."""
    journal: list[HeldJournal] = []
    closed: list[str] = []

    async def main() -> None:
        journal.append(HeldJournal())
        async with Runtime(journal[0], EVERYONE) as runtime:
            await runtime.ask(Room.at("before"), Hold("t"))
            if where == "decide":

                def interrupt(self: Room, state: Any, command: Any) -> Any:
                    raise KeyboardInterrupt

                monkeypatch.setattr(Room, "decide", interrupt)
                runtime.tell(Room.at("r"), Hold("u"))
            else:
                cls = Clerk if where == "Clerk" else Agent
                scripted(cls, raises(KeyboardInterrupt()))
                runtime.tell(cls.at("c"), Say("bad"))
            try:
                await asyncio.Event().wait()
            finally:
                closed.append(where)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert closed == [where]
    assert [record.stream for record in journal[0].records] == [("Room", "before")]
