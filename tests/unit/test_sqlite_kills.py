"""Kills at every boundary of a call to the file system, and writes that are cut in the middle (failure 30; P1, P2).

The engine runs on a disk of the tests' own. What a process leaves that is killed there is opened with the real engine.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence import JournalError, sqlite, wal
from persistence.sqlite_group import Group
from persistence.sqlite_view import SqliteView
from tests.unit.disk import lay_out, on_disk
from tests.unit.images import GROUPS, Kills, groups_left, torn_images, written_groups


@pytest.fixture(autouse=True)
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come after a few groups, so that there are kills in the middle of them."""
    monkeypatch.setattr(wal, "CHECKPOINT_PAGES", 24)


async def test_a_kill_at_any_boundary_leaves_a_prefix_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    """Failure 30, P1, P2: and the journal can be opened and written on."""
    (folder := tmp_path / "disk").mkdir()
    _, kills = await written_groups(folder / "journal.db")
    assert kills.boundaries > 400
    endings = {Path(name).suffix for image, _ in kills.images for name in image}
    assert endings == {".db", ".db-wal", ".db-shm", ".db-journal", ".lock"}
    seen: set[int] = set()
    for image, acknowledged in kills.images:
        held = await groups_left(image, tmp_path / "image")
        assert acknowledged <= held <= acknowledged + 1
        seen.add(held)
    assert seen == set(range(GROUPS + 1))


def ahead(db: sqlite3.Connection, group: Group) -> None:
    """Commit a group with the next one, and say at once that it is written."""
    if db.in_transaction:
        db.execute("commit")
    db.execute("begin immediate")
    group.write(db)


def in_pieces(db: sqlite3.Connection, group: Group) -> None:
    """Make each statement a transaction of its own."""
    group.write(db)


@pytest.mark.parametrize("bug", [ahead, in_pieces])
async def test_kills_show_what_breaks_a_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: Callable[[sqlite3.Connection, Group], None]
) -> None:
    """The proof that these images find what isn't there yet, and half a group."""
    (folder := tmp_path / "disk").mkdir()
    with monkeypatch.context() as plant:
        plant.setattr(sqlite, "write_all", bug)
        _, kills = await written_groups(folder / "journal.db", ends=(GROUPS,))
    broken = 0
    for image, acknowledged in kills.images:
        try:
            broken += not acknowledged <= await groups_left(image, tmp_path / "image") <= acknowledged + 1
        except (JournalError, AssertionError):
            broken += 1
    assert broken > 10


@pytest.mark.parametrize(("ending", "every"), [("-wal", 2), (".db", 1), ("-journal", 1)])
async def test_a_write_that_is_cut_in_the_middle_is_made_good(tmp_path: Path, ending: str, every: int) -> None:
    """Failure 30, P1, P2: torn pages of the log and of the database, at each boundary of a sector."""
    disk, _ = await written_groups(tmp_path / "journal.db")
    torn = 0
    for image, op in torn_images(disk.ops, ending, every):
        held = await groups_left(image, tmp_path / "image")
        assert op.acknowledged <= held <= op.acknowledged + 1
        torn += 1
    assert torn > {"-wal": 300, ".db": 300, "-journal": 10}[ending]


async def test_without_its_log_a_torn_page_of_the_database_is_found(tmp_path: Path) -> None:
    """P15, and the proof that pages are torn: what would make them good is taken away."""
    disk, _ = await written_groups(tmp_path / "journal.db")
    broken = whole = 0
    for image, _ in torn_images(disk.ops, ".db", every=2):
        left = {name: content for name, content in image.items() if name.endswith(".db")}
        try:
            await groups_left(left, tmp_path / "image")
            whole += 1
        except (JournalError, AssertionError):
            broken += 1
    assert broken > whole


async def test_a_kill_leaves_a_read_model_that_is_the_fold_of_a_prefix(tmp_path: Path) -> None:
    """Failure 13, P7: rows and checkpoint are there together or not at all, and no checkpoint that was told is lost."""
    (folder := tmp_path / "disk").mkdir()
    schema, step = "create table events (position integer primary key, text text)", 20
    with on_disk() as disk:
        kills = Kills(disk, folder)
        view = SqliteView(folder / "view.db", schema, "j1")
        await view.open()
        for end in range(step, 10 * step, step):
            rows = [("insert into events values (?, ?)", (n, f"{n}" * 20)) for n in range(end - step, end)]
            await view.apply([*rows, ("delete from events where position < ?", (end - 50,))], end)
            disk.acknowledged = end
        await view.close()
    seen: set[int] = set()
    for number, (image, acknowledged) in enumerate(kills.images):
        lay_out(image, place := tmp_path / f"image-{number}")
        view = SqliteView(place / "view.db", schema, "j1")
        await view.open()
        try:
            found = await view.reader.run(lambda db: db.execute("select position from events order by 1").fetchall())
        finally:
            await view.close()
        end = view.checkpoint
        assert acknowledged <= end <= acknowledged + step
        assert [n for (n,) in found] == list(range(max(0, end - 50), end))
        seen.add(end)
    assert len(seen) == 10
