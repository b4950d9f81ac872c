"""The journal in one SQLite file: one writing connection, WAL, and a sync to disk for each group."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from persistence import sqlite_file
from persistence.checksum import crc_of, erased
from persistence.connection import Connection, connect, shielded
from persistence.errors import AppendFailed, JournalError, JournalUnusable
from persistence.intake import check, write_sound
from persistence.journal import (
    PAGE,
    Batch,
    Record,
    Seal,
    Stream,
    Written,
)
from persistence.limits import MAX_PAYLOAD, usable_limit
from persistence.lock import LockFile
from persistence.sqlite_check import count_entries
from persistence.sqlite_file import check_place, check_sqlite, damaged, fault, make, opening_error, prepare, says_damage
from persistence.sqlite_group import Group, Head, write_all, write_one
from persistence.sqlite_queries import READ
from persistence.sqlite_reading import SqliteReading
from persistence.wal import log_size

T = TypeVar("T")
Durability = Literal["full", "normal"]

HEADS_KEPT = 65_536
"""How many streams' ids and versions the writer keeps in memory, and up to an eighth more; others are looked up when
they are written."""


class SqliteJournal(SqliteReading):
    """A journal in one file.

    ``durability="full"`` syncs each group to disk before it is acknowledged. ``"normal"`` leaves the sync to the
    next checkpoint: a crash of the process loses nothing, a power cut may lose the last groups that were
    acknowledged; the journal is still a prefix. No event is larger than ``max_payload``, in bytes.
    """

    def __init__(self, path: str | Path, durability: Durability = "full", *, max_payload: int = MAX_PAYLOAD) -> None:
        super().__init__()
        self.max_payload = usable_limit(max_payload)
        self.path = Path(path)
        self.url = f"sqlite:{path}"
        self._durability = durability
        self._lock = LockFile(Path(os.path.realpath(path) + ".lock"))  # one lock, whatever links lead here
        self._writer: Connection | None = None
        self._heads: dict[Stream, Head] = {}
        """Heads of streams as they are on disk, the one that was longest here first."""
        self._types: dict[str, int] = {}
        self._next_stream = 1
        self.end = 0
        """The position of the last event, for the writer: also of those that are not committed yet."""

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or make the file; see :meth:`Journal.open`."""
        check_place(self.path)
        check_sqlite()
        self._lock.acquire()
        self.crashed = self._lock.left_behind
        try:
            make(self.path)
            self._writer = await connect(self.path)
            await self._writer.run(self._prepare)
            self._reader = await connect(self.path, readonly=True)
        except BaseException as error:
            await self.close()
            if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):
                raise opening_error(self.path, error) from error
            raise

    def _prepare(self, db: sqlite3.Connection) -> None:
        prepare(db, self.path, self._durability)
        self._load(db)
        size = self.path.stat().st_size
        self.unchecked = size > sqlite_file.CHECKED_BYTES
        if self.unchecked and size <= sqlite_file.COUNTED_BYTES:
            count_entries(db, self.path)

    def _load(self, db: sqlite3.Connection) -> None:
        row = db.execute("select identity, position from journal").fetchone()
        (head,) = db.execute("select coalesce(max(position), 0) from events").fetchone()
        if row is None:
            raise damaged(self.path, "its identity is missing")
        self.identity, self.position = row
        self.end = self.position
        if head != self.position:
            raise damaged(self.path, f"it ends at position {head}, but was written up to position {self.position}")
        (last,) = db.execute("select coalesce(max(id), 0) from streams").fetchone()
        self._next_stream = last + 1
        self._types = dict(db.execute("select name, id from types").fetchall())
        self._heads.clear()

    async def close(self) -> None:
        """Close the file and give the lock back; see :meth:`Journal.close`."""
        await shielded(self._close())

    async def _close(self) -> None:
        connections = self._reader, self._writer  # the writer last, so that it can clean up the WAL
        self._reader = self._writer = None
        try:
            for connection in connections:
                if connection is not None:
                    await connection.shut()
        finally:
            self._lock.release()
            self._news.tell()

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group in one transaction; see :meth:`Journal.append`."""
        check(batches, self.max_payload)
        return await self._write(lambda db: self._append(db, batches))

    def _append(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> int:
        # All in the connection's thread, so that what is remembered follows the file even if the caller is cancelled.
        group = Group(self, batches)
        write_all(db, group)
        first = self.end + 1
        self._adopt(group)
        self.position = self.end
        return first

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches in one transaction, each for itself; see :meth:`Journal.append_each`."""
        return await write_sound(batches, self.max_payload, self._append_sound)

    async def _append_sound(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        return await self._write(lambda db: self._append_each(db, batches))

    def _append_each(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> list[Written | JournalError]:
        outcomes: list[Written | JournalError] = []
        try:
            db.execute("begin immediate")
            for batch in batches:
                group = Group(self, [batch], modes=True)
                refused = write_one(db, group)
                if refused is not None:
                    outcomes.append(refused)
                    continue
                outcomes.append(Written(self.end + 1 if group.events else self.end, tuple(group.versions)))
                self._adopt(group)
            db.execute("commit")
            self.position = self.end  # not before: who follows the journal must not look for what isn't there yet
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            self._load(db)  # what was remembered of batches that are gone again
            raise
        return outcomes

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        """Keep seals; see :meth:`Journal.keep_seals`."""
        rows = [(seal.position, seal.hash) for seal in seals]

        def work(db: sqlite3.Connection) -> None:
            db.execute("begin immediate")
            try:
                db.executemany("insert or ignore into seals values (?, ?)", rows)
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise

        await self._write(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise JournalUnusable(f"{self.path} is not open")
        try:
            return await self._writer.run(work)
        except sqlite3.Error as error:
            raise self.fault(error) from error
        finally:
            self.log_bytes = log_size(self.path)
            self._news.tell()  # also where the caller was cancelled: it is written all the same

    def fault(self, error: Exception) -> JournalError:
        """Return the error for a group that was not written, or may not have been."""
        if says_damage(error):
            return damaged(self.path, f"it could not be written: {error}")
        return AppendFailed(f"{self.path} could not be written: {error}")

    def _adopt(self, group: Group) -> None:
        self._next_stream = group.next_stream
        self._types.update(group.types)
        self._heads.update(group.heads)
        if len(self._heads) > HEADS_KEPT + HEADS_KEPT // 8:
            for stream in list(islice(self._heads, len(self._heads) - HEADS_KEPT)):
                del self._heads[stream]
        self.end += group.events

    async def recover(self) -> None:
        """Roll back what is half done and read the state anew; see :meth:`Journal.recover`."""
        if self._writer is None:
            raise JournalUnusable(f"{self.path} is not open")

        def work(db: sqlite3.Connection) -> None:
            if db.in_transaction:
                db.execute("rollback")
            db.execute("begin immediate")
            db.execute("rollback")
            self._load(db)

        try:
            await self._writer.run(work)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise fault(self.path, "it can't be written", error) from error
        finally:
            self._news.tell()

    def head(self, db: sqlite3.Connection, stream: Stream) -> Head | None:
        """Return a stream's head, for the writer; called in the writing connection's thread."""
        head = self._heads.get(stream)
        if head is None:
            query = "select id, coalesce(state, 0) from streams where category = ? and key = ?"
            row = db.execute(query, stream).fetchone()
            if row is None:
                return None
            number, state = row
            (version,) = db.execute("select max(version) from events where stream = ?", (number,)).fetchone()
            head = (number, version, state)
        return head

    def new_ids(self) -> tuple[int, dict[str, int]]:
        """Return the next free stream id and the ids of the types so far, for the writer."""
        return self._next_stream, self._types

    def erase(self, db: sqlite3.Connection, number: int, before: int, kind: int) -> None:
        """Erase a stream's events below a version, for the writer; called in the writing connection's thread."""
        (first,) = db.execute("select coalesce(first, 1) from streams where id = ?", (number,)).fetchone()
        (version,) = db.execute("select max(version) from events where stream = ?", (number,)).fetchone()
        before = max(min(before, version), first)  # what is erased stays so, whatever is said later
        while first < before:
            where = "where e.stream = ? and e.version >= ? and e.version < ? order by e.version limit ?"
            rows = db.execute(READ + where, (number, first, before, PAGE)).fetchall()
            for record in self.records(rows, f"the stream of number {number}", 3, first - 1, 1):
                self._erase(db, record, kind)
                first += 1
        db.execute("update streams set first = ? where id = ?", (first, number))  # never back

    def _erase(self, db: sqlite3.Connection, record: Record, kind: int) -> None:
        position, left = record.position, erased(record)
        data, meta = left.data, left.meta
        crc = crc_of(
            position, record.stream, record.version, left.type, record.time, record.command, data, meta, record.id
        )
        db.execute(
            "update events set type = ?, data = ?, meta = ?, tags = null, crc = ? where position = ?",
            (kind, data.decode(), meta.decode(), crc, position),
        )
        db.executemany("delete from tags where tag = ? and position = ?", [(tag, position) for tag in record.tags])
