"""What can be read of a journal on PostgreSQL: over a connection of its own, which never writes."""

from collections.abc import Sequence

from persistence import postgres_keeping as keeping
from persistence.checksum import crc_of, snapshot_crc
from persistence.errors import JournalDamaged
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
from persistence.postgres_client import Reader, Row
from persistence.postgres_news import Lookout
from persistence.postgres_queries import (
    BY_IDS,
    FIND,
    HEADS,
    READ,
    READ_ALL,
    READ_BACK,
    SCAN,
    SLEEPING,
    SNAPSHOTS,
    STRANGERS,
    UNFINISHED,
    items,
)
from persistence.postgres_seat import Seat
from persistence.postgres_text import escaped, named, unescaped
from persistence.postgres_url import parse_url
from persistence.query import Query, check_query, window


class PostgresReading(Journal):
    """The reading half of a journal in one schema of a database."""

    def __init__(self, url: str) -> None:
        self.place = parse_url(url)
        self.url = self.place.shown
        self._reader = Reader(self.place)
        self._reader.closed = True
        self._lookout = Lookout(self, self._reader, "")
        self._seat = Seat("", 0)

    async def changed(self, after: int, timeout: float) -> int:
        """Wait until anybody has written to it; see :meth:`Journal.changed`."""
        return await self._lookout.above(after, timeout)

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        rows = await self._reader.fetch("the streams' versions", HEADS, *named(streams))
        return {streams[place - 1]: version or 0 for place, _, version, _, _ in rows}

    async def strangers(self, streams: Sequence[Stream]) -> dict[Stream, str]:
        """Return the other owners of streams; see :meth:`Journal.strangers`."""
        rows = await self._reader.fetch("the streams' owners", STRANGERS, *named(streams), self._seat.owner)
        return {streams[place - 1]: owner for place, owner in rows}

    async def snapshots(self, streams: Sequence[Stream]) -> dict[Stream, Snapshot]:
        """Return the snapshots; see :meth:`Journal.snapshots`."""
        found: dict[Stream, Snapshot] = {}
        rows = await self._reader.fetch("the snapshots", SNAPSHOTS, *named(streams))
        for place, version, fingerprint, data, crc in rows:
            index: int = place - 1
            snapshot = Snapshot(version, unescaped(fingerprint), data)
            if snapshot_crc(streams[index], snapshot) != crc:
                snapshot.data = None
            found[streams[index]] = snapshot
        return found

    # -- events -------------------------------------------------------------------------------------------------

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        what = f"stream {stream[0]}/{stream[1]}"
        category, key = escaped(stream[0]), escaped(stream[1])
        rows = await self._reader.fetch(f"{what} after version {after}", READ, category, key, after, limit)
        first: int = (rows[0][12] or 1) if rows else 1
        return self.records(rows, what, 3, max(after, first - 1))

    async def read_back(self, stream: Stream, before: int = NEVER, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream, backwards; see :meth:`Journal.read_back`."""
        what = f"stream {stream[0]}/{stream[1]}"
        category, key = escaped(stream[0]), escaped(stream[1])
        rows = await self._reader.fetch(f"{what} before version {before}", READ_BACK, category, key, before, limit)
        return self.records(rows[::-1], what, 3, rows[-1][3] - 1 if rows else 0)[::-1]

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        durable = self.position
        rows = await self._reader.fetch(f"the journal after position {after}", READ_ALL, after, limit)
        return self.records(rows, "the journal", 0, after, min(limit, durable - after))

    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return a page of what a query means; see :meth:`Journal.scan`."""
        check_query(query)
        until = window(query, after, self.position)
        values = items([(query, after)])
        rows = await self._reader.fetch(f"the journal after position {after}", SCAN, *values, until, limit)
        records = [self.record(row) for row in rows]
        return Scan(records, records[-1].position if len(records) == limit else max(after, until))

    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids; see :meth:`Journal.by_ids`."""
        values = [escaped(id_) for id_ in dict.fromkeys(ids)]
        return [self.record(row) for row in await self._reader.fetch("events by their ids", BY_IDS, values)]

    def records(self, rows: Sequence[Row], what: str, column: int, after: int, count: int = 0) -> list[Record]:
        """Return the events of rows, which have numbers that follow ``after`` and are at least ``count``.

        Raises:
            JournalDamaged: one is missing, or is not what was written.
        """
        number = "version" if column else "position"
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                raise self.damaged(f"in {what} the event with {number} {expected} is missing")
        if len(rows) < count:
            raise self.damaged(f"in {what} the event with {number} {after + len(rows) + 1} is missing")
        return [self.record(row) for row in rows]

    def record(self, row: Row) -> Record:
        """Return the event of a row.

        Raises:
            JournalDamaged: it is not what was written.
        """
        position, category, key, version, name, time, command, data, meta, crc, id_, tags, _ = row
        if category is not None and None not in (tags or ()):
            stream = unescaped(category), unescaped(key)
            name, command = unescaped(name), None if command is None else unescaped(command)
            data, meta = data.encode(), meta.encode()
            if id_ is None and not tags:
                told: tuple[str, ...] = ()
                found = crc_of(0, stream, version, name, time, command, data, meta)
            else:
                id_, told = None if id_ is None else unescaped(id_), tuple([unescaped(tag) for tag in tags or ()])
                found = crc_of(0, stream, version, name, time, command, data, meta, id_, told)
            if found + position == crc:
                return Record(position, stream, version, name, time, command, data, meta, None, id_, told)
        raise self.damaged(
            f"the event at position {position}, version {version} of stream {category}/{key}, "
            "is not what was written (its checksum differs)"
        )

    def damaged(self, what: str) -> JournalDamaged:
        """Return the error of a journal that is not what was written."""
        return JournalDamaged(f"{self.url} is damaged: {what}; restore it from a backup")

    # -- commands, and who must be awake ------------------------------------------------------------------------

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        what = f"command {command!r} in stream {stream[0]}/{stream[1]}"
        rows = await self._reader.fetch(what, FIND, escaped(stream[0]), escaped(stream[1]), escaped(command))
        return rows[0][0] if rows else None

    async def unfinished(self) -> list[Stream]:
        """Return the streams to be woken at once; see :meth:`Journal.unfinished`."""
        rows = await self._reader.fetch("the unfinished streams", UNFINISHED, self._seat.owner, AT_ONCE)
        return [(unescaped(category), unescaped(key)) for category, key in rows]

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return a page of the streams to be woken later; see :meth:`Journal.sleeping`."""
        wake, number = (AT_ONCE, NEVER) if after is None else (after.wake, after.number)
        rows = await self._reader.fetch("the sleeping streams", SLEEPING, self._seat.owner, wake, number, limit)
        return [Sleeper(at, place, (unescaped(category), unescaped(key))) for at, place, category, key in rows]

    # -- keeping it safe ----------------------------------------------------------------------------------------

    async def streams(self, after: int = 0, limit: int = PAGE, category: str | None = None) -> list[StreamState]:
        """Return a page of streams, of all owners; see :meth:`Journal.streams`."""
        return await keeping.streams(self._reader, after, limit, category)

    async def seals(self, after: int = 0, limit: int = PAGE) -> list[Seal]:
        """Return a page of seals; see :meth:`Journal.seals`."""
        return await keeping.seals(self._reader, after, limit)

    async def last_seal(self) -> Seal | None:
        """Return the last seal; see :meth:`Journal.last_seal`."""
        return await keeping.last_seal(self._reader)
