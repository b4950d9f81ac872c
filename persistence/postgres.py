"""The journal on PostgreSQL: one writing connection, one statement for each group, and a seat for each owner."""

import asyncio
from collections import ChainMap, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

from msgspec import structs

from persistence import postgres_keeping as keeping
from persistence.connection import shielded
from persistence.errors import AppendFailed, JournalDamaged, JournalError, JournalTaken, JournalUnusable, StreamOwned
from persistence.intake import check, write_sound
from persistence.journal import BURIED, Append, Batch, Seal, Stream, Written
from persistence.limits import MAX_PAYLOAD, usable_limit
from persistence.postgres_client import END, FAULTS, AlreadyThere, Link, Reader, Row, connect, fault, text_of
from persistence.postgres_conflict import conflict
from persistence.postgres_erasing import erase
from persistence.postgres_group import LOCK, Group, to_look_up
from persistence.postgres_judge import Judge, in_parts, name_of_owner
from persistence.postgres_news import Lookout
from persistence.postgres_queries import HEADS
from persistence.postgres_reading import PostgresReading
from persistence.postgres_seat import Seat, enter, leave, look_in, reenter, take_streams
from persistence.postgres_text import named
from persistence.query import Unless, window

Durability = Literal["full", "normal"]

IDS_KEPT = 65_536
"""How many streams' numbers the writer keeps in memory; others are looked up when they are written."""


