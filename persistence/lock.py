"""The lock file that keeps a second process out of a journal, and names the one that is in."""

import fcntl
import os
from pathlib import Path

from persistence.errors import JournalInUse, JournalUnusable


class LockFile:
    """An exclusive lock that ends with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            JournalInUse: another holder has it.
            JournalUnusable: the lock file can't be made.
        """
        while self._descriptor is None:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise JournalUnusable(f"can't write {self._path}: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise JournalInUse(
                    f"{self._path.with_suffix('')} is in use by process {owner}; stop that one first, "
                    "or use another file"
                ) from error
            if self._is_current(descriptor):
                self._descriptor = descriptor
            else:  # its last holder removed it between our open and our lock; lock the new one
                os.close(descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back and remove the file; does nothing where it is not held."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
