"""Trouble with the journal: a full disk passes by itself (failures 28 and 32), damage ends all writing (P15)."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from actors import OutcomeUnknown
from persistence import AppendFailed, Batch, JournalDamaged, MemoryJournal, sqlite_file, wal
from runtime import ManualClock, Runtime, log_watch, trouble
from tests.runtime.cast import ALL, Board, Hold, Lines, Look, Room
from tests.runtime.tools import comes, node_of
from tests.unit.disk import Disk, on_disk
from tests.unit.indexes import as_plain_table

TRIPS = 6


async def hold(runtime: Runtime, number: int) -> None:
    """Hold a room for a trip, asking until it is known to be held."""
    while True:
        try:
            await runtime.ask(Room.at(f"{number % 2}"), Hold(f"trip-{number}"), id=f"id-{number}")
            return
        except OutcomeUnknown as error:
            told = str(error)
        assert "could not be written" in told
        assert "database or disk is full" in told or "closed" in told


async def book_on(disk: Disk, path: Path, room: int) -> None:
    """Book trips, with room for so many more writes at first; there is space again when somebody was told."""
    clock = ManualClock()
    async with Runtime(f"sqlite:{path}", [Room, Board], clock=clock) as runtime:
        await runtime.ask(Room.at("0"), Look())
        disk.room = room
        booking = asyncio.gather(*(hold(runtime, number) for number in range(TRIPS)))
        stats = runtime.stats
        for turn in count():
            if booking.done() and stats().read_models["Board"].lag == 0:
                break
            await asyncio.sleep(0.001)
            if disk.failed:
                clock.advance(0.05)
                if turn % 50 == 49:
                    disk.room = None
        await booking
        assert runtime.position == TRIPS
        disk.room = None
        await hold(runtime, TRIPS)
        assert stats().journal.error is None
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == TRIPS + 1


async def test_a_full_disk_passes_and_nothing_is_lost_or_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures 28 and 32, P1, P3, P7, P14: at every write of the journal and of the read model."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 4)
    with on_disk() as disk:
        for room in disk.filled(20):
            await book_on(disk, tmp_path / f"{room}.db", room)


class DamagedJournal(MemoryJournal):
    """Has found that it is damaged, when it was written or when it was to be made usable again."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.damaged = False
        self.tried = 0

    async def append(self, batches: Sequence[Batch]) -> int:
        if not self.damaged:
            return await super().append(batches)
        self.tried += 1
        raise JournalDamaged("page 7 is torn") if self.where == "append" else AppendFailed("disk I/O error")

    async def recover(self) -> None:
        self.tried += 1
        raise JournalDamaged("page 7 is torn")


@pytest.mark.parametrize("where", ["append", "recover"])
async def test_a_damaged_journal_is_written_no_more(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """P15, P10: who asks is told what is wrong, nothing is tried again and again, and it can be seen from outside."""
    journal, clock = DamagedJournal(where), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        assert runtime.stats().journal.error is None
        journal.damaged = True
        with pytest.raises(OutcomeUnknown, match=r"page 7 is torn|disk I/O error"):
            await runtime.ask(Room.at("r"), Hold("u"))
        await comes(lambda: node_of(runtime).writer.ended)
        tried = journal.tried
        assert tried == (1 if where == "append" else 2)
        for _ in range(3):
            with pytest.raises(OutcomeUnknown, match="page 7 is torn"):
                await runtime.ask(Room.at("r"), Hold("u"))
            clock.advance(60)
        assert journal.tried == tried
        assert runtime.stats().journal.error == "page 7 is torn"
        assert runtime.position == 1
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "the journal is damaged, nothing is written any more" in record.getMessage()


async def test_an_actor_that_crashes_behind_the_damage_still_answers() -> None:
    """P10: its own events will never be durable, so nobody must wait for them to read it again."""
    journal = DamagedJournal("append")
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        journal.damaged = True
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("s"), Hold("t"))
        await comes(lambda: node_of(runtime).writer.ended)
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("r"), Hold("u"))
        await runtime.kill(Room.at("r"))
        with pytest.raises(OutcomeUnknown, match="page 7 is torn"):
            await runtime.ask(Room.at("r"), Hold("u"))


