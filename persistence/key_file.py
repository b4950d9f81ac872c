"""Keys in an SQLite file of its own, from which a destroyed one is gone to the last byte.

Secrets are in a table of their own, whose rows SQLite never moves: they are added at its end, keep their length, and
are never removed; one that is destroyed is overwritten where it stands. So no page keeps a copy of it. The log, which
does, is emptied before a destruction is told as done.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from persistence.cipher import Cipher
from persistence.connection import Connection, connect, shielded
from persistence.errors import KeysUnusable
from persistence.keys import SECRET_BYTES, Key, two_keys
from persistence.lock import LockFile

T = TypeVar("T")

APPLICATION_ID = 0x5553544B  # "USTK": tells our files from other SQLite files
SCHEMA_VERSION = 1
_CHECK = b"understudy keys"

SCHEMA = (
    # What the master key seals, so that another one is found at once; empty where there is none.
    "create table master (sealed blob not null)",
    """create table keys (
        number integer primary key, id blob not null unique, subject text not null, destroyed integer)""",
    # A row that gets longer or shorter is moved, and leaves parts of itself behind; secure_delete doesn't find all.
    "create table secrets (number integer primary key, secret blob not null)",
    "create unique index keys_current on keys (subject) where destroyed is null",
    "create index keys_destroyed on keys (subject) where destroyed is not null",
)
_FIND = "select id, subject, secret, destroyed from keys left join secrets using (number) where "
_OVERWRITE = """update secrets set secret = zeroblob(length(secret))
    where number = (select number from keys where id = ?)"""
_DESTROYED = "select id, subject from keys where destroyed is not null order by destroyed, number"
_DESTROYED_OF = "select id, subject from keys where destroyed is not null and subject = ? order by destroyed, number"


class KeyFile:
    """Keys in a file; it is made where there is none, for its owner's eyes only, and used by one process at a time.

    ``master``, 32 bytes that are kept elsewhere (``os.urandom(32)``), seals the keys in the file; it is the same for
    the whole life of the file. A key is on disk before anything sealed with it is, whatever the journal's durability.

    Whoever loses the file has everybody forgotten: make backups of it, apart from those of the journal. One that is
    restored brings nobody back who was forgotten: the journal says who was.

    Raises:
        ValueError: the master key has not 32 bytes.
        KeysUnusable: ``master`` needs ``cryptography``, which is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], master: bytes | None = None) -> None:
        if master is not None and len(master) != SECRET_BYTES:
            raise ValueError(f"a master key has {SECRET_BYTES} bytes, not {len(master)}; make one by os.urandom(32)")
        self.path = Path(path)
        self._master = None if master is None else Cipher(master)
        self._lock = LockFile(Path(f"{self.path}.lock"))
        self._writer: Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def __str__(self) -> str:
        return str(self.path)

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            JournalInUse: another process uses it.
            KeysUnusable: it can't be read or written, is no key file, or has another master key.
        """
        self._lock.acquire()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = await connect(self.path)
            await self._writer.run(self._prepare)
            # Looked up in the middle of turns, on a connection of its own that never waits for the writing one.
            self._reader = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            self._reader.execute("pragma query_only = on")
        except (sqlite3.Error, OSError) as error:
            await self.close()
            raise KeysUnusable(f"the keys in {self.path} can't be used: {error}") from error
        except BaseException:
            await self.close()
            raise

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("pragma secure_delete = on")
        if not db.execute("pragma page_count").fetchone()[0]:
            db.execute("begin immediate")
            for statement in SCHEMA:
                db.execute(statement)
            sealed = b"" if self._master is None else self._master.seal(_CHECK, b"")
            db.execute("insert into master values (?)", (sealed,))
            db.execute(f"pragma application_id = {APPLICATION_ID}")
            db.execute(f"pragma user_version = {SCHEMA_VERSION}")
            db.execute("commit")
        form = db.execute("pragma application_id").fetchone() + db.execute("pragma user_version").fetchone()
        if form != (APPLICATION_ID, SCHEMA_VERSION):
            raise KeysUnusable(f"{self.path} is no file of keys in a format of this version of Understudy")
        row = db.execute("select sealed from master").fetchone()
        if row is None or type(row[0]) is not bytes:
            raise KeysUnusable(f"the keys in {self.path} are damaged: what the master key seals is not there")
        self._check_master(row[0])
        if db.execute("pragma journal_mode = wal").fetchone() != ("wal",):
            raise KeysUnusable(f"{self.path}: its file system can't hold a write-ahead log")
        db.execute("pragma synchronous = full")
        self._empty_log(db)  # a crash may have come between a destruction and this

    def _check_master(self, sealed: bytes) -> None:
        if self._master is None and sealed:
            raise KeysUnusable(f"the keys in {self.path} are sealed; write KeyFile(path, master=...)")
        if self._master is not None and self._master.open(sealed, b"") != _CHECK:
            raise KeysUnusable(
                f"the keys in {self.path} are sealed with another master key"
                if sealed
                else f"the keys in {self.path} are not sealed; leave out master="
            )

    async def close(self) -> None:
        """Close the file. Does nothing where it is not open."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        if reader is not None:
            reader.close()
        if writer is not None:
            await shielded(writer.shut())
        self._lock.release()

    # -- looking up ---------------------------------------------------------------------------------------------

    def current(self, subject: str) -> Key | None:
        """Return a subject's key, if it has one that is not destroyed."""
        return self._one("subject = ? and destroyed is null", subject)

    def find(self, key_id: bytes) -> Key | None:
        """Return the key with this id, also one that is destroyed; None: there never was one."""
        return self._one("id = ?", key_id)

    def _one(self, where: str, value: str | bytes) -> Key | None:
        if self._reader is None:
            raise KeysUnusable(f"the keys in {self.path} are not open")
        try:
            row = self._reader.execute(_FIND + where, (value,)).fetchone()
        except sqlite3.Error as error:
            raise KeysUnusable(f"the keys in {self.path} can't be read: {error}") from error
        return None if row is None else self._key(*row)

    def _key(self, key_id: Any, subject: Any, secret: Any, destroyed: Any) -> Key:
        """Return the key of a row; any cell of it may hold anything, if the file is damaged."""
        if type(key_id) is bytes and type(subject) is str:
            if destroyed is not None:
                return Key(key_id, subject, None)
            opened: bytes | None = secret if type(secret) is bytes else None
            if self._master is not None and opened is not None:
                opened = self._master.open(opened, key_id + subject.encode())
            if opened is not None and len(opened) == SECRET_BYTES:
                return Key(key_id, subject, opened)
        raise KeysUnusable(f"the keys in {self.path} are damaged: the key of {subject!r:.250} is not what was written")

    # -- changing -----------------------------------------------------------------------------------------------

    async def add(self, keys: Sequence[Key]) -> None:
        """Keep new keys; they are on disk when this returns. What is there already stays as it is.

        Raises:
            KeysUnusable: they can't be written, or a subject has another key.
        """
        rows = [((key.id, key.subject), self._kept(key)) for key in keys]

        def work(db: sqlite3.Connection) -> None:
            db.execute("begin immediate")
            for key, secret in rows:
                new = db.execute("insert into keys (id, subject) values (?, ?) on conflict (id) do nothing", key)
                if new.rowcount:
                    db.execute("insert into secrets values (?, ?)", (new.lastrowid, secret))
            db.execute("commit")

        try:
            await self._run(work)
        except sqlite3.IntegrityError as error:
            raise two_keys(", ".join(key.subject for key in keys[:3])) from error

    def _kept(self, key: Key) -> bytes:
        assert key.secret is not None
        return key.secret if self._master is None else self._master.seal(key.secret, key.id + key.subject.encode())

    async def destroy(self, keys: Sequence[Key]) -> None:
        """Destroy the secrets of keys; their bytes are gone from the file and its log when this returns.

        Raises:
            KeysUnusable: it can't be written; they may or may not be destroyed, so destroy them again.
        """
        now = time.time_ns() // 1_000

        def work(db: sqlite3.Connection) -> None:
            db.execute("begin immediate")
            # As many zeros as there were bytes: SQLite writes them over the old ones.
            db.executemany(_OVERWRITE, [(key.id,) for key in keys])
            db.executemany(
                "insert into keys (id, subject, destroyed) values (?, ?, ?)"
                " on conflict (id) do update set destroyed = excluded.destroyed where destroyed is null",
                [(key.id, key.subject, now) for key in keys],
            )
            db.execute("commit")
            self._empty_log(db)

        await self._run(work)

    def _empty_log(self, db: sqlite3.Connection) -> None:
        """Move all to the file itself, and leave nothing in the log.

        Raises:
            KeysUnusable: somebody reads the file all the time.
        """
        busy = db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if busy:
            raise KeysUnusable(f"{self.path} is being read by another process, so its log can't be emptied; try again")

    async def destroyed(self, subject: str | None = None) -> list[Key]:
        """Return what is left of the keys that were destroyed, of one subject or of all, in that order."""

        def work(db: sqlite3.Connection) -> list[Any]:
            if subject is None:
                return db.execute(_DESTROYED).fetchall()
            return db.execute(_DESTROYED_OF, (subject,)).fetchall()

        return [self._key(key_id, name, None, True) for key_id, name in await self._run(work)]

    async def count_destroyed(self) -> int:
        """Return how many keys were destroyed."""
        count = "select count(*) from keys where destroyed is not null"
        return await self._run(lambda db: int(db.execute(count).fetchone()[0]))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run something on the writing connection, whole or not at all.

        Raises:
            KeysUnusable: it can't be done; nothing was changed, or the caller can't know.
        """
        if self._writer is None:
            raise KeysUnusable(f"the keys in {self.path} are not open")

        def whole(db: sqlite3.Connection) -> T:
            try:
                return work(db)
            finally:
                if db.in_transaction:
                    db.execute("rollback")

        try:
            return await self._writer.run(whole)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise KeysUnusable(f"the keys in {self.path} can't be written: {error}") from error
