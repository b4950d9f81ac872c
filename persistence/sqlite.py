"""The journal in one SQLite file: one writing connection, WAL, and a sync to disk for each group."""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from persistence.checksum import crc_of
from persistence.connection import Connection, connect, shielded
from persistence.errors import (
    AppendFailed,
    DuplicateCommand,
    JournalError,
    JournalUnusable,
    VersionConflict,
)
from persistence.journal import AT_ONCE, NEVER, PAGE, Append, Batch, Journal, Record, Sleeper, Stream
from persistence.lock import LockFile
from persistence.sqlite_file import damaged, fault, make, opening_error, prepare, says_damage
from persistence.wal import log_size

T = TypeVar("T")
Durability = Literal["full", "normal"]

HEADS_KEPT = 65_536
"""How many streams' ids and versions the writer keeps in memory; others are looked up when they are written."""

READ = """select e.position, s.category, s.key, e.version, t.name, e.time, e.command,
    cast(e.data as blob), cast(e.meta as blob), e.crc
    from events e left join streams s on s.id = e.stream left join types t on t.id = e.type """

SLEEPING = "select wake, id, category, key from streams where "

EVENT_COLUMNS = 9
CHUNKS = (256, 32, 4, 1)
"""Rows per INSERT. Many rows in one call into SQLite keep its thread from queueing for the interpreter's lock."""


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
        self._heads: OrderedDict[Stream, tuple[int, int]] = OrderedDict()
        """Stream ids and versions as they are on disk, the most recently written last."""
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
        if self._writer is None:
            raise JournalUnusable(f"{self.path} is not open")
        try:
            return await self._writer.run(lambda db: self._append(db, batches))
        except sqlite3.Error as error:
            if says_damage(error):
                raise damaged(self.path, f"it could not be written: {error}") from error
            raise AppendFailed(f"{self.path} could not be written: {error}") from error

    def _append(self, db: sqlite3.Connection, batches: Sequence[Batch]) -> int:
        # All in the connection's thread, so that what is remembered follows the file even if the caller is cancelled.
        group = _Group(self, batches)
        group.write(db)
        self._next_stream = group.next_stream
        self._types.update(group.types)
        for stream, head in group.heads.items():
            self._heads[stream] = head
            self._heads.move_to_end(stream)
        while len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)
        first = self.position + 1
        self.position += len(group.rows) // EVENT_COLUMNS
        self.log_bytes = log_size(self.path)
        return first

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

    def head(self, db: sqlite3.Connection, stream: Stream) -> tuple[int, int] | None:
        """Return a stream's id and version, for the writer; called in the writing connection's thread."""
        head = self._heads.get(stream)
        if head is None:
            row = db.execute("select id from streams where category = ? and key = ?", stream).fetchone()
            if row is None:
                return None
            (version,) = db.execute("select max(version) from events where stream = ?", row).fetchone()
            head = (row[0], version)
        return head

    def new_ids(self) -> tuple[int, dict[str, int]]:
        """Return the next free stream id and the ids of the types so far, for the writer."""
        return self._next_stream, self._types

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

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        where = (
            "where e.stream = (select id from streams where category = ? and key = ?) and e.version > ? "
            "order by e.version limit ?"
        )
        return await self._fetch(where, (*stream, after, limit), f"stream {stream[0]}/{stream[1]}", 3, after)

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        durable = self.position
        records = await self._fetch(
            "where e.position > ? order by e.position limit ?", (after, limit), "the journal", 0, after
        )
        last = after + len(records)
        if len(records) < limit and last < durable:
            raise damaged(self.path, f"the event at position {last + 1} is missing")
        return records

    async def _fetch(self, where: str, values: tuple[Any, ...], what: str, column: int, after: int) -> list[Record]:
        number = "version" if column else "position"
        rows = await self._query(
            f"{what} after {number} {after}", lambda db: db.execute(READ + where, values).fetchall()
        )
        records: list[Record] = []
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                raise damaged(self.path, f"in {what} the event with {number} {expected} is missing")
            records.append(self._record(row))
        return records

    def _record(self, row: tuple[Any, ...]) -> Record:
        position, category, key, version, name, time, command, data, meta, crc = row
        stream = category, key
        whole = None not in (category, key, name, data, meta)
        if not whole or crc_of(position, stream, version, name, time, command, data, meta) != crc:
            raise damaged(
                self.path,
                f"the event at position {position}, version {version} of stream {category}/{key}, "
                "is not what was written (its checksum differs)",
            )
        return Record(position, stream, version, name, time, command, data, meta)

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


