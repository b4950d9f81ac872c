"""Files of earlier formats are brought to today's, whole or not at all; those of later ones are refused."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from persistence import (
    AT_ONCE,
    Append,
    JournalUnusable,
    NewEvent,
    NotAJournal,
    Record,
    Sleeper,
    SqliteJournal,
    sqlite_file,
)
from persistence.checksum import crc_of
from persistence.sqlite_file import APPLICATION_ID, SCHEMA_VERSION
from persistence.sqlite_migrations import MIGRATIONS
from persistence.sqlite_watching import SqliteWatch
from tests.contract.journal_contract import everything
from tests.unit.conftest import Probe
from tests.unit.disk import images, lay_out, on_disk

# The formats as their versions made them; copied, for they never change again.
COMMON = (
    "create table journal (identity text not null, position integer not null)",
    "create table types (id integer primary key, name text not null unique)",
    """create table events (
        position integer primary key, stream integer not null references streams, version integer not null,
        type integer not null references types, time integer not null, command text, data text not null,
        meta text not null, crc integer not null)""",
    "create unique index events_version on events (stream, version)",
    "create unique index events_command on events (stream, command) where command is not null",
    """create view log as select e.position, s.category || '/' || s.key as stream, e.version, t.name as type,
        strftime('%Y-%m-%d %H:%M:%f', e.time / 1e6, 'unixepoch') as time, e.command, e.data, e.meta
        from events e join streams s on s.id = e.stream join types t on t.id = e.type order by e.position""",
)
FORMATS = {
    1: (
        """create table streams (
            id integer primary key, category text not null, key text not null, unfinished integer not null,
            unique (category, key))""",
        "create index streams_unfinished on streams (id) where unfinished",
        *COMMON,
    ),
    2: (
        """create table streams (
            id integer primary key, category text not null, key text not null, wake integer, unique (category, key))""",
        "create index streams_wake on streams (wake) where wake is not null",
        *COMMON,
    ),
}
STREAMS = (("Flight", "LH441"), ("Trip", "Zoë/7"), ("Cab", "Rome"))
WAKES = {1: (False, True, False), 2: (None, AT_ONCE, 5)}
EVENTS = 60


def old(path: Path, number: int) -> Path:
    """Make a file as the version with this format left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("begin")
        for statement in FORMATS[number]:
            db.execute(statement)
        db.execute("insert into journal values ('the-identity', ?)", (EVENTS,))
        db.execute("insert into types values (1, 'Held'), (2, 'Released')")
        for stream, (address, wake) in enumerate(zip(STREAMS, WAKES[number], strict=True), 1):
            db.execute("insert into streams values (?, ?, ?, ?)", (stream, *address, wake))
        for position in range(1, EVENTS + 1):
            stream, version = (position - 1) % 3, (position + 2) // 3
            type_, data, command = 1 + version % 2, f'{{"n": {position}}}', f"c{version}"
            name = ("Held", "Released")[type_ - 1]
            crc = crc_of(position, STREAMS[stream], version, name, position, command, data.encode(), b"{}")
            values = (position, stream + 1, version, type_, position, command, data, "{}", crc)
            db.execute("insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute(f"pragma user_version = {number}")
        db.execute("commit")
    return path


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.close()


async def check(path: Path, number: int) -> None:
    """Check that all is there that a file of this format held, and that it can be written on as any other."""
    async with opened(path) as journal:
        records = await everything(journal)
        assert [(record.position, record.data) for record in records] == [
            (position, b'{"n": %d}' % position) for position in range(1, EVENTS + 1)
        ]
        assert (journal.identity, journal.position) == ("the-identity", EVENTS)
        assert await journal.find(STREAMS[1], "c3") == 3
        assert await journal.unfinished() == [STREAMS[1]]
        assert await journal.sleeping() == ([Sleeper(5, 3, STREAMS[2])] if number == 2 else [])
        new = NewEvent("Held", b"{}", b"{}", id="an-id", tags=("a-tag",))
        await journal.append([(Append(STREAMS[0], EVENTS // 3, [new], 1, "c1000", wake=9),)])
        found: list[Record] = await journal.by_ids(["an-id"])
        assert [record.position for record in found] == [EVENTS + 1]
        assert Sleeper(9, 1, STREAMS[0]) in await journal.sleeping()


def shape(path: Path) -> dict[str, Any]:
    """Return what tables and indexes a file has, and of what they are made."""
    with closing(sqlite3.connect(path)) as db:
        made = db.execute("select type, name, tbl_name from sqlite_master order by type, name").fetchall()
        asked = ("table_xinfo", "index_xinfo", "foreign_key_list")
        columns = {name: [db.execute(f"pragma {pragma}({name})").fetchall() for pragma in asked] for _, name, _ in made}
        return {"made": made, "columns": columns, "is": db.execute("pragma user_version").fetchone()}


def test_every_format_has_its_way() -> None:
    assert list(MIGRATIONS) == list(FORMATS) == list(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize("number", FORMATS)
async def test_an_earlier_format_is_brought_to_todays(tmp_path: Path, number: int) -> None:
    path = old(tmp_path / "old.db", number)
    await check(path, number)
    async with opened(tmp_path / "new.db") as new:
        await new.append([(Append(STREAMS[0], 0, [NewEvent("Held", b"{}", b"{}")], 1),)])
    assert shape(path) == shape(tmp_path / "new.db")
    async with opened(path) as journal:
        assert journal.position == EVENTS + 1


@pytest.mark.parametrize("number", FORMATS)
async def test_a_step_that_fails_is_done_later(tmp_path: Path, probe: Probe, number: int) -> None:
    """Whichever statement it is: the file is in one format or the next, and the next opening goes on."""
    kept = old(tmp_path / "kept.db", number)
    statements = [text for step in range(number, SCHEMA_VERSION) for text in (*MIGRATIONS[step], "commit")]
    for count in range(len(statements)):
        path = tmp_path / "journal.db"
        shutil.copy(kept, path)
        ran = 0

        def fail(_: sqlite3.Connection, statement: str) -> None:
            nonlocal ran
            if statement in statements:
                ran += 1
                if ran == count + 1:  # noqa: B023 (used up within the round)
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                    raise error

        probe.before = fail
        with pytest.raises(JournalUnusable, match="disk I/O error"):
            await SqliteJournal(path).open()
        probe.before = lambda db, statement: None
        await check(path, number)
        path.unlink()


@pytest.mark.parametrize("number", FORMATS)
async def test_a_power_cut_in_a_migration_loses_nothing(tmp_path: Path, number: int) -> None:
    """Failure 30."""
    path = old(tmp_path / "journal.db", number)
    with on_disk() as disk:
        async with opened(path):
            pass
    found: set[int] = set()
    for image, _ in images(disk.ops):
        lay_out(image, folder := tmp_path / "image")
        with closing(sqlite3.connect(folder / "journal.db")) as db:
            found.add(db.execute("pragma user_version").fetchone()[0])
        await check(folder / "journal.db", number)
        shutil.rmtree(folder)
    assert found == set(range(number, SCHEMA_VERSION + 1))


async def test_an_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.31.1")
    with pytest.raises(JournalUnusable, match=r"has SQLite 3\.31\.1, journals need 3\.32\.0 or later; use a newer"):
        await SqliteJournal(tmp_path / "journal.db").open()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sqlite3, "sqlite_version_info", sqlite_file.NEEDED_SQLITE)
    async with opened(tmp_path / "journal.db"):
        pass


async def test_an_sqlite_for_one_thread_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "threadsafety", 0)
    with pytest.raises(JournalUnusable, match="was built for one thread only"):
        await SqliteJournal(tmp_path / "journal.db").open()


async def test_who_only_reads_does_not_migrate(tmp_path: Path) -> None:
    path = old(tmp_path / "old.db", 1)
    before = path.read_bytes()
    with pytest.raises(NotAJournal, match=r"has journal format 1; open it once .* brings it to format"):
        await SqliteWatch(path).open()
    assert path.read_bytes() == before