class PostgresJournal(PostgresReading):
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
    were acknowledged; the journal is still a prefix. No event is larger than ``max_payload``, in bytes.

    Raises:
        BadJournalUrl: the URL can't be understood.
    """

    def __init__(
        self, url: str, durability: Durability = "full", *, watching: bool = False, max_payload: int = MAX_PAYLOAD
    ) -> None:
        super().__init__(url)
        self.max_payload, self.owner = usable_limit(max_payload), self.place.owner
        self._durability = durability
        self._watching = watching
        self._writer: Link | None = None
        self._turn = asyncio.Lock()
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
        """Write a group, if it can be in one statement; see :meth:`Journal.append`."""
        check(batches, self.max_payload)
        return await shielded(self._append([append for batch in batches for append in batch]))

    async def _append(self, appends: Sequence[Append]) -> int:
        async with self._turn:
            link = self._writable()
            if not appends:
                return self.position + 1
            try:
                return await self._write(link, appends)
            except FAULTS as error:
                raise AppendFailed(f"{self.url} could not be written: {text_of(error)}") from error

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        """Keep seals; see :meth:`Journal.keep_seals`."""
        await shielded(self._keep_seals(seals))

    async def _keep_seals(self, seals: Sequence[Seal]) -> None:
        async with self._turn:
            link = self._writable()
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

    def _writable(self) -> Link:
        link = self._usable()
        if self._watching:
            raise JournalUnusable(f"{self.url} was opened for reading only")
        return link

    async def _write(self, link: Link, appends: Sequence[Append]) -> int:
        ids, buried = await self._look_up(link, to_look_up(appends, self._ids))
        group = Group(appends, ids, buried)
        rows: list[Row] = []
        if not group.refused:
            try:
                rows = await self._insert(link, group)
            except AlreadyThere as error:
                raise await self._why(link, appends) from error
        if not rows:
            raise await self._why(link, appends)
        position, streams, _ = rows[0]
        self._adopt(group, appends, streams)
        self._lookout.grown(position + group.events)
        first: int = position + 1
        return first

    def _adopt(self, group: Group, appends: Sequence[Append], streams: int) -> None:
        for number, stream in enumerate(group.began, streams + 1):
            self._ids[stream] = number
        for append in appends:
            if append.stream in self._ids:
                self._ids.move_to_end(append.stream)
        for stream in group.buried:
            self._ids.pop(stream, None)
        while len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)

    async def _look_up(self, link: Link, unknown: list[Stream]) -> tuple[Mapping[Stream, int], list[Stream]]:
        """Return the numbers of streams, now also of these, and those of them that are buried."""
        buried: dict[Stream, int] = {}
        if unknown:
            for place, number, _, last, owner in await link.fetch(HEADS, *named(unknown)):
                index: int = place - 1
                stream = unknown[index]
                if owner != self._seat.owner:
                    raise StreamOwned(stream, await name_of_owner(link, owner))
                # It stays ours as long as our epoch does: who takes it from us takes our seat first. A buried one is
                # not remembered, so that each time it is known for one.
                (buried if last == BURIED else self._ids)[stream] = number
        return (ChainMap(buried, self._ids) if buried else self._ids), list(buried)

    async def _insert(self, link: Link, group: Group) -> list[Row]:
        if group.at_once:
            return await self._insert_all(link, group)
        async with link.transaction():
            return await self._insert_all(link, group) if await self._lock(link) else []

    async def _lock(self, link: Link) -> list[Row]:
        return await link.fetch(LOCK, self._seat.owner, self._seat.epoch)

    async def _insert_all(self, link: Link, group: Group) -> list[Row]:
        values = group.values(self._seat.owner, self._seat.epoch, self.channel)
        rows = await link.fetch(group.statement, *values)
        if not group.at_once:
            for position, streams, _ in rows:
                for statement, more in group.rest(position, streams):
                    await link.fetch(statement, *more)
                for number, before in group.erasing(streams):
                    await erase(self, link, number, before)
        return rows

    # -- writing what only the journal can tell whether it can be written -----------------------------------------

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches in one transaction, each for itself; see :meth:`Journal.append_each`."""
        return await write_sound(batches, self.max_payload, self._append_sound)

    async def _append_sound(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        if any(append.unless is not None for batch in batches for append in batch):
            batches = [tuple([await self._with_less_to_look_at(append) for append in batch]) for batch in batches]
        return await shielded(self._append_each(batches))

    async def _with_less_to_look_at(self, append: Append) -> Append:
        """Look through what no tag leads to before it is others who wait for it, but for the last part."""
        condition = append.unless
        if condition is None:
            return append
        after = condition.after
        while window(condition.query, after, self.position) < self.position:
            found = await self.scan(condition.query, after, 1)
            if found.records:
                after = found.position - 1
                break
            after = found.position
        return append if after == condition.after else structs.replace(append, unless=Unless(condition.query, after))

    async def _append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        outcomes: list[Written | JournalError] = []
        groups: list[tuple[Group, list[Append], int]] = []
        async with self._turn:
            link = self._writable()
            try:
                async with link.transaction():
                    rows = await self._lock(link)
                    if not rows:
                        raise await self._why(link, [])
                    position: int = rows[0][0]
                    for part in in_parts(batches):
                        judge = Judge(position)
                        await judge.look(link, self._seat.owner, [append for batch in part for append in batch])
                        appends = judge.sorted_out(part, outcomes)
                        if appends:
                            group = Group(appends, judge.numbers)
                            try:
                                groups.append((group, appends, await self._write_part(link, group)))
                            except JournalDamaged as error:  # found where it erases, which it does by itself
                                outcomes[-1] = error
                                continue
                        position = judge.position
            except FAULTS as error:
                raise AppendFailed(f"{self.url} could not be written: {text_of(error)}") from error
            # Only now: who follows the journal must not look for what isn't there yet.
            for group, appends, streams in groups:
                self._adopt(group, appends, streams)
            self._lookout.grown(position)
        return outcomes

    async def _write_part(self, link: Link, group: Group) -> int:
        if group.erases:
            await link.script("savepoint part")
        try:
            rows = [] if group.refused else await self._insert_all(link, group)
        except JournalDamaged:
            await link.script("rollback to part")
            raise
        if not rows:
            raise AppendFailed(f"{self.url} could not be written: the server has refused it, and nothing shows why")
        streams: int = rows[0][1]
        return streams

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
