"""A file that is there when it is whole, and not before."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from persistence.errors import JournalInUse, JournalUnusable

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems without hard links say."""


class NewFile:
    """A file being made as ``PATH.part``, which gets its name at the end; nobody but its owner may read it.

    One that was left behind is there again, unless ``anew``; so who makes it can go on. Where what is done in the
    ``with`` fails, it stays.

    Raises:
        JournalUnusable: it can't be written, or there is a file of this name already.
        JournalInUse: another process is making it.
    """

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        self._path = path
        self._anew = anew
        self.part = path.with_name(f"{path.name}.part")
        """Where it is until it is whole."""
        self.file: BinaryIO

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.file = os.fdopen(descriptor, "r+b")
        except OSError as error:
            raise JournalUnusable(f"can't write {self.part}: {error.strerror}") from error
        try:
            self._claim()
        except BaseException:
            self.file.close()
            raise
        return self

    def _claim(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalInUse(f"{self._path} is being written by another process; let that one end first") from error
        # Looked at under the lock, so that of two who make one file the later sees what the earlier has made.
        if self._path.exists():
            if os.fstat(self.file.fileno()).st_size == 0:
                self.part.unlink(missing_ok=True)
            raise JournalUnusable(f"{self._path} is there already; use another name, or move it away")
        if self._anew:
            self.file.truncate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._give_name()
        except OSError as failure:
            raise JournalUnusable(f"can't write {self._path}: {failure.strerror}") from failure
        finally:
            with suppress(OSError):  # the disk is full, which was told; what is left in the buffer is no loss
                self.file.close()

    def _give_name(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        try:
            os.link(self.part, self._path)  # and not a rename, which would replace a file
        except FileExistsError as error:
            raise JournalUnusable(f"{self._path} is there already; the new one is {self.part}") from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.part.rename(self._path)
        self.part.unlink(missing_ok=True)
        sync_folder(self._path)


def sync_folder(path: Path) -> None:
    """Make the names in a file's folder durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
