"""The read models' databases: rows and checkpoint change together, or not at all."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from persistence import JournalUnusable
from persistence.sqlite_view import SqliteView
from tests.unit.conftest import Probe

SCHEMA = "create table trips (trip text primary key, seat int not null); create index seats on trips (seat)"
INSERT = "insert into trips values (?, ?)"


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "view.db" if request.param == "file" else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "view.db"


@asynccontextmanager
async def opened(path: Path | None, journal: str = "j1", schema: str = SCHEMA) -> AsyncGenerator[SqliteView]:
    view = SqliteView(path, schema, journal)
    try:
        await view.open()
        yield view
    finally:
        await view.close()


async def rows(view: SqliteView, query: str = "select * from trips order by trip") -> list[Any]:
    async with view.reader.execute(query) as cursor:
        return [tuple(row) for row in await cursor.fetchall()]


async def kept(view: SqliteView) -> tuple[list[Any], int]:
    """Return the rows and the checkpoint, having made sure that it is remembered as it is kept."""
    ((position,),) = await rows(view, "select position from understudy_checkpoint")
    assert position == view.checkpoint
    return await rows(view), position


# -- rows and checkpoint ----------------------------------------------------------------------------------------


async def test_rows_and_checkpoint_change_together(path: Path | None) -> None:
    async with opened(path) as view:
        assert await kept(view) == ([], 0)
        await view.apply([(INSERT, ("a", 1)), (INSERT, ("b", 2))], 2)
        assert await kept(view) == ([("a", 1), ("b", 2)], 2)
        await view.apply([], 7)
        assert await kept(view) == ([("a", 1), ("b", 2)], 7)


async def test_statements_run_in_order_with_runs_of_one_as_one(path: Path | None) -> None:
    update, delete = "update trips set seat = seat * ? where trip = ?", "delete from trips where seat = ?"
    async with opened(path) as view:
        await view.apply(
            [(INSERT, ("a", 1)), (INSERT, ("b", 3)), (update, (2, "a")), (update, (5, "a")), (INSERT, ("c", 3)),
             (delete, (3,)), (INSERT, ("b", 9))], 5,
        )  # fmt: skip
        assert await kept(view) == ([("a", 10), ("b", 9)], 5)


FAILING = {
    "a duplicate": (INSERT, ("a", 1)),
    "a null": (INSERT, ("z", None)),
    "no such table": ("insert into nothing values (1)", ()),
    "no SQL": ("insert insert", ()),
    "too few values": (INSERT, ("z",)),
    "a value of no SQL type": (INSERT, ("z", object())),
    "an integer that is too large": (INSERT, ("z", 2**64)),
    "a text that is no text": (INSERT, ("\ud800", 1)),
    "rollback in a statement": ("insert or rollback into trips values (?, ?)", ("a", 1)),
    "fail in a statement": ("insert or fail into trips values (?, ?)", ("a", 1)),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_failing_statement_changes_nothing(path: Path | None, name: str, place: int) -> None:
    async with opened(path) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        good = [(INSERT, ("b", 2)), ("update trips set seat = 99 where trip = ?", ("a",))]
        with pytest.raises((sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeEncodeError)):
            await view.apply([*good[:place], FAILING[name], *good[place:]], 3)
        assert await kept(view) == ([("a", 1)], 1)
        await view.apply(good, 2)
        assert await kept(view) == ([("a", 99), ("b", 2)], 2)


@pytest.mark.parametrize(
    "text",
    [
        "commit", "COMMIT", " commit", "/* x */ commit", "-- x\ncommit", "end", "rollback", "begin", "savepoint a",
        "insert into trips values ('z', 1); commit", "commit; begin", "drop table trips", "begin immediate",
        "attach ':memory:' as other", "vacuum", "select 1", "",
    ],
)  # fmt: skip
async def test_a_projection_can_not_end_the_transaction(path: Path | None, text: str) -> None:
    async with opened(path) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        with pytest.raises((sqlite3.Error, sqlite3.Warning)):
            await view.apply([(INSERT, ("b", 2)), (text, ()), (INSERT, ("c", 2))], 2)
        assert await kept(view) == ([("a", 1)], 1)


@pytest.mark.parametrize(
    ("statement", "after"),
    [("begin", False), ("begin", True), ("insert", False), ("insert", True), ("update", False), ("update", True),
     ("commit", False)],
)  # fmt: skip
async def test_a_failing_disk_changes_nothing(path: Path | None, probe: Probe, statement: str, after: bool) -> None:
    async with opened(path) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        probe.fail(statement, after=after)
        with pytest.raises((sqlite3.Error, JournalUnusable)):
            await view.apply([(INSERT, ("b", 2))], 2)
        assert await kept(view) == ([("a", 1)], 1)
        await view.apply([(INSERT, ("b", 2))], 2)
        assert await kept(view) == ([("a", 1), ("b", 2)], 2)


async def test_a_batch_whose_outcome_was_unknown_is_not_run_twice(path: Path | None, probe: Probe) -> None:
    add = ("update trips set seat = seat + ?", (1,))
    async with opened(path) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        probe.fail("commit", after=True)
        with pytest.raises(sqlite3.Error):
            await view.apply([add], 2)
        assert view.checkpoint == 2
        with pytest.raises(JournalUnusable, match="is at position 2 already"):
            await view.apply([add], 2)
        assert await rows(view) == [("a", 2)]
    if path is not None:
        async with opened(path) as view:
            assert await kept(view) == ([("a", 2)], 2)


async def test_one_that_somebody_else_has_moved_goes_on_from_there(file: Path) -> None:
    async with opened(file) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        with closing(sqlite3.connect(file)) as db:
            db.execute("update understudy_checkpoint set position = 5")
            db.commit()
        with pytest.raises(JournalUnusable, match="changed by somebody else"):
            await view.apply([(INSERT, ("b", 2))], 2)
        assert await kept(view) == ([("a", 1)], 5)
        await view.apply([(INSERT, ("f", 6))], 6)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancelled_batch_is_remembered_as_it_was_kept(path: Path | None, turns: int) -> None:
    """Failure 25."""
    async with opened(path) as view:
        task = asyncio.create_task(view.apply([(INSERT, (f"{n}", n)) for n in range(200)], 200))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        found, checkpoint = await kept(view)
        assert (len(found), checkpoint) in ((0, 0), (200, 200))
        await view.apply([(INSERT, ("more", 1))], 201)


async def test_a_crash_in_the_middle_of_a_batch_changes_nothing(file: Path, probe: Probe) -> None:
    """Failure 13."""
    image = file.with_name("image.db")

    def take_before(point: str, _: sqlite3.Connection, statement: str) -> None:
        if statement.startswith(point):  # what a kill at this point would leave
            for suffix in ("", "-wal"):
                Path(f"{image}{suffix}").write_bytes(Path(f"{file}{suffix}").read_bytes())

    async with opened(file) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        for point in ("update", INSERT, "delete", "commit"):
            probe.before = partial(take_before, point)
            before = await kept(view)
            batch = [("delete from trips where seat = 1", ()), (INSERT, (point * 8_000, 1))]
            await view.apply(batch, view.checkpoint + 1)
            probe.before = lambda db, text: None
            assert await kept(view) != before
            async with opened(image) as left:
                assert await kept(left) == before


# -- when it is made anew ---------------------------------------------------------------------------------------


async def test_reopening_keeps_rows_and_checkpoint(file: Path) -> None:
    async with opened(file) as view:
        await view.apply([(INSERT, ("a", 1))], 5)
    async with opened(file) as view:
        assert await kept(view) == ([("a", 1)], 5)
    assert [found.name for found in file.parent.iterdir()] == ["view.db"]


async def test_one_of_another_journal_is_made_anew(file: Path) -> None:
    async with opened(file) as view:
        await view.apply([(INSERT, ("a", 1))], 5)
    async with opened(file, journal="j2") as view:
        assert await kept(view) == ([], 0)
        await view.apply([(INSERT, ("a", 7))], 1)
    async with opened(file, journal="j2") as view:
        assert await kept(view) == ([("a", 7)], 1)


@pytest.mark.parametrize("what", ["noise", "a cut file", "a page", "no checkpoint", "an empty checkpoint"])
async def test_a_damaged_one_is_made_anew(file: Path, what: str) -> None:
    async with opened(file) as view:
        await view.apply([(INSERT, (f"{n}", n)) for n in range(500)], 5)
    if what == "noise":
        file.write_bytes(b"noise" * 1_000)
    elif what == "a cut file":
        file.write_bytes(file.read_bytes()[:5_000])
    elif what == "a page":
        file.write_bytes(file.read_bytes()[:100] + b"x" * 3_996 + file.read_bytes()[4_096:])
    else:
        with closing(sqlite3.connect(file)) as db:
            db.execute(f"{'drop table' if what == 'no checkpoint' else 'delete from'} understudy_checkpoint")
            db.commit()
    async with opened(file) as view:
        assert await kept(view) == ([], 0)
        await view.apply([(INSERT, ("a", 1))], 1)
        assert await kept(view) == ([("a", 1)], 1)


async def test_only_the_owner_may_read_the_file(file: Path) -> None:
    async with opened(file) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
        assert {found.stat().st_mode & 0o777 for found in file.parent.iterdir()} == {0o600}


async def test_a_place_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "view.db"):
        with pytest.raises(JournalUnusable, match="can't be used"):
            async with opened(path):
                pass


async def test_a_schema_that_is_no_sql_is_told(path: Path | None) -> None:
    with pytest.raises(JournalUnusable, match="can't be used: near"):
        async with opened(path, schema="create tabel trips (trip text)"):
            pass


# -- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["delete from trips", "insert into trips values ('z', 1)", "drop table trips", "create table t (a)",
             "update understudy_checkpoint set position = 99"],
)  # fmt: skip
async def test_a_query_can_not_write(path: Path | None, text: str) -> None:
    async with opened(path) as view:
        for position in (1, 2):  # before and after a batch
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await view.reader.execute(text)
            await view.apply([(INSERT, (f"{position}", 1))], position)
            with pytest.raises(sqlite3.Error):
                await view.apply([("insert into nothing values (1)", ())], 9)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await view.reader.execute(text)
        assert await kept(view) == ([("1", 1), ("2", 1)], 2)


async def test_a_reader_sees_whole_batches_only(file: Path, probe: Probe) -> None:
    seen: list[int] = []

    async with opened(file) as view, opened(file) as other:
        loop = asyncio.get_running_loop()

        def count(_: sqlite3.Connection, statement: str) -> None:
            if statement.startswith("insert") or statement == "commit":
                probe.before = lambda db, text: None
                seen.append(len(asyncio.run_coroutine_threadsafe(rows(other), loop).result(30)))

        for n in range(3):
            probe.before = count
            await view.apply([(INSERT, (f"{n}a", n)), (INSERT, (f"{n}b", n))], n + 1)
    assert seen == [0, 2, 4]


async def test_one_that_is_not_open_says_so(path: Path | None) -> None:
    view = SqliteView(path, SCHEMA, "j1")
    await view.close()
    for use in (lambda: view.apply([], 1), lambda: rows(view)):
        with pytest.raises(JournalUnusable, match="not open"):
            await use()


async def test_a_database_in_memory_is_gone_when_closed() -> None:
    async with opened(None) as view:
        await view.apply([(INSERT, ("a", 1))], 1)
    async with opened(None) as view:
        assert await kept(view) == ([], 0)


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_opening_leaves_nothing_behind(path: Path | None, turns: int) -> None:
    """Failure 39."""
    view = SqliteView(path, SCHEMA, "j1")
    task = asyncio.create_task(view.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        await view.close()
    async with opened(path) as again:
        await again.apply([(INSERT, ("a", 1))], 1)
