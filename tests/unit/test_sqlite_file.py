"""The journal's file: what it keeps, who may open it, and what it refuses to touch."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import os
import random
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

import persistence
from persistence import JournalInUse, JournalUnusable, NotAJournal, Sleeper, SqliteJournal
from persistence import sqlite as engine
from persistence.connection import Connection, connect
from persistence.sqlite_file import APPLICATION_ID, SCHEMA_VERSION
from tests.contract.journal_contract import ROOMS, SEATS, everything, put, where
from tests.unit.conftest import Probe
from tests.unit.crashing import opened

HOUSE = Path(persistence.__file__).parents[1]
PROC = Path("/proc/self")


async def open_and_close(path: Path) -> None:
    async with opened(path):
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The connections that journals open: the writing one first, then the reading one."""
    made: list[Connection] = []

    async def connect_and_tell(path: Path | None, *, readonly: bool = False) -> Connection:
        made.append(await connect(path, readonly=readonly))
        return made[-1]

    monkeypatch.setattr(engine, "connect", connect_and_tell)
    return made


# -- what it keeps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [True, False], ids=["same object", "another object"])
async def test_reopening_keeps_everything(path: Path, again: bool) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([(put(SEATS, 0, 3, "c1", mark=True), put(ROOMS, 0, 1, "c1"))])
    await journal.append([(put(SEATS, 3, 1, "c2"),)])
    identity, records = journal.identity, await everything(journal)
    await journal.close()
    journal = journal if again else SqliteJournal(path)
    await journal.open()
    try:
        assert (journal.identity, journal.position) == (identity, 5)
        assert await everything(journal) == records
        assert await journal.find(SEATS, "c2") == 4
        assert await journal.unfinished() == [SEATS]
        assert await journal.append([(put(SEATS, 4), put(("Cab", "Rome"), 0), put(ROOMS, 1))]) == 6
        assert where(await everything(journal))[5:] == [(SEATS, 5), (("Cab", "Rome"), 1), (ROOMS, 2)]
    finally:
        await journal.close()


async def test_who_is_due_soon_is_read_without_a_look_at_the_others(path: Path, connections: list[Connection]) -> None:
    """Also where very many are due at the same time."""
    steps: list[None] = []
    async with opened(path) as journal:
        await journal.append([(put(("Trip", f"{n}"), 0, wake=None if n % 2 else 7),) for n in range(20_000)])
        await journal.append([(put(SEATS, 0, mark=True),)])
        await connections[1].run(lambda db: db.set_progress_handler(lambda: steps.append(None), 100))
        assert await journal.unfinished() == [SEATS]
        page = await journal.sleeping(limit=50)
        assert len(page) == len(await journal.sleeping(page[-1], limit=50)) == 50
        assert len(await journal.sleeping(Sleeper(7, 19_900, SEATS))) == 50
    assert len(steps) < 100  # each is a hundred steps of SQLite's machine; a look at every stream takes some 2,000


async def test_closing_leaves_one_file(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0, 3),)])
        assert {file.name for file in path.parent.iterdir()} >= {"journal.db", "journal.db-wal", "journal.db.lock"}
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    mask = os.umask(0)
    try:
        async with opened(path) as journal:
            await journal.append([(put(SEATS, 0),)])
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
async def test_a_group_is_synced_as_promised(
    path: Path, connections: list[Connection], durability: engine.Durability, level: int
) -> None:
    async with opened(path, durability):
        writer, reader = connections
        assert await writer.run(lambda db: db.execute("pragma synchronous").fetchone()) == (level,)
        assert await writer.run(lambda db: db.execute("pragma journal_mode").fetchone()) == ("wal",)
        assert await reader.run(lambda db: db.execute("pragma query_only").fetchone()) == (1,)
        assert await reader.run(lambda db: db.execute("pragma wal_autocheckpoint").fetchone()) == (0,)


async def test_reading_can_not_write(path: Path, connections: list[Connection]) -> None:
    async with opened(path):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await connections[1].run(lambda db: db.execute("delete from events"))


async def test_people_can_read_it_in_an_sql_shell(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0, 1, "c1"),)])
        with closing(sqlite3.connect(path)) as db:
            (row,) = db.execute("select * from log").fetchall()
    time = "2023-11-14 22:13:20.123"
    assert row == (1, "Flight/LH441", 1, "SeatHeld", time, "c1", '{"n":1}', '{"by":"test"}')


@pytest.mark.parametrize(
    "name", ["a b", "what?", "#1", "100%", "%41", "it's", '"', "ünï", "a&mode=ro", os.fsdecode(b"\xff\xfe"), ".db"]
)
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / name) as journal:
        await journal.append([(put(SEATS, 0),)])
        assert (tmp_path / name).stat().st_size > 0
    async with opened(tmp_path / name) as journal:
        assert journal.position == 1


