"""One group on its way into an SQLite file, in the writing connection's thread."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol
from zlib import crc32

import msgspec

from persistence.checksum import NO_COMMAND, PLAIN, crc_of, place_of, snapshot_crc
from persistence.errors import (
    AppendFailed,
    ConditionFailed,
    DuplicateCommand,
    DuplicateEvent,
    JournalError,
    StreamBuried,
    VersionConflict,
)
from persistence.journal import (
    ANY,
    BURIED,
    DELETED,
    ERASED,
    EXISTS,
    NEVER,
    NONE,
    Append,
    Batch,
    NewEvent,
    Snapshot,
    Stream,
)
from persistence.sqlite_queries import matching

CHUNKS = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Rows per INSERT. Many rows in one call into SQLite, and few calls, keep its thread from queueing for the
interpreter's lock: while the event loop is busy each call may wait for it as long as a switch interval."""

NOTHING = -1
"""Bound where nothing is to be written: to bind a None takes Python as long as all else in its row (it asks whether it
can be adapted). No number or text that is written is equal to it."""
MAYBE = f"nullif(?, {NOTHING})"

TYPE_ROW = "types (id, name)", "?, ?"
STREAM_ROW = "streams (id, category, key, wake)", f"?, ?, ?, {MAYBE}"
TAG_ROW = "tags (tag, position)", "?, ?"
EVENT_ROW = (
    "events (position, stream, version, type, time, command, data, meta, crc)",
    f"?, ?, ?, ?, ?, {MAYBE}, ?, ?, ?",
)
EVENT_COLUMNS = 9
MORE_ROW = f"{EVENT_ROW[0][:-1]}, id, tags)", f"{EVENT_ROW[1]}, {MAYBE}, {MAYBE}"
"""Most events have neither, and are written without."""

MARKS = {DELETED: 1, BURIED: 2}
"""What a stream's state is after an event of this type; otherwise it has none."""

Head = tuple[int, int, int]
"""A stream's number, its version, and its state: 0, or one of :data:`MARKS`."""


class Known(Protocol):
    """What the journal remembers of its file."""

    end: int
    """The position of the last event, also of those that the transaction has written so far."""

    def head(self, db: sqlite3.Connection, stream: Stream) -> Head | None:
        """Return a stream's head, if there is such a stream."""
        ...

    def new_ids(self) -> tuple[int, dict[str, int]]:
        """Return the next free number of a stream, and the numbers of the types so far."""
        ...

    def erase(self, db: sqlite3.Connection, number: int, before: int, kind: int) -> None:
        """Erase a stream's events with versions below this one; ``kind`` is the number of what is left's type."""
        ...

    def fault(self, error: Exception) -> JournalError:
        """Return the error for a group that was not written."""
        ...


