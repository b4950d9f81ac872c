"""The file behind an SQLite journal: its format, how one is made and checked, and what its errors mean."""

import os
import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path

from persistence.errors import JournalDamaged, JournalError, JournalUnusable, NotAJournal
from persistence.sqlite_migrations import MIGRATIONS, migrate
from persistence.wal import keep_small

APPLICATION_ID = 0x55535459  # "USTY": tells our files from other SQLite files
SCHEMA_VERSION = 3
NEEDED_SQLITE = (3, 32, 0)
"""The first one that takes as many values in a statement as a group's rows have."""
CHECKED_BYTES = 32 * 1024 * 1024
"""Files up to this size are checked whole when they are opened (measured: 0.4 s); larger ones while they are used."""
COUNTED_BYTES = 256 * 1024 * 1024
"""Files up to this size are read once when they are opened, to see that no index has lost an entry (0.8 s)."""
DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG}
"""What SQLite says of a damaged file; an error in our own SQL would have shown in the tests."""

PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}

SCHEMA = (
    "create table journal (identity text not null, position integer not null)",
    """create table streams (
        id integer primary key, category text not null, key text not null, wake integer,
        first integer, state integer, unique (category, key))""",
    # Few streams have a time to wake at; the others cost the index nothing.
    "create index streams_wake on streams (wake) where wake is not null",
    "create table types (id integer primary key, name text not null unique)",
    """create table events (
        position integer primary key, stream integer not null references streams, version integer not null,
        type integer not null references types, time integer not null, command text, data text not null,
        meta text not null, crc integer not null, id text, tags text)""",
    "create unique index events_version on events (stream, version)",
    "create unique index events_command on events (stream, command) where command is not null",
    "create unique index events_id on events (id) where id is not null",
    "create table tags (tag text not null, position integer not null, primary key (tag, position)) without rowid",
    """create table snapshots (
        stream integer primary key references streams, version integer not null, fingerprint text not null,
        data blob not null, crc integer not null)""",
    # So narrow that a page of another table is not taken for one of this.
    """create table seals (
        position integer primary key, hash text not null check (length(hash) = 64)) without rowid""",
    # For people with an SQL shell.
    """create view log as select e.position, s.category || '/' || s.key as stream, e.version, t.name as type,
        strftime('%Y-%m-%d %H:%M:%f', e.time / 1e6, 'unixepoch') as time, e.command, e.data, e.meta
        from events e join streams s on s.id = e.stream join types t on t.id = e.type order by e.position""",
)


def check_sqlite() -> None:
    """Make sure that the SQLite in use can do what the journal needs.

    Raises:
        JournalUnusable: it is too old, or can't be used by several threads.
    """
    if sqlite3.sqlite_version_info < NEEDED_SQLITE:
        needed = ".".join(map(str, NEEDED_SQLITE))
        raise JournalUnusable(
            f"this Python has SQLite {sqlite3.sqlite_version}, journals need {needed} or later; use a newer Python"
        )
    if sqlite3.threadsafety == 0:
        raise JournalUnusable("this Python's SQLite was built for one thread only; use another build")


def check_place(path: Path, *, there: bool = False) -> None:
    """Make sure that a journal can be at a path, or is ``there``.

    Raises:
        JournalUnusable: it can't be, or is not.
    """
    try:
        if path.is_dir():
            fault = "it is a folder"
        elif there and not path.is_file():
            fault = "there is no such file"
        elif not path.parent.is_dir():
            fault = "no such folder"
        elif not there and (others := other_names(path)):
            fault = f"{others}; whoever wrote to it by one of them would know nothing of the others: remove these first"
        else:
            return
    except OSError as error:  # a folder on the way that we may not enter
        raise JournalUnusable(f"can't open {path}: {error.strerror}") from error
    raise JournalUnusable(f"can't open {path}: {fault}")


def other_names(path: Path) -> str:
    """Say which other names (hard links) a file has; "" where it has none.

    SQLite keeps its write-ahead log beside that name, and we our lock. Symbolic links are no other names: they are
    followed by both.
    """
    if not path.exists() or path.stat().st_nlink < 2:
        return ""
    place, names = path.resolve(), list[str]()
    with suppress(OSError):  # a folder that may not be listed
        names = sorted(one.name for one in place.parent.iterdir() if one != place and _is_same(one, place))
    where = ", ".join(names) if names else f"in other folders, which find -samefile {place.name} tells"
    return f"it has other names (hard links): {where}"


