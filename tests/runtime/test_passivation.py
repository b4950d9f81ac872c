"""Actors that rest leave the memory, and come back as they were; those that are busy, or are needed, stay. P12."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, Address, Group, Passivation
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.cast import ALL, Account, Begin, BookTrip, Deposit, Held, Hold, Look, Play, Room, Trip, Withdraw
from tests.runtime.crew import CREW, HEARD, NOW_AND_THEN, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, check_once, comes, node_of, of, quiet

EVERYONE = [*ALL, *CREW]
SOON = Passivation(timedelta(seconds=10))


@pytest.fixture(autouse=True)
def all_leave_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (*EVERYONE, Resting):
        if hasattr(cls, "passivation"):
            monkeypatch.setattr(cls, "passivation", SOON)


class Resting(Actor):
    """Tells the service what became of it, when it ends."""

    restart = NOW_AND_THEN
    hook: ClassVar[Callable[[Any], None] | None] = None

    def receive(self, message: Say) -> str:
        return message.text

    def stopped(self) -> None:
        if Resting.hook is not None:
            Resting.hook(self)


def in_memory(runtime: Runtime) -> list[str]:
    """Return who is in memory; the books must agree with it."""
    directory = node_of(runtime).directory
    cells = list(directory)
    assert len(directory) == len(cells)
    for kind in directory.all_kinds:
        assert kind.counts.active == sum(cell.kind.counts is kind.counts for cell in cells)
    return sorted(str(cell.address) for cell in cells)


async def later(runtime: Runtime, clock: ManualClock, seconds: float) -> None:
    """Let time pass in small steps, so that every round that is due in between comes."""
    for _ in range(int(seconds)):
        clock.advance(1)
        await quiet(runtime)


async def test_who_rests_leaves_and_comes_back_with_its_state() -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        assert await runtime.ask(Room.at("r"), Hold("a")) == Held(1)
        assert await runtime.ask(Clerk.at("c"), Say("x")) == "x"
        assert await runtime.ask(Agent.at("a"), Say("x")) == "x"
        assert (await runtime.ask(Trip.at("t"), BookTrip(["r"]))).trip == "t"
        await later(runtime, clock, 8)
        assert in_memory(runtime) == ["Agent/a", "Clerk/c", "Room/r"]  # a saga that has ended leaves at once
        assert await runtime.ask(Clerk.at("c"), Say("y")) == "y"
        await later(runtime, clock, 8)
        assert in_memory(runtime) == ["Clerk/c"]
        await later(runtime, clock, 8)
        assert in_memory(runtime) == []
        assert await runtime.ask(Room.at("r"), Look()) == 2
        assert await runtime.ask(Room.at("r"), Hold("b"), id="b") == Held(3)
        await later(runtime, clock, 15)
        assert await runtime.ask(Room.at("r"), Hold("b"), id="b") == Held(3)
        assert await runtime.result(Trip.at("t"))
        await later(runtime, clock, 15)
        assert in_memory(runtime) == []
    check_once(journal.records)


async def test_what_is_not_durable_does_not_leave() -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        journal.hold()
        runtime.tell(Room.at("r"), Hold("a"))
        await journal.arrived.wait()
        for _ in range(30):
            clock.advance(1)
            await asyncio.sleep(0)
        assert in_memory(runtime) == ["Room/r"]
        journal.gate.set()
        await quiet(runtime)
        assert in_memory(runtime) == []
        assert await runtime.ask(Room.at("r"), Hold("b")) == Held(2)
    check_once(journal.records)


async def test_one_that_wrote_again_while_it_was_about_to_leave_stays_until_that_is_durable() -> None:
    """Though the clock's hands have not moved in between, or were set back."""
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        await runtime.ask(Room.at("r"), Look())
        journal.hold()
        runtime.tell(Room.at("other"), Hold("a"))
        await journal.arrived.wait()
        runtime.tell(Room.at("r"), Hold("first"))
        cell = node_of(runtime).directory.cell(Room.at("r"))
        await comes(lambda: not cell.mail)
        clock.advance(60)  # both are to leave when what they have written is durable
        cell.used = node_of(runtime).dispatcher.now
        node_of(runtime).passivator._let_go(cell)  # pyright: ignore[reportPrivateUsage]
        clock.step(-1)
        journal.gate.set()
        runtime.tell(Room.at("r"), Hold("second"))
        journal.hold()
        for _ in range(20):
            await asyncio.sleep(0)
        assert node_of(runtime).writer.pending
        assert node_of(runtime).find(Room.at("r")) is cell
        journal.gate.set()
        assert await runtime.ask(Room.at("r"), Hold("third")) == Held(3)
    check_once(journal.records)


