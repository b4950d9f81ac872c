"""Where we may not go: one clear error each, and nothing of it is open afterwards."""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from persistence import JournalUnusable, SqliteJournal
from persistence.sqlite_watching import SqliteWatch
from tests.contract.journal_contract import SEATS, put

NOBODY = 65_534


@contextmanager
def as_nobody() -> Generator[None]:
    """Be somebody who may only do what everybody may: root may do all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
async def folder() -> AsyncGenerator[Path]:
    """Return a folder that everybody may enter, with a journal in it; all that is needed is imported then."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-"))
    os.chmod(folder, 0o755)
    for path in (folder / "j.db", folder / "closed" / "j.db"):
        path.parent.mkdir(exist_ok=True)
        journal = SqliteJournal(path)
        await journal.open()
        await journal.append([(put(SEATS, 0),)])
        await journal.close()
        watch = SqliteWatch(path)
        await watch.open()
        await watch.close()
    (folder / "closed").chmod(0)
    yield folder
    (folder / "closed").chmod(0o700)
    os.chmod(folder, 0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["closed/j.db", "closed/new.db", "closed/deeper/new.db"])
@pytest.mark.parametrize("make", [SqliteJournal, SqliteWatch])
async def test_a_folder_that_we_may_not_enter(
    folder: Path, name: str, make: type[SqliteJournal] | type[SqliteWatch]
) -> None:
    journal = make(folder / name)
    with as_nobody(), pytest.raises(JournalUnusable, match=rf"can't open .*{name}: Permission denied"):
        await journal.open()
    await journal.close()


@pytest.mark.parametrize("name", ["j.db", "new.db"])
async def test_a_folder_that_we_may_not_write_to(folder: Path, name: str) -> None:
    os.chmod(folder, 0o555)
    journal = SqliteJournal(folder / name)
    with as_nobody(), pytest.raises(JournalUnusable, match=rf"can't write .*{name}.lock: Permission denied"):
        await journal.open()


async def test_a_file_that_we_may_not_read_or_write(folder: Path) -> None:
    os.chmod(folder, 0o777)
    (folder / "j.db").chmod(0)
    with as_nobody(), pytest.raises(JournalUnusable, match=r"can't write .*j.db: Permission denied"):
        await SqliteJournal(folder / "j.db").open()
    with as_nobody(), pytest.raises(JournalUnusable, match=r"j.db: it can't be opened: unable to open database file"):
        await SqliteWatch(folder / "j.db").open()
    (folder / "j.db").chmod(0o644 if os.geteuid() == 0 else 0o444)
    with as_nobody(), pytest.raises(JournalUnusable, match=r"can't write .*j.db: Permission denied"):
        await SqliteJournal(folder / "j.db").open()
    assert "j.db.lock" not in os.listdir(folder)
