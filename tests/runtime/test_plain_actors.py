"""Plain actors at work: their state, their order, what they tell each other, several messages at once."""

import asyncio
from typing import Any

import pytest

from actors import ActorMisuse, Command, Failed, MailboxFull, NotTaken, Refused
from runtime import ManualClock, Runtime
from tests.runtime.company import (
    COMPANY,
    INSIDE,
    LOG,
    MADE,
    OFTEN,
    Ledger,
    Quick,
    Say,
    Slow,
    Stage,
    a_while,
    passes,
)
from tests.runtime.tools import comes, node_of, quiet

A: Any = Quick.at("a")
PLAIN: list[Any] = [Quick.at("a"), Slow.at("a")]
EITHER = pytest.mark.parametrize("one", PLAIN)

# -- receive --------------------------------------------------------------------------------------------------------


@EITHER
async def test_it_keeps_its_state_between_messages_and_loses_it_with_its_life(one: Any) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        assert await runtime.ask(one, Say("1")) == "1"
        await runtime.tell(one, Say("2"))
        assert await runtime.ask(one, Say("3")) == "1 2 3"
        with pytest.raises(Refused, match="no"):
            await runtime.ask(one, Say("refuse"))
        assert await runtime.ask(one, Say("4")) == "1 2 3 refuse 4"
        with pytest.raises(Failed, match=f"{one} failed at Say: ValueError: {one} trips") as failed:
            await runtime.ask(one, Say("crash"))
        assert isinstance(failed.value.__cause__, ValueError)
        waits = asyncio.create_task(runtime.ask(one, Say("5")))
        await quiet(runtime)
        assert not waits.done()
        await passes(runtime, clock, 1.1)
        assert await waits == "5"
        await runtime.kill(one)
        assert await runtime.ask(one, Say("6")) == "6"


@EITHER
async def test_replies_are_checked(one: Any) -> None:
    Stage.play = lambda actor, message: 7
    async with Runtime("memory:", COMPANY, clock=ManualClock()) as runtime:
        with pytest.raises(Failed, match="Say declares the reply str, but it was a int"):
            await runtime.ask(one, Say("x"))
        assert node_of(runtime).kind(one.actor).counts.failures == 1


@EITHER
async def test_what_one_tells_another_comes_in_order(one: Any) -> None:
    other = Quick.at("other")

    def play(actor: Any, message: Say) -> str:
        if actor.key == "a":
            for number in range(5):
                actor.tell(other, Say(f"{message.text}.{number}"))
        return ""

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        for number in range(100):
            runtime.tell(one, Say(str(number)))
        await quiet(runtime)
        Stage.play = None
        heard = (await runtime.ask(other, Say("?"))).split()[:-1]
        assert heard == [f"{number}.{part}" for number in range(100) for part in range(5)]


@pytest.mark.parametrize(("left", "right"), [(a, b) for a in ("Quick", "Slow") for b in ("Quick", "Slow")])
async def test_two_may_tell_each_other_for_ever_and_nobody_starves(left: str, right: str) -> None:
    make = {"Quick": Quick, "Slow": Slow}
    here, there = make[left].at("here"), make[right].at("there")

    def play(actor: Any, message: Say) -> str:
        if message.text.isdigit() and int(message.text) < 2_000:
            actor.tell(there if actor.key == "here" else here, Say(str(int(message.text) + 1)))
        return ""

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        for _ in range(3):
            runtime.tell(here, Say("0"))
        assert await runtime.ask(Ledger.at("other"), Say("still here")) == "still here"
        await quiet(runtime)
        assert sum(line.endswith(": 2000") for line in LOG) == 3


async def test_a_synchronous_one_can_not_ask() -> None:
    def play(actor: Any, message: Say) -> str:
        with pytest.raises(ActorMisuse, match=r"Quick can't ask Ledger/l: .* write async def receive, or tell it"):
            actor.ask(Ledger.at("l"), Say("x"))
        return "told so"

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        assert await runtime.ask(A, Say("x")) == "told so"


@EITHER
async def test_what_nobody_takes_is_told_at_once(one: Any) -> None:
    class Deaf(Command["Quick", None]):
        pass

    def play(actor: Any, message: Say) -> str:
        with pytest.raises(NotTaken):
            actor.tell(A, Deaf())
        return ""

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        await runtime.ask(one, Say("x"))


@EITHER
async def test_a_full_mailbox_is_told_to_the_actor_that_tells(one: Any) -> None:
    from actors import Mailbox

    class Small(Quick):
        mailbox = Mailbox(limit=3)

    told: list[str] = []

    def play(actor: Any, message: Say) -> str:
        if actor.key == "a":
            for _ in range(5):
                try:
                    actor.tell(Small.at("s"), Say("x"))
                    told.append("sent")
                except MailboxFull:
                    told.append("full")
        return ""

    Stage.play = play
    async with Runtime("memory:", [*COMPANY, Small]) as runtime:
        await runtime.ask(one, Say("go"))
    assert told == ["sent"] * 3 + ["full"] * 2


