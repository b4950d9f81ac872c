"""The kit turned on the runtime itself: queues of sagas, locks, reminders, transactions, under faults and schedules."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import ClassVar

import pytest

from actors import Meta, Passivation, Refused, Subscriber
from runtime.simulation import Effects, Explored, Invariant, Simulation, World, eventually, finally_
from runtime.simulation.run import Scenario
from tests.runtime import cast, flowing, locking, reminding
from tests.runtime.cast import Account, Deposit, Room, Withdraw
from tests.runtime.flowing import Family, Job, Raise, Work
from tests.runtime.locking import Tale, Tell, check_locks
from tests.runtime.reminding import BELL, Bell, Wind, strike

RUNS = 60


@pytest.fixture(autouse=True)
def rooms_leave_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Room, Account, Bell, locking.Queued):
        monkeypatch.setattr(cls, "passivation", Passivation(timedelta(seconds=5)))


# -- queues -----------------------------------------------------------------------------------------------------


async def jobs(world: World) -> None:
    for number in range(5):
        await world.runtime.start(Job.at(f"{number}"), Work(["r", "s"], priority=number % 2, waits=False, nap=2.0))
    for number in range(5):
        with suppress(Refused):
            await world.runtime.result(Job.at(f"{number}"))


async def families(world: World) -> None:
    assert await world.runtime.ask(Family.at("f"), Raise(2, 2), id="f") == 7


def places_are_kept(world: World) -> None:
    flowing.check_places(world.records, "Job", 2)


def rooms_belong_to_jobs(world: World) -> None:
    done = {address.key for address, story in world.sagas().items() if story.status == "completed"}
    for room in ("r", "s"):
        held = Counter(world.state_of(Room.at(room)).held)
        assert held == Counter(key for key in done if key.isdigit()), held


# -- locks ------------------------------------------------------------------------------------------------------


async def tales(world: World) -> None:
    tells = {
        "a": Tell(["p", "q"], nap=1.0),
        "b": Tell(["q", "p"], at_once=True),
        "c": Tell(["p"], ends="badly"),
    }
    for key, tell in tells.items():
        await world.runtime.start(Tale.at(key), tell)
    for key in tells:
        with suppress(Refused):
            await world.runtime.result(Tale.at(key))


def locks_are_given_back(world: World) -> None:
    check_locks(world.records)


# -- reminders --------------------------------------------------------------------------------------------------


async def bells(world: World) -> None:
    set_ = (strike("one", 10), strike("two", 20), strike("three", 20))
    await world.runtime.ask(BELL, Wind("wound", set_), id="wind")
    await world.sleep(timedelta(hours=3))


def each_struck_once(world: World) -> None:
    assert sorted(world.state_of(BELL).texts) == ["one", "three", "two"]


# -- transactions -----------------------------------------------------------------------------------------------


async def transfers(world: World) -> None:
    async def move(number: int, a: str, b: str) -> None:
        with suppress(Refused):
            await world.runtime.transact(
                (Account.at(a), Withdraw(60)), (Account.at(b), Deposit(60)), id=f"transfer {number}"
            )

    await asyncio.gather(*(move(n, *pair) for n, pair in enumerate([("x", "y"), ("y", "z"), ("z", "x"), ("x", "z")])))


def nothing_is_lost(world: World) -> None:
    accounts = [world.state_of(Account.at(name)).amount for name in "xyz"]
    assert sum(accounts) == 300
    assert min(accounts) >= 0


# -- watching ---------------------------------------------------------------------------------------------------


async def watches(world: World) -> None:
    async with aclosing(world.runtime.watch(cast.Board.at(), cast.Lines())) as answers:
        before = 0
        async for lines in answers:
            assert len(lines) >= before, "it went back"
            before = len(lines)
            if before >= 3:
                return


async def holds(world: World) -> None:
    for number in range(3):
        await world.runtime.ask(Room.at(f"{number}"), cast.Hold("t"), id="t")


# -- subscribers ------------------------------------------------------------------------------------------------


class Bells(Subscriber):
    """Tells the outside world of each room that is held."""

    since = "beginning"
    outside: ClassVar[Effects] = Effects()

    async def handle(self, event: cast.WasHeld, meta: Meta) -> None:
        Bells.outside.do(self.event_id, f"{meta.key} is held")


def bells_outside() -> Effects:
    Bells.outside = Effects()
    return Bells.outside


def each_is_told(world: World) -> None:
    held = [f"{record.stream[1]} is held" for record in world.records if record.type == "WasHeld"]
    assert sorted(map(str, world.outside.done)) == sorted(held)


def test_subscribers_tell_each_event() -> None:
    """At least once, and always under the same id."""
    Simulation().explore(
        holds,
        actors=[Room, Bells],
        invariants=[eventually(each_is_told, within=timedelta(minutes=10))],
        outside=bells_outside,
        depth=2,
        runs=RUNS,
    )


WORKS: dict[str, tuple[list[Scenario], Sequence[type], list[Invariant]]] = {
    "jobs": ([jobs], flowing.CAST, [finally_(places_are_kept), finally_(rooms_belong_to_jobs)]),
    "families": ([families], flowing.CAST, []),
    "locks": ([tales], locking.ALL, [finally_(locks_are_given_back)]),
    "reminders": ([bells], reminding.EVERYBODY, [finally_(each_struck_once)]),
    "watching": ([watches, holds], cast.ALL, []),
    "transactions": ([transfers], cast.ALL, [finally_(nothing_is_lost)]),
}


def explored(name: str, seed: int, depth: int = 2, runs: int = RUNS) -> Explored:
    scenarios, actors, invariants = WORKS[name]
    return Simulation(seed).explore(*scenarios, actors=actors, invariants=invariants, depth=depth, runs=runs)


@pytest.mark.parametrize("name", WORKS)
def test_it_holds(name: str) -> None:
    assert explored(name, 0).runs > RUNS
