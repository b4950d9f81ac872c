"""Rows of SQLite files that were altered behind our back: journals, read models, keys. It is found, or harmless."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import KeyFile, SqliteJournal, chain
from persistence.cipher import Cipher
from persistence.keys import Key
from persistence.sqlite_view import SqliteView
from tests.fuzz.mutations import cells, check_ours, examples, mutated
from tests.unit.journals import LH441, OLD, RITZ, TRIP, everything, fill

SCHEMA = "create table board (line text primary key, n integer not null)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each file, written as it should be."""
    folder = tmp_path_factory.mktemp("rows")

    async def write() -> None:
        journal = SqliteJournal(folder / "journal.db")
        await journal.open()
        await fill(journal)
        await chain.seal(journal)
        await journal.close()
        keys = KeyFile(folder / "keys.db", b"m" * 32)
        await keys.open()
        await keys.add([Key(bytes([n]) * 16, f"subject {n}", bytes([n]) * 32) for n in range(4)])
        await keys.destroy([Key(bytes(16), "subject 0", None)])
        await keys.close()

    asyncio.run(write())
    for name in ("journal.db", "keys.db"):
        with closing(sqlite3.connect(folder / name)) as db:
            db.execute("pragma wal_checkpoint(truncate)")
    return folder


@pytest.fixture(scope="module")
def original(folder: Path) -> Any:
    """What the journal says as it was written."""
    return asyncio.run(look(folder / "journal.db"))[0]


def columns(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
        return [(table, row[1]) for table in tables for row in db.execute(f"pragma table_info({table})")]


def alter(path: Path, table: str, column: str, row: int, value: Any) -> bool:
    """Put a value into one cell, whatever the table's constraints say; return whether it is there now."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma ignore_check_constraints = on")
        count = db.execute(f"select count(*) from {table}").fetchone()[0]
        if not count:
            return False
        (before,) = db.execute(f"select {column} from {table} limit 1 offset ?", (row % count,)).fetchone()
        try:
            changed = db.execute(f"update {table} set {column} = ? where {column} is ? ", (value, before)).rowcount
        except sqlite3.Error:
            return False
        db.commit()
        return changed > 0


async def told(asked: Awaitable[Any]) -> Any:
    """Wait for what may raise an error of ours, and no other."""
    try:
        return await asked
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
        return None


async def look(path: Path) -> Any:
    """Return all that a journal tells, or None where it says that it is damaged."""
    journal = SqliteJournal(path)
    try:
        await journal.open()
        found = await everything(journal)
        back = [await journal.read_back(stream) for stream in (LH441, RITZ, TRIP, OLD)]
        snapshots = await journal.snapshots([LH441, RITZ, TRIP, OLD])
        return found, back, snapshots, await journal.seals(), await journal.last_seal()
    finally:
        await journal.close()


@given(st.data())
@examples(60, slow=4)
def test_a_cell_of_a_journal(folder: Path, original: Any, tmp_path: Path, data: st.DataObject) -> None:
    path = _copy(folder / "journal.db", tmp_path)
    table, column = data.draw(st.sampled_from(columns(path)))
    valid = _bytes_of(path, table, column)
    value = data.draw(cells | mutated(valid) | mutated(valid).map(lambda one: one.decode("utf-8", "replace")))
    if not alter(path, table, column, data.draw(st.integers(0, 30)), value):
        return
    found = asyncio.run(told(look(path)))
    assert found is None or found[0]["records"] == original["records"]
    asyncio.run(told(_verify(path)))


async def _verify(path: Path) -> None:
    journal = SqliteJournal(path)
    try:
        await journal.open()
        await journal.check()
        await chain.verify(journal)
        await chain.seal(journal)
    finally:
        await journal.close()


@given(st.data())
@examples(60, slow=4)
def test_bytes_of_a_journals_file(folder: Path, original: Any, tmp_path: Path, data: st.DataObject) -> None:
    path = _copy(folder / "journal.db", tmp_path)
    path.write_bytes(data.draw(mutated(path.read_bytes()).filter(bool)))  # an empty file is a new journal
    found = asyncio.run(told(look(path)))
    assert found is None or found[0]["records"] == original["records"]


@given(st.data())
@examples(60, slow=4)
def test_a_cell_of_a_key_file(folder: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = _copy(folder / "keys.db", tmp_path)
    table, column = data.draw(st.sampled_from(columns(path)))
    value = data.draw(cells | st.binary(min_size=16, max_size=64))
    if not alter(path, table, column, data.draw(st.integers(0, 5)), value):
        return
    asyncio.run(told(look_up(path)))


@given(st.data())
@examples(40, slow=4)
def test_bytes_of_a_key_file(folder: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = _copy(folder / "keys.db", tmp_path)
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    asyncio.run(told(look_up(path)))


async def look_up(path: Path) -> None:
    keys = KeyFile(path, b"m" * 32)
    try:
        await keys.open()
        for n in range(4):
            await told(_looked_up(partial(keys.current, f"subject {n}")))
            await told(_looked_up(partial(keys.find, bytes([n]) * 16)))
        await told(keys.destroyed())
        await told(keys.destroyed("subject 0"))
        await told(keys.count_destroyed())
        await told(keys.add([Key(b"n" * 16, "subject new", b"s" * 32)]))
        await told(keys.destroy([Key(bytes([1]) * 16, "subject 1", None)]))
    finally:
        await keys.close()


async def _looked_up(look: Callable[[], Key | None]) -> None:
    found = look()
    if found is not None and found.secret is not None:
        Cipher(found.secret).seal(b"x", b"")  # what is given out is a key


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "view.db"

    async def write() -> None:
        one = SqliteView(path, SCHEMA, "journal", lambda: 7)
        await one.open()
        await one.close()

    asyncio.run(write())
    with closing(sqlite3.connect(path)) as db:
        db.execute("insert into board values ('a', 1)")
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
    return path


@given(st.data())
@examples(60, slow=4)
def test_a_cell_of_a_read_models_database(view: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = _copy(view, tmp_path)
    table, column = data.draw(st.sampled_from(columns(path)))
    if not alter(path, table, column, data.draw(st.integers(0, 3)), data.draw(cells)):
        return
    asyncio.run(told(open_view(path)))


async def open_view(path: Path) -> None:
    one = SqliteView(path, SCHEMA, "journal", lambda: 8)
    try:
        await one.open()
        await told(one.parked())
        await told(one.skipped())
    finally:
        await one.close()


def _copy(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    for left in folder.iterdir():
        if left.is_file():
            left.unlink()
    shutil.copy(path, copy)
    return copy


def _bytes_of(path: Path, table: str, column: str) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        row = db.execute(f"select cast({column} as blob) from {table} where {column} is not null limit 1").fetchone()
    return bytes(row[0]) if row else b"x"