def _is_same(one: Path, place: Path) -> bool:
    try:
        return not one.is_symlink() and one.samefile(place)
    except OSError:
        return False  # it is gone


def make(path: Path) -> None:
    """Make the file where there is none; nobody but its owner may read it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalUnusable(f"can't write {path}: {error.strerror}") from error


def prepare(db: sqlite3.Connection, path: Path, synchronous: str) -> None:
    """Make sure that the file is a whole journal in our format, or make it one if it is empty."""
    (pages,) = db.execute("pragma page_count").fetchone()  # not the file's size: a crash may have left half a start
    if pages == 0:
        _create(db)
    if not migrate(db, _format_of(db, path), SCHEMA_VERSION):
        check_format(db, path)
    (mode,) = db.execute("pragma journal_mode = wal").fetchone()
    if mode != "wal":
        raise JournalUnusable(f"can't open {path}: its file system can't hold a write-ahead log")
    db.execute(f"pragma synchronous = {synchronous}")
    keep_small(db)
    if path.stat().st_size <= CHECKED_BYTES:
        _check(db, path)


def _format_of(db: sqlite3.Connection, path: Path) -> int:
    (application,) = db.execute("pragma application_id").fetchone()
    if application != APPLICATION_ID:
        raise NotAJournal(f"{path} is a database, but not a journal of Understudy; use another file")
    (schema,) = db.execute("pragma user_version").fetchone()
    return int(schema)


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Raise NotAJournal where the file is no journal, or one of another format."""
    schema = _format_of(db, path)
    if schema in MIGRATIONS:
        raise NotAJournal(
            f"{path} has journal format {schema}; open it once with a runtime, "
            f"which brings it to format {SCHEMA_VERSION}"
        )
    if schema != SCHEMA_VERSION:
        raise NotAJournal(
            f"{path} has journal format {schema}, this version of Understudy reads formats 1 to {SCHEMA_VERSION}; "
            "use the version that wrote it, or a later one"
        )


def _check(db: sqlite3.Connection, path: Path) -> None:
    (verdict,) = db.execute("pragma integrity_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(path, verdict)
    for _, position, parent, _ in db.execute("pragma foreign_key_check"):
        raise damaged(path, f"the event at position {position} has lost its row in {parent}")
    for expected, (position,) in enumerate(db.execute("select position from events order by position"), 1):
        if position != expected:
            raise damaged(path, f"the event at position {expected} is missing")


def damaged(path: Path, what: str) -> JournalDamaged:
    """Return the error that stops a reader."""
    return JournalDamaged(f"{path} is damaged: {what}; {_way_out(path)}")


def _way_out(path: Path) -> str:
    restore = "restore it from a backup"
    try:
        others = other_names(path)
    except OSError:
        return restore
    if not others:
        return restore
    return f"{others}; where it is open by one of them, read it by that one, and it may be whole; else {restore}"


def _create(db: sqlite3.Connection) -> None:
    db.execute("begin immediate")
    for statement in SCHEMA:
        db.execute(statement)
    db.execute("insert into journal values (?, 0)", (uuid.uuid4().hex,))
    db.execute(f"pragma application_id = {APPLICATION_ID}")
    db.execute(f"pragma user_version = {SCHEMA_VERSION}")
    db.execute("commit")


def opening_error(path: Path, error: Exception) -> JournalError:
    """Return what an error of SQLite means for somebody who opens a journal."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return NotAJournal(f"{path} is not a journal of Understudy; use another file")
    return fault(path, "it can't be opened", error)


def fault(path: Path, what: str, error: Exception) -> JournalError:
    """Return what an error of SQLite means: the file is damaged, or it can't be used just now."""
    # An error without SQLite's code is text that is not UTF-8.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code & 0xFF in DAMAGE and not isinstance(error, sqlite3.ProgrammingError):
        return damaged(path, f"{what}: {error}")
    return JournalUnusable(f"{path}: {what}: {error}")


def code_of(error: BaseException | None) -> int:
    """Return SQLite's code for an error, without what it says in detail; 0: the error is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def says_damage(error: Exception) -> bool:
    """Whether an error says that the file is damaged: to write on would make it worse."""
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def may_pass(error: BaseException) -> bool:
    """Whether an error is of the disk or of another connection, not of the statement: the same may succeed later."""
    return code_of(error) in PASSING
