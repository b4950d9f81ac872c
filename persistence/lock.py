"""The lock file that keeps a second process out of a journal, and names the one that is in."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from persistence.errors import JournalInUse, JournalUnusable


class LockFile:
    """An exclusive lock that ends with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.left_behind = False
        """Whether its last holder ended without giving it back."""

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            JournalInUse: another holder has it.
            JournalUnusable: the lock file can't be made.
        """
        try:
            descriptor = self._take()
            while descriptor is None:
                descriptor = self._take()
            self._descriptor = descriptor
            self.left_behind = os.fstat(descriptor).st_size > 0
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise JournalUnusable(f"can't write {self._path}: {error.strerror}") from error

    def _take(self) -> int | None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_current(descriptor):
                return descriptor
            # Its last holder removed it between our open and our lock; the caller locks the new one.
            os.close(descriptor)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise JournalInUse(
                f"{self._path.with_suffix('')} is in use by process {owner}; stop that one first, or use another file"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        return None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back and remove the file; does nothing where it is not held."""
        if self._descriptor is not None:
            with suppress(OSError):  # a file that is left behind keeps nobody out
                os.ftruncate(self._descriptor, 0)  # first: an empty one tells of no crash
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