class _Group:
    """One group on its way into the file, in the writing connection's thread.

    What it finds out about streams goes into the journal's cache only when the commit has succeeded.
    """

    def __init__(self, journal: SqliteJournal, batches: Sequence[Batch]) -> None:
        self._journal = journal
        self._batches = batches
        self.next_stream, self._known_types = journal.new_ids()
        self.types: dict[str, int] = {}
        self.heads: dict[Stream, tuple[int, int]] = {}
        self.rows: list[Any] = []
        self._new_streams: dict[Stream, int] = {}
        self._wakes: dict[Stream, int | None] = {}

    def write(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("begin immediate")
            for append in self._appends():
                self._add(db, append)
            self._insert(db)
            db.execute("commit")
        except BaseException as error:
            if db.in_transaction:
                db.execute("rollback")
            if isinstance(error, sqlite3.IntegrityError):
                raise self._conflict(db, error) from error
            raise

    def _appends(self) -> Iterator[Append]:
        return (append for batch in self._batches for append in batch)

    def _add(self, db: sqlite3.Connection, append: Append) -> None:
        stream = append.stream
        head = self.heads.get(stream)
        if head is None and (append.expected or not append.events):
            head = self._journal.head(db, stream)
        if head is None and append.expected == 0:
            if not append.events:
                return
            # Taken for new without a look: if it is not, the unique index says so.
            head = (self.next_stream, 0)
            self._new_streams[stream] = self.next_stream
            self.next_stream += 1
        if head is None or head[1] != append.expected:
            raise VersionConflict(stream, append.expected, head[1] if head else 0)
        number, version = head
        position = self._journal.position + len(self.rows) // EVENT_COLUMNS
        command, time = append.command, append.time
        for event in append.events:
            version += 1
            position += 1
            data, meta = event.data, event.meta
            crc = crc_of(position, stream, version, event.type, time, command, data, meta)
            kind = self._type(event.type)
            self.rows += (position, number, version, kind, time, command, data.decode(), meta.decode(), crc)
            command = None
        self.heads[stream] = (number, version)
        if append.wake is not None:
            self._wakes[stream] = None if append.wake == NEVER else append.wake

    def _type(self, name: str) -> int:
        number = self._known_types.get(name) or self.types.get(name)
        if number is None:
            number = self.types[name] = len(self._known_types) + len(self.types) + 1
        return number

    def _insert(self, db: sqlite3.Connection) -> None:
        _insert_rows(db, "types", 2, [value for name, number in self.types.items() for value in (number, name)])
        streams: list[Any] = []
        for stream, number in self._new_streams.items():
            streams += (number, *stream, self._wakes.pop(stream, None))
        _insert_rows(db, "streams", 4, streams)
        _insert_rows(db, "events", EVENT_COLUMNS, self.rows)
        if self._wakes:
            changes = ((wake, self.heads[stream][0]) for stream, wake in self._wakes.items())
            db.executemany("update streams set wake = ? where id = ?", changes)
        # So that events that are lost at the end are missed.
        events = len(self.rows) // EVENT_COLUMNS
        db.execute("update journal set position = ?", (self._journal.position + events,))

    def _conflict(self, db: sqlite3.Connection, error: sqlite3.IntegrityError) -> JournalError:
        for append in self._appends():
            head = self._journal.head(db, append.stream)
            if append.stream in self._new_streams and head is not None:
                return VersionConflict(append.stream, append.expected, head[1])
        seen: set[tuple[Stream, str]] = set()
        for append in self._appends():
            if append.command is not None:
                number = self.heads[append.stream][0]
                query = "select 1 from events where stream = ? and command = ?"
                if (append.stream, append.command) in seen or db.execute(query, (number, append.command)).fetchone():
                    return DuplicateCommand(append.stream, append.command)
                seen.add((append.stream, append.command))
        return AppendFailed(f"{self._journal.path} could not be written: {error}")


def _insert_rows(db: sqlite3.Connection, table: str, columns: int, values: list[Any]) -> None:
    row = f"({', '.join('?' * columns)})"
    start = 0
    for chunk in CHUNKS:
        statement = f"insert into {table} values " + ", ".join([row] * chunk)  # noqa: S608 (our own table names)
        size = chunk * columns
        while len(values) - start >= size:
            db.execute(statement, values[start : start + size])
            start += size