@pytest.mark.parametrize("form", ["journal.db", "/{0}/journal.db", "{0}/../{1}/journal.db"])
async def test_any_way_to_write_the_path_will_do(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(Path(form.format(tmp_path, tmp_path.name))) as journal:
        await journal.append([(put(SEATS, 0),)])
    assert (tmp_path / "journal.db").stat().st_size > 0


@pytest.mark.parametrize("use", ["append", "recover", "heads", "read", "read_all", "find", "unfinished", "sleeping"])
async def test_a_journal_that_is_not_open_says_so(path: Path, use: str) -> None:
    journal = SqliteJournal(path)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "append": partial(journal.append, []),
        "recover": journal.recover,
        "heads": partial(journal.heads, [SEATS]),
        "read": partial(journal.read, SEATS),
        "read_all": journal.read_all,
        "find": partial(journal.find, SEATS, "c1"),
        "unfinished": journal.unfinished,
        "sleeping": journal.sleeping,
    }
    with pytest.raises(JournalUnusable, match="not open"):
        await calls[use]()
    await journal.open()
    await journal.close()
    with pytest.raises(JournalUnusable, match="not open"):
        await calls[use]()


# -- one process at a time --------------------------------------------------------------------------------------

HOLD = """
import asyncio, sys
from persistence import SqliteJournal
async def main():
    journal = SqliteJournal(sys.argv[1])
    await journal.open()
    print("open", flush=True)
    sys.stdin.read()
    await journal.close()
asyncio.run(main())
"""


@contextmanager
def held_by_another_process(path: Path) -> Generator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, path], cwd=HOUSE, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_a_second_opening_in_this_process_is_refused(path: Path) -> None:
    """Failure 37."""
    async with opened(path) as journal:
        for second in (SqliteJournal(path), journal):
            with pytest.raises(JournalInUse, match=rf"journal\.db is in use by process {os.getpid()};"):
                await second.open()
        await journal.append([(put(SEATS, 0),)])
    async with opened(path) as journal:
        assert journal.position == 1


async def test_another_process_is_named(path: Path) -> None:
    """Failure 37."""
    with held_by_another_process(path) as process:
        with pytest.raises(JournalInUse, match=rf"journal\.db is in use by process {process.pid};"):
            await open_and_close(path)
        process.communicate("")  # it closes and ends
    async with opened(path) as journal:
        assert journal.position == 0


async def test_the_lock_goes_with_a_killed_process(path: Path) -> None:
    lock = path.with_name("journal.db.lock")
    with held_by_another_process(path) as process:
        process.kill()
        process.wait()
    assert lock.read_text() == f"{process.pid}\n"
    async with opened(path) as journal:
        assert lock.read_text() == f"{os.getpid()}\n"
        assert journal.crashed
        with pytest.raises(JournalInUse):
            await open_and_close(path)
    assert not lock.exists()
    async with opened(path) as journal:
        assert not journal.crashed


async def test_a_crash_is_told_by_the_lock_file_that_is_left_whoever_had_it(path: Path) -> None:
    """In a container each process may have the same number."""
    lock = path.with_name("journal.db.lock")
    await open_and_close(path)
    lock.write_text(f"{os.getpid()}\n")
    async with opened(path) as journal:
        assert journal.crashed


async def test_a_lock_file_that_can_not_be_removed_tells_of_no_crash(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", raises_denied)
        await open_and_close(path)
    assert path.with_name("journal.db.lock").exists()
    async with opened(path) as journal:
        assert not journal.crashed


def raises_denied(*_args: object, **_more: object) -> None:
    raise PermissionError(13, "Permission denied")


async def test_a_link_leads_to_the_same_lock(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)
    async with opened(path):
        with pytest.raises(JournalInUse):
            await open_and_close(link)


async def test_a_second_name_is_no_second_journal(path: Path, tmp_path: Path) -> None:
    """P5: SQLite would have another write-ahead log by it, and we another lock; what it wrote would be lost."""
    (tmp_path / "elsewhere").mkdir()
    one, other = path.with_name("other.db"), tmp_path / "elsewhere" / "other.db"
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0),)])
        one.hardlink_to(path)
        for name, others in ((one, "journal.db"), (path, "other.db")):
            with pytest.raises(JournalUnusable, match=rf"it has other names \(hard links\): {others}; .*remove"):
                await open_and_close(name)
        one.unlink()
        other.hardlink_to(path)
        with pytest.raises(JournalUnusable, match=r"in other folders, which find -samefile other\.db tells"):
            await open_and_close(other)
        await journal.append([(put(SEATS, 1),)])
    other.unlink()
    async with opened(path) as journal:
        assert len(await everything(journal)) == 2


async def test_a_refused_opening_leaves_the_holder_alone(path: Path) -> None:
    async with opened(path) as journal:
        with pytest.raises(JournalInUse):
            await open_and_close(path)
        await journal.append([(put(SEATS, 0),)])
        with pytest.raises(JournalInUse):
            await open_and_close(path)
        assert len(await everything(journal)) == 1


# -- what is not a journal --------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


