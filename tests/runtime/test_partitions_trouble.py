"""P7, P13: read models that are built in partitions, in trouble: poison, another past, people who are forgotten."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

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
from tests.postgres import needs_server, url_of
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.partitioning import (
    BAD,
    Gate,
    Killed,
    Ledger,
    Rows,
    folded,
    history,
    in_table,
    note_runs,
    rows,
    small_schema,
    tables,
    write,
)
from tests.runtime.people import Customer, SignUp
from tests.runtime.tools import comes, node_of

pytestmark = needs_server


@pytest.fixture
async def schema(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    async with small_schema(monkeypatch) as name:
        yield name


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return note_runs(monkeypatch)


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


# -- a person is forgotten ----------------------------------------------------------------------------------------


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


class Text(State):
    text: str = ""


# -- elsewhere ----------------------------------------------------------------------------------------------------


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
