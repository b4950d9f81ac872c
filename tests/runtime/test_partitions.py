"""P7: a heavy read model's tables on PostgreSQL are filled by partitions at once, and are the same as one would fill.

Nobody sees them before they are the fold of a prefix, each key's events are projected in order, and once.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from actors import ReadModelBehind
from runtime import Runtime
from runtime.partitioned_build import PartitionedBuild
from tests.postgres import a_schema, drop_all, needs_server, run, url_of
from tests.relay import a_relay
from tests.runtime.cast import Hold, Room
from tests.runtime.partitioning import (
    Alone,
    Gate,
    Killed,
    Ledger,
    Slowly,
    folded,
    history,
    in_table,
    note_runs,
    rows,
    small_schema,
    tables,
    write,
)
from tests.runtime.tools import comes, node_of

pytestmark = needs_server


@pytest.fixture
async def schema(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    async with small_schema(monkeypatch) as name:
        yield name


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return note_runs(monkeypatch)


async def left(schema: str) -> list[Any]:
    return await run("select number from understudy_partition", schema=schema)


# -- the same rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_partitions_fill_the_tables_as_one_would(
    schema: str, tmp_path: Path, runs: list[int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some keys have most of the events, and in some histories there are fewer keys than partitions."""
    told = history(seed, 80 + 7 * seed, "abcdefgh"[: 2 + seed] + "a" * seed)
    url, views = f"sqlite:{tmp_path / 'j.db'}", url_of(schema)
    await write(tmp_path / "j.db", told)
    async with Runtime(url, [Room, Ledger], views=views) as runtime:
        there = await rows(runtime)  # what is there, and till the end of the build nothing can be seen
        assert any(there == folded(told[:n]) for n in range(len(told) - 10, len(told) + 1))
        assert await rows(runtime, consistent=True) == folded(told)
        (name,) = await tables(schema)
        assert runs
        assert max(runs) >= len(told) - 10
        assert await left(name) == []
        for n in range(3):
            await runtime.ask(Room.at("a0"), Hold(f"live{n}"))
        live = [("a0", f"live{n}") for n in range(3)]
        assert await rows(runtime, consistent=True) == folded([*told, *live])
    async with a_schema(f"{schema}b") as other, Runtime(url, [Room, Alone], views=url_of(other)) as runtime:
        assert await rows(runtime, Alone, consistent=True) == folded([*told, *live])
        assert await in_table((await tables(other))[0]) == await in_table(name)
        await drop_all(f"{other}_")
    assert len(runs) == 1  # one alone has no partitions


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", range(4))
async def test_a_kill_at_any_commit_loses_nothing_and_does_nothing_twice(
    schema: str, tmp_path: Path, first: int, after: bool
) -> None:
    """Each partition goes on from its own checkpoint: what it has had it doesn't have again."""
    told = history(first, 40)
    url = f"sqlite:{tmp_path / 'j.db'}"
    await write(tmp_path / "j.db", told)
    at, died = first, True
    while died:
        with pytest.MonkeyPatch.context() as patch:
            views = url_of(schema)
            killed = Killed(patch, at, after=after)
            async with Runtime(url, [Room, Ledger], views=views, shutdown_timeout=0.05) as runtime:
                await ended(killed, runtime)
            died = killed.dead
        async with Runtime(url, [Room, Ledger], views=views) as runtime:
            assert await rows(runtime, consistent=True) == folded(told)
        await drop_all(f"{schema}_")
        at += 4
    assert at > 12


