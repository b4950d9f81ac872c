"""Who asks in a circle is told the whole circle at once, and nobody else is. Failure 34: such asks time out silently.

What asks in these tests is told in a message: ``"Agent/b Agent/c"`` makes its receiver ask b to ask c.
"""

import asyncio
from typing import Any

import pytest

from actors import Actor, Address, AskCycle, Command, Failed, OutcomeUnknown, Parked, Pool, Saga
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, Desk, Held, Note, Play
from tests.runtime.crew import NOW_AND_THEN, Agent, Say
from tests.runtime.tools import HeldJournal, comes, of, quiet, restart_of


class Pass(Command[Any, str]):
    """Pass it on to the first of these, which passes it on; several to pass it to at once stand with a + between."""

    to: str = ""


def first_of(to: str) -> tuple[list[Address[Any]], Pass]:
    head, _, rest = to.partition(" ")
    return [Address(*name.split("/")) for name in head.split("+")], Pass(rest)


class Asker(Actor):
    restart = NOW_AND_THEN

    async def receive(self, message: Pass) -> str:
        if not message.to:
            return "end"
        addresses, rest = first_of(message.to)
        replies = await asyncio.gather(*(self.ask(address, rest) for address in addresses))
        return " ".join(replies)


class Twin(Asker):
    at_once = 2


class Worker(Asker):
    pool = Pool(3)


class Keyed(Asker):
    pool = Pool(3, by=lambda message: "always the same one")


class Teller(Actor):
    told = 0

    async def receive(self, message: Pass) -> str:
        Teller.told += 1
        if message.to:
            addresses, rest = first_of(message.to)
            for address in addresses:
                self.tell(address, rest)
        return "told"


class Story(Saga[Pass, str]):
    async def run(self, command: Pass) -> str:
        if not command.to:
            return "end"
        addresses, rest = first_of(command.to)
        return " ".join(await self.parallel(*(self.ask(str(address), address, rest) for address in addresses)))


EVERYONE: list[type] = [*ALL, Asker, Twin, Worker, Keyed, Teller, Story]


@pytest.mark.parametrize(
    ("first", "to", "circle"),
    [
        ("Asker/a", "Asker/a", "Asker/a -> Asker/a"),
        ("Asker/a", "Asker/b Asker/a", "Asker/a -> Asker/b -> Asker/a"),
        ("Asker/a", "Asker/b Asker/c Asker/a", "Asker/a -> Asker/b -> Asker/c -> Asker/a"),
        ("Asker/a", "Asker/b Asker/c Asker/b", "Asker/b -> Asker/c -> Asker/b"),
        ("Asker/a", "Asker/b Asker/c+Asker/a", "Asker/a -> Asker/b -> Asker/a"),
        ("Asker/a", "Story/s Asker/a", "Asker/a -> Story/s -> Asker/a"),
        ("Keyed/k", "Asker/b Keyed/k", "Keyed#0/k -> Asker/b -> Keyed#0/k"),
        ("Asker/a", "Worker/w Asker/a", "Asker/a -> Worker#1/w -> Asker/a"),
        ("Twin/t", "Asker/a Twin/t Twin/t", "Twin/t -> Asker/a -> Twin/t -> Twin/t"),
    ],
)
async def test_the_whole_circle_is_told_at_once(first: str, to: str, circle: str) -> None:
    """Through actors, pools and sagas; a saga on the way is parked, for no retry can help."""
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        saga = "Story" in to
        with pytest.raises(Failed if saga else AskCycle) as error:
            await runtime.ask(Address[Any](*first.split("/")), Pass(to))
        error_text = str(error.value)
        assert f"each would wait for the next for ever: {circle}; let one of them tell" in error_text
        if not saga:  # nobody has crashed for it
            assert await runtime.ask(Asker.at("a"), Pass()) == "end"


@pytest.mark.parametrize(
    ("to", "last", "circle"),
    [
        ("Asker/a Story/s", "s", "Story/s -> Asker/a -> Story/s"),
        ("Story/t Story/s", "t", "Story/s -> Story/t -> Story/s"),
        ("Story/t Story/u Story/s", "u", "Story/s -> Story/t -> Story/u -> Story/s"),
        (
            "Story/t Asker/a Story/u Asker/b Story/s",
            "u",
            "Story/s -> Story/t -> Asker/a -> Story/u -> Asker/b -> Story/s",
        ),
    ],
)
async def test_the_last_saga_in_a_circle_is_parked_and_says_so(to: str, last: str, circle: str) -> None:
    """At once; those before it try again, for a person may mend it."""
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE, clock=ManualClock()) as runtime:
        asked = asyncio.create_task(runtime.ask(Story.at("s"), Pass(to)))
        await quiet(runtime)
        with pytest.raises(Parked, match=f"no retry can help: each would wait for the next for ever: {circle};"):
            await runtime.result(Story.at(last))
        assert [record.stream for record in of(journal.records, "saga.parked")] == [("Story", last)]
    with pytest.raises((Parked, OutcomeUnknown)):
        await asked


