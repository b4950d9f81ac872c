"""The journal on PostgreSQL: one writing connection, one statement for each group, and a seat for each owner."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from persistence import postgres_keeping as keeping
from persistence.checksum import crc_of
from persistence.connection import shielded
from persistence.errors import (
    AppendFailed,
    JournalDamaged,
    JournalError,
    JournalTaken,
    JournalUnusable,
)
from persistence.journal import AT_ONCE, NEVER, PAGE, Append, Batch, Journal, Record, Seal, Sleeper, Stream, StreamState
from persistence.postgres_client import END, FAULTS, AlreadyThere, Link, Reader, Row, connect, fault, text_of
from persistence.postgres_conflict import conflict, owned
from persistence.postgres_group import APPEND, LOCK, MORE, Group, named, to_look_up
from persistence.postgres_news import Lookout
from persistence.postgres_queries import (
    FIND,
    HEADS,
    READ,
    READ_ALL,
    SLEEPING,
    STRANGERS,
    UNFINISHED,
)
from persistence.postgres_seat import Seat, enter, leave, look_in, reenter, take_streams
from persistence.postgres_text import escaped, unescaped
from persistence.postgres_url import parse_url

Durability = Literal["full", "normal"]

IDS_KEPT = 65_536
"""How many streams' numbers the writer keeps in memory; others are looked up when they are written."""