async def test_damage_found_in_the_file_ends_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P15: an index page of a large file that is noise is found by the first write that meets it."""
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    monkeypatch.setattr(sqlite_file, "COUNTED_BYTES", 0)
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("select rootpage from sqlite_master where name = 'events_version'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = random.Random(7).randbytes(size)
    path.write_bytes(content)
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match=r"journal\.db is damaged: .*; restore it from a backup"):
                await runtime.ask(Room.at("new"), Hold("t"))
        assert "is damaged" in (runtime.stats().journal.error or "")
        assert runtime.position == 1


async def test_a_log_that_grows_is_named_once_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Failure 29: a reader that stays is named once for each burst; the sizes of all logs are told."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 4)
    monkeypatch.setattr(wal, "KEPT_BYTES", 0)
    monkeypatch.setattr(log_watch, "LOG_LIMIT", 200_000)

    def named() -> int:
        return sum("the write-ahead log of the journal grows" in record.getMessage() for record in caplog.records)

    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room, Board]) as runtime:
        await runtime.ask(Room.at("r"), Hold("first"))
        assert 0 < runtime.stats().journal.log_bytes <= 200_000
        for burst in (1, 2):
            with closing(sqlite3.connect(path, isolation_level=None)) as shell:
                shell.execute("begin")
                shell.execute("select count(*) from events").fetchone()
                while runtime.stats().journal.log_bytes < 400_000:
                    await runtime.ask(Room.at("r"), Hold("t"))
                assert named() == burst
            for _ in range(3):
                await runtime.ask(Room.at("r"), Hold("last"))
            assert runtime.stats().journal.log_bytes <= 200_000
        await runtime.ask(Board.at(), Lines(), consistent=True)
        assert runtime.stats().read_models["Board"].log_bytes > 0
    assert named() == 2


@pytest.fixture
async def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal whose file is too large to be checked when it is opened."""
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        for number in range(20):
            await runtime.ask(Room.at(f"{number % 4}"), Hold("t"), id=f"id-{number}")
    monkeypatch.setattr(sqlite_file, "CHECKED_BYTES", 0)
    monkeypatch.setattr(sqlite_file, "COUNTED_BYTES", 0)
    monkeypatch.setattr(trouble, "REST", 0.0)
    return path


async def in_time(happened: Callable[[], bool]) -> None:
    """Wait for what another thread has to do first."""
    for _ in range(60_000):
        if happened():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


def said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in record.getMessage() for record in caplog.records)


async def test_an_index_that_lost_an_entry_ends_the_writing(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P15, P3: in a large file; a repeat would be taken for a new command."""
    with as_plain_table(large, "events_command") as db:
        assert db.execute("delete from plain where place = 7").rowcount == 1
    async with Runtime(f"sqlite:{large}", [Room]) as runtime:
        await in_time(lambda: runtime.stats().journal.damage is not None)
        assert "position 7 has no entry in the index events_command" in str(runtime.stats().journal.damage)
        assert runtime.stats().journal.error == runtime.stats().journal.damage
        with pytest.raises(OutcomeUnknown, match="has no entry in the index events_command"):
            await runtime.ask(Room.at("new"), Hold("t"))
        assert runtime.position == 20
    assert said(caplog, "the journal is damaged, nothing is written any more")


async def test_a_damaged_event_that_is_found_early_harms_nobody_else(
    large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P15, P13: it is told before anybody reads it."""
    with closing(sqlite3.connect(large)) as db:
        db.execute("update events set data = replace(data, 't', 'x') where position = 7")
        db.commit()
    async with Runtime(f"sqlite:{large}", [Room]) as runtime:
        await in_time(lambda: runtime.stats().journal.damage is not None)
        assert "the event at position 7" in str(runtime.stats().journal.damage)
        assert (await runtime.ask(Room.at("3"), Hold("t"))).number == 6
        assert runtime.stats().journal.error is None
    assert said(caplog, "events of the journal are damaged, who reads them is stopped")


async def test_a_large_file_that_is_whole_is_told_to_be(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with Runtime(f"sqlite:{large}", [Room]) as runtime:
        await in_time(lambda: said(caplog, "the journal was checked, and is whole"))
        assert runtime.stats().journal.damage is None


async def test_a_check_that_is_cut_short_by_closing_harms_nobody(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "REST", 3600.0)
    async with Runtime(f"sqlite:{large}", [Room]) as runtime:
        assert await runtime.ask(Room.at("3"), Look()) == 5
