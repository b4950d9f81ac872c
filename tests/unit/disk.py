"""A disk of the tests' own, through an SQLite VFS: what a power cut leaves of it, and what happens when it is full.

The VFS passes everything on to the real file system and notes it. What was written to a file is safe from a power
cut when that file has been synced, and a file's name when its folder has: SQLite's own VFS syncs the folder with the
first sync of a new log (``UNIXFILE_DIRSYNC``) and with a deletion that asks for it. All else is at the cut's mercy.

apsw brings an SQLite of its own, which knows its VFS; the one of the standard library doesn't. So the code under test
runs on apsw through a stand-in for ``sqlite3.connect``, and the images are opened with the standard library.
"""

import os
import random
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import apsw
import pytest

T = TypeVar("T")
SECTOR = 512
Fate = Literal["kept", "lost", "torn", "blank"]
"""What a cut does to a piece of a write: there, not there, begun only, or room for it and nothing in it."""
Chooser = Callable[[], Fate]


class Op(NamedTuple):
    """One thing that was done to a file, and how much had been acknowledged when it was."""

    what: Literal["open", "write", "truncate", "sync", "sync folder", "delete"]
    path: str
    offset: int = 0
    data: bytes = b""
    acknowledged: int = 0


class Disk:
    """All that was done to its files, in order; and a fault for the next write that is to fail."""

    def __init__(self, name: str) -> None:
        self.ops: list[Op] = []
        self.acknowledged = 0
        """Set by the test: so many groups have been acknowledged by now."""
        self.room: int | None = None
        """So many more writes succeed; None: all do. What fails says that the disk is full."""
        self.failed: list[str] = []
        """What failed for lack of room, in order."""
        self.at_boundary: Callable[[], None] = lambda: None
        """Called before and after each call that changes a file, a lock or a name: a process may be killed there."""
        self.name = name
        self._vfs = _Vfs(self, name)

    def note(self, what: Any, path: str, offset: int = 0, data: bytes = b"") -> None:
        self.ops.append(Op(what, path, offset, data, self.acknowledged))
        self.at_boundary()

    def take_room(self, what: str) -> None:
        """Take room for one write.

        Raises:
            apsw.FullError: there is none.
        """
        if self.room is not None:
            if self.room == 0:
                self.failed.append(what)
                error: Any = apsw.FullError("database or disk is full")
                error.result = error.extendedresult = apsw.SQLITE_FULL
                raise error
            self.room -= 1

    def filled(self, least: int) -> Iterator[int]:
        """Yield how many writes there is room for, one more each time, until none fails any more.

        ``least``: how many rounds that takes at the least; else the test doesn't test what it should.
        """
        for room in count():
            self.failed.clear()
            yield room
            self.room = None
            if not self.failed:
                assert room >= least, f"there were only {room} writes"
                return

    def unregister(self) -> None:
        self._vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, name: str) -> None:
        super().__init__(name, "")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:
            return super().xOpen(name, flags)  # a temporary file: nothing to be kept
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self._disk, name, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.at_boundary()
        super().xDelete(filename, syncdir)
        self._disk.note("delete", filename)
        if syncdir:
            self._disk.note("sync folder", filename)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, path: str, flags: list[int]) -> None:
        disk.at_boundary()
        new = not Path(path).exists()
        if new:
            disk.take_room(f"open {Path(path).suffix}")
        super().__init__("", name, flags)
        self._disk, self._path = disk, path
        self._syncs_folder = new and bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))
        disk.note("open", path, data=b"" if new else Path(path).read_bytes())

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.at_boundary()
        self._disk.take_room(f"write {Path(self._path).suffix}")
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]
        self._disk.note("write", self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.at_boundary()
        super().xTruncate(newsize)
        self._disk.note("truncate", self._path, newsize)

    def xLock(self, level: int) -> None:  # noqa: N802
        self._disk.at_boundary()
        super().xLock(level)

    def xUnlock(self, level: int) -> None:  # noqa: N802
        self._disk.at_boundary()
        super().xUnlock(level)

    def xClose(self) -> None:  # noqa: N802
        self._disk.at_boundary()
        super().xClose()
        self._disk.at_boundary()

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.at_boundary()
        self._disk.take_room(f"sync {Path(self._path).suffix}")  # some file systems find out only now
        super().xSync(flags)
        self._disk.note("sync", self._path)
        if self._syncs_folder:
            self._syncs_folder = False
            self._disk.note("sync folder", self._path)


# -- what a power cut leaves --------------------------------------------------------------------------------------


class _Inode:
    """A file's content that is safe, and what was done to it since."""

    def __init__(self, safe: bytes) -> None:
        self.safe = safe
        self.pending: list[Op] = []

    def content(self, choose: Chooser) -> bytes:
        content = bytearray(self.safe)
        for op in self.pending:
            if op.what == "truncate":
                if choose() == "kept":
                    del content[op.offset :]
            else:
                for offset, piece in pieces(op):
                    _put(content, offset, piece, choose())
        return bytes(content)


def _put(content: bytearray, offset: int, piece: bytes, fate: Fate) -> None:
    end = offset + len(piece)
    if fate == "blank":
        content.extend(bytes(max(0, end - len(content))))  # the new size is there, the content is not
        return
    piece = {"kept": piece, "torn": piece[: len(piece) * 2 // 3]}.get(fate, b"")
    if piece:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(piece)] = piece


def pieces(op: Op) -> Iterator[tuple[int, bytes]]:
    """Cut a write into what lies in one sector: each gets to the disk, or not, by itself."""
    start = op.offset
    end = start + len(op.data)
    while start < end:
        stop = min(end, start - start % SECTOR + SECTOR)
        yield start, op.data[start - op.offset : stop - op.offset]
        start = stop


class PowerCut:
    """The disk as it is after some of its operations: what is safe, and what hangs in the air."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self._safe_names: dict[str, _Inode] = {}
        self._names: dict[str, _Inode] = {}
        self._pending: list[tuple[str, _Inode | None]] = []
        for op in ops:
            self._do(op)

    def _do(self, op: Op) -> None:
        if op.what == "open":
            if op.path not in self._names:
                self._link(op.path, _Inode(op.data))
                if op.data:  # it was there before
                    self._safe_names[op.path] = self._names[op.path]
        elif op.what == "delete":
            self._link(op.path, None)
        elif op.what == "sync folder":
            self._safe_names = dict(self._names)
            self._pending.clear()
        elif op.what == "sync":
            inode = self._names[op.path]
            inode.safe = inode.content(lambda: "kept")
            inode.pending.clear()
        else:
            self._names[op.path].pending.append(op)

    def _link(self, path: str, inode: _Inode | None) -> None:
        self._pending.append((path, inode))
        if inode is None:
            self._names.pop(path, None)
        else:
            self._names[path] = inode

    def image(self, choose: Chooser) -> dict[str, bytes]:
        """Return the files that may be found when there is power again."""
        names: dict[str, _Inode] = dict(self._safe_names)
        for path, inode in self._pending:
            if choose() == "kept":
                if inode is None:
                    names.pop(path, None)
                else:
                    names[path] = inode
        return {path: inode.content(choose) for path, inode in names.items()}


def choosers(seed: int) -> list[Chooser]:
    """Return ways in which a cut may choose: nothing stays, all does, and chance decides, in several measures."""
    chance = random.Random(seed)

    def by_chance(*fates: Fate) -> Chooser:
        return lambda: chance.choice(fates)

    return [
        lambda: "lost",
        lambda: "kept",
        by_chance("kept", "lost"),
        by_chance("kept", "kept", "kept", "kept", "kept", "kept", "kept", "kept", "kept", "torn"),
        by_chance("kept", "kept", "kept", "lost", "torn", "blank"),
        lambda: "blank",
    ]


def images(ops: Sequence[Op], every: int = 1) -> Iterator[tuple[dict[str, bytes], int]]:
    """Yield what cuts after each of the operations may leave, and how much had been acknowledged by then.

    ``every``: only one in so many operations, where there are many.
    """
    seen: set[int] = set()
    for end in range(1, len(ops) + 1, every):
        cut = PowerCut(ops[:end])
        acknowledged = ops[end].acknowledged if end < len(ops) else ops[-1].acknowledged
        for choose in choosers(end):
            image = cut.image(choose)
            mark = hash((acknowledged, *sorted(image.items())))
            if mark not in seen:
                seen.add(mark)
                yield image, acknowledged


def lay_out(image: dict[str, bytes], folder: Path) -> None:
    """Write the files of an image into an empty folder."""
    folder.mkdir()
    for path, content in image.items():
        (folder / Path(path).name).write_bytes(content)


# -- the standard library's interface to SQLite, on apsw ------------------------------------------------------------


class _Cursor:
    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        """Nothing is held: all rows have been read."""


class _Connection:
    """As much of ``sqlite3.Connection`` as the engine uses."""

    def __init__(self, disk: Disk, database: str, *, uri: bool, timeout: float, **_: object) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | (apsw.SQLITE_OPEN_URI if uri else 0)
        vfs = disk.name if uri else None  # not for a database in memory
        self._disk = disk
        self._db: Any = _translated(partial(apsw.Connection, database, flags, vfs))
        self._db.set_busy_timeout(int(timeout * 1000))

    @property
    def in_transaction(self) -> bool:
        return bool(self._db.in_transaction)

    def execute(self, text: str, values: Sequence[Any] = ()) -> _Cursor:
        failed = len(self._disk.failed)
        try:
            rows: list[tuple[Any, ...]] = _translated(lambda: list(self._db.execute(text, tuple(values))))
        except sqlite3.Error:
            # The checkpoint behind a commit failed. SQLite doesn't mind, for it can be made another time; apsw does.
            in_file = any(what.endswith(" .db") for what in self._disk.failed[failed:])
            if text != "commit" or not in_file or self._db.pragma("journal_mode") != "wal":
                raise
            rows = []
        return _Cursor(rows, self._db.changes())

    def executemany(self, text: str, values: Iterable[Sequence[Any]]) -> _Cursor:
        _translated(lambda: list(self._db.executemany(text, map(tuple, values))))
        return _Cursor([], self._db.changes())

    def executescript(self, text: str) -> None:
        _translated(lambda: list(self._db.execute(text)))

    def close(self) -> None:
        with suppress(apsw.FullError):  # SQLite closes all the same
            self._db.close()


def _translated(call: Callable[[], T]) -> T:
    try:
        return call()
    except apsw.Error as error:
        kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
        told = kind(str(error))
        told.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_ERROR)
        raise told from error


@contextmanager
def on_disk() -> Generator[Disk]:
    """Yield a disk on which all lies that is opened in here."""
    disk = Disk(f"disk-{os.urandom(4).hex()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(_Connection, disk))
        try:
            yield disk
        finally:
            disk.unregister()
