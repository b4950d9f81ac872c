"""A check of a whole file while it is in use: in slices, so that others can read and write between them.

A reader finds a record that was changed, for it has a checksum, and one that is gone, for numbers have no gap. What no
reader finds is an entry that an index has lost: a command whose entry is gone seems never to have been handled. So each
row is looked up in each index, and entries that belong to no row are found by counting.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio

from persistence.errors import JournalDamaged, RecordDamaged
from persistence.journal import Record
from persistence.progress import Progress
from persistence.sqlite_file import damaged
from persistence.sqlite_queries import READ

T = TypeVar("T")

SLICE = 500
"""Events, or streams, that are looked at in one go: some 10 ms."""

LOST_ENTRY = """select position from events e where position > ? and position <= ? and {}
    not exists (select 1 from events x indexed by {} where {} and x.position = e.position) limit 1"""
LOST_ENTRIES = [
    ("events_version", LOST_ENTRY.format("", "events_version", "x.stream = e.stream and x.version = e.version")),
    (
        "events_command",
        LOST_ENTRY.format("command is not null and", "events_command", "x.stream = e.stream and x.command = e.command"),
    ),
    ("events_id", LOST_ENTRY.format("id is not null and", "events_id", "x.id = e.id")),
]
LOST_STREAM = """select id from streams s where id > ? and id <= ? and (
    not exists (select 1 from streams x where x.category = s.category and x.key = s.key and x.id = s.id)
    or wake is not null and not exists (
        select 1 from streams x indexed by streams_wake where x.wake = s.wake and x.id = s.id)) limit 1"""
ENTRIES = "select count(*) from events indexed by {} where stream > ? and stream <= ? and position <= ? {}"


class Asking(Protocol):
    """Runs work in the thread of a reading connection; what the file's damage raises there is JournalDamaged."""

    def __call__(self, what: str, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Run the work, which reads what is named."""
        ...


class FileCheck:
    """One check of one file, up to the event that was its last one when it began."""

    def __init__(self, path: Path, record: Callable[[tuple[Any, ...]], Record], end: int) -> None:
        self._path = path
        self._record = record
        self._end = end
        self._versions = self._commands = 0
        """Rows that must have an entry, less entries that were found."""
        self._damaged: list[RecordDamaged] = []

    async def run(self, ask: Asking, progress: Progress, rest: float) -> None:
        """Check all of it, with so many seconds of rest between slices.

        Raises:
            JournalDamaged: the tables and indexes don't fit together.
            RecordDamaged: they do, but records are not what was written.
        """
        for after in range(0, self._end, SLICE):
            until = min(after + SLICE, self._end)
            await ask("the events", partial(_in_one_view, partial(self._events, after, until)))
            progress(until, self._end)
            await anyio.sleep(rest)
        (last,) = await ask("the streams", lambda db: db.execute("select max(id) from streams").fetchone())
        for after in range(0, last or 0, SLICE):
            await ask("the streams", partial(_in_one_view, partial(self._streams, after, after + SLICE)))
            await anyio.sleep(rest)
        for index, missing in (("events_version", self._versions), ("events_command", self._commands)):
            if missing:
                raise damaged(self._path, f"its index {index} has {-missing} entries that belong to no event")
        if self._damaged:
            first, more = self._damaged[0], len(self._damaged) - 1
            raise RecordDamaged(f"{first}" + (f"; so are {more} other events" if more else "")) from first

    def _events(self, after: int, until: int, db: sqlite3.Connection) -> None:
        query = READ + "where e.position > ? and e.position <= ? order by e.position"
        rows = db.execute(query, (after, until)).fetchall()
        for expected, row in enumerate(rows, after + 1):
            if row[0] != expected:
                raise self._missing(expected)
            self._versions += 1
            self._commands += row[6] is not None
            try:
                record = self._record(row)
            except RecordDamaged as error:
                self._damaged.append(error)
                continue
            for tag in record.tags:
                if not db.execute("select 1 from tags where tag = ? and position = ?", (tag, expected)).fetchone():
                    raise damaged(self._path, f"the event at position {expected} is not found by its tag")
        if len(rows) < until - after:
            raise self._missing(after + len(rows) + 1)
        for index, query in LOST_ENTRIES:
            row = db.execute(query, (after, until)).fetchone()
            if row is not None:
                raise damaged(self._path, f"the event at position {row[0]} has no entry in the index {index}")

    def _missing(self, position: int) -> JournalDamaged:
        return damaged(self._path, f"the event at position {position} is missing")

    def _streams(self, after: int, until: int, db: sqlite3.Connection) -> None:
        row = db.execute(LOST_STREAM, (after, until)).fetchone()
        if row is not None:
            raise damaged(self._path, f"stream number {row[0]} has no entry in an index")
        values = (after, until, self._end)
        self._versions -= db.execute(ENTRIES.format("events_version", ""), values).fetchone()[0]
        where = "and command is not null"
        self._commands -= db.execute(ENTRIES.format("events_command", where), values).fetchone()[0]


def _in_one_view(work: Callable[[sqlite3.Connection], None], db: sqlite3.Connection) -> None:
    """Run work that sees the file as it is at one moment, whatever is written meanwhile."""
    db.execute("begin")
    try:
        work(db)
    finally:
        db.execute("commit")


def count_entries(db: sqlite3.Connection, path: Path) -> None:
    """Make sure that no index over events has lost an entry; reads the whole file once, without a look at its content.

    Raises:
        JournalDamaged: one has.
    """
    events, commands, ids = db.execute("select count(*), count(command), count(id) from events not indexed").fetchone()
    for index, where, rows in (
        ("events_version", "", events),
        ("events_command", "where command is not null", commands),
        ("events_id", "where id is not null", ids),
    ):
        (entries,) = db.execute(f"select count(*) from events indexed by {index} {where}").fetchone()  # noqa: S608
        if entries != rows:
            raise damaged(path, f"its index {index} has {entries} entries for {rows} events")
