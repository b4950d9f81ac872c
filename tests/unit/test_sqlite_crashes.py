"""Whatever stops a write, and wherever: what is left is a prefix, and all that was acknowledged is in it."""
# ruff: noqa: ASYNC220, ASYNC240 (a test may block its loop on a file or a process)

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import persistence
from persistence import AppendFailed, DuplicateCommand, JournalError, JournalUnusable, SqliteJournal, VersionConflict
from persistence import sqlite as engine
from persistence.connection import Connection, connect
from tests.contract.journal_contract import ROOMS, SEATS, everything, put
from tests.unit.conftest import Probe
from tests.unit.crashing import group, groups_in, opened, whole_groups

HOUSE = Path(persistence.__file__).parents[1]
DEADLINE = 60.0
"""Seconds: no test takes so long, however slow the machine."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


# -- kills ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("acknowledged", [0, 1, 2, 5, 6, 30, 31, 32, 100])
async def test_a_killed_process_leaves_a_prefix_with_all_that_it_acknowledged(path: Path, acknowledged: int) -> None:
    """Failure 30."""
    command = [sys.executable, "-m", "tests.unit.crashing", str(path)]
    with subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        position = 0
        for _ in range(acknowledged):
            position = int(process.stdout.readline())
        process.kill()
        more = process.stdout.read().split("\n")[:-1]  # a line that the kill cut tells nothing
        position = int(more[-1]) if more else position
    async with opened(path) as journal:
        assert journal.position >= position
    assert await groups_in(path) >= acknowledged


async def test_the_files_are_a_prefix_before_and_after_every_statement(path: Path, probe: Probe) -> None:
    # Copies of the files are what a kill at that point would leave: all that was written is in the system's cache.
    images: list[tuple[Path, int]] = []
    acknowledged = 0

    def take(_: sqlite3.Connection, statement: str) -> None:
        image = path.parent / f"image-{len(images)}.db"
        shutil.copy(path, image)
        shutil.copy(f"{path}-wal", f"{image}-wal")
        images.append((image, acknowledged))

    async with opened(path) as journal:
        probe.before = probe.after = take
        for number in range(6):
            await journal.append(group(number))
            acknowledged += 1
    probe.before = probe.after = lambda db, statement: None
    assert len(images) > 60
    for image, least in images:
        assert least <= await groups_in(image) <= least + 1


async def test_a_write_ahead_log_that_is_cut_anywhere_is_a_prefix(path: Path) -> None:
    """Failure 30."""
    async with opened(path) as journal:
        for number in range(12):
            await journal.append(group(number))
        main, log = path.read_bytes(), path.with_name("journal.db-wal").read_bytes()
    found: list[int] = []
    image = path.with_name("image.db")
    for cut in [*range(0, len(log), 4_120 * 3 + 1_000), len(log)]:
        image.write_bytes(main)
        image.with_name("image.db-wal").write_bytes(log[:cut])
        found.append(await groups_in(image))
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 12)
    assert len(set(found)) > 6


# -- cancellation -----------------------------------------------------------------------------------------------


class Gate:
    """Stops the connection's thread before or after a statement, until it is opened."""

    def __init__(self, probe: Probe, statement: str, *, after: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._open = threading.Event()

        def watcher(_: sqlite3.Connection, text: str) -> None:
            if text.startswith(statement) and not self._open.is_set():
                loop.call_soon_threadsafe(self._reached.set)
                assert self._open.wait(DEADLINE)

        if after:
            probe.after = watcher
        else:
            probe.before = watcher

    async def reached(self) -> None:
        await asyncio.wait_for(self._reached.wait(), DEADLINE)

    def open(self) -> None:
        self._open.set()


POINTS = [
    ("begin", False),
    ("insert into events", False),
    ("insert into events", True),
    ("commit", False),
    ("commit", True),
]


@pytest.mark.parametrize(("statement", "after"), POINTS)
async def test_a_cancelled_append_runs_to_its_end(path: Path, probe: Probe, statement: str, after: bool) -> None:
    """Failure 25."""
    async with opened(path) as journal:
        await journal.append(group(0))
        gate = Gate(probe, statement, after=after)
        task = asyncio.create_task(journal.append(group(1)))
        await gate.reached()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert whole_groups(await everything(journal)) == 2
        await journal.append(group(2))
    assert await groups_in(path) == 3


@pytest.mark.parametrize(("statement", "after"), POINTS)
async def test_an_append_under_a_cancelled_scope_runs_to_its_end(
    path: Path, probe: Probe, statement: str, after: bool
) -> None:
    """Failure 25."""
    async with opened(path) as journal:
        gate = Gate(probe, statement, after=after)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal.append, group(0))
            await gate.reached()
            tasks.cancel_scope.cancel()
            gate.open()
        assert whole_groups(await everything(journal)) == 1
        await journal.append(group(1))
    assert await groups_in(path) == 2