@pytest.mark.parametrize("killed", ["t", "u", "s"])
async def test_a_circle_through_sagas_that_were_brought_back_is_found(killed: str) -> None:
    """One of them is killed while it waits for the last one, which then asks the first."""
    go = asyncio.Event()

    async def wait(desk: Desk, note: Note) -> str:
        await go.wait()
        try:
            return await desk.ask(Story.at("s"), Pass("Story/t Story/u Desk/d"))
        except AskCycle as cycle:
            found.append(str(cycle))
            raise

    found: list[str] = []
    Desk.script = wait
    async with Runtime("memory:", [*EVERYONE, Last], clock=ManualClock()) as runtime:
        asked = asyncio.create_task(runtime.ask(Story.at("s"), Pass("Story/t Story/u Last/l")))
        await comes(lambda: Desk.inbox)
        await runtime.kill(Story.at(killed))
        for _ in range(100):
            await asyncio.sleep(0)
        go.set()
        await quiet(runtime)
        with pytest.raises(Parked):
            await runtime.result(Story.at("u"))
    await asyncio.wait([asked])
    circle = "Story/s -> Story/t -> Story/u -> Last/l -> Desk/d -> Story/s"
    assert found == [f"each would wait for the next for ever: {circle}; let one of them tell instead of ask"]


class Last(Actor):
    async def receive(self, message: Pass) -> str:
        return await self.ask(Desk.at("d"), Note("wait"))


@pytest.mark.parametrize("more", [0, 1])
async def test_a_circle_is_found_by_a_saga_that_another_process_began(more: int) -> None:
    """The path stands in the journal: the saga in the middle goes on after a crash of the process."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Story.at("s"), Pass("Story/t Story/u Story/s")))
        await quiet(runtime)
    await asyncio.wait([asked])
    middle = next(n for n, record in enumerate(journal.records) if record.stream == ("Story", "t"))
    again = restart_of(journal.records[: middle + 1 + more])  # t has begun; and has asked u
    async with Runtime(again, EVERYONE, clock=clock) as runtime:
        await quiet(runtime)
        with pytest.raises(Parked, match="Story/s -> Story/t -> Story/u -> Story/s"):
            await runtime.result(Story.at("u"))


# -- no false alarm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "to", "reply"),
    [
        ("Asker/a", "Asker/b+Asker/c Asker/d", "end end"),
        ("Asker/a", "Asker/b+Asker/b+Asker/b", "end end end"),
        ("Story/s", "Asker/b+Story/t+Asker/c Asker/d", "end end end"),
        ("Story/s", "Story/t+Story/u Story/v", "end end"),
        ("Twin/t", "Twin/t", "end"),
        ("Twin/t", "Asker/a Twin/t", "end"),
        ("Worker/w", "Worker/w Worker/w", "end"),
        ("Worker/w", "Worker/w+Worker/w+Worker/w+Worker/w", "end end end end"),
        ("Worker/w", "Asker/a Worker/w Worker/x Worker/w", "end"),
    ],
)
async def test_what_is_no_circle_is_answered(first: str, to: str, reply: str) -> None:
    """Diamonds; several places at once, as long as one is free; the other workers of a pool."""
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        assert await runtime.ask(Address[Any](*first.split("/")), Pass(to)) == reply


async def test_a_pool_passes_a_message_to_a_worker_that_does_not_wait_for_it() -> None:
    """Whosever turn it is: here it would be the asker's own."""
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        for others in range(4):
            for _ in range(others):
                await runtime.ask(Worker.at("w"), Pass())
            assert await runtime.ask(Worker.at("w"), Pass("Worker/w Worker/w")) == "end"
        with pytest.raises(AskCycle, match=r"for ever: Worker#(\d)/w -> .*Worker#\1/w;"):
            await runtime.ask(Worker.at("w"), Pass("Worker/w Worker/w Worker/w"))


async def test_tells_make_no_circle() -> None:
    Teller.told = 0
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        assert await runtime.ask(Teller.at("a"), Pass("Teller/a Teller/b Teller/a Asker/c Teller/a")) == "told"
        await runtime.tell(Asker.at("d"), Pass("Teller/b Asker/d Asker/e"))
        await quiet(runtime)
    assert Teller.told == 6


async def test_a_task_that_outlives_its_message_may_ask_the_actor_that_it_came_from() -> None:
    """Nobody waits for that message any more, so there is no circle."""
    left: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later(desk: Desk) -> str:
        await go.wait()
        return await desk.ask(Desk.at("d"), Note("later"))

    async def leave(desk: Desk, note: Note) -> str:
        if note.text == "leave":
            left.append(asyncio.create_task(later(desk)))
        return note.text

    Desk.script = leave
    async with Runtime("memory:", EVERYONE) as runtime:
        assert await runtime.ask(Desk.at("d"), Note("leave")) == "leave"
        go.set()
        assert await left[0] == "later"


async def test_waiting_for_the_result_of_a_saga_that_waits_is_a_circle_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(agent: Agent, message: Say) -> str:
        return str(await runtime.result(Play.at("p")))

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("say", Agent.at("a"), Say("x"))
        return Held(1)

    monkeypatch.setattr(Agent, "script", script)
    monkeypatch.setattr(Play, "script", story)
    async with Runtime("memory:", [*ALL, Agent]) as runtime:
        with pytest.raises(Parked, match="Play/p -> Agent/a -> Play/p"):
            await runtime.ask(Play.at("p"), Begin())
