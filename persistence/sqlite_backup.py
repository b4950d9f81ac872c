"""A copy of an SQLite journal that is consistent, made while it is being written to, also by another process."""

import asyncio
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from persistence.connection import connect, shielded
from persistence.errors import JournalUnusable
from persistence.new_file import NewFile
from persistence.progress import Progress, no_progress
from persistence.sqlite_file import damaged, fault
from persistence.sqlite_reading import SqliteReading

PAGES = 1_000
"""How many pages of the file are copied between two looks whether to go on: 4 MB."""


async def back_up(journal: SqliteReading, path: Path, progress: Progress = no_progress) -> int:
    """Copy an open journal into a new file, as it is at one moment; return the position of its last event.

    It goes through a connection of its own, which keeps the view of that moment: who writes goes on meanwhile, and
    the copy ends where a group ends. Until it is done the write-ahead log can't be brought back into the journal's
    file, and grows. ``progress`` is told of pages. Cancelled, it stops within :data:`PAGES` pages, and leaves nothing
    but ``PATH.part``.

    Raises:
        JournalUnusable: the file can't be written, or there is one already.
        JournalInUse: another process is writing it.
        JournalDamaged: the journal is.
    """
    with NewFile(path, anew=True) as new:
        copying = _Copying(journal.path, new.part, progress)
        reader = await connect(journal.path, readonly=True)
        try:
            return await copying.stopped_with_us(asyncio.ensure_future(reader.run(copying.run)))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise fault(journal.path, f"it can't be copied to {path}", error) from error
        finally:
            await reader.shut()


class _Stopped(Exception):
    """Nobody wants the copy any more."""


class _Copying:
    def __init__(self, source: Path, target: Path, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()

    async def stopped_with_us(self, work: asyncio.Future[int]) -> int:
        """Wait for the copy; where the caller is cancelled, stop it and wait until it has stopped."""
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stop.set()
            with suppress(_Stopped, sqlite3.Error):
                await shielded(work)
            raise

    def run(self, db: sqlite3.Connection) -> int:
        """Copy, in the reading connection's thread."""
        db.execute("begin")  # without it a copy of a busy journal would begin anew after each group
        position, head = db.execute(
            "select position, (select coalesce(max(position), 0) from events) from journal"
        ).fetchone() or (None, None)
        if position is None or position != head:
            raise damaged(self._source, f"it ends at position {head}, but was written up to position {position}")
        with closing(sqlite3.connect(self._target, isolation_level=None)) as copy:
            copy.execute("pragma synchronous = off")  # it is synced as a whole, at the end
            db.backup(copy, pages=PAGES, progress=self._copied)
            # So that the copy is one file, and can be read where nothing can be written. Opening it sets this back.
            (mode,) = copy.execute("pragma journal_mode = delete").fetchone()
            if mode != "delete":
                raise JournalUnusable(f"{self._target} is being used by somebody else")
        db.execute("rollback")
        return int(position)

    def _copied(self, _status: int, remaining: int, total: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._loop.call_soon_threadsafe(self._progress, total - remaining, total)
