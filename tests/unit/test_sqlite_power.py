"""Power cuts (failure 30; P1, P2, P7): whatever the disk had not synced may be gone, and in any part.

The engine runs on a disk of the tests' own, which says what a cut after each of its operations may leave; each such
image is opened with the real engine.
"""

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from persistence import JournalError, wal
from persistence.sqlite import Durability
from persistence.sqlite_view import SqliteView
from runtime import Runtime
from tests.runtime.cast import Board, Hold, Lines, Look, Room
from tests.unit.disk import Op, PowerCut, choosers, images, lay_out, on_disk, pieces
from tests.unit.images import GROUPS, groups_left, written_groups


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come after a few groups, so that there are cuts in the middle of them."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 24)


async def test_a_power_cut_leaves_a_prefix_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    """Failure 30, P1, P2: no acknowledged group is lost, and none is split."""
    disk, _ = await written_groups(tmp_path / "journal.db")
    assert sum(op.what == "sync" and op.path.endswith(".db") for op in disk.ops) > 3  # checkpoints
    seen: set[int] = set()
    for image, acknowledged in images(disk.ops):
        held = await groups_left(image, tmp_path / "image")
        assert acknowledged <= held <= acknowledged + 1
        seen.add(held)
    assert seen == set(range(GROUPS + 1))


async def test_with_normal_a_power_cut_leaves_a_prefix_without_the_last_groups(tmp_path: Path) -> None:
    """Failure 30, P2; and a proof that these images miss a sync that is not there."""
    disk, _ = await written_groups(tmp_path / "journal.db", "normal")
    lost: set[int] = set()
    for image, acknowledged in images(disk.ops, every=4):
        held = await groups_left(image, tmp_path / "image")
        assert held <= acknowledged + 1
        lost.add(max(0, acknowledged - held))
    assert {0, 1, 2} <= lost


async def test_without_any_sync_a_power_cut_may_leave_anything(tmp_path: Path) -> None:
    """The proof that these images find what is torn: SQLite promises nothing with ``synchronous = off``."""
    disk, _ = await written_groups(tmp_path / "journal.db", cast("Durability", "off"))
    broken = 0
    for image, _ in images(disk.ops, every=4):
        try:
            await groups_left(image, tmp_path / "image")
        except (JournalError, AssertionError):
            broken += 1
    assert broken > 5


# -- read models --------------------------------------------------------------------------------------------------

SCHEMA = "create table events (position integer primary key, text text); create index texts on events (text)"


async def test_a_power_cut_leaves_a_read_model_that_is_the_fold_of_a_prefix(tmp_path: Path) -> None:
    """Failure 13, P7: rows and checkpoint are lost together or not at all."""
    path, step, end = tmp_path / "view.db", 7, 0
    with on_disk() as disk:
        for opening in (1, 2):
            view = SqliteView(path, SCHEMA, "j1")
            await view.open()
            try:
                assert view.checkpoint == end
                while end < opening * 200:
                    rows = [("insert into events values (?, ?)", (n, f"{n}" * 20)) for n in range(end, end + step)]
                    await view.apply([*rows, ("delete from events where position < ?", (end - 100,))], end + step)
                    end += step
            finally:
                await view.close()
    seen: set[int] = set()
    for image, _ in images(disk.ops, every=6):
        lay_out(image, folder := tmp_path / "image")
        view = SqliteView(folder / "view.db", SCHEMA, "j1")
        await view.open()
        try:
            async with view.reader.execute("select position, text from events order by position") as cursor:
                found = [tuple(row) for row in await cursor.fetchall()]
        finally:
            await view.close()
            shutil.rmtree(folder)
        end = view.checkpoint
        assert found == [(n, f"{n}" * 20) for n in range(max(0, end - step - 100), end)]
        seen.add(end)
    assert len(seen) > 5


async def test_what_a_runtime_acknowledged_is_there_after_a_power_cut(tmp_path: Path) -> None:
    """Failure 30, P1, P7: replies are kept, a repeat is known as one, and no read model is ahead of the journal."""
    url, rooms = f"sqlite:{tmp_path / 'journal.db'}", 3
    with on_disk() as disk:
        async with Runtime(url, [Room, Board]) as runtime:
            for number in range(15):
                await runtime.ask(Room.at(f"{number % rooms}"), Hold(f"trip-{number}"), id=f"id-{number}")
                disk.acknowledged += 1
    chosen = [pair for number, pair in enumerate(images(disk.ops)) if number % 9 == 0]
    for image, acknowledged in chosen:
        lay_out(image, folder := tmp_path / "image")
        async with Runtime(f"sqlite:{folder / 'journal.db'}", [Room, Board]) as runtime:
            there = runtime.position
            assert acknowledged <= there <= acknowledged + 1
            for number in range(acknowledged):  # repeats change nothing
                await runtime.ask(Room.at(f"{number % rooms}"), Hold(f"trip-{number}"), id=f"id-{number}")
            assert runtime.position == there
            assert sum([await runtime.ask(Room.at(f"{n}"), Look()) for n in range(rooms)]) == there
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert lines == [(n + 1, f"WasHeld trip-{n}") for n in range(there)]
        shutil.rmtree(folder)
    assert len(chosen) > 20


# -- the disk itself ----------------------------------------------------------------------------------------------


def written(*ops: Any) -> PowerCut:
    return PowerCut(Op(*op) for op in ops)


def test_what_is_synced_is_kept_and_the_rest_is_at_the_cuts_mercy() -> None:
    cut = written(
        ("open", "a"), ("write", "a", 0, b"x" * 600), ("sync", "a"),
        ("sync folder", "a"), ("write", "a", 500, b"y" * 200),
    )  # fmt: skip
    nothing, everything_, *_, blank = (cut.image(choose) for choose in choosers(1))
    assert nothing == {"a": b"x" * 600}
    assert everything_ == {"a": b"x" * 500 + b"y" * 200}
    assert blank == {"a": b"x" * 600 + bytes(100)}
    assert cut.image(lambda: "torn") == {"a": b"x" * 500 + b"y" * 8 + b"x" * 4 + b"y" * 125}
    assert [len(piece) for _, piece in pieces(Op("write", "a", 500, b"y" * 1_000))] == [12, 512, 476]


def test_a_name_is_kept_when_its_folder_is_synced() -> None:
    cut = written(
        ("open", "a"), ("write", "a", 0, b"x"), ("sync", "a"), ("open", "b"), ("sync folder", "b"), ("delete", "a")
    )
    lost, kept, *_ = (cut.image(choose) for choose in choosers(1))
    assert lost == {"a": b"x", "b": b""}
    assert kept == {"b": b""}
    assert written(("open", "a"), ("write", "a", 0, b"x"), ("sync", "a")).image(lambda: "lost") == {}
