"""The journal's contract: what every engine keeps, and the values that go in and come out.

A journal is a set of streams in one order. A stream's events are numbered by **version** from 1, the journal's
by **position** from 1 without gaps. Groups are appended whole, in the order in which they were handed in, so
that whatever dies, what is left is a prefix.

Neither numbering is ever reset. Events that are erased keep their places: reading one stream starts behind them, and
reading the whole journal shows that something was there (:data:`ERASED`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from persistence.errors import ConditionFailed, DuplicateCommand, DuplicateEvent, JournalError, VersionConflict
from persistence.limits import MAX_PAYLOAD
from persistence.query import Query, Unless

Stream = tuple[str, str]
"""A stream's name: its category (the actor's class) and its key. Any text that UTF-8 can hold is valid in both."""

PAGE = 500
"""How many records a read returns at the most, unless told otherwise (measured: 500 to 1,000 reads fastest)."""


AT_ONCE = 0
"""A stream's wake time that says: at once, when the journal is opened. It has work that must go on."""
NEVER = 2**63 - 1
"""A stream's wake time that says: not at all. Later than every time that there is."""


ANY = -1
"""An expected version that says: whatever it is."""
EXISTS = -2
"""An expected version that says: there is such a stream, and it is not deleted."""
NONE = 0
"""An expected version that says: there is no such stream, or it is deleted."""

ERASED = "journal.erased"
"""The type of what is left of an erased event: its place, its command and ids, and the digest of what it was."""
DELETED = "journal.deleted"
"""The type of an event by which a stream is deleted. What is appended after it begins the stream anew."""
BURIED = "journal.buried"
"""The type of an event by which a stream is deleted for good: nothing can be appended after it."""


class NewEvent(msgspec.Struct, gc=False):
    """An event to append: its stable type name, its payload and its metadata, both as JSON.

    ``value`` is the event as the writer has it in memory; it is handed on to live subscribers, so that they need
    not decode it, and is not stored. ``id``, where there is one, is unique in the journal. By ``tags`` the event is
    found, whatever its stream; any text will do.
    """

    type: str
    data: bytes
    meta: bytes
    value: object = None
    id: str | None = None
    tags: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, gc=False):
    """What a stream's events up to a version come to, so that they need not be read again.

    It stands beside the stream, one for each, and the next replaces it. ``fingerprint`` names what it fits.
    """

    version: int
    fingerprint: str
    data: bytes | None
    """None: it is damaged."""


class Append(msgspec.Struct, gc=False):
    """Events for one stream, after the version at which the writer believes it to be.

    ``command`` is the id of the command that they come from, unique in its stream. ``wake`` says when the stream's
    owner must be awake: at a time in microseconds since 1970 (1 at the least), :data:`AT_ONCE`, :data:`NEVER`, or as
    it was said before (None). Without events the version is checked, and what else is said is done where there is
    such a stream; no event is written.
    """

    stream: Stream
    expected: int
    """The version, or (for :meth:`Journal.append_each`) ANY, EXISTS or NONE."""
    events: Sequence[NewEvent]
    time: int
    """Microseconds since 1970 (UTC)."""
    command: str | None = None
    wake: int | None = None
    snapshot: Snapshot | None = None
    """To be kept for the stream, in place of the last one. Its version is the stream's after these events."""
    erase_before: int = 0
    """The stream's events with versions below this one are erased; at the most the version after these events."""
    unless: Unless | None = None
    """For :meth:`Journal.append_each`: the condition of the whole batch."""
    sound: bool = False
    """Whether who made it has looked at all that :mod:`persistence.intake` would look at."""


Batch = tuple[Append, ...]
"""What must be written whole or not at all: one append, or several to different streams."""


class Record(msgspec.Struct, gc=False):
    """An event as the journal holds it."""

    position: int
    stream: Stream
    version: int
    type: str
    time: int
    """Microseconds since 1970 (UTC)."""
    command: str | None
    """The id of the command, on the first of its events."""
    data: bytes
    meta: bytes
    value: object = None
    """The event as it was in the writer's memory, where the record comes straight from there."""
    id: str | None = None
    tags: tuple[str, ...] = ()


class Scan(msgspec.Struct, frozen=True):
    """What a look through a part of the journal has found."""

    records: list[Record]
    position: int
    """Up to here it was looked through; go on behind it."""


class Written(msgspec.Struct, frozen=True):
    """Where a batch stands in the journal."""

    position: int
    """The position of its first event; where it has none, that of the last event in the journal."""
    versions: tuple[int, ...]
    """The version of each stream after it, in the order of the batch's appends."""
    repeated: bool = False
    """Whether it was there already."""