@pytest.mark.parametrize("how", ["receive", "stopped", "init"])
@EITHER
async def test_an_error_that_is_no_exception_harms_nobody_else(one: Any, how: str) -> None:
    class Panic(BaseException):
        pass

    bad = {"on": False}

    base: Any = COMPANY[0] if one.actor == "Quick" else COMPANY[1]

    class Wild(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        def __init__(self, key: str) -> None:
            super().__init__(key)  # pyright: ignore[reportUnknownMemberType]
            if bad["on"] and how == "init":
                raise Panic

        def stopped(self) -> Any:
            if bad["on"] and how == "stopped":
                raise Panic
            return None

    def play(actor: Any, message: Say) -> str:
        if bad["on"] and how == "receive" and isinstance(actor, Wild):
            raise Panic
        return ""

    Stage.play = play
    clock = ManualClock()
    wild: Any = Wild.at("w")
    async with Runtime("memory:", [*COMPANY, Wild], clock=clock) as runtime:
        await runtime.ask(wild, Say("hello"))
        bad["on"] = True
        runtime.tell(wild, Say("x"))
        runtime.tell(wild, Say("stop"))
        runtime.tell(wild, Say("behind"))
        assert await runtime.ask(Ledger.at("l"), Say("fine")) == "fine"
        await quiet(runtime)
        bad["on"] = False
        await passes(runtime, clock, 10)
        assert await runtime.ask(wild, Say("hello")) == ""
        assert await runtime.ask(one, Say("fine")) == ""
        bad["on"] = how == "stopped"  # also when the runtime closes


# -- several at once ------------------------------------------------------------------------------------------------


class Crew(Slow):
    at_once = 3
    restart = OFTEN


async def test_as_many_at_once_as_it_says_and_never_more() -> None:
    gates: dict[str, asyncio.Event] = {}

    async def play(actor: Any, message: Say) -> str:
        gates[message.text] = asyncio.Event()
        await gates[message.text].wait()
        return message.text

    Stage.play = play
    crew = Crew.at("c")
    async with Runtime("memory:", [Crew]) as runtime:
        asked: list[asyncio.Task[str]] = []
        for number in range(3):  # each while those before are in the middle of theirs
            asked.append(asyncio.create_task(runtime.ask(crew, Say(str(number)))))
            await a_while()
            assert INSIDE["Crew/c"] == number + 1
        asked += [asyncio.create_task(runtime.ask(crew, Say(str(number)))) for number in range(3, 9)]
        for number in range(9):
            await a_while()
            assert INSIDE["Crew/c"] == min(3, 9 - number)
            gates[str(number)].set()
            assert await asked[number] == str(number)


async def test_killed_it_gets_all_that_it_was_in_the_middle_of_again_in_order_with_the_same_ids() -> None:
    came: list[tuple[str, str]] = []
    gate = asyncio.Event()

    async def play(actor: Any, message: Say) -> str:
        came.append((message.text, actor.message_id))
        await gate.wait()
        return message.text

    Stage.play = play
    crew = Crew.at("c")
    async with Runtime("memory:", [Crew]) as runtime:
        asked = [asyncio.create_task(runtime.ask(crew, Say(str(number)))) for number in range(5)]
        await comes(lambda: len(came) == 3)
        await runtime.kill(crew)
        await comes(lambda: len(came) == 6)
        await runtime.kill(crew)
        await comes(lambda: len(came) == 9)
        gate.set()
        assert [await one for one in asked] == ["0", "1", "2", "3", "4"]
    assert came[:3] == came[3:6] == came[6:9]
    assert [text for text, _ in came[9:]] == ["3", "4"]
    assert MADE["Crew/c"] == 3


async def test_when_one_fails_its_siblings_finish_before_the_actor_begins_anew() -> None:
    gate, clock = asyncio.Event(), ManualClock()

    async def play(actor: Any, message: Say) -> str:
        if message.text != "quick":
            await gate.wait()
        return message.text

    Stage.play = play
    crew = Crew.at("c")
    async with Runtime("memory:", [Crew], clock=clock) as runtime:
        siblings = [asyncio.create_task(runtime.ask(crew, Say(text))) for text in "ab"]
        await a_while()
        with pytest.raises(Failed, match="trips"):
            await runtime.ask(crew, Say("crash"))
        behind = asyncio.create_task(runtime.ask(crew, Say("quick")))
        clock.advance(10)
        await a_while()
        assert not behind.done()
        assert MADE["Crew/c"] == 1
        gate.set()
        assert [await one for one in siblings] == ["a", "b"]
        assert await behind == "quick"
        assert [line for line in LOG if "begins" in line or "ends" in line] == [
            "Crew/c begins",
            "Crew/c ends",
            "Crew/c begins",
        ]
