"""P7: a heavy read model's tables on PostgreSQL are filled by partitions at once, and are the same as one would fill.

Nobody sees them before they are the fold of a prefix, each key's events are projected in order, and once.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from actors import (
    DefinitionError,
    Event,
    Fold,
    Meta,
    Parked,
    Personal,
    Query,
    ReadModel,
    ReadModelBehind,
    State,
    Statement,
    SubjectForgotten,
    sql,
)
from persistence import SqliteJournal
from persistence.errors import StatementFailed
from persistence.postgres_partition import PostgresPartition
from persistence.postgres_shelf import PostgresShelf
from persistence.postgres_url import parse_url
from persistence.postgres_view import PostgresView
from runtime import BaseInstrument, KeyFile, Runtime
from runtime.offline_build import build_beside, kinds_of
from runtime.partitioned_build import PartitionedBuild
from tests.postgres import a_schema, drop_all, needs_server, run, url_of
from tests.relay import a_relay
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.partitioning import (
    BAD,
    Alone,
    Killed,
    Ledger,
    Rows,
    Slowly,
    folded,
    history,
    in_table,
    small,
    tables,
    write,
)
from tests.runtime.people import Customer, SignUp
from tests.runtime.tools import comes, node_of

pytestmark = needs_server


@pytest.fixture
async def schema(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    BAD.clear()
    small(monkeypatch)
    async with a_schema(f"test_{uuid4().hex[:16]}") as name:  # a longer one would be cut
        try:
            yield name
        finally:
            BAD.clear()
            await drop_all(f"{name}_")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by how far each run of the partitions has come."""
    runs: list[int] = []
    work = PartitionedBuild.run

    async def counted(build: PartitionedBuild, *told: Any) -> None:
        try:
            await work(build, *told)
        finally:
            runs.append(build.ahead)

    monkeypatch.setattr(PartitionedBuild, "run", counted)
    return runs