# -- those who stay -------------------------------------------------------------------------------------------------


async def test_who_is_busy_or_needed_never_leaves() -> None:
    clock, journal = ManualClock(), HeldJournal()
    going_on = asyncio.Event()

    def play(clerk: Clerk, message: Any) -> str:
        match clerk.key:
            case "timer":
                clerk.after(timedelta(hours=1), Say("tick"))
            case "watcher":
                clerk.watch(Clerk.at("watched"))
            case "parent":
                clerk.spawn(Clerk.at("child"))
            case "stash":
                clerk.stash()
            case _:
                pass
        return "done"

    async def wait(agent: Agent, message: Say) -> str:
        await going_on.wait()
        return "done"

    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(hours=1))
        return Held(1)

    Clerk.script, Agent.script, Play.script = play, wait, story
    group = Group((Clerk.at("member"),))
    async with Runtime(journal, EVERYONE, clock=clock, groups=[group]) as runtime:
        keys = ("idle", "watched", "timer", "watcher", "parent", "stash")
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(runtime.ask(Clerk.at(key), Say("go"))) for key in keys]
        tasks.append(asyncio.create_task(runtime.ask(Agent.at("works"), Say("go"))))
        tasks.append(asyncio.create_task(runtime.ask(Play.at("sleeps"), Begin())))
        absent = node_of(runtime).directory.cell(Account.at("absent"))
        absent.suspend()
        parts = ((Account.at("waits"), Withdraw(1)), (Account.at("absent"), Deposit(1)))
        both = asyncio.create_task(runtime.transact(*parts))
        for _ in range(60):
            clock.advance(1)
            for _ in range(10):
                await asyncio.sleep(0)
        needed = ["child", "member", "parent", "stash", "timer", "watched", "watcher"]
        others = ["Account/absent", "Account/waits", "Agent/works", "Play/sleeps"]
        assert in_memory(runtime) == sorted([*(f"Clerk/{key}" for key in needed), *others])
        assert node_of(runtime).directory.cell(Account.at("waits")).incarnation == 0
        absent.revive()
        going_on.set()
        assert await both == (99, 101)
        await later(runtime, clock, 15)
        assert in_memory(runtime) == [*(f"Clerk/{key}" for key in needed), "Play/sleeps"]
    await asyncio.wait(tasks)


@pytest.mark.parametrize("limit", ["class", "runtime"])
async def test_who_was_used_least_recently_leaves_first(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "passivation", Passivation(None, 10 if limit == "class" else 100_000))
    monkeypatch.setattr(Clerk, "passivation", Passivation(None))
    clock = ManualClock()
    active = 1_000 if limit == "class" else 10
    async with Runtime(HeldJournal(), EVERYONE, clock=clock, active=active) as runtime:
        for number in range(10):
            await runtime.ask(Room.at(f"{number}"), Hold("x"))
        for number in (0, 3, 5):
            await runtime.ask(Room.at(f"{number}"), Look())
        clock.advance(3_600)
        await quiet(runtime)
        assert len(in_memory(runtime)) == 10  # the limit may be reached, and nobody leaves for his age
        await runtime.ask(Room.at("new"), Hold("x"))
        await quiet(runtime)
        assert in_memory(runtime) == sorted(f"Room/{key}" for key in ("0", "3", "4", "5", "6", "7", "8", "9", "new"))
        await runtime.ask(Clerk.at("other"), Say("x"))
        await runtime.ask(Clerk.at("more"), Say("x"))
        await quiet(runtime)
        left = sum(name.startswith("Room") for name in in_memory(runtime))
        assert left == (9 if limit == "class" else 7)