class Sleeper(msgspec.Struct, frozen=True):
    """A stream whose owner must be awake at a time, and may sleep until then."""

    wake: int
    """Microseconds since 1970 (UTC), 1 at the least."""
    number: int
    """The stream's place in the order in which streams began, from 1."""
    stream: Stream


class StreamState(msgspec.Struct, frozen=True):
    """A stream as it is now."""

    number: int
    """Its place in the order in which streams began, from 1."""
    stream: Stream
    version: int
    first: int
    """The version of its first event that is not erased."""
    wake: int
    """When its owner must be awake: a time in microseconds since 1970, AT_ONCE or NEVER."""


class Seal(msgspec.Struct, frozen=True):
    """A hash over all that the journal says up to a position; see :mod:`persistence.chain`."""

    position: int
    hash: str
    """SHA-256, in hex."""

    def __str__(self) -> str:
        return f"{self.position}:{self.hash}"


def _is(record: Record, event: NewEvent) -> bool:
    return record.type == ERASED or (record.type, record.data) == (event.type, event.data)


class Journal(ABC):
    """One journal, opened by one process at a time, or by one for each of its owners. Its methods are safe to cancel.

    Where it has several owners, each stream belongs to the one who began it, who alone writes to it.
    """

    url: str
    max_payload: int = MAX_PAYLOAD
    """The largest payload, and the largest metadata, of an event, in bytes."""
    identity: str = ""
    """A random name given to the journal when it was made; it tells one journal's copies from another's."""
    position: int = 0
    """The position of the last durable event; 0: none yet. What others write is known late; see :meth:`changed`."""
    log_bytes: int = 0
    """The size of the write-ahead log beside the file after the last group, in bytes; 0: there is none."""
    owner: str = ""
    """As whom this process writes where others may write at the same time; "": none may."""
    crashed: bool = False
    """Whether the process that had it open last, as this owner, ended without closing it; known when it is open."""

    @abstractmethod
    async def open(self) -> None:
        """Open the journal, and make it where there is none.

        Raises:
            JournalUnusable: it can't be made, read or written.
            JournalInUse: another process holds it.
            NotAJournal: what is there was not written by Understudy.
            JournalDamaged: what is there is damaged.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the journal. Does nothing where it is not open."""

    @abstractmethod
    async def append(self, batches: Sequence[Batch]) -> int:
        """Write a group, durably, all or nothing; return the position of its first event.

        For who knows the versions of all streams that he writes to: each is a number here, and there are no conditions.

        Raises:
            VersionConflict: a stream is not at the expected version.
            DuplicateCommand: a command's events are there already.
            DuplicateEvent: an event with this id is there already.
            StreamBuried: a stream was deleted for good.
            StreamOwned: a stream belongs to another owner of the journal.
            NotEncodable: it holds what can't be stored; see :mod:`persistence.intake`.
            JournalTaken: another process has taken this owner's place; this one writes nothing any more.
            AppendFailed: the group may or may not have been written; :meth:`recover` finds out.
        """

    @abstractmethod
    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        """Write batches in order, durably, each all or nothing and each for itself; return what became of each.

        Of a batch that was not written: VersionConflict, DuplicateCommand, DuplicateEvent, ConditionFailed,
        StreamBuried, or NotEncodable. The condition of a batch holds if those of all its appends do; what the batches
        before it have written is seen by it.

        Raises:
            AppendFailed: all of them may or may not have been written; :meth:`recover` finds out.
        """

    async def write(self, *appends: Append) -> Written:
        """Write one batch, durably, all or nothing; return where it stands.

        A batch whose events all have ids, and that is there already as it is, is not written again: it is answered
        with where it stands, whatever was written since and whatever was expected.

        Raises:
            VersionConflict, ConditionFailed, DuplicateCommand, StreamBuried, NotEncodable: see :meth:`append_each`.
            DuplicateEvent: an event with one of the ids is there, but not this batch.
            AppendFailed: it may or may not have been written; write it again.
        """
        (outcome,) = await self.append_each([appends])
        return await self.resolve(appends, outcome)

    async def resolve(self, batch: Batch, outcome: Written | JournalError) -> Written:
        """Return where a batch stands, also one that was refused because it is there already; else raise the error."""
        if isinstance(outcome, Written):
            return outcome
        new = {event.id: (append.stream, event) for append in batch for event in append.events if event.id is not None}
        if not new or not isinstance(outcome, VersionConflict | ConditionFailed | DuplicateCommand | DuplicateEvent):
            raise outcome
        found = {record.id: record for record in await self.by_ids(list(new))}
        if not found:
            raise outcome
        for id_, (stream, event) in new.items():
            record = found.get(id_)
            if record is None or record.stream != stream or not _is(record, event):
                raise DuplicateEvent(id_ if record else next(one for one in new if one in found)) from outcome
        if len(new) != sum(len(append.events) for append in batch):
            raise outcome
        heads = await self.heads([append.stream for append in batch if not append.events])
        versions = [
            found[append.events[-1].id].version if append.events else heads.get(append.stream, 0) for append in batch
        ]
        return Written(min(record.position for record in found.values()), tuple(versions), repeated=True)

    @abstractmethod
    async def recover(self) -> None:
        """Make the journal usable after a failed append, and read ``position`` anew from what is durable.

        Raises:
            JournalTaken: another process has taken this owner's place; it will never be usable.
            JournalError: it is not usable yet; try again later.
        """

    @abstractmethod
    async def changed(self, after: int, timeout: float) -> int:
        """Wait until the journal's ``position`` is above ``after``; return it, or what it is after ``timeout`` seconds.

        Whoever wrote the news, in this process or in another one. With a timeout of 0 it tells the position as it is
        now. ``timeout`` may be infinite.

        Raises:
            JournalUnusable: it is not open, or could not be looked at until the time was over.
        """

    @abstractmethod
    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions of those of the streams that exist."""

    async def strangers(self, streams: Sequence[Stream]) -> dict[Stream, str]:  # noqa: ARG002 (it has one owner)
        """Return the owners of those of the streams that belong to others."""
        return {}

    @abstractmethod
    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return up to ``limit`` events of one stream with versions above ``after``, in order.

        Erased ones are passed over.

        Raises:
            JournalDamaged: a record is missing or is not what was written.
        """

    @abstractmethod
    async def read_back(self, stream: Stream, before: int = NEVER, limit: int = PAGE) -> list[Record]:
        """Return up to ``limit`` events of one stream with versions below ``before``, the latest first.

        Erased ones are left out.

        Raises:
            JournalDamaged: a record is missing or is not what was written.
        """

    @abstractmethod
    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return up to ``limit`` events of all streams with positions above ``after``, in order.

        What is left of erased ones is among them.

        Raises:
            JournalDamaged: a record is missing or is not what was written.
        """

    @abstractmethod
    async def scan(self, query: Query, after: int = 0, limit: int = PAGE) -> Scan:
        """Return up to ``limit`` events that a query means, with positions above ``after``, in order.

        It looks through a bounded part of the journal at once, so that a page may be empty and yet not be the last:
        that is the one whose ``position`` is the journal's. Erased events are left out.

        Raises:
            JournalDamaged: a record that it found is not what was written.
        """

    @abstractmethod
    async def by_ids(self, ids: Sequence[str]) -> list[Record]:
        """Return the events with these ids that are there, in the journal's order, also what is left of erased ones.

        Raises:
            JournalDamaged: a record is not what was written.
        """

    @abstractmethod
    async def snapshots(self, streams: Sequence[Stream]) -> dict[Stream, Snapshot]:
        """Return the snapshots of those of the streams that have one."""

    @abstractmethod
    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of the first event of this command in the stream, or None."""

    @abstractmethod
    async def unfinished(self) -> list[Stream]:
        """Return the streams whose actors must be awake at once; the one that began first comes first.

        Only those that are this owner's own, here and in :meth:`sleeping`.
        """

    @abstractmethod
    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return up to ``limit`` streams that have a time to wake at, behind ``after``; by that time, then by number.

        Those that must be awake at once, or never, are not among them.
        """

    async def streams(self, after: int = 0, limit: int = PAGE, category: str | None = None) -> list[StreamState]:
        """Return up to ``limit`` streams, of a category or of all, with numbers above ``after``, in that order."""
        raise NotImplementedError

    async def seals(self, after: int = 0, limit: int = PAGE) -> list[Seal]:
        """Return up to ``limit`` seals with positions above ``after``, in order."""
        raise NotImplementedError

    async def last_seal(self) -> Seal | None:
        """Return the seal with the highest position, if there is one."""
        raise NotImplementedError

    async def keep_seals(self, seals: Sequence[Seal]) -> None:
        """Keep seals, durably; where there is one at a position already, that one stays.

        Raises:
            AppendFailed: they may or may not have been kept; keep them again.
        """
        raise NotImplementedError
