"""Lives of plain actors: hooks, ends in order, new beginnings, and the ids of what they send."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from actors import RestartPolicy
from persistence import Batch
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Hold, Release, Room
from tests.runtime.company import (
    COMPANY,
    LOG,
    MADE,
    Ledger,
    Quick,
    Say,
    Slow,
    Stage,
    a_while,
    crash,
    in_memory,
)
from tests.runtime.tools import HeldJournal, comes, of, quiet

A: Any = Quick.at("a")
PLAIN: list[Any] = [Quick.at("a"), Slow.at("a")]
EITHER = pytest.mark.parametrize("one", PLAIN)

# -- hooks ----------------------------------------------------------------------------------------------------------


def lives(one: Any) -> list[str]:
    return [line.removeprefix(f"{one} ") for line in LOG if line in (f"{one} begins", f"{one} ends")]


@EITHER
@pytest.mark.parametrize(("end", "hooks"), [("stop", True), ("crash", True), ("kill", False), ("close", True)])
async def test_the_hooks_are_called_when_they_should(one: Any, end: str, hooks: bool) -> None:
    async with Runtime("memory:", COMPANY, clock=ManualClock()) as runtime:
        assert lives(one) == []
        await runtime.ask(one, Say("hello"))
        assert lives(one) == ["begins"]
        if end == "kill":
            await runtime.kill(one)
        elif end != "close":
            runtime.tell(one, Say(end))
        if end != "close":
            await quiet(runtime)
            assert lives(one)[:2] == (["begins", "ends"] if hooks else lives(one)[:2])
            LOG.clear()
            LOG.append(f"{one} begins")
    assert lives(one)[-1] == "ends" if end == "close" else True


async def test_mail_waits_until_it_has_started_and_while_the_old_one_stops() -> None:
    start, stop = asyncio.Event(), asyncio.Event()

    class Careful(Slow):
        async def started(self) -> None:
            await start.wait()
            await super().started()

        async def stopped(self) -> None:
            await stop.wait()
            await super().stopped()

    one = Careful.at("c")
    async with Runtime("memory:", [Careful]) as runtime:
        first = asyncio.create_task(runtime.ask(one, Say("stop")))
        await a_while()
        assert LOG == []
        start.set()
        assert await first == "stop"
        second = asyncio.create_task(runtime.ask(one, Say("again")))
        await a_while()
        assert not second.done()
        assert lives(one) == ["begins"]
        stop.set()
        assert await second == "again"
        assert lives(one) == ["begins", "ends", "begins"]


async def test_one_that_hangs_while_it_stops_can_be_killed() -> None:
    class Stuck(Slow):
        time_limit = None

        async def stopped(self) -> None:
            if MADE["Stuck/s"] == 1:
                await asyncio.Event().wait()

    one = Stuck.at("s")
    async with Runtime("memory:", [Stuck]) as runtime:
        assert await runtime.ask(one, Say("stop")) == "stop"
        again = asyncio.create_task(runtime.ask(one, Say("again")))
        await a_while()
        assert not again.done()
        await runtime.kill(one)
        assert await again == "again"


@EITHER
async def test_what_it_says_at_its_end_is_heard_also_when_the_runtime_closes(one: Any) -> None:
    base: Any = COMPANY[0] if one.actor == "Quick" else COMPANY[1]

    class Polite(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        def stopped(self) -> Any:
            self.tell(Ledger.at("l"), Say("goodbye"))
            self.tell(Quick.at("gone"), Say("nobody hears this"))
            return asyncio.sleep(0) if one.actor == "Slow" else None

    class Distant(HeldJournal):
        """Takes a while to write."""

        async def append(self, batches: Sequence[Batch]) -> int:
            await a_while()
            return await super().append(batches)

    journal = Distant()
    polite: Any = Polite.at("p")
    async with Runtime(journal, [*COMPANY, Polite]) as runtime:
        await runtime.ask(polite, Say("hello"))
    assert len(of(journal.records, "Said")) == 1


# -- to stop --------------------------------------------------------------------------------------------------------


@EITHER
async def test_mail_that_comes_after_a_stop_begins_a_new_one_and_none_is_lost(one: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        asked = [asyncio.create_task(runtime.ask(one, Say(text))) for text in ("1", "stop", "2", "3", "stop", "4")]
        assert [await task for task in asked] == ["1", "1 stop", "2", "2 3", "2 3 stop", "4"]
        assert lives(one) == ["begins", "ends", "begins", "ends", "begins"]
        await runtime.ask(one, Say("stop"))
        await quiet(runtime)
        assert str(one) not in in_memory(runtime)


@EITHER
async def test_to_stop_while_no_message_is_handled_is_a_mistake(one: Any) -> None:
    base: Any = COMPANY[0] if one.actor == "Quick" else COMPANY[1]

    class Early(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        restart = RestartPolicy(restarts=0)

        def started(self) -> Any:
            self.stop()

    early: Any = Early.at("e")
    async with Runtime("memory:", [Early], clock=ManualClock()) as runtime:
        with pytest.raises(Exception, match="handles no message now, after which it could stop"):
            await runtime.ask(early, Say("x"))


# -- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message_id", ["mine", None])
async def test_what_it_tells_and_asks_for_a_message_that_comes_again_takes_effect_once(message_id: str | None) -> None:
    tries = 0

    async def play(actor: Any, message: Say) -> str:
        nonlocal tries
        tries += 1
        actor.tell(Room.at("r"), Hold("told"))
        held = await actor.ask(Room.at("r"), Hold("asked"))
        await actor.ask(Room.at("r"), Release("asked"), id="by name" if message_id else None)
        if tries < 3:
            await asyncio.Event().wait()
        return str(held.number)

    Stage.play = play
    journal = HeldJournal()
    async with Runtime(journal, [*ALL, *COMPANY]) as runtime:
        asked = asyncio.create_task(runtime.ask(Slow.at("s"), Say("x"), id=message_id))
        for times in (1, 2):
            await comes(lambda times=times: tries == times and len(journal.records) == 3)  # type: ignore[misc]
            await a_while()
            await runtime.kill(Slow.at("s"))
        assert await asked == "2"
        assert (await runtime.state_of(Room.at("r"))).held == ("told",)
    assert len(journal.records) == 3
    commands = [record.command for record in journal.records]
    if message_id:
        assert commands == ["mine>1", "mine>2", "by name"]


async def test_ids_of_a_synchronous_ones_tells_follow_from_its_messages() -> None:
    def play(actor: Any, message: Say) -> str:
        actor.tell(Room.at("r"), Hold("1"))
        actor.tell(Room.at("r"), Hold("2"), id="named")
        actor.tell(Room.at("r"), Hold("3"))
        return ""

    Stage.play = play
    journal = HeldJournal()
    async with Runtime(journal, [*ALL, *COMPANY], clock=ManualClock()) as runtime:
        for _ in range(3):
            await runtime.ask(A, Say("x"), id="mine")
        await crash(runtime, A)
        await quiet(runtime)
        assert (await runtime.state_of(Room.at("r"))).held == ("1", "2", "3")
    assert [record.command for record in journal.records] == ["mine>1", "named", "mine>2"]