class PostgresJournal(Journal):
    """A journal in one schema of a database.

    ``url`` is ``postgresql://user:password@host:port/database?schema=understudy``; the schema is made where there is
    none. With ``views=/var/lib/trips`` in the URL read models keep their databases in that folder; without it they
    are in memory, and built anew at each start. ``notify=off`` spares the server the notification with each group;
    other processes look for news every 50 ms then. Other options are the driver's.

    Several processes write to one journal as owners of different names: ``owner=booking-1`` in the URL (default: main).
    A process takes its owner's seat, and a second one that wants it is told who has it. Each stream belongs to the
    owner who began it, and nobody else can write to it; :meth:`take_streams` takes over what another one has left.

    Where ``watching``, no seat is taken and nothing can be written: for another process that reads while the writer
    writes. ``position`` is what it was on opening and at each :meth:`changed` and :meth:`recover` then.

    ``durability="normal"`` sets ``synchronous_commit`` to off: a crash of the server may lose the last groups that
    were acknowledged; the journal is still a prefix.

    Raises:
        BadJournalUrl: the URL can't be understood.
    """

    shared = True

    def __init__(self, url: str, durability: Durability = "full", *, watching: bool = False) -> None:
        self.place = parse_url(url)
        self.url = self.place.shown
        self._durability = durability
        self._watching = watching
        self._writer: Link | None = None
        self._reader = Reader(self.place)
        self._reader.closed = True
        self._lookout = Lookout(self, self._reader, "")
        self._turn = asyncio.Lock()
        self._seat = Seat("", 0)
        self._orderly = True
        """Whether to say, on leaving, that nothing was interrupted."""
        self._taken: JournalTaken | None = None
        self._ids: OrderedDict[Stream, int] = OrderedDict()
        """Numbers of streams; they never change. The most recently written last."""

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or make the journal, and take the owner's seat; see :meth:`Journal.open`."""
        self._turn = asyncio.Lock()
        await shielded(self._open())

    async def _open(self) -> None:
        self._writer = link = await connect(self.place)
        try:
            seat = await (look_in if self._watching else enter)(link, self.place)
            await self._begin(link, seat)
            self.crashed, self._orderly = seat.crashed, True
        except BaseException:
            await self._close()
            raise
        self._taken = None
        self._ids.clear()
        self._reader = Reader(self.place)
        self._lookout = Lookout(self, self._reader, self.channel)

    async def _begin(self, link: Link, seat: Seat) -> None:
        # Where the server's default is to wait for replicas, "full" leaves it so.
        commit = "select set_config('synchronous_commit', $1, false) where $1 = 'off' or "
        off = "current_setting('synchronous_commit') = 'off'"
        await link.fetch(commit + off, "on" if self._durability == "full" else "off")
        self.identity, self.position, self._seat = seat.identity, seat.position, seat

    @property
    def channel(self) -> str:
        """The channel on which each group is told of; the payload is the position of its last event. "": on none."""
        return f"understudy_{self.identity}" if self.place.notify else ""

    async def close(self) -> None:
        """Close the connections and give the seat's lock back; see :meth:`Journal.close`."""
        await shielded(self._close())

    async def _close(self) -> None:
        async with self._turn:
            writer, self._writer = self._writer, None
            try:
                await self._reader.shut()
            finally:
                self._lookout.look_up()
                if writer is not None:
                    # At once, and not only when the server has seen the end of the session.
                    with suppress(*FAULTS):
                        if not self._watching and self._orderly:
                            await leave(writer, self._seat)
                        await writer.fetch("select pg_advisory_unlock_all()")
                    await writer.shut()

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group in one statement; see :meth:`Journal.append`."""
        return await shielded(self._append([append for batch in batches for append in batch]))

    async def _append(self, appends: Sequence[Append]) -> int:
        async with self._turn:
            link = self._usable()
            if not appends:
                return self.position + 1
            try:
                if self._watching:
                    raise JournalUnusable(f"{self.url} was opened for reading only")
                return await self._write(link, appends)
            except FAULTS as error:
                raise AppendFailed(f"{self.url} could not be written: {text_of(error)}") from error

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        """Keep seals; see :meth:`Journal.keep_seals`."""
        await shielded(self._keep_seals(seals))

    async def _keep_seals(self, seals: Sequence[Seal]) -> None:
        async with self._turn:
            link = self._usable()
            if self._watching:
                raise JournalUnusable(f"{self.url} was opened for reading only")
            try:
                await keeping.keep(link, seals)
            except FAULTS as error:
                raise AppendFailed(f"{self.url} could not be written: {text_of(error)}") from error

    def _usable(self) -> Link:
        if self._taken is not None:
            raise self._taken
        if self._writer is None:
            raise JournalUnusable(f"{self.url} is not open")
        return self._writer

    async def _write(self, link: Link, appends: Sequence[Append]) -> int:
        await self._look_up(link, to_look_up(appends, self._ids))
        group = Group(appends, self._ids)
        rows: list[Row] = []
        if not group.refused:
            try:
                rows = await self._insert(link, group)
            except AlreadyThere as error:
                raise await self._why(link, appends) from error
        if not rows:
            raise await self._why(link, appends)
        position, streams, _ = rows[0]
        for number, stream in enumerate(group.began, streams + 1):
            self._ids[stream] = number
        for append in appends:
            if append.stream in self._ids:
                self._ids.move_to_end(append.stream)
        while len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)
        self._lookout.grown(position + group.events)
        first: int = position + 1
        return first

    async def _look_up(self, link: Link, unknown: list[Stream]) -> None:
        if unknown:
            for place, number, _, owner in await link.fetch(HEADS, *named(unknown)):
                index: int = place - 1
                stream = unknown[index]
                if owner != self._seat.owner:
                    raise await owned(link, stream, owner)
                # It stays ours as long as our epoch does: who takes it from us takes our seat first.
                self._ids[stream] = number

    async def _insert(self, link: Link, group: Group) -> list[Row]:
        values = group.values(self._seat.owner, self._seat.epoch, self.channel)
        if not group.large and not group.looks:
            return await link.fetch(APPEND, *values)
        async with link.transaction():
            await link.fetch(LOCK)
            rows = await link.fetch(APPEND, *values)
            for position, streams, _ in rows:
                for more in group.more(position, streams):
                    await link.fetch(MORE, *more)
        return rows

    async def _why(self, link: Link, appends: Sequence[Append]) -> JournalError:
        """Return why a group was not written."""
        error = await conflict(link, self.place, self._seat, appends)
        if isinstance(error, JournalTaken):
            self._taken = error
        return error

    async def take_streams(self, owner: str) -> int:
        """Take over all streams of another owner, whose process is not there any more; return how many.

        That process can't write any more then, also if it wakes up. Who is unfinished among the streams' actors is
        woken when this journal is opened the next time.

        Raises:
            JournalInUse: the owner's process is alive.
            JournalUnusable: there is no such owner, or it can't be done now; what is done already stays so.
        """
        return await shielded(self._take_streams(owner))

    async def _take_streams(self, owner: str) -> int:
        async with self._turn:
            taken, crashed = await take_streams(self._usable(), self.place, self._seat, owner)
            if crashed:
                self._orderly = False  # what was interrupted there is for whoever opens this journal next
            return taken

    async def recover(self) -> None:
        """Connect again, take the seat again, and read ``position`` anew; see :meth:`Journal.recover`.

        What was still on its way over the lost connection has arrived then, or never will.

        Raises:
            JournalTaken: another process has taken the seat since; this one stays out.
        """
        await shielded(self._recover())

    async def _recover(self) -> None:
        async with self._turn:
            link = lost = self._usable()
            if lost.lost:
                link = await connect(self.place)
            try:
                if link is not lost:
                    # Its session may not have noticed yet that nobody is there any more, and it has our lock.
                    await link.fetch(END, lost.process, lost.since)
                again = look_in(link, self.place) if self._watching else reenter(link, self.place, self._seat.holder)
                await self._begin(link, await again)
            except BaseException as error:
                await link.shut()
                if isinstance(error, FAULTS):
                    raise fault(self.place, "it can't be written", error) from error
                if isinstance(error, JournalTaken):
                    self._taken = error
                raise
            self._writer = link
            self._lookout.look_up()

    async def changed(self, after: int, timeout: float) -> int:
        """Wait until anybody has written to it; see :meth:`Journal.changed`."""
        return await self._lookout.above(after, timeout)

    # -- reading ------------------------------------------------------------------------------------------------

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        rows = await self._reader.fetch("the streams' versions", HEADS, *named(streams))
        return {streams[place - 1]: version or 0 for place, _, version, _ in rows}

    async def strangers(self, streams: Sequence[Stream]) -> dict[Stream, str]:
        """Return the other owners of streams; see :meth:`Journal.strangers`."""
        rows = await self._reader.fetch("the streams' owners", STRANGERS, *named(streams), self._seat.owner)
        return {streams[place - 1]: owner for place, owner in rows}

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        what = f"stream {stream[0]}/{stream[1]}"
        rows = await self._reader.fetch(
            f"{what} after version {after}", READ, escaped(stream[0]), escaped(stream[1]), after, limit
        )
        return self._records(rows, what, 3, after)

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        durable = self.position
        rows = await self._reader.fetch(f"the journal after position {after}", READ_ALL, after, limit)
        last = after + len(rows)
        records = self._records(rows, "the journal", 0, after)
        if len(rows) < limit and last < durable:
            raise self._damaged(f"the event at position {last + 1} is missing")
        return records

    def _records(self, rows: Sequence[Row], what: str, column: int, after: int) -> list[Record]:
        for expected, row in enumerate(rows, after + 1):
            if row[column] != expected:
                number = "version" if column else "position"
                raise self._damaged(f"in {what} the event with {number} {expected} is missing")
        return [self._record(row) for row in rows]

    def _record(self, row: Row) -> Record:
        position, category, key, version, name, time, command, data, meta, crc = row
        if category is not None:
            stream = unescaped(category), unescaped(key)
            name, command = unescaped(name), None if command is None else unescaped(command)
            data, meta = data.encode(), meta.encode()
            if crc_of(0, stream, version, name, time, command, data, meta) + position == crc:
                return Record(position, stream, version, name, time, command, data, meta)
        raise self._damaged(
            f"the event at position {position}, version {version} of stream {category}/{key}, "
            "is not what was written (its checksum differs)"
        )

    def _damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(f"{self.url} is damaged: {what}; restore it from a backup")

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

    async def streams(self, after: int = 0, limit: int = PAGE, category: str | None = None) -> list[StreamState]:
        """Return a page of streams, of all owners; see :meth:`Journal.streams`."""
        return await keeping.streams(self._reader, after, limit, category)

    async def seals(self, after: int = 0, limit: int = PAGE) -> list[Seal]:
        """Return a page of seals; see :meth:`Journal.seals`."""
        return await keeping.seals(self._reader, after, limit)

    async def last_seal(self) -> Seal | None:
        """Return the last seal; see :meth:`Journal.last_seal`."""
        return await keeping.last_seal(self._reader)
