"""What plain actors put aside: it comes back in order, is answered once, and outlives the one who did."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import ActorMisuse, Failed, Mailbox, Refused
from runtime import ManualClock, Runtime
from tests.runtime.company import (
    COMPANY,
    LOG,
    MADE,
    Quick,
    Say,
    Slow,
    Stage,
    a_while,
    passes,
)
from tests.runtime.tools import quiet

PLAIN: list[Any] = [Quick.at("a"), Slow.at("a")]
EITHER = pytest.mark.parametrize("one", PLAIN)
SECOND = timedelta(seconds=1)


def said(one: Any) -> list[str]:
    return [line.removeprefix(f"{one}: ") for line in LOG if line.startswith(f"{one}: ")]


# -- stash ----------------------------------------------------------------------------------------------------------


def door(actor: Any, message: Say) -> str:
    """Opens at ``open``, shuts at ``shut``; what comes while it is shut is put aside."""
    if message.text == "open":
        actor.is_open = True
        actor.unstash()
    elif message.text == "shut":
        actor.is_open = False
    elif not getattr(actor, "is_open", False):
        actor.stash()
        return "nobody is told this"
    return f"in: {message.text}"


@EITHER
async def test_what_was_stashed_comes_back_in_order_before_all_else_and_askers_wait(one: Any) -> None:
    Stage.play = door
    async with Runtime("memory:", COMPANY) as runtime:
        asked = [asyncio.create_task(runtime.ask(one, Say(text))) for text in "123"]
        await quiet(runtime)
        assert not any(task.done() for task in asked)
        opened = asyncio.create_task(runtime.ask(one, Say("open")))
        behind = asyncio.create_task(runtime.ask(one, Say("behind")))
        assert [await task for task in asked] == ["in: 1", "in: 2", "in: 3"]
        assert (await opened, await behind) == ("in: open", "in: behind")
        assert said(one) == ["1", "2", "3", "open", "1", "2", "3", "behind"]


@EITHER
async def test_messages_that_are_alike_are_all_kept(one: Any) -> None:
    Stage.play = door
    async with Runtime("memory:", COMPANY) as runtime:
        for _ in range(5):
            runtime.tell(one, Say("same"))
        await quiet(runtime)
        await runtime.ask(one, Say("open"))
        await quiet(runtime)
        assert said(one) == ["same"] * 5 + ["open"] + ["same"] * 5


@EITHER
async def test_to_stash_twice_is_once(one: Any) -> None:
    def play(actor: Any, message: Say) -> str:
        if message.text == "x" and len(actor.heard) == 1:
            actor.stash()
            actor.stash()
        else:
            actor.unstash()
        return message.text

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        runtime.tell(one, Say("x"))
        await quiet(runtime)
        await runtime.ask(one, Say("go"))
        await quiet(runtime)
        assert said(one) == ["x", "go", "x"]


@EITHER
@pytest.mark.parametrize("end", ["kill", "crash", "stop"])
async def test_what_was_stashed_outlives_the_one_who_did(one: Any, end: str) -> None:
    Stage.play = door
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        asked = [asyncio.create_task(runtime.ask(one, Say(text))) for text in "123"]
        await quiet(runtime)
        if end == "kill":
            await runtime.kill(one)
        else:
            runtime.tell(one, Say(end))
        await quiet(runtime)
        await passes(runtime, clock, 1.1)
        assert MADE[str(one)] == 2
        assert not any(task.done() for task in asked)  # the new one's door is shut as well
        await runtime.ask(one, Say("open"))
        assert [await task for task in asked] == ["in: 1", "in: 2", "in: 3"]


async def test_killed_in_the_middle_the_stashed_come_first_as_they_had_come_first() -> None:
    one, gate = Slow.at("a"), asyncio.Event()

    async def play(actor: Any, message: Say) -> str:
        if MADE["Slow/a"] == 1:
            if message.text == "2":
                await gate.wait()
            actor.stash()
        return message.text

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        asked = [asyncio.create_task(runtime.ask(one, Say(text))) for text in "0123"]
        await a_while()
        await runtime.kill(one)
        assert [await task for task in asked] == ["0", "1", "2", "3"]
        assert said(one) == ["0", "1", "2", "0", "1", "2", "3"]


@EITHER
@pytest.mark.parametrize("error", [Refused, ValueError])
async def test_one_that_is_stashed_and_fails_has_failed(one: Any, error: type[Exception]) -> None:
    def play(actor: Any, message: Say) -> str:
        if message.text == "x":
            actor.stash()
            raise error("no")
        actor.unstash()
        return message.text

    Stage.play = play
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        with pytest.raises(Refused if error is Refused else Failed):
            await runtime.ask(one, Say("x"))
        await passes(runtime, clock, 1.1)
        runtime.tell(one, Say("x"))
        await quiet(runtime)
        await passes(runtime, clock, 2.1)
        assert await runtime.ask(one, Say("go")) == "go"
        await quiet(runtime)
        assert said(one) == ["x", "x", "go"]


@EITHER
async def test_as_much_is_stashed_as_the_mailbox_holds(one: Any) -> None:
    base: Any = COMPANY[PLAIN.index(one)]

    class Small(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        mailbox = Mailbox(limit=3)

    small: Any = Small.at("s")
    Stage.play = door
    clock = ManualClock()
    async with Runtime("memory:", [Small], clock=clock) as runtime:
        for text in "123":
            runtime.tell(small, Say(text))
            await quiet(runtime)
        with pytest.raises(Failed, match="has 3 messages stashed, which is the limit"):
            await runtime.ask(small, Say("4"))
        await passes(runtime, clock, 1.1)
        await runtime.ask(small, Say("open"))
        await quiet(runtime)
        assert said(small)[-3:] == ["1", "2", "3"]


@EITHER
async def test_there_must_be_a_message_to_stash(one: Any) -> None:
    base: Any = COMPANY[PLAIN.index(one)]

    class Early(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        def started(self) -> None:
            with pytest.raises(ActorMisuse, match="handles no message now, so there is none to stash"):
                self.stash()  # pyright: ignore[reportUnknownMemberType]
            self.unstash()  # pyright: ignore[reportUnknownMemberType]

    early: Any = Early.at("s")
    async with Runtime("memory:", [Early]) as runtime:
        assert await runtime.ask(early, Say("x")) == "x"
