"""The read models' own databases on SQLite: one file for each, or one in memory."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from persistence.connection import Connection, connect, shielded
from persistence.errors import JournalUnusable, StatementFailed
from persistence.readers import Readers
from persistence.sqlite_file import code_of, may_pass
from persistence.views import (
    NOTHING_ASIDE,
    PARKED,
    SKIPPED,
    SLOWEST,
    Aside,
    ParkedRow,
    SkippedRow,
    SqlStatement,
    View,
    form_of,
    wall_time,
)
from persistence.wal import keep_small, log_size

_UNCLEAN = 1
BOOKS = (
    """create table understudy_checkpoint (journal text not null, position integer not null, mark text not null,
        form text not null, made integer not null, ready integer not null)""",
    """create table understudy_parked (position integer primary key, key text not null, time integer not null,
        error text not null, attempts integer not null)""",
    """create table understudy_skipped (position integer primary key, key text not null, time integer not null,
        error text not null, reason text not null, by text not null)""",
)
"""The tables that we keep beside the author's."""


class SqliteView(View):
    """One read model's database; ``path`` None keeps it in memory.

    The tables are made anew, and the checkpoint starts at 0, where there is no database yet or where it belongs to
    another journal.
    """

    def __init__(self, path: Path | None, schema: str, journal: str, now: Callable[[], int] = wall_time) -> None:
        super().__init__(schema, journal, now)
        self._path = path
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._readers: Readers | None = None
        self.slowest = SLOWEST

    @property
    def reader(self) -> Connection:
        """The read-only connection for what we want to know of the tables ourselves."""
        if self._reader is None:
            raise JournalUnusable("the read model's database is not open")
        return self._reader

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """Return a connection to one query; see :class:`Readers`. A database in memory has one for all."""
        if self._readers is None:
            yield self.reader
            return
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._readers.one())
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(error) from error
            yield connection

    async def open(self) -> None:
        """Open or make the database; see :meth:`View.open`."""
        try:
            await self._connect()
            try:
                found = await self._load()
            except sqlite3.DatabaseError:
                # Damaged, or no database at all. What is derived is made again; only a fault that stays is told.
                found = False
            if not found:
                await self._remake()
            await self._connect_reader()
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise self._unusable(error) from error
        except BaseException:
            await self.close()
            raise

    async def open_for_reading(self) -> None:
        """Open the file as it is; see :meth:`View.open_for_reading`."""
        try:
            await self._connect_reader()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    async def keep_ready(self) -> None:
        """Keep that the tables have caught up; see :meth:`View.keep_ready`."""
        if self._writer is None:
            raise JournalUnusable("the read model's database is not open")

        def work(db: sqlite3.Connection) -> None:
            _query_only(db, False)
            try:
                db.execute("update understudy_checkpoint set ready = 1")
                self.ready = True
            finally:
                _query_only(db, self._path is None)

        await self._writer.run(work)

    async def remake(self) -> None:
        """Make the tables anew; see :meth:`View.remake`."""
        try:
            await shielded(self._close_reader())
            await self._remake()
            await self._connect_reader()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> JournalUnusable:
        return JournalUnusable(f"the read model's database {self._path or 'in memory'} can't be used: {error}")

    async def _connect(self) -> None:
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._writer = await connect(self._path)

    async def _connect_reader(self) -> None:
        # A database in memory has one connection.
        if self._path is None:
            self._reader = self._writer
        else:
            self._reader = await connect(self._path, readonly=True)
            self._readers = Readers(self._path)

    async def _load(self) -> bool:
        def work(db: sqlite3.Connection) -> tuple[str, int, str, int, int] | None:
            _prepare(db)
            tables = {name for (name,) in db.execute("select name from sqlite_master where type = 'table'")}
            if not tables.issuperset(("understudy_checkpoint", "understudy_parked", "understudy_skipped")):
                return None
            row = db.execute("select journal, position, mark, ready from understudy_checkpoint").fetchone()
            return None if row is None else (*row, *db.execute("pragma user_version").fetchone())

        assert self._writer is not None
        found = await self._writer.run(work)
        if found is None or found[0] != self.journal:
            return False
        _, self.checkpoint, self.mark, ready, unclean = found
        self.ready, self.unclean = bool(ready), unclean == _UNCLEAN
        return True

    async def _remake(self) -> None:
        assert self._writer is not None
        await self._writer.shut()
        if self._path is not None:
            remove(self._path)
        await self._connect()

        def work(db: sqlite3.Connection) -> None:
            _prepare(db)
            db.executescript(self.schema)
            for statement in BOOKS:
                db.execute(statement)
            row = (self.journal, form_of(self.schema), self.now())
            db.execute("insert into understudy_checkpoint values (?, 0, '', ?, ?, 0)", row)
            _query_only(db, self._path is None)

        await self._writer.run(work)
        self.checkpoint, self.mark, self.unclean, self.ready = 0, "", False, False

    async def apply(
        self,
        statements: Sequence[SqlStatement],
        checkpoint: int,
        *,
        mark: str = "",
        blanks: bool = False,
        aside: Aside = NOTHING_ASIDE,
    ) -> None:
        """Run the statements and move the checkpoint; see :meth:`View.apply`."""
        if self._writer is None:
            raise JournalUnusable("the read model's database is not open")
        if checkpoint < self.checkpoint or (checkpoint == self.checkpoint and aside is NOTHING_ASIDE):
            raise JournalUnusable(f"the read model's database {self._path} is at position {self.checkpoint} already")

        def work(db: sqlite3.Connection) -> None:
            _query_only(db, False)
            try:
                db.execute("begin immediate")
                # A batch whose outcome was unknown, or that somebody else has run, must not be run twice.
                moved = db.execute(
                    "update understudy_checkpoint set position = ?, mark = ? where position = ?",
                    (checkpoint, mark, self.checkpoint),
                )
                if moved.rowcount != 1 or _note(db, aside) != len(aside.taken):
                    raise JournalUnusable(f"the read model's database {self._path} was changed by somebody else")
                for text, run in groupby(statements, key=lambda statement: statement[0]):
                    # executemany takes nothing but changes of rows, so a projection can't end the transaction
                    db.executemany(text, [values for _, values in run])
                if blanks:
                    db.execute(f"pragma user_version = {_UNCLEAN}")
                    self.unclean = True
                db.execute("commit")
                self.checkpoint = checkpoint  # here, so that it follows the rows even if the caller is cancelled
                self.mark = mark
                self.log_bytes = 0 if self._path is None else log_size(self._path)
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                with suppress(sqlite3.Error):  # what is kept decides: an error may also come behind the commit
                    self.checkpoint, self.mark = db.execute(
                        "select position, mark from understudy_checkpoint"
                    ).fetchone()
                raise
            finally:
                _query_only(db, self._path is None)

        await self._in_time(self._writer, work)

    async def _in_time(self, writer: Connection, work: Callable[[sqlite3.Connection], None]) -> None:
        """Have a batch run, and end it where it takes too long: a statement that never ends would keep the thread."""
        running: list[sqlite3.Connection] = []

        def started(db: sqlite3.Connection) -> None:
            running.append(db)
            try:
                work(db)
            finally:
                running.clear()

        def interrupt() -> None:
            for db in running.copy():
                db.interrupt()  # one of the two things that another thread may do with a connection

        timer = asyncio.get_running_loop().call_later(self.slowest, interrupt)
        try:
            await writer.run(started)
        finally:
            timer.cancel()

    def passes(self, error: BaseException) -> bool:
        """Return whether an error is of the disk, or of another connection; see :meth:`View.passes`."""
        return may_pass(error)

    async def parked(self) -> list[ParkedRow]:
        """Return the events that are set aside; see :meth:`View.parked`."""
        return [ParkedRow(*row) for row in await self._found(PARKED)]

    async def skipped(self) -> list[SkippedRow]:
        """Return the events that were skipped; see :meth:`View.skipped`."""
        return [SkippedRow(*row) for row in await self._found(SKIPPED)]

    async def value(self, query: str) -> Any:
        """Return the first value that a query finds; see :meth:`View.value`."""
        try:
            rows = await self._found(query)
        except JournalUnusable as error:
            if error.__cause__ is not None and code_of(error.__cause__) == sqlite3.SQLITE_ERROR:
                raise StatementFailed(str(error)) from error.__cause__
            raise
        return rows[0][0] if rows else None

    async def _found(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return await self.reader.run(lambda db: db.execute(query).fetchall())
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    async def clean(self) -> None:
        """Write the file anew, so that nothing is left in it of what was blanked; see :meth:`View.clean`."""
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
        await self._close_reader()
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.shut()

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        readers, self._readers = self._readers, None
        if readers is not None:
            await readers.close()
        if reader is not None and reader is not self._writer:
            await reader.shut()


def _note(db: sqlite3.Connection, aside: Aside) -> int:
    """Change what is set aside; return how many have left the list."""
    if aside is NOTHING_ASIDE:
        return 0
    taken = sum(db.execute("delete from understudy_parked where position = ?", (at,)).rowcount for at in aside.taken)
    db.executemany(
        "insert or replace into understudy_parked values (?, ?, ?, ?, ?)",
        [(row.position, row.key, row.time, row.error, row.attempts) for row in aside.parked],
    )
    db.executemany(
        "insert into understudy_skipped values (?, ?, ?, ?, ?, ?)",
        [(row.position, row.key, row.time, row.error, row.reason, row.by) for row in aside.skipped],
    )
    return taken


def _prepare(db: sqlite3.Connection) -> None:
    # What can be rebuilt needs no sync for each batch; a power cut costs a replay, not the truth.
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    keep_small(db)


def _query_only(db: sqlite3.Connection, on: bool) -> None:
    """Keep queries from writing, where they share the writing connection: to a database in memory there is one."""
    db.execute(f"pragma query_only = {on:d}")


def remove(path: Path) -> None:
    """Remove a database's files."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