OTHER_FILES = {
    "two bytes": b"\0\0",  # a file of one byte is empty to SQLite
    "a note": b"my shopping list\n",
    "almost a page": b"x" * 511,
    "random pages": random.Random(1).randbytes(8_192),
    "zeros": bytes(4_096),
    "half a header": b"SQLite format 3\0",
    "a cut header": b"SQLite format 3\0" + bytes(50),
}


@pytest.mark.parametrize("name", OTHER_FILES)
async def test_another_file_is_left_as_it_is(path: Path, name: str) -> None:
    path.write_bytes(OTHER_FILES[name])
    with pytest.raises(NotAJournal, match=r"journal\.db is not a journal of Understudy; use another file"):
        await open_and_close(path)
    assert contents(path.parent) == {"journal.db": OTHER_FILES[name]}


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("application", [0, 1, APPLICATION_ID + 1])
async def test_another_database_is_left_as_it_is(path: Path, mode: str, application: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma journal_mode = {mode}")
        db.execute(f"pragma application_id = {application}")
        db.execute("create table events (position integer primary key)")
    before = contents(path.parent)
    with pytest.raises(NotAJournal, match="is a database, but not a journal of Understudy"):
        await open_and_close(path)
    assert contents(path.parent) == before


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, 1_000])
async def test_another_format_is_left_as_it_is(path: Path, version: int) -> None:
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0),)])
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma user_version = {version}")
    before = contents(path.parent)
    with pytest.raises(
        NotAJournal, match=f"has journal format {version}, this version .* reads formats 1 to {SCHEMA_VERSION}; use"
    ):
        await open_and_close(path)
    assert contents(path.parent) == before


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    async with opened(path) as journal:
        assert journal.position == 0


async def test_a_file_that_a_crash_left_half_made_is_made_again(path: Path, tmp_path: Path) -> None:
    # What a kill leaves between the first page written and the commit: pages, and SQLite's journal to undo them.
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        db.execute("pragma cache_size = 1")
        db.execute("begin immediate")
        db.execute("create table streams (id integer primary key, name text)")
        db.executemany("insert into streams (name) values (?)", [("x" * 4_000,)] * 200)
        path.write_bytes((tmp_path / "other.db").read_bytes())
        undo = (tmp_path / "other.db-journal").read_bytes()
        path.with_name("journal.db-journal").write_bytes(undo)
        db.execute("rollback")
    assert path.stat().st_size > 0
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0),)])
        assert len(await everything(journal)) == 1


# -- where no journal can be ------------------------------------------------------------------------------------


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="it is a folder"):
        await open_and_close(tmp_path)


async def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="no such folder"):
        await open_and_close(tmp_path / "missing" / "journal.db")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_is_no_folder(path: Path) -> None:
    path.touch()
    with pytest.raises(JournalUnusable, match="no such folder"):
        await open_and_close(path / "journal.db")


@pytest.mark.skipif(not PROC.is_dir(), reason="needs a folder in which nobody, root included, can make a file")
async def test_a_folder_that_can_not_be_written_is_refused() -> None:
    with pytest.raises(JournalUnusable, match=r"can't write /proc/.*/journal\.db\.lock"):
        await open_and_close(PROC / "journal.db")


async def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="can't write"):
        await open_and_close(tmp_path / ("x" * 255))


async def test_a_lock_that_can_not_be_made_is_told(path: Path) -> None:
    path.with_name("journal.db.lock").mkdir()
    with pytest.raises(JournalUnusable, match=r"can't write .*journal\.db\.lock"):
        await open_and_close(path)
    assert not path.exists()


async def test_a_file_that_can_not_be_opened_gives_the_lock_back(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
    with pytest.raises(JournalUnusable, match=r"can't write .*journal\.db"):
        await open_and_close(path)
    path.unlink()
    async with opened(path):
        pass


async def test_a_pipe_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(JournalUnusable):
        await open_and_close(path)
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


async def test_a_full_disk_at_the_lock_gives_it_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 28."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(JournalUnusable, match="No space left on device"):
            await open_and_close(path)
    assert list(path.parent.iterdir()) == []
    async with opened(path):
        pass


@pytest.mark.parametrize("statement", ["pragma page_count", "create table types", "commit", "pragma integrity_check"])
async def test_a_disk_that_fails_while_opening_is_told(path: Path, probe: Probe, statement: str) -> None:
    probe.fail(statement)
    with pytest.raises(JournalUnusable, match="disk I/O error"):
        await open_and_close(path)
    assert not path.with_name("journal.db.lock").exists()
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0),)])


async def test_a_file_system_without_wal_is_refused(path: Path, probe: Probe) -> None:
    # Such a file system leaves the mode as it was, without an error.
    probe.before = lambda db, statement: "select 'delete'" if statement == "pragma journal_mode = wal" else None
    with pytest.raises(JournalUnusable, match="can't hold a write-ahead log"):
        await open_and_close(path)
