"""P15 in large files: what no reader would find is found by counting when they are opened, and by a check in use."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from persistence import (
    AT_ONCE,
    Append,
    JournalDamaged,
    JournalUnusable,
    NewEvent,
    RecordDamaged,
    SqliteJournal,
    sqlite_check,
    sqlite_file,
)
from persistence.sqlite_watching import SqliteWatch
from tests.unit.conftest import Probe
from tests.unit.indexes import as_plain_table

EVENTS = 90


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a large one, that is looked at in several slices."""
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    monkeypatch.setattr(sqlite_check, "SLICE", 7)


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is so large that its indexes are not counted when it is opened."""
    monkeypatch.setattr(sqlite_file, "COUNTED_BYTES", 0)


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.close()


def append(number: int) -> Append:
    """Return one of three appends: with a command, with an id, with tags and a time to wake at."""
    event = NewEvent("Held", b'"data-%04d"' % number, b"{}")
    if number % 3 == 1:
        event.id = f"id-{number}"
    if number % 3 == 2:
        event.tags = (f"tag-{number}", "all", "all")
    stream = ("Room", f"{number % 11}")
    return Append(stream, number // 11, [event], 1, f"c{number}" if number % 3 == 0 else None, AT_ONCE)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        await journal.append([(append(number),) for number in range(EVENTS)])
    return path


async def test_a_whole_file_is_found_whole(path: Path) -> None:
    told: list[tuple[int, int]] = []
    async with opened(path) as journal:
        assert journal.unchecked
        await journal.check(lambda done, of: told.append((done, of)))
        assert told[0] == (7, EVENTS)
        assert told[-1] == (EVENTS, EVENTS)


async def test_a_small_file_leaves_nothing_to_be_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 1_000_000)
    async with opened(path) as journal:
        assert not journal.unchecked


async def test_an_empty_one_is_whole(tmp_path: Path) -> None:
    async with opened(tmp_path / "empty.db") as journal:
        await journal.check()


async def test_it_is_checked_while_it_is_written_and_erased(path: Path) -> None:
    """Nothing that is written meanwhile is taken for damage."""
    async with opened(path) as journal:

        async def write() -> None:
            for number in range(EVENTS, 3 * EVENTS):
                await journal.append([(append(number),)])
                if number % 10 == 0:
                    await journal.append(
                        [(Append(("Room", f"{number % 11}"), number // 11 + 1, [], 1, erase_before=number // 11),)]
                    )

        writing = asyncio.create_task(write())
        while not writing.done():
            await journal.check()
        await writing
        await journal.check()


async def test_one_look_sees_one_moment(path: Path, probe: Probe) -> None:
    """An event that is erased between two questions about it is not taken for damage."""
    erased: list[int] = []

    def erase(_: sqlite3.Connection, statement: str) -> None:
        if statement.startswith("select 1 from tags") and not erased:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                erased.append(db.execute("delete from tags where position = 3").rowcount)

    async with opened(path) as journal:
        probe.before = erase
        await journal.check()
    assert erased == [2]


LOSSES = {
    "events_version": "delete from plain where place = 50",
    "events_command": "delete from plain where place = 49",
    "events_id": "delete from plain where place = 50",
}
"""An entry that is gone. Positions are numbers from 1: 49 is number 48, which has a command; 50 has an id."""


@pytest.mark.parametrize("index", LOSSES)
async def test_a_lost_entry_is_found_before_anything_is_answered(path: Path, index: str) -> None:
    """P15, P3: a repeat of a command whose entry is gone would be taken for a new one."""
    with as_plain_table(path, index) as db:
        assert db.execute(LOSSES[index]).rowcount == 1
    with pytest.raises(JournalDamaged, match=f"its index {index} has [0-9]+ entries for [0-9]+ events"):
        await SqliteJournal(path).open()


@pytest.mark.parametrize("index", LOSSES)
async def test_a_lost_entry_is_found_in_use(path: Path, uncounted: None, index: str) -> None:
    with as_plain_table(path, index) as db:
        assert db.execute(LOSSES[index]).rowcount == 1
    async with opened(path) as journal:
        place = 49 if index == "events_command" else 50
        with pytest.raises(JournalDamaged, match=f"position {place} has no entry in the index {index}"):
            await journal.check()


SWAPS = {
    "events_version": "update plain set version = version + 100 where place = 50",
    "events_command": "update plain set command = 'other' where place = 49",
    "events_id": "update plain set id = 'other' where place = 50",
    "streams_wake": "update plain set wake = 7 where place = 3",
}


@pytest.mark.parametrize("index", SWAPS)
async def test_an_entry_that_says_something_else_is_found_in_use(path: Path, index: str) -> None:
    """No counting finds it."""
    with as_plain_table(path, index) as db:
        assert db.execute(SWAPS[index]).rowcount == 1
    async with opened(path) as journal:
        with pytest.raises(JournalDamaged, match=r"has no entry in (the|an) index"):
            await journal.check()


EXTRAS = {
    "events_version": "insert into plain values (4, 1000, 50)",
    "events_command": "insert into plain values (4, 'other', 50)",
}


@pytest.mark.parametrize("index", EXTRAS)
async def test_entries_that_belong_to_no_event_are_found(path: Path, uncounted: None, index: str) -> None:
    with as_plain_table(path, index) as db:
        db.execute(EXTRAS[index])
    async with opened(path) as journal:
        with pytest.raises(JournalDamaged, match=f"its index {index} has 1 entries that belong to no event"):
            await journal.check()


@pytest.mark.parametrize("position", [1, 50, 56, 57])
async def test_a_lost_row_is_found(path: Path, uncounted: None, position: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("delete from events where position = ?", (position,))
        db.commit()
    async with opened(path) as journal:
        with pytest.raises(JournalDamaged, match=f"the event at position {position} is missing"):
            await journal.check()


async def test_a_lost_tag_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("delete from tags where tag = 'all' and position = 51").rowcount == 1
        db.commit()
    async with opened(path) as journal:
        with pytest.raises(JournalDamaged, match="the event at position 51 is not found by its tag"):
            await journal.check()


async def test_damaged_events_are_told_when_all_the_rest_is_known_to_be_whole(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("update events set data = replace(data, 'data', 'atad') where position in (10, 20, 80)")
        db.commit()
    told: list[int] = []
    async with opened(path) as journal:
        with pytest.raises(RecordDamaged, match=r"event at position 10, version 1 of .*; so are 2 other events"):
            await journal.check(lambda done, of: told.append(done))
    assert told[-1] == EVENTS
    with as_plain_table(path, "events_version") as db:
        db.execute("update plain set version = 1000 where place = 50")
    async with opened(path) as journal:
        with pytest.raises(JournalDamaged, match="position 50 has no entry") as caught:
            await journal.check()
    assert not isinstance(caught.value, RecordDamaged)


async def test_others_read_and_write_between_two_slices(path: Path) -> None:
    async with opened(path) as journal:
        slices, reads = 0, 0
        ended = asyncio.Event()

        def progress(done: int, of: int) -> None:
            nonlocal slices
            slices += 1

        async def read() -> None:
            nonlocal reads
            while not ended.is_set():
                await journal.read(("Room", "1"))
                reads += 1

        reading = asyncio.create_task(read())
        await journal.check(progress)
        ended.set()
        await reading
    assert reads >= slices > 10


async def test_one_that_is_closed_meanwhile_says_so(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    checking = asyncio.create_task(journal.check(rest=0.001))
    await asyncio.sleep(0)
    await journal.close()
    with pytest.raises(JournalUnusable, match="not open"):
        await checking


async def test_another_process_can_check_it_too(path: Path) -> None:
    """As ``python -m persistence verify`` does, beside the one that holds the journal."""
    with as_plain_table(path, "events_command") as db:
        db.execute("update plain set command = 'other' where place = 49")
    watch = SqliteWatch(path)
    await watch.open()
    try:
        with pytest.raises(JournalDamaged, match="position 49 has no entry in the index events_command"):
            await watch.check()
    finally:
        await watch.close()