@pytest.mark.parametrize("read", [False, True], ids=["append", "read"])
async def test_what_was_done_under_a_cancelled_scope_is_told(path: Path, probe: Probe, read: bool) -> None:
    """Nor does the scope try in vain, in each turn of the loop, to cancel who waits for the disk."""
    told: list[object] = []
    scope = anyio.CancelScope()
    async with opened(path) as journal:
        await journal.append(group(0))
        gate = Gate(probe, "select (select max" if read else "commit")

        async def work() -> None:
            with scope:
                told.append(await (journal.heads([SEATS]) if read else journal.append(group(1))))

        task = asyncio.create_task(work())
        await gate.reached()
        scope.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        tries = task.cancelling()
        gate.open()
        await task
    assert told == ([{SEATS: 1}] if read else [4])
    assert tries == 0


async def test_an_append_behind_a_cancelled_one_finds_the_true_state(path: Path, probe: Probe) -> None:
    """Failure 25."""
    async with opened(path) as journal:
        gate = Gate(probe, "begin")
        first = asyncio.create_task(journal.append(group(0)))
        await gate.reached()
        first.cancel()
        second = asyncio.create_task(journal.append(group(1)))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.wait([first, second])
        assert second.result() == 1 + 3
        assert whole_groups(await everything(journal)) == 2


async def test_reading_goes_on_while_a_group_is_being_written(path: Path, probe: Probe) -> None:
    async with opened(path) as journal:
        await journal.append(group(0))
        gate = Gate(probe, "commit")
        task = asyncio.create_task(journal.append(group(1)))
        await gate.reached()
        assert whole_groups(await everything(journal)) == 1
        gate.open()
        await task
        assert whole_groups(await everything(journal)) == 2


@pytest.mark.parametrize("turns", range(14))
async def test_a_cancelled_opening_leaves_nothing_behind(path: Path, turns: int) -> None:
    """Failure 39."""
    journal = SqliteJournal(path)
    task = asyncio.create_task(journal.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        await journal.close()
    assert not path.with_name("journal.db.lock").exists()
    assert await groups_in(path) == 0


@pytest.mark.parametrize("statement", ["pragma page_count", "create table events", "pragma query_only"])
async def test_an_opening_that_is_cancelled_at_work_leaves_nothing_behind(
    path: Path, probe: Probe, statement: str
) -> None:
    """Failure 39."""
    gate = Gate(probe, statement)
    task = asyncio.create_task(SqliteJournal(path).open())
    await gate.reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await groups_in(path) == 0


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_closing_closes(path: Path, turns: int) -> None:
    """Failure 39."""
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append(group(0))
    task = asyncio.create_task(journal.close())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    assert await groups_in(path) == 1


# -- writes that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "after", "written"),
    [
        ("begin", False, False),
        ("begin", True, False),
        ("insert into streams", True, False),
        ("insert into events", False, False),
        ("insert into events", True, False),
        ("update streams", False, False),
        ("update journal", True, False),
        ("commit", False, False),
        ("commit", True, True),
    ],
)
async def test_after_a_failed_write_recovery_finds_the_truth(
    path: Path, probe: Probe, statement: str, after: bool, written: bool
) -> None:
    """Failure 5."""
    batches = [*group(1), (put(SEATS, 2 + 1, 0, mark=False),)]
    async with opened(path) as journal:
        await journal.append(group(0))
        probe.fail(statement, after=after)
        with pytest.raises(AppendFailed, match=r"journal\.db could not be written: disk I/O error") as caught:
            await journal.append(batches)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        await journal.recover()
        assert whole_groups(await everything(journal)) == 1 + written
        if not written:
            await journal.append(batches)
        await journal.append(group(2))
        assert whole_groups(await everything(journal)) == 3
    assert await groups_in(path) == 3


