"""The journal in one SQLite file: one writing connection, WAL, and a sync to disk for each group."""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from persistence.checksum import crc_of, erased, snapshot_crc
from persistence.connection import Connection, connect, shielded
from persistence.errors import AppendFailed, JournalError, JournalUnusable
from persistence.journal import (
    AT_ONCE,
    NEVER,
    PAGE,
    Batch,
    Journal,
    Record,
    Scan,
    Sleeper,
    Snapshot,
    Stream,
    Written,
)
from persistence.lock import LockFile
from persistence.query import Query, check_query
from persistence.sqlite_file import damaged, fault, make, opening_error, prepare
from persistence.sqlite_group import Group, Head, write_all, write_one
from persistence.sqlite_queries import READ, SLEEPING, SNAPSHOT, STREAM, matching, window

T = TypeVar("T")
Durability = Literal["full", "normal"]

HEADS_KEPT = 65_536
"""How many streams' ids and versions the writer keeps in memory; others are looked up when they are written."""


class SqliteJournal(Journal):
    """A journal in one file.

    ``durability="full"`` syncs each group to disk before it is acknowledged. ``"normal"`` leaves the sync to the
    next checkpoint: a crash of the process loses nothing, a power cut may lose the last groups that were
    acknowledged; the journal is still a prefix.
    """

    def __init__(self, path: str | Path, durability: Durability = "full") -> None:
        self.path = Path(path)
        self.url = f"sqlite:{path}"
        self._durability = durability
        self._lock = LockFile(Path(os.path.realpath(path) + ".lock"))  # one lock, whatever links lead here
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._heads: OrderedDict[Stream, Head] = OrderedDict()
        """Heads of streams as they are on disk, the most recently written last."""
        self._types: dict[str, int] = {}
        self._next_stream = 1

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or make the file; see :meth:`Journal.open`."""
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise JournalUnusable(
                f"can't open {self.path}: " + ("it is a folder" if self.path.is_dir() else "no such folder")
            )
        self._lock.acquire()
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

    def _load(self, db: sqlite3.Connection) -> None:
        row = db.execute("select identity, position from journal").fetchone()
        (head,) = db.execute("select coalesce(max(position), 0) from events").fetchone()
        if row is None:
            raise damaged(self.path, "its identity is missing")
        self.identity, self.position = row
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

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group in one transaction; see :meth:`Journal.append`."""
        return await self._write(lambda db: self._append(db, batches))

    def _append(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> int:
        # All in the connection's thread, so that what is remembered follows the file even if the caller is cancelled.
        group = Group(self, batches)
        write_all(db, group)
        first = self.position + 1
        self._adopt(group)
        return first

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches in one transaction, each for itself; see :meth:`Journal.append_each`."""
        for append in (append for batch in batches for append in batch):
            if append.unless is not None:
                check_query(append.unless.query)
        return await self._write(lambda db: self._append_each(db, batches))

    def _append_each(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> list[Written | JournalError]:
        outcomes: list[Written | JournalError] = []
        try:
            db.execute("begin immediate")
            for batch in batches:
                group = Group(self, [batch], modes=True)
                refused = write_one(db, group)
                if refused is None:
                    written = Written(self.position + 1 if group.events else self.position, tuple(group.versions))
                    self._adopt(group)
                outcomes.append(refused or written)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            self._load(db)  # what was remembered of batches that are gone again
            raise
        return outcomes

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise JournalUnusable(f"{self.path} is not open")
        try:
            return await self._writer.run(work)
        except sqlite3.Error as error:
            raise self.fault(error) from error

    def fault(self, error: Exception) -> JournalError:
        """Return the error for a group that was not written, or may not have been."""
        return AppendFailed(f"{self.path} could not be written: {error}")

    def _adopt(self, group: Group) -> None:
        self._next_stream = group.next_stream
        self._types.update(group.types)
        for stream, head in group.heads.items():
            self._heads[stream] = head
            self._heads.move_to_end(stream)
        while len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)
        self.position += group.events

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
        before = min(before, version)
        while first < before:
            where = "where e.stream = ? and e.version >= ? and e.version < ? order by e.version limit ?"
            for row in db.execute(READ + where, (number, first, before, PAGE)).fetchall():
                self._erase(db, self._record(row), kind)
                first += 1
        db.execute("update streams set first = ? where id = ?", (before, number))

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

    # -- reading ------------------------------------------------------------------------------------------------

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        query = (
            "select (select max(version) from events where stream = streams.id) from streams "
            "where category = ? and key = ?"
        )

        def work(db: sqlite3.Connection) -> dict[Stream, int]:
            found = ((stream, db.execute(query, stream).fetchone()) for stream in streams)
            return {stream: row[0] for stream, row in found if row is not None}

        return await self._query("the streams' versions", work)

    async def snapshots(self, streams: Sequence[Stream]) -> dict[Stream, Snapshot]:
        """Return the snapshots; see :meth:`Journal.snapshots`."""

        def work(db: sqlite3.Connection) -> dict[Stream, Snapshot]:
            found: dict[Stream, Snapshot] = {}
            for stream in streams:
                row = db.execute(SNAPSHOT, stream).fetchone()
                if row is not None:
                    version, fingerprint, data, crc = row
                    snapshot = Snapshot(version, fingerprint, data)
                    if snapshot_crc(stream, snapshot) != crc:
                        snapshot.data = None
                    found[stream] = snapshot
            return found

        return await self._query("the snapshots", work)

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""

        def work(db: sqlite3.Connection) -> tuple[int, list[Any]]:
            number, first = db.execute(STREAM, stream).fetchone() or (0, 1)
            begin = max(after, first - 1)
            where = "where e.stream = ? and e.version > ? order by e.version limit ?"
            return begin, db.execute(READ + where, (number, begin, limit)).fetchall()

        what = f"stream {stream[0]}/{stream[1]}"
        begin, rows = await self._query(f"{what} after version {after}", work)
        return self._records(rows, what, 3, begin)

    async def read_back(self, stream: Stream, before: int = NEVER, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream, backwards; see :meth:`Journal.read_back`."""

        def work(db: sqlite3.Connection) -> list[Any]:
            number, first = db.execute(STREAM, stream).fetchone() or (0, 1)
            where = "where e.stream = ? and e.version >= ? and e.version < ? order by e.version desc limit ?"
            return db.execute(READ + where, (number, first, before, limit)).fetchall()

        what = f"stream {stream[0]}/{stream[1]}"
        rows = await self._query(f"{what} before version {before}", work)
        rows.reverse()
        return self._records(rows, what, 3, rows[0][3] - 1 if rows else 0)[::-1]

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        durable = self.position
        where = "where e.position > ? order by e.position limit ?"
        rows = await self._query(
            f"the journal after position {after}", lambda db: db.execute(READ + where, (after, limit)).fetchall()
        )
        records = self._records(rows, "the journal", 0, after)
        last = after + len(records)
        if len(records) < limit and last < durable:
            raise damaged(self.path, f"the event at position {last + 1} is missing")
        return records

    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return a page of what a query means; see :meth:`Journal.scan`."""
        check_query(query)
        until = window(query, after, self.position)
        chosen, values = matching(query, after, until, limit)
        where = f"where e.position in ({chosen}) order by e.position"
        rows = await self._query(
            f"the journal after position {after}", lambda db: db.execute(READ + where, values).fetchall()
        )
        records = [self._record(row) for row in rows]
        return Scan(records, records[-1].position if len(records) == limit else max(after, until))

    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids; see :meth:`Journal.by_ids`."""

        def work(db: sqlite3.Connection) -> list[Any]:
            found = (db.execute(READ + "where e.id = ?", (id_,)).fetchone() for id_ in dict.fromkeys(ids))
            return sorted(row for row in found if row is not None)

        return [self._record(row) for row in await self._query("events by their ids", work)]

    def _records(self, rows: Sequence[tuple[Any, ...]], what: str, column: int, after: int) -> list[Record]:
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                number = "version" if column else "position"
                raise damaged(self.path, f"in {what} the event with {number} {expected} is missing")
        return [self._record(row) for row in rows]

    def _record(self, row: tuple[Any, ...]) -> Record:
        position, category, key, version, name, time, command, data, meta, crc, id_, tags = row
        stream = category, key
        if None not in (category, key, name, data, meta):
            told = _tags(tags) if tags else ()
            if crc_of(position, stream, version, name, time, command, data, meta, id_, told) == crc:
                return Record(position, stream, version, name, time, command, data, meta, None, id_, told)
        raise damaged(
            self.path,
            f"the event at position {position}, version {version} of stream {category}/{key}, "
            "is not what was written (its checksum differs)",
        )

    async def _query(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise JournalUnusable(f"{self.path} is not open")
        try:
            return await self._reader.run(work)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise fault(self.path, f"{what} can't be read", error) from error

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        query = (
            "select version from events where stream = (select id from streams where category = ? and key = ?) "
            "and command = ?"
        )
        what = f"command {command!r} in stream {stream[0]}/{stream[1]}"
        row = await self._query(what, lambda db: db.execute(query, (*stream, command)).fetchone())
        return row[0] if row else None

    async def unfinished(self) -> list[Stream]:
        """Return the streams to be woken at once; see :meth:`Journal.unfinished`."""
        query = f"select category, key from streams where wake = {AT_ONCE} order by id"  # noqa: S608 (our own number)
        rows = await self._query("the unfinished streams", lambda db: db.execute(query).fetchall())
        return [(category, key) for category, key in rows]

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return a page of the streams to be woken later; see :meth:`Journal.sleeping`."""
        wake, number = (AT_ONCE, NEVER) if after is None else (after.wake, after.number)

        def work(db: sqlite3.Connection) -> list[Sleeper]:
            rows = db.execute(SLEEPING + "wake = ? and id > ? order by id limit ?", (wake, number, limit)).fetchall()
            # A comparison of both columns at once would not seek, but step over all that are due at the same time.
            later = SLEEPING + "wake > ? order by wake, id limit ?"
            rows += db.execute(later, (wake, limit - len(rows))).fetchall()
            return [Sleeper(at, place, (category, key)) for at, place, category, key in rows]

        return await self._query("the sleeping streams", work)


def _tags(text: str) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ("",)  # damaged: its checksum tells
