"""The journal in one SQLite file: one writing connection, WAL, and a sync to disk for each group."""

import os
import sqlite3
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from persistence.connection import Connection, connect
from persistence.errors import (
    AppendFailed,
    DuplicateCommand,
    JournalDamaged,
    JournalError,
    JournalUnusable,
    NotAJournal,
    VersionConflict,
)
from persistence.journal import PAGE, Append, Batch, Journal, Record, Stream
from persistence.lock import LockFile

Durability = Literal["full", "normal"]

APPLICATION_ID = 0x55535459  # "USTY": tells our files from other SQLite files
SCHEMA_VERSION = 1
HEADS_KEPT = 65_536
"""How many streams' ids and versions the writer keeps in memory; others are looked up when they are written."""
QUICK_CHECK_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked whole when they are opened; in larger ones damage is found when it is read."""

SCHEMA = (
    "create table journal (identity text not null)",
    """create table streams (
        id integer primary key, category text not null, key text not null, unfinished integer not null,
        unique (category, key))""",
    "create index streams_unfinished on streams (id) where unfinished",
    "create table types (id integer primary key, name text not null unique)",
    """create table events (
        position integer primary key, stream integer not null, version integer not null, type integer not null,
        time integer not null, command text, data text not null, meta text not null, crc integer not null)""",
    "create unique index events_version on events (stream, version)",
    "create unique index events_command on events (stream, command) where command is not null",
    # For people with an SQL shell.
    """create view log as select e.position, s.category || '/' || s.key as stream, e.version, t.name as type,
        strftime('%Y-%m-%d %H:%M:%f', e.time / 1e6, 'unixepoch') as time, e.command, e.data, e.meta
        from events e join streams s on s.id = e.stream join types t on t.id = e.type order by e.position""",
)

READ = """select e.position, s.category, s.key, e.version, t.name, e.time, e.command,
    cast(e.data as blob), cast(e.meta as blob), e.crc
    from events e left join streams s on s.id = e.stream left join types t on t.id = e.type """

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
        self._lock = LockFile(self.path.with_name(self.path.name + ".lock"))
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
            self._make_file()
            self._writer = await connect(self.path)
            await self._writer.run(self._prepare)
            self._reader = await connect(self.path, readonly=True)
        except sqlite3.Error as error:
            await self.close()
            raise _opening_error(self.path, error) from error
        except BaseException:
            await self.close()
            raise

    def _make_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise JournalUnusable(f"can't write {self.path}: {error.strerror}") from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        if self.path.stat().st_size == 0:
            self._create(db)
        (application,) = db.execute("pragma application_id").fetchone()
        if application != APPLICATION_ID:
            raise NotAJournal(f"{self.path} is a database, but not a journal of Understudy; use another file")
        (schema,) = db.execute("pragma user_version").fetchone()
        if schema != SCHEMA_VERSION:
            raise NotAJournal(
                f"{self.path} has journal format {schema}, this version of Understudy reads format {SCHEMA_VERSION}; "
                "use the version that wrote it"
            )
        db.execute("pragma journal_mode = wal")
        db.execute(f"pragma synchronous = {self._durability}")
        if self.path.stat().st_size <= QUICK_CHECK_BYTES:
            (verdict,) = db.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                raise JournalDamaged(f"{self.path} is damaged: {verdict}; restore it from a backup")
        self._load(db)

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("begin immediate")
        for statement in SCHEMA:
            db.execute(statement)
        db.execute("insert into journal values (?)", (uuid.uuid4().hex,))
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute(f"pragma user_version = {SCHEMA_VERSION}")
        db.execute("commit")

    def _load(self, db: sqlite3.Connection) -> None:
        (self.identity,) = db.execute("select identity from journal").fetchone()
        (self.position,) = db.execute("select coalesce(max(position), 0) from events").fetchone()
        (last,) = db.execute("select coalesce(max(id), 0) from streams").fetchone()
        self._next_stream = last + 1
        self._types = {name: number for number, name in db.execute("select id, name from types")}
        self._heads.clear()

    async def close(self) -> None:
        """Close the file and give the lock back; see :meth:`Journal.close`."""
        for connection in (self._reader, self._writer):  # the writer last, so that it can clean up the WAL
            if connection is not None:
                await connection.shut()
        self._reader = self._writer = None
        self._lock.release()

    def _open_reader(self) -> Connection:
        if self._reader is None:
            raise JournalUnusable(f"{self.path} is not open")
        return self._reader

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group in one transaction; see :meth:`Journal.append`."""
        if self._writer is None:
            raise JournalUnusable(f"{self.path} is not open")
        group = _Group(self, batches)
        try:
            await self._writer.run(group.write)
        except sqlite3.Error as error:
            raise AppendFailed(f"{self.path} could not be written: {error}") from error
        self._next_stream = group.next_stream
        self._types.update(group.types)
        for stream, head in group.heads.items():
            self._heads[stream] = head
            self._heads.move_to_end(stream)
        while len(self._heads) > HEADS_KEPT:
            self._heads.popitem(last=False)
        first = self.position + 1
        self.position += len(group.rows) // EVENT_COLUMNS
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
        except sqlite3.Error as error:
            raise JournalUnusable(f"{self.path} can't be written: {error}") from error

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

        return await self._open_reader().run(work)

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
            raise JournalDamaged(f"{self.path} is damaged: the event at position {last + 1} is missing")
        return records

    async def _fetch(self, where: str, values: tuple[Any, ...], what: str, column: int, after: int) -> list[Record]:
        reader = self._open_reader()
        try:
            rows = await reader.run(lambda db: db.execute(READ + where, values).fetchall())
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(f"{self.path} is damaged: {what} after {after} can't be read: {error}") from error
        records: list[Record] = []
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                number = "version" if column else "position"
                raise JournalDamaged(f"{self.path} is damaged: in {what} the event with {number} {expected} is missing")
            records.append(self._record(row))
        return records

    def _record(self, row: tuple[Any, ...]) -> Record:
        position, category, key, version, name, time, command, data, meta, crc = row
        if name is None or key is None or _crc(category, key, version, name, data, meta) != crc:
            raise JournalDamaged(
                f"{self.path} is damaged: the event at position {position}, version {version} of stream "
                f"{category}/{key}, is not what was written (its checksum differs); restore it from a backup"
            )
        return Record(position, (category, key), version, name, time, command, data, meta)

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        query = (
            "select version from events where stream = (select id from streams where category = ? and key = ?) "
            "and command = ?"
        )
        row = await self._open_reader().run(lambda db: db.execute(query, (*stream, command)).fetchone())
        return row[0] if row else None

    async def unfinished(self) -> list[Stream]:
        """Return the streams marked as unfinished; see :meth:`Journal.unfinished`."""
        query = "select category, key from streams where unfinished order by id"
        rows = await self._open_reader().run(lambda db: db.execute(query).fetchall())
        return [(category, key) for category, key in rows]


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
        self._unfinished: dict[Stream, bool] = {}

    def write(self, db: sqlite3.Connection) -> None:
        db.execute("begin immediate")
        try:
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
        head = self.heads.get(stream) or self._journal.head(db, stream) if append.expected else self.heads.get(stream)
        if head is None and append.expected == 0:
            # Taken for new without a look: if it is not, the unique index says so.
            head = (self.next_stream, 0)
            self._new_streams[stream] = self.next_stream
            self.next_stream += 1
        if head is None or head[1] != append.expected:
            raise VersionConflict(stream, append.expected, head[1] if head else 0)
        number, version = head
        position = self._journal.position + len(self.rows) // EVENT_COLUMNS
        command, time = append.command, append.time
        category, key = stream
        for event in append.events:
            version += 1
            position += 1
            data, meta = event.data, event.meta
            crc = _crc(category, key, version, event.type, data, meta)
            kind = self._type(event.type)
            self.rows += (position, number, version, kind, time, command, data.decode(), meta.decode(), crc)
            command = None
        self.heads[stream] = (number, version)
        if append.unfinished is not None:
            self._unfinished[stream] = append.unfinished

    def _type(self, name: str) -> int:
        number = self._known_types.get(name) or self.types.get(name)
        if number is None:
            number = self.types[name] = len(self._known_types) + len(self.types) + 1
        return number

    def _insert(self, db: sqlite3.Connection) -> None:
        _insert_rows(db, "types", 2, [value for name, number in self.types.items() for value in (number, name)])
        streams: list[Any] = []
        for stream, number in self._new_streams.items():
            streams += (number, *stream, self._unfinished.pop(stream, False))
        _insert_rows(db, "streams", 4, streams)
        _insert_rows(db, "events", EVENT_COLUMNS, self.rows)
        if self._unfinished:
            changes = ((mark, self.heads[stream][0]) for stream, mark in self._unfinished.items())
            db.executemany("update streams set unfinished = ? where id = ?", changes)

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


def _crc(category: str, key: str, version: int, name: str, data: bytes, meta: bytes) -> int:
    where = f"{category}/{key}@{version} {name}".encode()
    return zlib.crc32(meta, zlib.crc32(data, zlib.crc32(where)))


def _opening_error(path: Path, error: sqlite3.Error) -> JournalError:
    text = str(error)
    if "not a database" in text:
        return NotAJournal(f"{path} is not a journal of Understudy; use another file")
    if "malformed" in text:
        return JournalDamaged(f"{path} is damaged: {text}; restore it from a backup")
    return JournalUnusable(f"can't open {path}: {text}")
