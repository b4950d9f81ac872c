"""The read models' own databases: rows and checkpoint change in one transaction, so they never disagree."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from persistence.connection import Connection, connect, shielded
from persistence.errors import JournalUnusable
from persistence.wal import keep_small, log_size

_UNCLEAN = 1
SqlStatement = tuple[str, tuple[Any, ...]]
"""SQL text and the values bound to it."""


class SqliteView:
    """One read model's database; ``path`` None keeps it in memory.

    The tables are made anew, and the checkpoint starts at 0, where there is no database yet or where it belongs to
    another journal. ``reader`` is the connection for queries.
    """

    def __init__(self, path: Path | None, schema: str, journal: str) -> None:
        self._path = path
        self._schema = schema
        self._journal = journal
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self.checkpoint = 0
        """The position of the last event whose rows are committed."""
        self.log_bytes = 0
        """The size of the write-ahead log beside the file after the last batch."""
        self.unclean = False
        """Whether the file may hold what was blanked; kept in it, as its ``user_version``."""

    @property
    def reader(self) -> Connection:
        """The read-only connection that queries are answered with."""
        if self._reader is None:
            raise JournalUnusable("the read model's database is not open")
        return self._reader

    async def open(self, head: int) -> None:
        """Open or make the database; one that is ahead of the journal's ``head`` is made anew.

        Raises:
            JournalUnusable: it can't be opened or its schema can't be run.
        """
        try:
            await self._connect()
            try:
                found = await self._load(head)
            except sqlite3.DatabaseError:
                # Damaged, or no database at all. What is derived is made again; only a fault that stays is told.
                found = False
            if not found:
                await self._remake()
            if self._path is None:
                self._reader = self._writer  # a database in memory has one connection
            else:
                self._reader = await connect(self._path, readonly=True)
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise JournalUnusable(
                f"the read model's database {self._path or 'in memory'} can't be used: {error}"
            ) from error
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> None:
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._writer = await connect(self._path)

    async def _load(self, head: int) -> bool:
        def work(db: sqlite3.Connection) -> tuple[str, int, int] | None:
            # What can be rebuilt needs no sync for each batch; a power cut costs a replay, not the truth.
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            keep_small(db)
            if not db.execute("select 1 from sqlite_master where name = 'understudy_checkpoint'").fetchone():
                return None
            row = db.execute("select journal, position from understudy_checkpoint").fetchone()
            return None if row is None else (*row, *db.execute("pragma user_version").fetchone())

        assert self._writer is not None
        found = await self._writer.run(work)
        if found is None or found[0] != self._journal or found[1] > head:
            return False
        _, self.checkpoint, unclean = found
        self.unclean = unclean == _UNCLEAN
        return True

    async def _remake(self) -> None:
        assert self._writer is not None
        if self._path is not None:
            await self._writer.shut()
            _remove(self._path)
            await self._connect()

        def work(db: sqlite3.Connection) -> None:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            keep_small(db)
            db.executescript(self._schema)
            db.execute("create table understudy_checkpoint (journal text not null, position integer not null)")
            db.execute("insert into understudy_checkpoint values (?, 0)", (self._journal,))
            _query_only(db, self._path is None)

        await self._writer.run(work)
        self.checkpoint, self.unclean = 0, False

    async def apply(self, statements: Sequence[SqlStatement], checkpoint: int, *, blanks: bool = False) -> None:
        """Run the statements and move the checkpoint, all or nothing; runs of one statement go as one.

        ``blanks``: no copy of what they overwrite may stay in the file; :meth:`clean` sees to it.

        Raises:
            sqlite3.Error: it failed; ``checkpoint`` says whether anything was changed.
            JournalUnusable: the checkpoint is not where this object left it, but where ``checkpoint`` now says.
        """
        if self._writer is None:
            raise JournalUnusable("the read model's database is not open")
        if checkpoint <= self.checkpoint:
            raise JournalUnusable(f"the read model's database {self._path} is at position {self.checkpoint} already")

        def work(db: sqlite3.Connection) -> None:
            _query_only(db, False)
            try:
                db.execute("begin immediate")
                # A batch whose outcome was unknown, or that somebody else has run, must not be run twice.
                moved = db.execute(
                    "update understudy_checkpoint set position = ? where position = ?", (checkpoint, self.checkpoint)
                )
                if moved.rowcount != 1:
                    raise JournalUnusable(f"the read model's database {self._path} was changed by somebody else")
                for text, run in groupby(statements, key=lambda statement: statement[0]):
                    # executemany takes nothing but changes of rows, so a projection can't end the transaction
                    db.executemany(text, [values for _, values in run])
                if blanks:
                    db.execute(f"pragma user_version = {_UNCLEAN}")
                    self.unclean = True
                db.execute("commit")
                self.checkpoint = checkpoint  # here, so that it follows the rows even if the caller is cancelled
                self.log_bytes = 0 if self._path is None else log_size(self._path)
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                with suppress(sqlite3.Error):  # what is kept decides: an error may also come behind the commit
                    (self.checkpoint,) = db.execute("select position from understudy_checkpoint").fetchone()
                raise
            finally:
                _query_only(db, self._path is None)

        await self._writer.run(work)

    async def clean(self) -> None:
        """Write the file anew, so that nothing is left in it of what was blanked; in a large file it takes long.

        Raises:
            sqlite3.Error: it could not be done now; what is read is right all the same.
        """
        if self._path is None or self._writer is None:
            self.unclean = False
            return

        def work(db: sqlite3.Connection) -> None:
            db.execute("vacuum")  # pages that were split or moved keep copies, so overwriting rows is not enough
            (busy,) = db.execute("pragma wal_checkpoint(truncate)").fetchone()[:1]
            if busy:
                raise sqlite3.OperationalError("a query reads the database all the time")
            db.execute("pragma user_version = 0")
            self.unclean = False

        await self._writer.run(work)

    async def close(self) -> None:
        """Close the database. Does nothing where it is not open."""
        await shielded(self._close())

    async def _close(self) -> None:
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        if reader is not None and reader is not writer:
            await reader.shut()
        if writer is not None:
            await writer.shut()


def _query_only(db: sqlite3.Connection, on: bool) -> None:
    """Keep queries from writing, where they share the writing connection: to a database in memory there is one."""
    db.execute(f"pragma query_only = {on:d}")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