async def test_a_failed_rollback_is_made_good_by_recovery(path: Path, probe: Probe) -> None:
    async with opened(path) as journal:
        await journal.append(group(0))
        failing = ["commit", "rollback"]

        def fail(_: sqlite3.Connection, statement: str) -> None:
            if statement in failing:
                failing.remove(statement)
                raise sqlite3.OperationalError("disk I/O error")

        probe.before = fail
        with pytest.raises(AppendFailed):
            await journal.append(group(1))
        assert failing == []
        await journal.recover()
        assert whole_groups(await everything(journal)) == 1
        await journal.append(group(1))
        assert whole_groups(await everything(journal)) == 2


async def test_a_recovery_that_fails_can_be_tried_again(path: Path, probe: Probe) -> None:
    async with opened(path) as journal:
        await journal.append(group(0))
        probe.fail("commit", after=True)
        with pytest.raises(AppendFailed):
            await journal.append(group(1))
        probe.after = lambda db, statement: None
        probe.fail("begin", times=2)
        for _ in range(2):
            with pytest.raises(JournalUnusable, match="disk I/O error"):
                await journal.recover()
        await journal.recover()
        assert whole_groups(await everything(journal)) == 2


@pytest.mark.parametrize("again", [1, 2])
async def test_without_recovery_nothing_is_written_over_what_is_there(path: Path, probe: Probe, again: int) -> None:
    async with opened(path) as journal:
        await journal.append(group(0))
        probe.fail("commit", after=True)
        with pytest.raises(AppendFailed):
            await journal.append(group(1))
        with pytest.raises(JournalError):
            await journal.append(group(again))
        await journal.recover()
        assert whole_groups(await everything(journal)) == 2


async def test_a_full_disk_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 28."""
    made: list[Connection] = []

    async def connect_and_tell(path: Path | None, *, readonly: bool = False) -> Connection:
        made.append(await connect(path, readonly=readonly))
        return made[-1]

    monkeypatch.setattr(engine, "connect", connect_and_tell)

    def limit(pages: int) -> Callable[[sqlite3.Connection], None]:
        return lambda db: db.execute(f"pragma max_page_count = {pages}").close()

    async with opened(path) as journal:
        held = failures = 0
        for room in range(14, 40):
            await made[0].run(limit(room))
            try:
                while held < 12:
                    await journal.append(group(held))
                    held += 1
            except AppendFailed as error:
                assert "full" in str(error)  # noqa: PT017 (it may happen or not, as the pages fall)
                failures += 1
            await journal.recover()
            assert whole_groups(await everything(journal)) == held
        assert failures > 3
        assert held == 12
    assert await groups_in(path) == 12


async def test_a_refusal_leaves_no_transaction_open(path: Path, probe: Probe) -> None:
    in_transaction: list[bool] = []
    probe.before = lambda db, statement: in_transaction.append(db.in_transaction)
    async with opened(path) as journal:
        await journal.append([(put(SEATS, 0, 1, "c1"),)])
        for bad in (put(SEATS, 7), put(SEATS, 0), put(SEATS, 1, 1, "c1")):
            with pytest.raises((VersionConflict, DuplicateCommand)):
                await journal.append([(put(ROOMS, 0),), (bad,)])
            in_transaction.clear()
            await journal.recover()
            assert in_transaction[0] is False
