"""An SQLite journal as another process sees it: read beside the one that holds it, without a lock, never written."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from persistence.connection import connect, shielded
from persistence.errors import JournalError, JournalUnusable
from persistence.journal import Batch, Seal, Written
from persistence.limits import MAX_PAYLOAD, usable_limit
from persistence.sqlite_file import check_format, check_place, damaged, opening_error
from persistence.sqlite_reading import SqliteReading

LOOK_EVERY = 0.05
"""Seconds between two looks of who waits for news: SQLite tells nobody of another process."""


class SqliteWatch(SqliteReading):
    """A journal in one file, for reading only. ``position`` is kept up by :meth:`changed` and :meth:`recover`."""

    def __init__(self, path: str | Path, *, max_payload: int = MAX_PAYLOAD) -> None:
        super().__init__()
        self.max_payload = usable_limit(max_payload)
        self.path = Path(path)
        self.url = f"sqlite:{path}"

    async def open(self) -> None:
        """Open the file; see :meth:`Journal.open`. None is made where there is none."""
        check_place(self.path, there=True)
        try:
            self._reader = await connect(self.path, readonly=True)
            await self._reader.run(self._look_in)
        except BaseException as error:
            await self.close()
            if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):
                raise opening_error(self.path, error) from error
            raise

    def _look_in(self, db: sqlite3.Connection) -> None:
        if not db.execute("pragma page_count").fetchone()[0]:
            raise JournalUnusable(f"can't open {self.path}: it is empty, and its owner has yet to make a journal of it")
        check_format(db, self.path)
        self._load(db)

    def _load(self, db: sqlite3.Connection) -> None:
        # In one statement, so that it is of one moment.
        row = db.execute(
            "select identity, position, (select coalesce(max(position), 0) from events) from journal"
        ).fetchone()
        if row is None:
            raise damaged(self.path, "its identity is missing")
        self.identity, self.position, head = row
        if head != self.position:
            raise damaged(self.path, f"it ends at position {head}, but was written up to position {self.position}")

    async def close(self) -> None:
        """Close the file; see :meth:`Journal.close`."""
        reader, self._reader = self._reader, None
        self._news.tell()
        if reader is not None:
            await shielded(reader.shut())

    async def append(self, batches: Sequence[Batch]) -> int:  # noqa: ARG002
        """Refuse; see :meth:`Journal.append`."""
        raise self._refusal()

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:  # noqa: ARG002
        """Refuse; see :meth:`Journal.append_each`."""
        raise self._refusal()

    async def keep_seals(self, seals: Sequence[Seal]) -> None:  # noqa: ARG002
        """Refuse; see :meth:`Journal.keep_seals`."""
        raise self._refusal()

    def _refusal(self) -> JournalError:
        return JournalUnusable(f"{self.path} was opened for reading only")

    async def recover(self) -> None:
        """Read ``position`` anew; see :meth:`Journal.recover`."""
        await self._query("the journal's position", self._load)

    async def changed(self, after: int, timeout: float) -> int:
        """Wait until its owner has written to it; see :meth:`Journal.changed`."""
        while True:
            await self.recover()
            if self.position > after or timeout <= 0:
                return self.position
            await self._news.wait(min(LOOK_EVERY, timeout), self._news.count)
            timeout -= LOOK_EVERY
