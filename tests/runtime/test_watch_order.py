"""The order of watching: an end comes behind what was sent before it, ahead of all else, and is never lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, ActorMisuse, Address, Command, NotTaken, Passivation, UnknownActor
from runtime import ManualClock, Runtime
from runtime import plain_cell as limits
from tests.runtime.cast import Board
from tests.runtime.company import (
    COMPANY,
    LOG,
    Ledger,
    Quick,
    QuickWorker,
    Say,
    Slow,
    Stage,
    a_while,
    clear_the_stage,
    passes,
)
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

WATCHERS: list[Any] = [Quick.at("w"), Slow.at("w")]
WATCHED: list[Any] = [Quick.at("x"), Slow.at("x"), Ledger.at("x")]
EITHER = pytest.mark.parametrize("watcher", WATCHERS)
BOTH = pytest.mark.parametrize(("watcher", "other"), [(watcher, other) for watcher in WATCHERS for other in WATCHED])


def hears(watcher: Address[Any]) -> list[str]:
    """What the watcher was told of the ends of others."""
    begin = f"{watcher} hears "
    return [line.removeprefix(begin) for line in LOG if line.startswith(begin)]


async def watch(runtime: Runtime, watcher: Address[Any], *others: Address[Any]) -> None:
    for other in others:
        await runtime.ask(watcher, Say("watch", other))


# -- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("other", [Quick.at("x"), Slow.at("x")])
@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_the_end_comes_behind_what_was_sent_before_and_ahead_of_all_else(
    watcher: Any, other: Any, end: str, held: bool
) -> None:
    """Also where what was sent waits for the disk, on the way to an async watcher."""
    journal = HeldJournal()

    def last_words(actor: Any, message: Say) -> str:
        if message.text == "last words":
            actor.tell(Ledger.at("l"), Say("so that there is something to write"))
            for text in ("1", "2", "3"):
                actor.tell(watcher, Say(text))
            if end == "crash":
                raise ValueError("and this")
            actor.stop()
        return ""

    async with Runtime(journal, COMPANY, clock=ManualClock()) as runtime:
        await runtime.ask(Ledger.at("l"), Say("hello"))
        await runtime.ask(other, Say("hello"))
        await watch(runtime, watcher, other)
        Stage.play = last_words
        if held:
            journal.hold()
        LOG.clear()
        runtime.tell(other, Say("last words"))
        if held:
            await journal.arrived.wait()
            journal.gate.set()
        await quiet(runtime)
        heard = [line for line in LOG if line.startswith(str(watcher))]
        told = f"{watcher} hears {other} {'crashed' if end == 'crash' else 'finished'}"
        assert heard == [f"{watcher}: 1", f"{watcher}: 2", f"{watcher}: 3", told]


async def test_the_end_comes_ahead_of_others_mail() -> None:
    gate, watcher = asyncio.Event(), Slow.at("w")

    async def waits(actor: Any, message: Say) -> str:
        if message.text == "wait":
            await gate.wait()
        return ""

    async with Runtime("memory:", COMPANY) as runtime:
        await runtime.ask(Quick.at("x"), Say("hello"))
        await watch(runtime, watcher, Quick.at("x"))
        Stage.play = waits
        runtime.tell(watcher, Say("wait"))
        await comes(lambda: "Slow/w: wait" in LOG)
        LOG.clear()
        for sender, text in (("y", "before"), ("x", "own"), ("y", "between")):
            runtime.tell(Quick.at(sender), Say(text, watcher))
            await a_while()
        runtime.tell(Quick.at("x"), Say("stop"))
        await a_while()
        runtime.tell(Quick.at("y"), Say("behind", watcher))
        await a_while()
        gate.set()
        await quiet(runtime)
        lines = [line.removeprefix("Slow/w") for line in LOG if line.startswith("Slow/w")]
        assert lines == [": before", ": own", " hears Quick/x finished", ": between", ": behind"]


@EITHER
async def test_the_end_of_one_that_sent_nothing_comes_before_all_mail(watcher: Any) -> None:
    """Told while the watcher has much to do, it is handled next."""

    def play(actor: Any, message: Say) -> str:
        if message.text == "go" and actor.key == "w":
            actor.watch(Quick.at("dead"))
        return ""

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        for text in ("go", "1", "2"):
            runtime.tell(watcher, Say(text))
        await quiet(runtime)
        lines = [line for line in LOG if ":" in line or "hears" in line]
        assert lines == [f"{watcher}: go", f"{watcher} hears Quick/dead finished", f"{watcher}: 1", f"{watcher}: 2"]


async def test_one_that_is_leaving_the_memory_has_finished() -> None:
    gate, clock = asyncio.Event(), ManualClock()

    class Leaving(Slow):
        passivation = Passivation(idle=timedelta(seconds=1))

        async def stopped(self) -> None:
            await gate.wait()

    async with Runtime("memory:", [*COMPANY, Leaving], clock=clock) as runtime:
        watcher, leaving = Quick.at("w"), Leaving.at("x")
        await runtime.ask(leaving, Say("hello"))
        for _ in range(3):
            clock.advance(1)
            await a_while()
        await watch(runtime, watcher, leaving)
        assert hears(watcher) == []
        gate.set()
        await quiet(runtime)
        assert hears(watcher) == ["Leaving/x finished"]


# -- nothing is lost between watch and death --------------------------------------------------------------------------

STEPS = st.lists(st.sampled_from(["watch", "unwatch", "hello", "stop", "crash", "kill", "turn", "time"]), max_size=14)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(WATCHERS), st.sampled_from(WATCHED))
def test_whatever_comes_between_each_watch_is_answered_once(steps: list[str], watcher: Any, other: Any) -> None:
    asyncio.run(_watch_and_die(steps, watcher, other))


async def _watch_and_die(steps: list[str], watcher: Any, other: Any) -> None:
    clear_the_stage()
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        for step in steps:
            match step:
                case "watch" | "unwatch":
                    runtime.tell(watcher, Say(step, other))
                case "turn":
                    await asyncio.sleep(0)
                case "time":
                    clock.advance(2)
                case "kill":
                    await runtime.kill(other)
                case _ if other.actor == "Ledger" and step != "hello":
                    pass
                case _:
                    runtime.tell(other, Say(step))
        for _ in range(3):
            await passes(runtime, clock, 100)
        # What is still watched is alive, and its end is heard.
        watched, before = list(node_of(runtime).watches), len(hears(watcher))
        runtime.tell(other, Say("hello"))
        await quiet(runtime)
        await runtime.kill(other)
        await quiet(runtime)
        assert len(hears(watcher)) - before == len(watched)
        assert not list(node_of(runtime).watches)
        # Each watch is answered once, unless it was taken back, or came when one was under way.
        asked, taken_back = steps.count("watch"), steps.count("unwatch")
        assert len(hears(watcher)) <= asked
        assert hears(watcher) or not asked or taken_back


# -- what can't be watched --------------------------------------------------------------------------------------------


class Ping(Command["Deaf", str]):
    pass


class Deaf(Actor):
    def receive(self, message: Ping) -> str:
        with pytest.raises(NotTaken, match="Deaf watches Quick/x, so its receive must take Stopped as well"):
            self.watch(Quick.at("x"))
        return "said so"


async def test_one_that_does_not_take_stopped_can_not_watch() -> None:
    async with Runtime("memory:", [*COMPANY, Deaf]) as runtime:
        assert await runtime.ask(Deaf.at(), Ping()) == "said so"


@EITHER
async def test_only_what_can_end_is_watched_and_not_without_bound(watcher: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MOST_WATCHES", 3)
    answers: list[str] = []

    def play(actor: Any, message: Say) -> str:
        for address in (Board.at(), QuickWorker.at("x")):
            with pytest.raises(NotTaken, match="can't be watched"):
                actor.watch(address)
        with pytest.raises(UnknownActor):
            actor.watch(Address("Nobody", "x"))
        for number in range(3):
            actor.watch(Ledger.at(str(number)))
            actor.watch(Ledger.at(str(number)))
        with pytest.raises(ActorMisuse, match=f"{watcher} watches 3 others already; unwatch some"):
            actor.watch(Ledger.at("one too many"))
        actor.unwatch(Ledger.at("0"))
        actor.watch(Ledger.at("in its place"))
        answers.append("fine")
        return ""

    Stage.play = play
    async with Runtime("memory:", [*COMPANY, Board]) as runtime:
        await runtime.ask(watcher, Say("check"))
        assert answers == ["fine"]