async def test_killed_again_and_again_it_gets_there(schema: str, tmp_path: Path) -> None:
    told = history(11, 80)
    url = f"sqlite:{tmp_path / 'j.db'}"
    await write(tmp_path / "j.db", told)
    killed = None
    deaths = 0
    while killed is None or killed.dead:
        with pytest.MonkeyPatch.context() as patch:
            killed = Killed(patch, 1 + deaths % 3, after=bool(deaths % 2))
            async with Runtime(url, [Room, Ledger], views=url_of(schema), shutdown_timeout=0.05) as runtime:
                await ended(killed, runtime)
            deaths += killed.dead
    assert deaths > 3
    async with Runtime(url, [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)


async def ended(killed: Killed, runtime: Runtime) -> None:
    """Wait until it is dead, or has caught up."""
    view = node_of(runtime).projectors["Ledger"].view
    await comes(lambda: killed.dead or view.ready)


async def test_runtime_kill_in_the_middle(schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, gate = history(3, 60), Gate(monkeypatch, 1)
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        for _ in range(3):
            gate.arrived.clear()
            await gate.arrived.wait()
            gate.open.set()
            await runtime.kill(Ledger.at())
            gate.open.clear()
        gate.open.set()
        assert await rows(runtime, consistent=True) == folded(told)


@pytest.mark.parametrize("cut", range(0, 60, 5))
async def test_connections_that_are_lost_at_any_point(
    schema: str, tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = history(cut, 60)
    await write(tmp_path / "j.db", told)
    async with a_relay() as relay:
        began = asyncio.Event()
        work = PartitionedBuild.run

        async def begun(build: PartitionedBuild, *told: Any) -> None:
            if not began.is_set():
                began.set()
                relay.cut_at(cut)
            await work(build, *told)

        monkeypatch.setattr(PartitionedBuild, "run", begun)
        async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=relay.url(schema)) as runtime:
            await node_of(runtime).projectors["Ledger"].reached(60)
            assert runtime.parked() == {}
            assert await in_table((await tables(schema))[0]) == folded(told)
        assert began.is_set()


# -- who may see it -----------------------------------------------------------------------------------------------


async def test_nobody_is_answered_before_the_tables_are_whole(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even who takes what is there, and not in another process: it would be the fold of no prefix."""
    told, gate = history(5, 60), Gate(monkeypatch, 0)
    owners = [f"{url_of(schema)}&owner={owner}" for owner in ("ana", "bob")]
    async with Runtime(owners[0], [Room]) as runtime:
        for room, trip in told:
            await runtime.ask(Room.at(room), Hold(trip))
    async with (
        Runtime(owners[0], [Room, Ledger], views=url_of(f"{schema}_v")) as ana,
        Runtime(owners[1], [Room, Ledger], views=url_of(f"{schema}_v")) as bob,
    ):
        await gate.arrived.wait()
        (name,) = await tables(f"{schema}_v")
        await comes(lambda: any(node_of(ana).projectors["Ledger"].view.partitioned))
        for runtime in (ana, bob):
            for consistent in (False, True):
                with pytest.raises(ReadModelBehind):
                    await rows(runtime, timeout=0.05, consistent=consistent)
        assert await in_table(name) not in ({}, folded(told))
        waiting = [
            asyncio.create_task(rows(runtime, consistent=how)) for runtime in (ana, bob) for how in (False, True)
        ]
        await asyncio.sleep(0)
        gate.open.set()
        for there in await asyncio.gather(*waiting):
            assert any(there == folded(told[:n]) for n in range(50, 61))
        assert await rows(bob, consistent=True) == folded(told)


async def test_a_rebuild_takes_over_when_it_is_whole(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    told, gate = history(6, 60), Gate(monkeypatch, 2)
    gate.open.set()
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)
        gate.open.clear()
        gate.arrived.clear()
        rebuild = asyncio.create_task(runtime.rebuild(Ledger.at()))
        await gate.arrived.wait()
        for n in range(30):  # it is written to all the while
            told.append((f"a{n % 3}", f"more{n}"))
            await runtime.ask(Room.at(told[-1][0]), Hold(told[-1][1]))
            assert await rows(runtime, consistent=True) == folded(told)
            assert not rebuild.done()
        builder = node_of(runtime).builders["Ledger"]
        assert builder.view.partitioned
        assert runtime.stats().read_models["Ledger"].built == builder.position < 60
        gate.open.set()
        await rebuild
        assert len(runs) == 3  # one more for what was written meanwhile
        assert await rows(runtime, consistent=True) == folded(told)
        (name,) = await tables(schema)
        assert await left(name) == []


async def test_the_version_before_answers_meanwhile(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, url = history(7, 60), f"sqlite:{tmp_path / 'j.db'}"
    await write(tmp_path / "j.db", told)
    async with Runtime(url, [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)
    gate = Gate(monkeypatch, 1)
    async with Runtime(url, [Room, Slowly], views=url_of(schema)) as runtime:
        await gate.arrived.wait()
        assert await rows(runtime, Slowly) == folded(told)
        with pytest.raises(ReadModelBehind):
            await rows(runtime, Slowly, after=1, timeout=0.05)
        gate.open.set()
        assert await rows(runtime, Slowly, consistent=True) == folded(told)


async def test_who_gives_an_order_need_not_wait_for_the_end(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    told, gate = history(8, 200), Gate(monkeypatch, 1)
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        await gate.arrived.wait()
        order = asyncio.create_task(runtime.retry_parked(Ledger.at()))
        await asyncio.sleep(0)
        gate.open.set()
        assert await order == 0
        assert runs[0] < 200
        assert await rows(runtime, consistent=True) == folded(told)