class Group:
    """One group, or one batch among others.

    What it finds out about streams goes into the journal's memory only when it was written. With ``modes`` it takes
    batches whose writer does not know the streams' versions, or that have conditions.
    """

    def __init__(self, known: Known, batches: Sequence[Batch], *, modes: bool = False) -> None:
        self._known = known
        self._appends = [append for batch in batches for append in batch]
        self._modes = modes
        self.next_stream, self._known_types = known.new_ids()
        self.types: dict[str, int] = {}
        self.heads: dict[Stream, Head] = {}
        self.versions: list[int] = []
        """The version of each stream after its append; told where its writer did not know it."""
        self._rows: list[Any] = []
        self._position = 0
        """Of the last event that was added."""
        self._places: dict[Stream, bytes] = {}
        """:func:`place_of` each stream."""
        self._names: dict[str, tuple[int, bytes]] = {}
        """The number of each type, and its name as a checksum takes it."""
        self._more: dict[int, tuple[str | int, str | int]] = {}
        """Ids and tags, by position."""
        self._tags: list[Any] = []
        self._new_streams: dict[Stream, int] = {}
        self._wakes: dict[Stream, int | None] = {}
        self._states: dict[Stream, int | None] = {}

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self._rows) // EVENT_COLUMNS

    def write(self, db: sqlite3.Connection) -> None:
        """Write the group; the caller has begun a transaction and ends it."""
        try:
            if self._modes:
                for append in self._appends:
                    self._check_condition(db, append)
            self._position = self._known.end
            behind: list[Append] = []
            for append in self._appends:
                self._add(db, append)
                if append.snapshot is not None or append.erase_before:
                    behind.append(append)
            erased = self._type(ERASED) if any(append.erase_before for append in behind) else 0
            self._insert(db)
            for append in behind:
                if append.snapshot is not None:
                    self._keep(db, append.stream, append.snapshot)
                if append.erase_before and append.stream in self.heads:
                    self._known.erase(db, self.heads[append.stream][0], append.erase_before, erased)
        except sqlite3.IntegrityError as error:
            raise _Refused(error) from error

    def _check_condition(self, db: sqlite3.Connection, append: Append) -> None:
        condition = append.unless
        if condition is not None:
            chosen, values = matching(condition.query, condition.after, self._known.end, 1)
            where = f"where e.position = ({chosen})"
            row = db.execute(
                "select e.position, s.category, s.key, e.version, t.name from events e "  # noqa: S608 (our own text)
                f"join streams s on s.id = e.stream join types t on t.id = e.type {where}",
                values,
            ).fetchone()
            if row is not None:
                position, category, key, version, name = row
                raise ConditionFailed(position, (category, key), version, name)

    def _add(self, db: sqlite3.Connection, append: Append) -> None:
        stream, events, expected = append.stream, append.events, append.expected
        head = self.heads.get(stream)
        if head is None and (expected or not events or self._modes):
            head = self._known.head(db, stream)
        if self._modes:
            expected = _version(append, head)
        if head is None and expected == 0:
            if not events:
                self.versions.append(0)
                return
            # Taken for new without a look: if it is not, the unique index says so.
            head = (self.next_stream, 0, 0)
            self._new_streams[stream] = self.next_stream
            self.next_stream += 1
        if head is None or head[1] != expected:
            raise VersionConflict(stream, append.expected, head[1] if head else 0)
        number, version, state = head
        if events:
            mark = MARKS.get(events[-1].type, 0)
            if mark or state:
                if state == MARKS[BURIED]:
                    raise StreamBuried(stream)
                self._states[stream] = state = mark
            self._add_events(append, number, version)
            version += len(events)
        if self._modes:
            self.versions.append(version)
        self.heads[stream] = (number, version, state)
        if append.wake is not None:
            self._wakes[stream] = None if append.wake == NEVER else append.wake

    def _add_events(self, append: Append, number: int, version: int) -> None:
        stream, command, time, rows = append.stream, append.command, append.time, self._rows
        position, names = self._position, self._names
        place = self._places.get(stream)
        if place is None:
            place = self._places[stream] = place_of(stream)
        first: str | int = NOTHING if command is None else command
        said = NO_COMMAND if command is None else command.encode()
        for event in append.events:
            version += 1
            position += 1
            name, data, meta = event.type, event.data, event.meta
            kind, called = names.get(name) or self._name(name)
            if event.id is None and not event.tags:
                crc = crc32(PLAIN % (position, time, said, called, version, place, data, meta))
            else:
                crc = crc_of(position, stream, version, name, time, command, data, meta, event.id, event.tags)
                self._add_more(position, event)
            rows += (position, number, version, kind, time, first, data.decode(), meta.decode(), crc)
            command, first, said = None, NOTHING, NO_COMMAND
        self._position = position

    def _add_more(self, position: int, event: NewEvent) -> None:
        tags = msgspec.json.encode(event.tags).decode() if event.tags else NOTHING
        self._more[position] = NOTHING if event.id is None else event.id, tags
        for tag in set(event.tags):
            self._tags += (tag, position)

    def _name(self, name: str) -> tuple[int, bytes]:
        found = self._names[name] = self._type(name), name.encode()
        return found

    def _type(self, name: str) -> int:
        number = self._known_types.get(name) or self.types.get(name)
        if number is None:
            number = self.types[name] = len(self._known_types) + len(self.types) + 1
        return number

    def _insert(self, db: sqlite3.Connection) -> None:
        types = [value for name, number in self.types.items() for value in (number, name)]
        _insert_rows(db, TYPE_ROW, types)
        streams: list[Any] = []
        for stream, number in self._new_streams.items():
            wake = self._wakes.pop(stream, None)
            streams += (number, *stream, NOTHING if wake is None else wake)
        _insert_rows(db, STREAM_ROW, streams)
        if not self._more:
            _insert_rows(db, EVENT_ROW, self._rows)
        else:
            rows: list[Any] = []
            for start in range(0, len(self._rows), EVENT_COLUMNS):
                more = self._more.get(self._rows[start], (NOTHING, NOTHING))
                rows += (*self._rows[start : start + EVENT_COLUMNS], *more)
            _insert_rows(db, MORE_ROW, rows)
            _insert_rows(db, TAG_ROW, self._tags)
        for column, changes in (("wake", self._wakes), ("state", self._states)):
            if changes:
                values = ((value, self.heads[stream][0]) for stream, value in changes.items())
                db.executemany(f"update streams set {column} = ? where id = ?", values)  # noqa: S608 (our own names)
        # So that events that are lost at the end are missed.
        db.execute("update journal set position = ?", (self._known.end + self.events,))

    def _keep(self, db: sqlite3.Connection, stream: Stream, snapshot: Snapshot) -> None:
        if stream in self.heads:
            version, fingerprint, data = snapshot.version, snapshot.fingerprint, snapshot.data
            row = self.heads[stream][0], version, fingerprint, data, snapshot_crc(stream, snapshot)
            db.execute("insert or replace into snapshots values (?, ?, ?, ?, ?)", row)

    def why(self, db: sqlite3.Connection, error: sqlite3.IntegrityError) -> JournalError:
        """Return what an index has found, when the group has been rolled back."""
        for append in self._appends:
            head = self._known.head(db, append.stream)
            if append.stream in self._new_streams and head is not None:
                return VersionConflict(append.stream, append.expected, head[1])
        commands: set[tuple[Stream, str]] = set()
        ids: set[str] = set()
        for append in self._appends:
            command = (append.stream, append.command or "")
            if append.command is not None and append.events:
                query = "select 1 from events where stream = ? and command = ?"
                values = (self.heads[append.stream][0], append.command)
                if command in commands or db.execute(query, values).fetchone():
                    return DuplicateCommand(append.stream, append.command)
                commands.add(command)
            for id_ in [event.id for event in append.events if event.id is not None]:
                if id_ in ids or db.execute("select 1 from events where id = ?", (id_,)).fetchone():
                    return DuplicateEvent(id_)
                ids.add(id_)
        return self._known.fault(error)


