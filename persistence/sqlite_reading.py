"""What can be read of a journal in an SQLite file: through a connection of its own, which never writes."""

import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from persistence.checked import Checked
from persistence.checksum import crc_of, snapshot_crc
from persistence.connection import Connection
from persistence.errors import JournalUnusable, RecordDamaged
from persistence.journal import (
    AT_ONCE,
    NEVER,
    PAGE,
    Journal,
    Record,
    Scan,
    Seal,
    Sleeper,
    Snapshot,
    Stream,
    StreamState,
)
from persistence.news import News
from persistence.progress import Progress, no_progress
from persistence.query import Query, check_query, window
from persistence.sqlite_check import FileCheck
from persistence.sqlite_file import damaged, fault
from persistence.sqlite_queries import LAST_SEAL, READ, SEALS, SLEEPING, SNAPSHOT, STREAM, STREAMS, matching
from persistence.sqlite_stream import Names, Row, fetch, records, tags_of

T = TypeVar("T")
_HASH = re.compile("[0-9a-f]{64}")


class SqliteReading(Journal, Checked):
    """The reading half of a journal in one file."""

    path: Path

    def __init__(self) -> None:
        self._reader: Connection | None = None
        self._news = News()

    async def changed(self, after: int, timeout: float) -> int:
        """Wait until it has grown; see :meth:`Journal.changed`."""
        return await self._news.above(after, timeout, self._head_now)

    def _head_now(self) -> int:
        if self._reader is None:
            raise JournalUnusable(f"{self.path} is not open")
        return self.position

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        query = (
            "select (select max(version) from events where stream = streams.id) from streams "
            "where category = ? and key = ?"
        )

        def work(db: sqlite3.Connection) -> dict[Stream, int]:
            found = ((stream, db.execute(query, stream).fetchone()) for stream in streams)
            return {stream: self._number("a version", row[0]) for stream, row in found if row is not None}

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

        def work(db: sqlite3.Connection) -> tuple[int, int, tuple[list[Row], Names] | None]:
            number, first = self._stream(db, stream)
            begin = max(after, first - 1)
            return number, begin, fetch(db, number, begin, limit)

        what = f"stream {stream[0]}/{stream[1]}"
        number, begin, page = await self._query(f"{what} after version {after}", work)
        found = None if page is None else records(stream, *page, begin)
        if found is None:
            where = "where e.stream = ? and e.version > ? order by e.version limit ?"
            rows = await self._query(what, lambda db: db.execute(READ + where, (number, begin, limit)).fetchall())
            return self.records(rows, what, 3, begin, 0)
        return found

    async def read_back(self, stream: Stream, before: int = NEVER, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream, backwards; see :meth:`Journal.read_back`."""

        def work(db: sqlite3.Connection) -> list[Any]:
            number, first = self._stream(db, stream)
            where = "where e.stream = ? and e.version >= ? and e.version < ? order by e.version desc limit ?"
            return db.execute(READ + where, (number, first, before, limit)).fetchall()

        what = f"stream {stream[0]}/{stream[1]}"
        rows = await self._query(f"{what} before version {before}", work)
        rows.reverse()
        return self.records(rows, what, 3, rows[0][3] - 1 if rows else 0, 0)[::-1]

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        durable = self.position
        where = "where e.position > ? order by e.position limit ?"
        rows = await self._query(
            f"the journal after position {after}", lambda db: db.execute(READ + where, (after, limit)).fetchall()
        )
        return self.records(rows, "the journal", 0, after, min(limit, durable - after))

    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return a page of what a query means; see :meth:`Journal.scan`."""
        check_query(query)
        until = window(query, after, self.position)
        chosen, values = matching(query, after, until, limit)
        where = f"where e.position in ({chosen}) order by e.position"
        rows = await self._query(
            f"the journal after position {after}", lambda db: db.execute(READ + where, values).fetchall()
        )
        records = [self.record(row) for row in rows]
        return Scan(records, records[-1].position if len(records) == limit else max(after, until))

    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids; see :meth:`Journal.by_ids`."""

        def work(db: sqlite3.Connection) -> list[Any]:
            found = (db.execute(READ + "where e.id = ?", (id_,)).fetchone() for id_ in dict.fromkeys(ids))
            return sorted(row for row in found if row is not None)

        return [self.record(row) for row in await self._query("events by their ids", work)]

    def records(self, rows: Sequence[tuple[Any, ...]], what: str, column: int, after: int, count: int) -> list[Record]:
        """Return the events of rows, which have numbers that follow ``after`` and are at least ``count``.

        Raises:
            JournalDamaged: one is missing, or is not what was written.
        """
        number = "version" if column else "position"
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                raise damaged(self.path, f"in {what} the event with {number} {expected} is missing")
        if len(rows) < count:
            raise damaged(self.path, f"in {what} the event with {number} {after + len(rows) + 1} is missing")
        return [self.record(row) for row in rows]

    def record(self, row: tuple[Any, ...]) -> Record:
        """Return the event of a row.

        Raises:
            JournalDamaged: it is not what was written.
        """
        position, category, key, version, name, time, command, data, meta, crc, id_, tags = row
        stream = category, key
        # A damaged row may hold values of any sort, and a checksum would round 1.5 to 1.
        sound = type(position) is type(version) is type(time) is int and type(name) is str
        if sound and type(command) in (str, NoneType) and None not in (category, key, data, meta):
            told = tags_of(tags) if tags else ()
            if crc_of(position, stream, version, name, time, command, data, meta, id_, told) == crc:
                return Record(position, stream, version, name, time, command, data, meta, None, id_, told)
        raise RecordDamaged(
            f"{self.path} is damaged: the event at position {position}, version {version} of stream {category}/{key}, "
            "is not what was written (its checksum differs); restore it from a backup"
        )

    def _stream(self, db: sqlite3.Connection, stream: Stream) -> tuple[int, int]:
        """Return a stream's number, and the version of its first event that is not erased; 0 and 1: there is none."""
        number, first = db.execute(STREAM, stream).fetchone() or (0, 1)
        return number, self._number("a stream's beginning", first)

    def _number(self, what: str, value: Any) -> int:
        """Return what must be a number; no checksum covers it, and SQLite takes anything in any column."""
        if type(value) is not int:
            raise damaged(self.path, f"{what} is {value!r:.50}, which is no number")
        return value

    async def _query(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._reader is None:
            raise JournalUnusable(f"{self.path} is not open")
        try:
            return await self._reader.run(work)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise fault(self.path, f"{what} can't be read", error) from error

    async def check(self, progress: Progress = no_progress, rest: float = 0.0) -> None:
        """Check the whole file; see :meth:`Checked.check`."""
        end = await self.changed(NEVER, 0)  # as it is now, also where another process writes
        await FileCheck(self.path, self.record, end).run(self._query, progress, rest)

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        query = (
            "select version from events where stream = (select id from streams where category = ? and key = ?) "
            "and command = ?"
        )
        what = f"command {command!r} in stream {stream[0]}/{stream[1]}"
        row = await self._query(what, lambda db: db.execute(query, (*stream, command)).fetchone())
        return self._number("a version", row[0]) if row else None

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
            return [
                Sleeper(self._number("a wake time", at), place, (category, key)) for at, place, category, key in rows
            ]

        return await self._query("the sleeping streams", work)

    async def streams(self, after: int = 0, limit: int = PAGE, category: str | None = None) -> list[StreamState]:
        """Return a page of streams; see :meth:`Journal.streams`."""
        values = (after, category, category, limit)
        rows = await self._query("the streams", lambda db: db.execute(STREAMS, values).fetchall())
        return [
            StreamState(
                number,
                (name, key),
                self._number("a version", version),
                self._number("a stream's beginning", first),
                NEVER if wake is None else self._number("a wake time", wake),
            )
            for number, name, key, version, first, wake in rows
        ]

    async def seals(self, after: int = 0, limit: int = PAGE) -> list[Seal]:
        """Return a page of seals; see :meth:`Journal.seals`."""
        rows = await self._query("the seals", lambda db: db.execute(SEALS, (after, limit)).fetchall())
        return [self._seal(row) for row in rows]

    async def last_seal(self) -> Seal | None:
        """Return the last seal; see :meth:`Journal.last_seal`."""
        row = await self._query("the last seal", lambda db: db.execute(LAST_SEAL).fetchone())
        return self._seal(row) if row else None

    def _seal(self, row: tuple[Any, ...]) -> Seal:
        position, hash_ = row
        if type(position) is not int or type(hash_) is not str or not _HASH.fullmatch(hash_):
            raise damaged(self.path, "a seal is not what was written")
        return Seal(position, hash_)
