"""A journal in a file, seen by who does not hold it; and copies of one that is being written to."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import math
import sqlite3
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from shutil import copyfile

import anyio
import pytest

from persistence import JournalDamaged, JournalUnusable, NotAJournal, SqliteJournal
from persistence import sqlite_backup as backup
from persistence.chain import START, seal, verify
from persistence.sqlite_backup import back_up
from persistence.sqlite_watching import SqliteWatch
from tests.unit.journals import LH441, RITZ, event, everything, fill, grow, put


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    journal = SqliteJournal(path)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def watched(path: Path) -> AsyncGenerator[SqliteWatch]:
    watch = SqliteWatch(path)
    await watch.open()
    try:
        yield watch
    finally:
        await watch.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trips.db"


async def test_who_watches_sees_what_the_owner_sees(path: Path) -> None:
    async with opened(path) as journal, watched(path) as watch:
        assert watch.identity == journal.identity
        await fill(journal)
        assert watch.position == 0
        assert await watch.changed(0, 0) == journal.position
        assert await everything(watch) == await everything(journal)
        head = await seal(journal)
        assert await watch.last_seal() == head
        assert await verify(watch, head) == head


async def test_who_watches_is_told_of_what_another_connection_writes(path: Path) -> None:
    async with opened(path) as journal, watched(path) as watch:
        waiting = asyncio.create_task(watch.changed(0, math.inf))
        await asyncio.wait([waiting], timeout=0.01)
        assert not waiting.done()
        await journal.append([(put(LH441, 0, [event(1)]),)])
        assert await waiting == 1
        assert await watch.changed(1, 0.06) == 1
        await journal.append([(put(LH441, 1, [event(2)]),)])
        await watch.recover()
        assert watch.position == 2


async def test_closing_ends_the_wait(path: Path) -> None:
    async with opened(path):
        async with watched(path) as watch:
            waiting = asyncio.create_task(watch.changed(0, math.inf))
            await asyncio.wait([waiting], timeout=0.01)
        with pytest.raises(JournalUnusable, match="not open"):
            await waiting


async def test_who_watches_writes_nothing(path: Path) -> None:
    async with opened(path) as journal:
        await fill(journal)
        before = await everything(journal)
    async with watched(path) as watch:
        append = put(RITZ, 2, [event(1)])
        with pytest.raises(JournalUnusable, match="for reading only"):
            await watch.append([(append,)])
        with pytest.raises(JournalUnusable, match="for reading only"):
            await watch.write(append)
        with pytest.raises(JournalUnusable, match="for reading only"):
            await watch.keep_seals([START])
    async with opened(path) as journal:
        assert await everything(journal) == before
        assert await journal.seals() == []


async def test_watching_takes_no_lock_and_never_checkpoints(path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed.db"
    log = Path(f"{crashed}-wal")
    async with opened(path) as journal:
        await fill(journal)
        # A process that was killed leaves its log behind; reading leaves it there.
        copyfile(path, crashed)
        copyfile(f"{path}-wal", log)
        expected = await everything(journal)
    left = crashed.read_bytes(), log.read_bytes()
    async with watched(crashed) as watch:
        assert await everything(watch) == expected
    assert (crashed.read_bytes(), log.read_bytes()) == left
    async with watched(crashed) as watch, opened(crashed) as journal:  # nobody is kept out
        await journal.append([(put(RITZ, 2, [event(1)]),)])
        assert await watch.changed(0, 0) == journal.position


async def test_what_can_not_be_watched(path: Path, tmp_path: Path) -> None:
    for place, said in ((path, "there is no such file"), (tmp_path, "it is a folder")):
        with pytest.raises(JournalUnusable, match=said):
            await SqliteWatch(place).open()
    assert not path.exists()
    path.touch()
    with pytest.raises(JournalUnusable, match="it is empty"):
        await SqliteWatch(path).open()
    assert path.stat().st_size == 0
    path.write_text("milk, bread, eggs" * 100)
    with pytest.raises(NotAJournal, match="not a journal of Understudy"):
        await SqliteWatch(path).open()
    path.unlink()
    async with opened(path) as journal:
        await fill(journal)
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(NotAJournal, match="journal format 99"):
        await SqliteWatch(path).open()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma user_version = 3")
        db.execute("delete from events where position = (select max(position) from events)")
    with pytest.raises(JournalDamaged, match="it ends at position"):
        await SqliteWatch(path).open()


# -- backups ----------------------------------------------------------------------------------------------------


async def test_a_copy_is_the_journal(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAGES", 100)
    copy, told = tmp_path / "copy.db", list[tuple[int, int]]()
    async with opened(path) as journal, watched(path) as watch:
        await fill(journal)
        await grow(journal, 20_000)
        head = await seal(journal)
        assert await back_up(watch, copy, lambda done, of: told.append((done, of))) == journal.position
        expected = await everything(journal)
        identity = journal.identity
    assert len(told) > 1
    assert told[-1][0] == told[-1][1]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("copy")) == ["copy.db"]
    async with watched(copy) as watch:
        assert await everything(watch) == expected
        assert await verify(watch, head) == head
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("copy")) == ["copy.db"]
    async with opened(copy) as journal:
        assert (journal.identity, await everything(journal)) == (identity, expected)
        await journal.append([(put(RITZ, 2, [event(1)]),)])


async def test_a_copy_of_a_busy_journal_ends_with_a_whole_group(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 2)
    async with opened(path) as journal:
        await grow(journal, 5_000)
        stop = asyncio.Event()
        groups = 0

        async def write() -> None:
            nonlocal groups
            while not stop.is_set():
                await journal.append([(put(LH441, groups * 7, [event(n) for n in range(7)]),)])
                groups += 1

        writing = asyncio.create_task(write())
        copies: list[tuple[Path, int]] = []
        for n in range(4):
            copy = tmp_path / f"copy{n}"
            copies.append((copy, await back_up(journal, copy)))
        stop.set()
        await writing
        assert journal.position == 5_000 + 7 * groups
        whole = [(record.position, record.data) for record in (await everything(journal))["records"]]
    for copy, position in copies:
        assert (position - 5_000) % 7 == 0
        async with opened(copy) as journal:
            assert journal.position == position
            records = (await everything(journal))["records"]
            assert [(record.position, record.data) for record in records] == whole[:position]


async def test_a_copy_that_nobody_wants_any_more_is_stopped(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 1)
    copy, most = tmp_path / "copy.db", 0.0
    async with opened(path) as journal:
        await grow(journal, 20_000)
        with anyio.CancelScope() as scope:

            def progress(done: int, of: int) -> None:
                nonlocal most
                most = done / of
                scope.cancel()

            await back_up(journal, copy, progress)
        assert scope.cancelled_caught
        assert not copy.exists()
        assert most < 1
        # What was begun does not stand in the way.
        assert await back_up(journal, copy) == 20_000
    async with opened(copy) as journal:
        assert journal.position == 20_000


async def test_a_copy_replaces_nothing(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    async with opened(path) as journal:
        with pytest.raises(JournalUnusable, match="is there already"):
            await back_up(journal, copy)
        with pytest.raises(JournalUnusable, match="is there already"):
            await back_up(journal, path)
    assert copy.read_text() == "mine"
    assert not (tmp_path / "copy.db.part").exists()


async def test_a_damaged_journal_is_not_copied(path: Path, tmp_path: Path) -> None:
    async with opened(path) as journal:
        await fill(journal)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("delete from events where position = (select max(position) from events)")
        with pytest.raises(JournalDamaged, match="it ends at position"):
            await back_up(journal, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


async def test_a_copy_to_where_nothing_can_be_written(path: Path) -> None:
    async with opened(path) as journal:
        with pytest.raises(JournalUnusable, match="can't write /no/such/folder"):
            await back_up(journal, Path("/no/such/folder/copy.db"))


async def test_what_is_damaged_may_only_be_read_by_the_wrong_name(path: Path) -> None:
    """By another name SQLite finds no write-ahead log; the file alone may be of no moment at all."""
    async with opened(path) as journal:
        await fill(journal)
    with closing(sqlite3.connect(path)) as db:
        db.execute("update journal set position = position + 1")
        db.commit()
    with pytest.raises(JournalDamaged, match=r"written up to position \d+; restore it from a backup$"):
        await SqliteWatch(path).open()
    other = path.with_name("other.db")
    other.hardlink_to(path)
    with pytest.raises(
        JournalDamaged, match=r"it has other names \(hard links\): trips.db; where .* may be whole; else restore it"
    ):
        await SqliteWatch(other).open()
