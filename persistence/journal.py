"""The journal's contract: what every engine keeps, and the values that go in and come out.

A journal is a set of streams in one order. A stream's events are numbered by **version** from 1, the journal's
by **position** from 1 without gaps. Groups are appended whole, in the order in which they were handed in, so
that whatever dies, what is left is a prefix.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

Stream = tuple[str, str]
"""A stream's name: its category (the actor's class) and its key. Any text that UTF-8 can hold is valid in both."""

PAGE = 500
"""How many records a read returns at the most, unless told otherwise (measured: 500 to 1,000 reads fastest)."""


AT_ONCE = 0
"""A stream's wake time that says: at once, when the journal is opened. It has work that must go on."""
NEVER = 2**63 - 1
"""A stream's wake time that says: not at all. Later than every time that there is."""


class NewEvent(msgspec.Struct, gc=False):
    """An event to append: its stable type name, its payload and its metadata, both as JSON.

    ``value`` is the event as the writer has it in memory; it is handed on to live subscribers, so that they need
    not decode it, and is not stored.
    """

    type: str
    data: bytes
    meta: bytes
    value: object = None


class Append(msgspec.Struct, gc=False):
    """Events for one stream, after the version at which the writer believes it to be.

    ``command`` is the id of the command that they come from, unique in its stream. ``wake`` says when the stream's
    owner must be awake: at a time in microseconds since 1970 (1 at the least), :data:`AT_ONCE`, :data:`NEVER`, or as
    it was said before (None). Without events the version is checked and the wake time set, where there is such a
    stream; nothing else is written.
    """

    stream: Stream
    expected: int
    events: Sequence[NewEvent]
    time: int
    """Microseconds since 1970 (UTC)."""
    command: str | None = None
    wake: int | None = None


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


class Sleeper(msgspec.Struct, frozen=True):
    """A stream whose owner must be awake at a time, and may sleep until then."""

    wake: int
    """Microseconds since 1970 (UTC), 1 at the least."""
    number: int
    """The stream's place in the order in which streams began, from 1."""
    stream: Stream


def to_records(batches: Sequence[Batch], first: int) -> list[Record]:
    """Return the records of a group whose first event got the position ``first``."""
    records: list[Record] = []
    position = first
    for batch in batches:
        for append in batch:
            stream, time = append.stream, append.time
            version, command = append.expected, append.command
            for event in append.events:
                version += 1
                records.append(
                    Record(position, stream, version, event.type, time, command, event.data, event.meta, event.value)
                )
                position += 1
                command = None
    return records


class Journal(ABC):
    """One journal, opened by one process at a time. Its methods are safe to cancel."""

    url: str
    identity: str = ""
    """A random name given to the journal when it was made; it tells one journal's copies from another's."""
    position: int = 0
    """The position of the last durable event; 0: none yet."""
    log_bytes: int = 0
    """The size of the write-ahead log beside the file after the last group, in bytes; 0: there is none."""

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

        Raises:
            VersionConflict: a stream is not at the expected version.
            DuplicateCommand: a command's events are there already.
            AppendFailed: the group may or may not have been written; :meth:`recover` finds out.
        """

    @abstractmethod
    async def recover(self) -> None:
        """Make the journal usable after a failed append, and read ``position`` anew from what is durable.

        Raises:
            JournalError: it is not usable yet; try again later.
        """

    @abstractmethod
    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        """Return the versions of those of the streams that exist."""

    @abstractmethod
    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return up to ``limit`` events of one stream with versions above ``after``, in order.

        Raises:
            JournalDamaged: a record is missing or is not what was written.
        """

    @abstractmethod
    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        """Return up to ``limit`` events of all streams with positions above ``after``, in order.

        Raises:
            JournalDamaged: a record is missing or is not what was written.
        """

    @abstractmethod
    async def find(self, stream: Stream, command: str) -> int | None:
        """Return the version of the first event of this command in the stream, or None."""

    @abstractmethod
    async def unfinished(self) -> list[Stream]:
        """Return the streams whose owners must be awake at once; the one that began first comes first."""

    @abstractmethod
    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        """Return up to ``limit`` streams that have a time to wake at, behind ``after``; by that time, then by number.

        Those that must be awake at once, or never, are not among them.
        """
