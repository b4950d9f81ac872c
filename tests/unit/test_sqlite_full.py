"""Failure 28: the disk is full at every write in turn, and then there is space again. Nothing is lost."""

import shutil
import sqlite3
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from persistence import AppendFailed, JournalUnusable, SqliteJournal, sqlite_file, wal
from persistence.sqlite_view import SqliteView
from tests.contract.journal_contract import everything
from tests.unit.crashing import group, opened, whole_groups
from tests.unit.disk import Disk, on_disk

GROUPS = 5
FULL = "database or disk is full"


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come after a few groups, so that the disk is full in them too."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 24)


@pytest.fixture
def disk() -> Generator[Disk]:
    with on_disk() as disk:
        yield disk


def fresh(path: Path) -> Path:
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    return path


@pytest.mark.parametrize("lasting", [1, 3], ids=["once", "for a while"])
async def test_a_journal_loses_nothing_and_goes_on(tmp_path: Path, disk: Disk, lasting: int) -> None:
    """Failure 28, P1, P2, P14: at every write of every group, and of the checkpoints between them."""
    for room in disk.filled(50):
        path = fresh(tmp_path / "disk" / "journal.db")
        async with opened(path) as journal:
            disk.room, written = room, 0
            while written < GROUPS:
                try:
                    await journal.append(group(written))
                    written += 1
                    continue
                except AppendFailed as error:
                    told = str(error)
                assert FULL in told
                for _ in range(lasting):
                    await journal.recover()
                    held = whole_groups(await everything(journal))
                    assert written <= held <= written + 1
                    if held == written:
                        with pytest.raises(AppendFailed, match=FULL):
                            await journal.append(group(held))
                disk.room = None
                await journal.recover()
                written = whole_groups(await everything(journal))
            disk.room = None
            assert whole_groups(await everything(journal)) == GROUPS
        assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
        async with opened(path) as journal:
            assert whole_groups(await everything(journal)) == GROUPS


async def test_closing_on_a_full_disk_closes(tmp_path: Path, disk: Disk) -> None:
    """Failure 28: the log is kept, for it can't be copied into the file."""
    for room in disk.filled(4):
        path = fresh(tmp_path / "disk" / "journal.db")
        async with opened(path) as journal:
            for number in range(5):
                await journal.append(group(number))
            disk.room = room
        disk.room = None
        async with opened(path) as journal:
            assert whole_groups(await everything(journal)) == 5


@pytest.mark.parametrize("there", [False, True], ids=["new", "old"])
async def test_an_opening_is_refused_and_succeeds_when_there_is_room(tmp_path: Path, disk: Disk, there: bool) -> None:
    """Failure 28: with what to do in the error, and with nothing half made left behind."""
    kept = tmp_path / "kept.db"
    async with opened(kept) as journal:
        for number in range(3):
            await journal.append(group(number))
    for room in disk.filled(1 if there else 12):
        path = fresh(tmp_path / "disk" / "journal.db")
        if there:
            shutil.copy(kept, path)
        disk.room = room
        try:
            async with opened(path):
                pass
        except JournalUnusable as error:
            assert "is full" in str(error)  # noqa: PT017 (a write that can wait may fail unseen)
        disk.room = None
        async with opened(path) as journal:
            held = whole_groups(await everything(journal))
            assert held == 3 * there
            await journal.append(group(held))


async def test_a_read_model_loses_nothing_and_goes_on(tmp_path: Path, disk: Disk) -> None:
    """Failure 28, P7: rows and checkpoint stay together."""
    for room in disk.filled(10):
        path = fresh(tmp_path / "disk" / "view.db")
        view = SqliteView(path, "create table numbers (n integer primary key, text text)", "j1")
        await view.open()
        try:
            disk.room = room
            while view.checkpoint < 100:
                end = view.checkpoint + 20
                rows = [("insert into numbers values (?, ?)", (n, "x" * 200)) for n in range(view.checkpoint, end)]
                try:
                    await view.apply(rows, end)
                except sqlite3.Error as error:
                    assert sqlite_file.may_pass(error)  # noqa: PT017 (it may come or not)
                    ((numbers,),) = await view.reader.run(lambda db: db.execute("select count(*) from numbers"))
                    assert numbers == view.checkpoint
                    disk.room = None
            ((numbers,),) = await view.reader.run(lambda db: db.execute("select count(*) from numbers"))
            assert numbers == 100
        finally:
            disk.room = None
            await view.close()


# -- a disk that is really full -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system with room for one megabyte, where the tests may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(512))
        except OSError as error:
            assert error.errno == 28  # noqa: PT017 (it always comes)


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """Failure 28: with the standard library's SQLite on a file system of the kernel's."""
    path, ballast = small_disk / "journal.db", small_disk / "ballast"
    written = 0
    async with opened(path) as journal:
        for _ in range(4):
            fill(ballast)
            try:
                for _ in range(1_000):
                    await journal.append(group(written))
                    written += 1
            except AppendFailed as error:
                assert FULL in str(error)  # noqa: PT017 (how many groups there is room for is not known)
            await journal.recover()
            assert whole_groups(await everything(journal)) == written
            ballast.unlink()
            await journal.append(group(written))
            written += 1
        fill(ballast)
    ballast.unlink()
    async with opened(path) as journal:
        assert whole_groups(await everything(journal)) == written
    fill(ballast)
    with pytest.raises(JournalUnusable, match="No space left on device"):
        await SqliteJournal(path).open()
    ballast.unlink()
    async with opened(path) as journal:
        assert whole_groups(await everything(journal)) == written