class _Refused(Exception):
    """An index has found that a group can't be written; :meth:`Group.why` says what it was."""


def write_all(db: sqlite3.Connection, group: Group) -> None:
    """Write one group as one transaction.

    Raises:
        JournalError: it can't be written; nothing of it was.
    """
    try:
        db.execute("begin immediate")
        group.write(db)
        db.execute("commit")
    except BaseException as error:
        if db.in_transaction:
            db.execute("rollback")
        if isinstance(error, _Refused) and isinstance(error.__cause__, sqlite3.IntegrityError):
            raise group.why(db, error.__cause__) from error.__cause__
        raise


def write_one(db: sqlite3.Connection, group: Group) -> JournalError | None:
    """Write one group of a transaction that others share; return why it was not written, if it was not."""
    db.execute("savepoint batch")
    try:
        group.write(db)
    except (JournalError, _Refused) as error:
        db.execute("rollback to batch")
        db.execute("release batch")
        if isinstance(error, JournalError):
            if isinstance(error, AppendFailed):
                raise
            return error
        cause = error.__cause__
        assert isinstance(cause, sqlite3.IntegrityError)
        return group.why(db, cause)
    db.execute("release batch")
    return None


def _version(append: Append, head: Head | None) -> int:
    """Return the version that is meant by what an append expects."""
    version, there = (0, False) if head is None else (head[1], not head[2])
    if append.expected == ANY or append.expected == (EXISTS if there else NONE):
        return version
    return append.expected


@lru_cache
def _inserts(table: str, row: str) -> list[tuple[int, str]]:
    """Return statements that insert rows, and how many values each takes, the largest first."""
    columns, text = row.count("?"), f"({row})"
    return [
        (chunk * columns, f"insert into {table} values {', '.join([text] * chunk)}")  # noqa: S608 (our own names)
        for chunk in CHUNKS
    ]


def _insert_rows(db: sqlite3.Connection, what: tuple[str, str], values: list[Any]) -> None:
    start, end = 0, len(values)
    for size, statement in _inserts(*what):
        while end - start >= size:
            db.execute(statement, values[start : start + size])
            start += size