async def test_after_a_crowd_of_busy_ones_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Agent, "passivation", Passivation(None, 20))
    going_on = asyncio.Event()

    async def wait(agent: Agent, message: Say) -> str:
        await going_on.wait()
        return agent.key

    Agent.script = wait
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        asked = [asyncio.create_task(runtime.ask(Agent.at(f"{n}"), Say())) for n in range(300)]
        await comes(lambda: len(HEARD) == 300)
        assert len(in_memory(runtime)) == 300
        going_on.set()
        assert await asyncio.gather(*asked) == [f"{n}" for n in range(300)]
        await later(runtime, clock, 60)
        assert len(in_memory(runtime)) <= 20


@pytest.mark.parametrize("kill", [0.0, 0.05])
async def test_many_addresses_through_a_small_memory(kill: float) -> None:
    """The books are equal at the end, whoever was killed, and wherever each was in between."""
    addresses, limit = 20_000, 200
    most = 0
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE, active=limit, chaos=Chaos(5, kill)) as runtime:
        directory = node_of(runtime).directory

        async def pay(payer: int) -> None:
            nonlocal most
            for number in range(payer, addresses, 50):
                await runtime.ask(Account.at(f"{number}"), Withdraw(30))
                to = (number + 7) % addresses
                await runtime.ask(Account.at(f"{to}"), Deposit(30))
                if number % 10 == 0:
                    parts = ((Account.at(f"{number}"), Withdraw(5)), (Account.at(f"{number % 64}"), Deposit(5)))
                    await runtime.transact(*parts)
                most = max(most, len(directory))

        await asyncio.gather(*(pay(payer) for payer in range(50)))
        await quiet(runtime)
        assert len(in_memory(runtime)) <= limit
    paid = {name: len(of(journal.records, name)) for name in ("Withdrawn", "Deposited")}
    assert paid == {"Withdrawn": addresses + addresses // 10, "Deposited": addresses + addresses // 10}
    assert most <= 2 * limit
    check_once(journal.records)


# -- the end --------------------------------------------------------------------------------------------------------


async def test_stopped_is_called_and_may_tell_others_also_when_the_runtime_closes() -> None:
    clock, journal = ManualClock(), HeldJournal()
    Resting.hook = lambda actor: actor.tell(Room.at("r"), Hold(actor.key))
    try:
        async with Runtime(journal, [*EVERYONE, Resting], clock=clock) as runtime:
            await runtime.ask(Resting.at("rests"), Say("x"))
            await later(runtime, clock, 15)
            assert (await runtime.ask(Room.at("r"), Hold("last"))).number == 2
            await runtime.ask(Resting.at("closes"), Say("x"))
    finally:
        Resting.hook = None
    assert len(of(journal.records, "WasHeld")) == 3


async def test_what_it_tells_itself_at_its_end_brings_it_back() -> None:
    clock = ManualClock()
    told: list[Address[Any]] = []

    def once(actor: Resting) -> None:
        if not told:
            told.append(Resting.at(actor.key))
            actor.tell(Resting.at(actor.key), Say("again"))

    Resting.hook = once
    try:
        async with Runtime("memory:", [*EVERYONE, Resting], clock=clock) as runtime:
            await runtime.ask(Resting.at("r"), Say("x"))
            turns = node_of(runtime).directory.cell(Resting.at("r")).kind.counts
            before = turns.turns
            await later(runtime, clock, 15)
            assert told
            assert turns.turns == before + 2  # it begins anew, and gets it
            await later(runtime, clock, 15)
            assert in_memory(runtime) == []
    finally:
        Resting.hook = None


async def test_where_nobody_is_in_memory_nobody_looks() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        node = node_of(runtime)
        assert not len(node.delays)
        await runtime.ask(Room.at("r"), Look())
        assert len(node.delays) == 1
        clock.advance(3_600)
        await quiet(runtime)
        assert (len(node.directory), len(node.delays)) == (0, 0)
        await runtime.ask(Room.at("r"), Look())
        assert len(node.delays) == 1
