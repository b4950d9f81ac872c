"""The journal in memory: the reference for the other engines, and the double for tests. Gone with the process."""

import uuid
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from persistence.checksum import erased
from persistence.errors import (
    ConditionFailed,
    DuplicateCommand,
    DuplicateEvent,
    JournalError,
    StreamBuried,
    VersionConflict,
)
from persistence.intake import check, write_sound
from persistence.journal import (
    ANY,
    AT_ONCE,
    BURIED,
    DELETED,
    ERASED,
    EXISTS,
    NEVER,
    NONE,
    PAGE,
    Append,
    Batch,
    Journal,
    Record,
    Scan,
    Seal,
    Sleeper,
    Snapshot,
    Stream,
    StreamState,
    Written,
)
from persistence.limits import MAX_PAYLOAD, usable_limit
from persistence.news import News
from persistence.query import Query, check_query, meets
from persistence.records import to_records


class MemoryJournal(Journal):
    """Keeps everything in lists.

    ``records`` may be given to start from, say a prefix of another journal's; the owners of ``unfinished`` must be
    awake at once then, and others at their times in ``wakes``. No event is larger than ``max_payload``, in bytes.
    """

    def __init__(
        self,
        records: Sequence[Record] = (),
        unfinished: Sequence[Stream] = (),
        wakes: Mapping[Stream, int] | None = None,
        crashed: bool = False,
        *,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        self.url = "memory:"
        self.max_payload = usable_limit(max_payload)
        self.identity = uuid.uuid4().hex
        self.crashed = crashed
        self.records: list[Record] = []
        self._streams: dict[Stream, list[Record]] = {}
        self._commands: dict[tuple[Stream, str], int] = {}
        self._ids: dict[str, int] = {}
        """The positions of events by their ids."""
        self._first: dict[Stream, int] = {}
        """The versions of the first events that are not erased, where that is not 1."""
        self._snapshots: dict[Stream, Snapshot] = {}
        self._wakes: dict[Stream, int] = {**dict.fromkeys(unfinished, AT_ONCE), **(wakes or {})}
        """When owners of streams must be awake; NEVER is left out."""
        self._seals: dict[int, Seal] = {}
        self._news = News()
        self._keep(list(records))

    async def open(self) -> None:
        """Do nothing: memory is always open."""

    async def close(self) -> None:
        """Do nothing: what was written stays until the object goes."""

    # -- writing ------------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group; see :meth:`Journal.append`."""
        check(batches, self.max_payload)
        first = self.position + 1
        self._take(self._check(batches, exact=True))
        return first

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches, each for itself; see :meth:`Journal.append_each`."""
        return await write_sound(batches, self.max_payload, self._append_each)

    async def _append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        outcomes: list[Written | JournalError] = []
        for batch in batches:
            try:
                self._check_conditions(batch)
                told = self._check([batch])
            except JournalError as error:
                outcomes.append(error)
                continue
            first = self.position + 1 if any(append.events for append in batch) else self.position
            self._take(told)
            outcomes.append(Written(first, tuple([append.expected + len(append.events) for append in told])))
        return outcomes

    def _check_conditions(self, batch: Batch) -> None:
        for condition in [append.unless for append in batch if append.unless is not None]:
            for record in self._matching(condition.query, condition.after, self.position, 1):
                raise ConditionFailed(record.position, record.stream, record.version, record.type)

    def _version(self, stream: Stream) -> int:
        return len(self._streams.get(stream, ()))

    def _check(self, batches: Sequence[Batch], *, exact: bool = False) -> list[Append]:
        """Return the appends with the versions that their streams are at, having made sure that all can be written."""
        heads: dict[Stream, tuple[int, str]] = {}
        commands: set[tuple[Stream, str]] = set()
        ids: set[str] = set()
        told: list[Append] = []
        for append in (append for batch in batches for append in batch):
            stream, events = append.stream, append.events
            version, last = heads.get(stream) or self._head(stream)
            if append.expected != version and (
                exact or append.expected not in (ANY, EXISTS if _is_there(last) else NONE)
            ):
                raise VersionConflict(stream, append.expected, version)
            if events and last == BURIED:
                raise StreamBuried(stream)
            if events and append.command is not None:
                command = (stream, append.command)
                if command in self._commands or command in commands:
                    raise DuplicateCommand(stream, append.command)
                commands.add(command)
            for id_ in [event.id for event in events if event.id is not None]:
                if id_ in self._ids or id_ in ids:
                    raise DuplicateEvent(id_)
                ids.add(id_)
            heads[stream] = (version + len(events), events[-1].type if events else last)
            told.append(append if append.expected == version else msgspec.structs.replace(append, expected=version))
        return told

    def _head(self, stream: Stream) -> tuple[int, str]:
        records = self._streams.get(stream)
        return (len(records), records[-1].type) if records else (0, DELETED)

    def _take(self, appends: Sequence[Append]) -> None:
        self._keep(to_records([tuple(appends)], self.position + 1))
        for append in appends:
            stream = append.stream
            if append.wake == NEVER:
                self._wakes.pop(stream, None)
            elif append.wake is not None and stream in self._streams:
                self._wakes[stream] = append.wake
            if append.snapshot is not None and stream in self._streams:
                self._snapshots[stream] = append.snapshot
            if append.erase_before:
                self._erase(stream, append.erase_before)

    def _keep(self, records: list[Record]) -> None:
        for record in records:
            self._streams.setdefault(record.stream, []).append(record)
            if record.command is not None:
                self._commands[record.stream, record.command] = record.version
            if record.id is not None:
                self._ids[record.id] = record.position
        self.records.extend(records)
        self.position = len(self.records)
        self._news.tell()

    def _erase(self, stream: Stream, before: int) -> None:
        records = self._streams.get(stream, [])
        for record in records[self._first.get(stream, 1) - 1 : min(before, len(records)) - 1]:
            left = erased(record)
            shell = msgspec.structs.replace(record, type=left.type, data=left.data, meta=left.meta, value=None, tags=())
            self.records[record.position - 1] = records[record.version - 1] = shell
            self._first[stream] = record.version + 1

    async def recover(self) -> None:
        """Do nothing: an append to memory doesn't fail halfway."""

    async def changed(self, after: int, timeout: float) -> int:
        """Wait until it has grown; see :meth:`Journal.changed`."""
        return await self._news.above(after, timeout, lambda: self.position)

    # -- reading ------------------------------------------------------------------------------------------------

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions; see :meth:`Journal.heads`."""
        return {stream: len(self._streams[stream]) for stream in streams if stream in self._streams}

    async def snapshots(self, streams: Sequence[Stream]) -> dict[Stream, Snapshot]:
        """Return the snapshots; see :meth:`Journal.snapshots`."""
        return {stream: self._snapshots[stream] for stream in streams if stream in self._snapshots}

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream; see :meth:`Journal.read`."""
        after = max(after, self._first.get(stream, 1) - 1)
        return self._streams.get(stream, [])[after : after + limit]

    async def read_back(self, stream: Stream, before: int = NEVER, limit: int = PAGE) -> list[Record]:
        """Return a page of one stream, backwards; see :meth:`Journal.read_back`."""
        found = self._streams.get(stream, [])[self._first.get(stream, 1) - 1 : max(before - 1, 0)]
        return found[::-1][:limit]

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return a page of all streams; see :meth:`Journal.read_all`."""
        return self.records[after : after + limit]

    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return a page of what a query means; see :meth:`Journal.scan`."""
        check_query(query)
        found = self._matching(query, after, self.position, limit)
        return Scan(found, found[-1].position if len(found) == limit else max(after, self.position))

    def _matching(self, query: Query, after: int, until: int, limit: int) -> list[Record]:
        found: list[Record] = []
        for record in self.records[after:until]:
            if record.type != ERASED and meets(query, record.stream[0], record.type, record.tags):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids; see :meth:`Journal.by_ids`."""
        return [self.records[position - 1] for position in sorted({self._ids[id_] for id_ in ids if id_ in self._ids})]

    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of a command's first event; see :meth:`Journal.find`."""
        return self._commands.get((stream, command))

    async def unfinished(self) -> list[Stream]:
        """Return the streams to be woken at once; see :meth:`Journal.unfinished`."""
        return [stream for stream in self._streams if self._wakes.get(stream) == AT_ONCE]

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return a page of the streams to be woken later; see :meth:`Journal.sleeping`."""
        sleepers = (
            Sleeper(wake, number, stream)
            for number, stream in enumerate(self._streams, 1)
            if (wake := self._wakes.get(stream, AT_ONCE)) != AT_ONCE
        )
        behind = (AT_ONCE, 0) if after is None else (after.wake, after.number)
        later = (sleeper for sleeper in sleepers if (sleeper.wake, sleeper.number) > behind)
        return sorted(later, key=lambda sleeper: (sleeper.wake, sleeper.number))[:limit]

    async def streams(self, after: int = 0, limit: int = PAGE, category: str | None = None) -> list[StreamState]:
        """Return a page of streams; see :meth:`Journal.streams`."""
        numbered = islice(enumerate(self._streams.items(), 1), after, None)
        found = (
            StreamState(number, stream, len(records), self._first.get(stream, 1), self._wakes.get(stream, NEVER))
            for number, (stream, records) in numbered
            if category is None or stream[0] == category
        )
        return list(islice(found, limit))

    async def seals(self, after: int = 0, limit: int = PAGE) -> list[Seal]:
        """Return a page of seals; see :meth:`Journal.seals`."""
        return [self._seals[position] for position in sorted(self._seals) if position > after][:limit]

    async def last_seal(self) -> Seal | None:
        """Return the last seal; see :meth:`Journal.last_seal`."""
        return self._seals[max(self._seals)] if self._seals else None

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        """Keep seals; see :meth:`Journal.keep_seals`."""
        for seal in seals:
            self._seals.setdefault(seal.position, seal)


def _is_there(last: str) -> bool:
    """Return whether a stream whose last event has this type is more than a memory."""
    return last not in (DELETED, BURIED)