class Gate:
    """Holds back one partition's batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.open = asyncio.Event()
        self.arrived = asyncio.Event()
        apply = PostgresPartition.apply

        async def held(partition: Any, *told: Any) -> None:
            if partition._number == number:
                self.arrived.set()
                await self.open.wait()
            await apply(partition, *told)

        monkeypatch.setattr(PostgresPartition, "apply", held)


async def rows(runtime: Runtime, cls: type[Ledger] = Ledger, **how: Any) -> dict[str, str]:
    return await runtime.ask(cls.at(), Rows(), **how)


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


# -- trouble ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["project", "the statement"])
async def test_a_rebuild_stops_at_an_event_that_can_not_be_projected(
    schema: str, tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = history(9, 60)
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)
        (old,) = await tables(schema)
        if bad == "project":
            BAD.add("t33")
        else:
            monkeypatch.setattr(Ledger, "schema", Ledger.schema.replace("%x%", "%t33%"))
        with pytest.raises(
            Parked, match=r"WasHeld at version \d+ of stream Room/\w\d \(position 34\) can't be projected"
        ):
            await runtime.rebuild(Ledger.at())
        assert await tables(schema) == [old]
        assert await rows(runtime, consistent=True) == folded(told)
        BAD.clear()


@pytest.mark.parametrize("statement", [False, True])
async def test_the_first_time_its_key_is_set_aside(schema: str, tmp_path: Path, statement: bool) -> None:
    told = history(10, 60)
    room, trip = told[20]
    if statement:
        told[20] = (room, trip := "x")
    else:
        BAD.add(trip)
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        there = folded([one for n, one in enumerate(told) if one[0][0] != room[0] or n < 20])
        await runtime.caught_up(Ledger.at())
        assert await rows(runtime) == there
        aside = await runtime.parked_events(Ledger.at())
        assert [event.position - 1 for event in aside] == [n for n in range(20, 60) if told[n][0][0] == room[0]]
        BAD.clear()
        if not statement:
            assert await runtime.retry_parked(Ledger.at()) == len(aside)
            assert await rows(runtime, consistent=True) == folded(told)


async def test_another_past_is_seen_by_who_is_furthest(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal was restored from a backup behind the checkpoint, and before that of a partition."""
    told, path = history(12, 60), tmp_path / "j.db"
    await write(path, told[:20])
    backup = path.read_bytes()
    await write(path, told[20:])
    with pytest.MonkeyPatch.context() as patch:
        gate = Gate(patch, 0)
        killed = Killed(patch, 1_000, after=False)
        async with Runtime(f"sqlite:{path}", [Room, Ledger], views=url_of(schema), shutdown_timeout=0.05) as runtime:
            view = node_of(runtime).projectors["Ledger"].view
            await comes(lambda: max(view.partitioned, default=0) > 20)
            assert view.checkpoint < 20
            killed.dead = True
            gate.open.set()
    path.write_bytes(backup)
    again = history(13, 40)
    await write(path, again)
    async with Runtime(f"sqlite:{path}", [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded([*told[:20], *again])
    assert "built anew: the journal has another past" in caplog.text


@pytest.mark.parametrize("what", ["open", "apply"])
@pytest.mark.parametrize("error", [ConnectionRefusedError("too many connections"), StatementFailed("no")])
async def test_where_one_partition_never_can_it_gets_on_all_the_same(
    schema: str, tmp_path: Path, what: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has no connection left, say, or keys that depend on each other: one takes what the partitions had."""
    can = getattr(PostgresPartition, what)

    async def never(partition: Any, *told: Any) -> None:
        if partition._number == 1:
            raise error
        await can(partition, *told)

    monkeypatch.setattr(PostgresPartition, what, never)
    told = history(18, 60)
    await write(tmp_path / "j.db", told)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)
        assert await runtime.parked_events(Ledger.at()) == []
        assert runtime.parked() == {}


# -- a person is forgotten ----------------------------------------------------------------------------------------


class Visited(Query["Visits", list[tuple[str, int]]]):
    pass


class Visits(ReadModel):
    """Rows of all keys change when somebody is forgotten: those that were there before, and no others."""

    schema = "create table visits (position bigint primary key, floor text not null, forgotten integer not null)"
    partitions = 3

    def project(self, event: WasHeld | SubjectForgotten, meta: Meta) -> Iterator[Statement]:
        if isinstance(event, SubjectForgotten):
            yield sql("update visits set forgotten = forgotten + 1")
        else:
            yield sql("insert into visits values ($1, $2, 0)", meta.position, meta.key)

    async def answer(self, db: Any, query: Visited) -> list[tuple[str, int]]:
        return [tuple(row) for row in await db.fetch("select floor, forgotten from visits order by position")]


async def test_a_person_is_forgotten_in_what_is_there_by_then(schema: str, tmp_path: Path, runs: list[int]) -> None:
    told = history(14, 90)
    url, keys = f"sqlite:{tmp_path / 'j.db'}", KeyFile(tmp_path / "keys")
    for n in range(3):
        await write(tmp_path / "j.db", told[n * 30 : n * 30 + 30])
        async with Runtime(url, [Room, Customer], keys=keys) as runtime:
            await runtime.ask(Customer.at(f"{n}"), SignUp(Personal(f"ana{n}", "ana@example.org")))
            await runtime.forget_subject(f"ana{n}")
    async with Runtime(url, [Room, Customer, Visits], keys=keys, views=url_of(schema)) as runtime:
        found = await runtime.ask(Visits.at(), Visited(), consistent=True)
    assert found == [(room, 3 - n // 30) for n, (room, _) in enumerate(told)]
    assert len(runs) >= 3


# -- elsewhere ----------------------------------------------------------------------------------------------------


class Text(State):
    text: str = ""


@pytest.mark.parametrize("number", [0, 17, -1, 1.5, True, "2"])
def test_a_number_that_can_not_be_is_refused(number: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Odd\.partitions is .*; write a number from 1 to 16"):

        class Odd(ReadModel):  # pyright: ignore[reportUnusedClass]
            schema = "create table odd (n int)"
            partitions = number

            def project(self, event: Event, meta: Meta) -> Iterator[Statement]:
                yield from ()


def test_a_fold_has_no_partitions() -> None:
    with pytest.raises(DefinitionError, match="Lone is a fold, one value in memory, and has no partitions"):

        class Lone(Fold[Text]):  # pyright: ignore[reportUnusedClass]
            initial = Text()
            partitions = 2


async def test_it_is_built_in_partitions_beside_the_process_that_runs(
    schema: str, tmp_path: Path, runs: list[int]
) -> None:
    told, path = history(15, 60), tmp_path / "j.db"
    await write(path, told)
    journal = SqliteJournal(path)
    await journal.open()
    progress: list[tuple[int, int]] = []
    try:
        kinds, producers = kinds_of([Room, Ledger])
        shelf = PostgresShelf(parse_url(url_of(schema)))
        build = await build_beside(journal, kinds[0], producers, shelf, lambda at, of: progress.append((at, of)))
    finally:
        await journal.close()
    assert len(runs) == 1
    assert progress == sorted(progress)
    assert (len(progress) > 5, progress[-1]) == (True, (60, 60))
    (name,) = await tables(schema)
    assert name.endswith(build.fingerprint)
    assert await in_table(name) == folded(told)
    async with Runtime(f"sqlite:{path}", [Room, Ledger], views=url_of(schema)) as runtime:
        assert node_of(runtime).projectors["Ledger"].view.ready
        assert await rows(runtime) == folded(told)


class Counting(BaseInstrument):
    def __init__(self) -> None:
        self.count = 0

    def projected(self, read_model: str, events: int, seconds: float, /) -> None:
        self.count += events


async def test_who_observes_is_told_of_every_event_once(schema: str, tmp_path: Path, runs: list[int]) -> None:
    told, counting = history(16, 60), Counting()
    await write(tmp_path / "j.db", told)
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Ledger], views=url_of(schema), instruments=[counting]) as runtime:
        assert await rows(runtime, consistent=True) == folded(told)
        assert counting.count == 60
        assert runtime.stats().read_models["Ledger"].lag == 0
    assert len(runs) == 1


@pytest.mark.parametrize("views", ["memory:", "sqlite"])
async def test_on_sqlite_it_changes_nothing(tmp_path: Path, views: str, runs: list[int]) -> None:
    class Seats(ReadModel):
        schema = "create table seats (position integer primary key, trip text not null)"
        partitions = 4

        def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
            yield sql("insert into seats values (?, ?)", meta.position, event.trip)

        async def answer(self, db: Any, query: Rows) -> list[str]:
            async with db.execute("select trip from seats order by position") as rows:
                return [trip async for (trip,) in rows]

    told = history(17, 60)
    await write(tmp_path / "j.db", told)
    option = views if views == "memory:" else f"sqlite:{tmp_path}"
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Seats], views=option) as runtime:
        anyone: Any = runtime
        assert await anyone.ask(Seats.at(), Rows(), consistent=True) == [trip for _, trip in told]
    assert runs == []


async def test_a_small_journal_is_for_one(schema: str, runs: list[int]) -> None:
    async with Runtime("memory:", [Room, Ledger], views=url_of(schema)) as runtime:
        assert await rows(runtime) == {}
        await runtime.ask(Room.at("a0"), Hold("t0"))
        assert await rows(runtime, consistent=True) == {"a": "t0"}
        assert isinstance(node_of(runtime).projectors["Ledger"].view, PostgresView)
    assert runs == []
