"""Pools: several workers behind one address."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import (
    Actor,
    Address,
    Backoff,
    Command,
    Failed,
    Mailbox,
    MailboxFull,
    NotTaken,
    Parked,
    Passivation,
    Pool,
    RestartPolicy,
)
from runtime import ManualClock, Runtime
from runtime.pool_cell import PoolCell, worker_address
from tests.runtime.cast import Begin, Held, Play
from tests.runtime.company import (
    COMPANY,
    FAST,
    LOG,
    MADE,
    Quick,
    QuickWorker,
    Say,
    SlowWorker,
    Stage,
    a_while,
    crash,
    passes,
)
from tests.runtime.tools import node_of, quiet

ROOT = Path(__file__).parents[2]
WORKERS = pytest.mark.parametrize("cls", [QuickWorker, SlowWorker])


def at_work(runtime: Runtime) -> dict[str, int]:
    """How many turns each worker's incarnation has had; by the number of its place."""
    return {
        str(cell.address): len(getattr(getattr(cell, "actor", None), "heard", ()))
        for cell in node_of(runtime).directory
        if "#" in cell.address.actor
    }


@WORKERS
async def test_messages_go_round_robin(cls: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        for _ in range(9):
            await runtime.ask(cls.at("p"), Say("x"))
        assert at_work(runtime) == {f"{cls.__name__}#{number}/p": 3 for number in range(3)}
        for _ in range(6):
            runtime.tell(cls.at("p"), Say("x"))
        await quiet(runtime)
        assert set(at_work(runtime).values()) == {5}
        assert await runtime.ask(cls.at("other"), Say("mine")) == "mine"


class Narrow(SlowWorker):
    mailbox = Mailbox(limit=2, overflow="refuse")


class Dropping(SlowWorker):
    mailbox = Mailbox(limit=2, overflow="drop")


class Waiting(SlowWorker):
    mailbox = Mailbox(limit=2)


def held_back() -> asyncio.Event:
    gate = asyncio.Event()

    async def play(actor: Any, message: Say) -> str:
        if message.text == "wait":
            await gate.wait()
        return message.text

    Stage.play = play
    return gate


async def fill(runtime: Runtime, address: Address[Any], count: int) -> None:
    for _ in range(count):
        runtime.tell(address, Say("wait"))
        await a_while()


async def test_full_workers_are_skipped() -> None:
    gate = held_back()
    async with Runtime("memory:", [Narrow]) as runtime:
        blocked = worker_address(Narrow.at("p"), 1)
        await fill(runtime, blocked, 3)  # one in hand, two in the mailbox
        replies = [await runtime.ask(Narrow.at("p"), Say("free")) for _ in range(8)]
        assert replies == ["free"] * 8
        gate.set()


@pytest.mark.parametrize("cls", [Narrow, Dropping, Waiting])
async def test_when_all_are_full_the_policy_says_what_becomes_of_more(cls: Any) -> None:
    gate = held_back()
    async with Runtime("memory:", [cls]) as runtime:
        await fill(runtime, cls.at("p"), 9)
        asked = asyncio.create_task(runtime.ask(cls.at("p"), Say("more")))
        await a_while()
        if cls is Waiting:
            assert not asked.done()
        else:
            with pytest.raises(MailboxFull, match=r"the mailbox of \w+#\d/p is full"):
                await asked
        told: Any = None
        if cls is Narrow:
            with pytest.raises(MailboxFull):
                runtime.tell(cls.at("p"), Say("more"))
        else:
            told = runtime.tell(cls.at("p"), Say("told"))
            assert len(runtime.dead_letters()) == (cls is Dropping)
        gate.set()
        if told is not None:
            await told
        if cls is Waiting:
            assert await asked == "more"
        await quiet(runtime)
        assert sum("wait" in line for line in LOG) == 9


# -- by key ---------------------------------------------------------------------------------------------------------


class Numbered(Command["Clerk", str]):
    key: str
    number: int


class Clerk(Actor):
    pool = Pool(4, by=lambda message: message.key)
    mailbox = Mailbox(limit=3)
    seen: dict[str, list[tuple[str, int]]] = {}

    async def receive(self, message: Numbered) -> str:
        for _ in range(message.number % 3):
            await asyncio.sleep(0)
        Clerk.seen.setdefault(message.key, []).append((str(id(self)), message.number))
        return message.key


async def test_each_keys_messages_keep_their_order_and_their_worker() -> None:
    Clerk.seen = {}
    async with Runtime("memory:", [Clerk]) as runtime:
        for number in range(40):
            for key in "abcdefg":
                await runtime.tell(Clerk.at(), Numbered(key, number))
        await quiet(runtime)
        for heard in Clerk.seen.values():
            assert [number for _, number in heard] == list(range(40))
            assert len({worker for worker, _ in heard}) == 1
        assert len({heard[0][0] for heard in Clerk.seen.values()}) > 1


class Quiet(Command["Any", str]):
    key: Any


class ByKey(Actor):
    pool = Pool(7, by=lambda message: message.key)

    def receive(self, message: Quiet) -> str:
        return ""


PLACES = """
from tests.runtime.test_pools import places
print(places())
"""
KEYS: list[Any] = ["", "a", "ana", "é\N{SNOWMAN}", 0, 1, -5, 10**30, ("a", 1), None, True, 1.5, b"bytes"]


def places() -> list[int]:
    """To which worker each key goes."""
    found: list[Any] = []

    class World:
        @staticmethod
        def cell(address: Address[Any]) -> Any:
            found.append(int(address.actor.partition("#")[2]))

    from runtime.kinds import kind_of

    world: Any = World
    pool = PoolCell(world, ByKey.at(), kind_of(ByKey))
    for key in KEYS:
        pool.target(Quiet(key))
    return found


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_a_key_has_the_same_worker_in_every_process(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLACES],
        env={"PYTHONHASHSEED": seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(places())
    assert len(set(places())) > 3


@given(st.text() | st.integers() | st.tuples(st.text(), st.integers()) | st.none() | st.binary())
def test_any_key_has_a_worker(key: Any) -> None:
    KEYS.append(key)
    try:
        assert 0 <= places()[-1] < 7
    finally:
        KEYS.pop()


async def test_where_by_fails_the_sender_is_told_and_nobody_crashes() -> None:
    class Odd(QuickWorker):
        pool = Pool(2, by=lambda message: message.no_such_field)

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("odd", Odd.at(), Say("x"))
        return Held(1)

    def tells(actor: Any, message: Say) -> str:
        actor.tell(Odd.at(), Say("x"))
        return "told"

    Play.script, Stage.play = story, tells
    clock = ManualClock()
    async with Runtime("memory:", [*COMPANY, Odd, Play], clock=clock) as runtime:
        with pytest.raises(Failed, match="Odd failed at Say: AttributeError"):
            await runtime.ask(Odd.at(), Say("x"))
        with pytest.raises(Failed, match="Odd failed at Say: AttributeError"):
            runtime.tell(Odd.at(), Say("x"))
        assert await runtime.ask(QuickWorker.at(), Say("tell")) == "told"
        assert [letter.message for letter in runtime.dead_letters()] == ["Say"]
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        for _ in range(100):
            await passes(runtime, clock, 10)
        with pytest.raises(Parked, match="AttributeError"):
            await asked


# -- life -----------------------------------------------------------------------------------------------------------


@WORKERS
async def test_to_kill_a_pool_is_to_kill_all_its_workers(cls: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        for _ in range(3):
            await runtime.ask(cls.at("p"), Say("x"))
        await runtime.ask(cls.at("other"), Say("x"))
        await runtime.kill(cls.at("p"))
        for _ in range(3):
            assert await runtime.ask(cls.at("p"), Say("y")) == "y"
        assert await runtime.ask(worker_address(cls.at("other"), 1), Say("y")) == "x y"
        await runtime.kill(worker_address(cls.at("p"), 2))
        replies = {await runtime.ask(cls.at("p"), Say("z")) for _ in range(3)}
        assert replies == {"z", "y z"}


@WORKERS
async def test_one_workers_crash_is_its_own_and_unpark_of_the_pool_brings_all_back(cls: Any) -> None:
    class Frail(cls):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        restart = RestartPolicy(restarts=0, backoff=Backoff(FAST.first))

    pool: Any = Frail.at("p")
    async with Runtime("memory:", [Frail], clock=ManualClock()) as runtime:
        for _ in range(3):
            await runtime.ask(pool, Say("x"))
        await crash(runtime, worker_address(pool, 0))
        outcomes = await asyncio.gather(*(runtime.ask(pool, Say("y")) for _ in range(3)), return_exceptions=True)
        (parked,) = [outcome for outcome in outcomes if isinstance(outcome, Parked)]
        assert "Frail#0/p is parked" in str(parked)
        assert outcomes.count("x y") == 2
        runtime.unpark(pool)
        assert sorted([await runtime.ask(pool, Say("z")) for _ in range(3)]) == ["x y z", "x y z", "z"]


@WORKERS
async def test_a_pool_that_rests_leaves_the_memory_and_comes_back(cls: Any) -> None:
    class Brief(cls):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        passivation = Passivation(idle=timedelta(seconds=1))

    clock, pool = ManualClock(), Brief.at("p")
    async with Runtime("memory:", [Brief], clock=clock) as runtime:
        for _ in range(6):
            await runtime.ask(pool, Say("x"))
        for _ in range(10):
            await passes(runtime, clock, 1)
        assert len(node_of(runtime).directory) == 0
        assert await runtime.ask(pool, Say("y")) == "y"


@WORKERS
async def test_a_saga_may_ask_a_pool(cls: Any) -> None:
    async def story(self: Play, command: Begin) -> Held:
        for number in range(6):
            await self.ask(f"step {number}", cls.at("p"), Say("x"))
        return Held(6)

    Play.script = story
    async with Runtime("memory:", [*COMPANY, Play]) as runtime:
        assert await runtime.ask(Play.at("s"), Begin()) == Held(6)
        assert MADE[f"{cls.__name__}/p"] == 3


@WORKERS
async def test_a_pool_can_not_be_watched_or_be_a_child_but_a_worker_can_be_watched(cls: Any) -> None:
    def play(actor: Any, message: Say) -> str:
        if actor.key == "w" and message.text == "try":
            for attempt in (actor.watch, actor.spawn):
                with pytest.raises(NotTaken, match=f"{cls.__name__}/p can't be"):
                    attempt(cls.at("p"))
            actor.watch(worker_address(cls.at("p"), 1))
        return ""

    Stage.play = play
    async with Runtime("memory:", COMPANY) as runtime:
        await runtime.ask(cls.at("p"), Say("x"))
        await runtime.ask(Quick.at("w"), Say("try"))
        await runtime.kill(cls.at("p"))
        await quiet(runtime)
        assert f"Quick/w hears {cls.__name__}#1/p killed" in LOG
