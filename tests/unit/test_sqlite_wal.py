"""The write-ahead log: it stays small, it is watched (failure 29), and one connection checkpoints (failure 37)."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from operator import methodcaller
from pathlib import Path

import pytest

import persistence
from persistence import SqliteJournal, wal
from persistence.connection import connect
from persistence.sqlite_view import SqliteView
from tests.unit.crashing import group
from tests.unit.disk import on_disk

HOUSE = Path(persistence.__file__).parents[1]


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


# -- its size -----------------------------------------------------------------------------------------------------


async def test_the_log_stays_small_while_the_journal_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 29: the readers of the house look for a moment only, and leave room for checkpoints."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 20)
    most, ended = 0, False

    async def read() -> None:
        while not ended:
            await journal.read_all(limit=1_000)

    async with opened(path) as journal:
        reading = asyncio.create_task(read())
        for number in range(240):
            await journal.append(group(number))
            most = max(most, journal.log_bytes)
            assert journal.log_bytes == log_of(path).stat().st_size
        ended = True
        await reading
    assert most < 2_500_000  # without checkpoints it is twice as large


async def test_a_reader_that_stays_lets_the_log_grow_and_it_shrinks_behind_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failure 29: the size says so, nothing else suffers, and when the reader has gone the log is small again."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(wal, "KEPT_BYTES", 200_000)
    async with opened(path) as journal:
        await journal.append(group(0))
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("begin")
            (seen,) = shell.execute("select count(*) from events").fetchone()
            for number in range(1, 60):
                await journal.append(group(number))
            assert journal.log_bytes > 1_000_000
            assert shell.execute("select count(*) from events").fetchone() == (seen,)
        for number in range(60, 63):
            await journal.append(group(number))
        assert journal.log_bytes <= 400_000
        assert journal.position == len(await journal.read_all(limit=100_000))


async def test_a_read_models_log_is_watched_too(path: Path) -> None:
    """Failure 29."""
    view = SqliteView(path, "create table numbers (n integer primary key, text text)", "j1")
    await view.open()
    try:
        assert view.log_bytes == 0
        await view.apply([("insert into numbers values (?, ?)", (1, "x" * 100_000))], 1)
        assert view.log_bytes == log_of(path).stat().st_size > 100_000
    finally:
        await view.close()
    kept = SqliteView(None, "create table numbers (n integer primary key)", "j1")
    await kept.open()
    try:
        await kept.apply([("insert into numbers values (?)", (1,))], 1)
        assert kept.log_bytes == 0
    finally:
        await kept.close()


# -- who checkpoints ----------------------------------------------------------------------------------------------


async def test_a_reading_connection_never_makes_a_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 37: not by itself, not when asked to, and not when it is the last to close."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 1_000_000)
    with on_disk() as disk:
        async with opened(path) as journal:
            reader = await connect(path, readonly=True)
            try:
                for number in range(6):
                    await journal.append(group(number))
                    await reader.run(lambda db: db.execute("select count(*) from events").fetchall())
                before = len(disk.ops)
                for mode in ("passive", "truncate"):
                    pragma = f"pragma wal_checkpoint({mode})"
                    with suppress(sqlite3.OperationalError):  # whether it says so depends on SQLite's version
                        await reader.run(methodcaller("execute", pragma))
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    await reader.run(lambda db: db.execute("delete from events").fetchall())
            finally:
                await reader.shut()
            assert [op for op in disk.ops[before:] if op.what in ("write", "truncate", "delete")] == []


LAST_READER = """
import asyncio, sys
from operator import methodcaller
from pathlib import Path
from persistence.connection import connect
async def main():
    reader = await connect(Path(sys.argv[1]), readonly=True)
    rows = await reader.run(lambda db: db.execute("select count(*) from events").fetchall())
    print(rows[0][0], flush=True)
    sys.stdin.read()
    await reader.shut()
asyncio.run(main())
"""
CRASH = """
import asyncio, os, sys
from persistence import SqliteJournal
from tests.unit.crashing import group
async def main():
    journal = SqliteJournal(sys.argv[1])
    await journal.open()
    for number in range(3):
        await journal.append(group(number))
    os._exit(0)
asyncio.run(main())
"""


def run(script: str, path: Path) -> str:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, cwd=HOUSE, input="", capture_output=True, text=True, check=True).stdout


def test_the_last_reader_of_a_dead_writers_journal_leaves_its_log_alone(path: Path) -> None:
    """Failure 37: SQLite's own last connection would copy the log into the file when it is closed."""
    run(CRASH, path)
    before = path.read_bytes(), log_of(path).read_bytes()
    assert len(before[1]) > 0
    assert int(run(LAST_READER, path)) > 0
    assert (path.read_bytes(), log_of(path).read_bytes()) == before


async def test_a_reader_in_another_process_leaves_the_log_alone(path: Path) -> None:
    """Failure 37: as a command line tool has it that looks at a journal in use."""
    async with opened(path) as journal:
        for number in range(3):
            await journal.append(group(number))
        before = path.read_bytes(), log_of(path).read_bytes()
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-c", LAST_READER, str(path)]
        reader = await asyncio.create_subprocess_exec(*command, cwd=HOUSE, stdin=pipe, stdout=pipe)
        told, _ = await reader.communicate(b"")
        assert int(told) == journal.position
        assert (path.read_bytes(), log_of(path).read_bytes()) == before
        await journal.append(group(3))
    assert sorted(os.listdir(path.parent)) == ["journal.db"]
