"""The simulated journal: in memory, over what is durable on a machine. Its groups take time, and may fail or be cut."""

import asyncio
from collections.abc import Sequence

import msgspec

from persistence import (
    AppendFailed,
    Batch,
    JournalError,
    JournalUnusable,
    MemoryJournal,
    Record,
    Snapshot,
    Stream,
    Written,
)
from persistence.connection import shielded
from persistence.intake import check
from persistence.journal import PAGE, Append, NewEvent, Scan, Sleeper
from persistence.query import Query
from runtime.simulation.faults import Fault
from runtime.simulation.machine import SLOW_READ, SLOW_WRITE, Machine

MOST_NAMED = 6
"""So many streams of a group are named."""


class SimulatedJournal(MemoryJournal):
    """What one process sees of the machine's journal."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(crashed=machine.processes > 1)
        self.identity = "simulated"
        self._machine = machine
        self._reading_back = True
        for batch in machine.batches:
            self._take(batch)
        self._reading_back = False

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group; see :meth:`Journal.append`."""
        check(batches, self.max_payload)
        return await shielded(self._append(batches))

    async def _append(self, batches: Sequence[Batch]) -> int:
        faults = await self._begin(batches)
        told = iter(self._check(batches, exact=True))
        first = self.position + 1
        kept = _kept(faults)
        for number, batch in enumerate(batches):
            if number == kept:
                break
            self._take([next(told) for _ in batch])
        await self._end(batches, faults)
        return first

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches, each for itself; see :meth:`Journal.append_each`."""
        return await shielded(self._append_all(batches))

    async def _append_all(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        faults = await self._begin(batches)
        kept = _kept(faults)
        outcomes = await super().append_each(batches if kept is None else batches[:kept])
        await self._end(batches, faults)
        return outcomes

    async def _begin(self, batches: Sequence[Batch]) -> Sequence[Fault]:
        machine = self._machine
        faults = machine.at("write", _label(batches), _sort(batches), len(batches))
        await asyncio.sleep(machine.pause(SLOW_WRITE))
        for fault in faults:
            if fault.what == "full":
                machine.fill(fault.seconds)
            elif fault.what == "step":
                machine.clock.step(fault.seconds)
            elif fault.what == "fail" and fault.how == "before":
                raise AppendFailed("disk I/O error")
        if machine.full:
            raise AppendFailed("database or disk is full")
        return faults

    async def _end(self, batches: Sequence[Batch], faults: Sequence[Fault]) -> None:
        machine = self._machine
        if _kept(faults) is not None:
            await machine.end_here()
        machine.note("write", "", "", _label(batches))
        machine.on_durable()
        await asyncio.sleep(machine.pause(SLOW_WRITE))
        if any(fault.what == "fail" for fault in faults):
            raise AppendFailed("disk I/O error")

    def _take(self, appends: Sequence[Append]) -> None:
        super()._take(appends)
        if not self._reading_back:
            self._machine.keep([tuple(map(_as_stored, appends))])

    def _keep(self, records: list[Record]) -> None:
        for record in records:
            record.value = None  # what is read was written as bytes
        super()._keep(records)

    # -- reading ------------------------------------------------------------------------------------------------

    async def _seek(self, what: str) -> None:
        faults = self._machine.at("read", what, what.partition("/")[0])
        await asyncio.sleep(self._machine.pause(SLOW_READ))
        if faults:
            raise JournalUnusable("the journal can't be read: disk I/O error")

    async def _seek_all(self, streams: Sequence[Stream]) -> None:
        await self._seek(_named([f"{actor}/{key}" for actor, key in streams]))

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        await self._seek_all(streams)
        return await super().heads(streams)

    async def snapshots(self, streams: Sequence[Stream]) -> dict[Stream, Snapshot]:
        """Return the snapshots; see :meth:`Journal.snapshots`."""
        await self._seek_all(streams)
        return await super().snapshots(streams)

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        await self._seek_all([stream])
        return await super().read(stream, after, limit)

    async def read_back(self, stream: Stream, before: int = 2**63 - 1, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream, backwards; see :meth:`Journal.read_back`."""
        await self._seek_all([stream])
        return await super().read_back(stream, before, limit)

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        await self._seek("all streams")
        return await super().read_all(after, limit)

    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return a page of what a query means; see :meth:`Journal.scan`."""
        await self._seek("all streams")
        return await super().scan(query, after, limit)

    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids; see :meth:`Journal.by_ids`."""
        await self._seek("all streams")
        return await super().by_ids(ids)

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        await self._seek_all([stream])
        return await super().find(stream, command)

    async def unfinished(self) -> list[Stream]:
        """Return the streams to be woken at once; see :meth:`Journal.unfinished`."""
        await self._seek("what is unfinished")
        return await super().unfinished()

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return a page of the streams to be woken later; see :meth:`Journal.sleeping`."""
        await self._seek("what sleeps")
        return await super().sleeping(after, limit)


def _kept(faults: Sequence[Fault]) -> int | None:
    """Return how many batches of a group become durable before the process dies; None: it doesn't."""
    return next((int(fault.how) for fault in faults if fault.what == "crash"), None)


def _as_stored(append: Append) -> Append:
    """Return an append with nothing in it that is not on the disk."""
    events = [NewEvent(one.type, one.data, one.meta, None, one.id, one.tags) for one in append.events]
    return msgspec.structs.replace(append, events=events, unless=None)


def _label(batches: Sequence[Batch]) -> str:
    streams: dict[Stream, int] = {}
    for batch in batches:
        for append in batch:
            streams[append.stream] = streams.get(append.stream, 0) + len(append.events)
    names = [f"{count} of {actor}/{key}" for (actor, key), count in streams.items() if count]
    return f"events: {_named(names)}" if names else "no events"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more streams" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _sort(batches: Sequence[Batch]) -> str:
    appends = [append for batch in batches for append in batch]
    return " ".join(sorted({f"{append.stream[0]}:{event.type}" for append in appends for event in append.events}))
