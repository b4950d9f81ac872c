"""Keys of subjects: one for each, kept apart from the journal, so that destroying one forgets what it has sealed.

They are not in the journal, for its backups and exports would keep them for ever.
"""

import os
from collections.abc import Sequence
from typing import Protocol

import msgspec

from persistence.errors import KeysUnusable

ID_BYTES, SECRET_BYTES = 8, 32


class Key(msgspec.Struct, frozen=True, gc=False):
    """A subject's key. An id names one key for ever; a subject that comes back gets another one."""

    id: bytes
    """8 random bytes."""
    subject: str
    secret: bytes | None
    """32 random bytes; None: they were destroyed."""

    def __repr__(self) -> str:
        return f"Key({self.id.hex()}, {self.subject!r}, {'destroyed' if self.secret is None else '...'})"


def new_key(subject: str) -> Key:
    """Return a key that nobody else has, and that is not kept anywhere yet."""
    return Key(os.urandom(ID_BYTES), subject, os.urandom(SECRET_BYTES))


class Keys(Protocol):
    """Where keys are kept, by one process at a time. :class:`KeyFile` is one; so may be a vault of your own.

    :meth:`current` and :meth:`find` are called in the middle of turns, so they must answer in microseconds, and without
    awaiting: from memory, or from a disk that is near. What they answer is kept, up to a limit.
    """

    async def open(self) -> None:
        """Make the keys ready to be used.

        Raises:
            JournalError: they can't be.
        """
        ...

    async def close(self) -> None:
        """Let go of them. Does nothing where they are not open."""
        ...

    def current(self, subject: str, /) -> Key | None:
        """Return a subject's key, if it has one that is not destroyed."""
        ...

    def find(self, key_id: bytes, /) -> Key | None:
        """Return the key with this id, also one that is destroyed; None: there never was one."""
        ...

    async def add(self, keys: Sequence[Key], /) -> None:
        """Keep new keys; they are durable when this returns. What is there already stays as it is."""
        ...

    async def destroy(self, keys: Sequence[Key], /) -> None:
        """Destroy the secrets of keys, by their ids: no copy is left, in memory or on disk, when this returns.

        That a key is destroyed is remembered for ever, also of one that was not there.
        """
        ...

    async def destroyed(self, subject: str | None = None, /) -> list[Key]:
        """Return what is left of the keys that were destroyed, of one subject or of all, in that order."""
        ...

    async def count_destroyed(self) -> int:
        """Return how many keys were destroyed."""
        ...


class MemoryKeys:
    """Keys in memory, for tests: what they have sealed is lost with them."""

    def __init__(self) -> None:
        self._keys: dict[bytes, Key] = {}
        self._current: dict[str, bytes] = {}
        self._destroyed: dict[bytes, Key] = {}

    async def open(self) -> None:
        """Do nothing: they are always there."""

    async def close(self) -> None:
        """Do nothing: they stay for whoever opens them next."""

    def current(self, subject: str) -> Key | None:
        """Return a subject's key, if it has one that is not destroyed."""
        return self._keys.get(self._current.get(subject, b""))

    def find(self, key_id: bytes) -> Key | None:
        """Return the key with this id, also one that is destroyed; None: there never was one."""
        return self._keys.get(key_id) or self._destroyed.get(key_id)

    async def add(self, keys: Sequence[Key]) -> None:
        """Keep new keys. What is there already stays as it is.

        Raises:
            KeysUnusable: a subject has another key.
        """
        for key in keys:
            if self.find(key.id) is None:
                if self.current(key.subject) is not None:
                    raise two_keys(key.subject)
                self._keys[key.id], self._current[key.subject] = key, key.id

    async def destroy(self, keys: Sequence[Key]) -> None:
        """Destroy the secrets of keys, and remember that they are destroyed."""
        for key in keys:
            if self._keys.pop(key.id, None) is not None:
                del self._current[key.subject]
            self._destroyed[key.id] = Key(key.id, key.subject, None)

    async def destroyed(self, subject: str | None = None) -> list[Key]:
        """Return what is left of the keys that were destroyed, of one subject or of all, in that order."""
        return [key for key in self._destroyed.values() if subject is None or key.subject == subject]

    async def count_destroyed(self) -> int:
        """Return how many keys were destroyed."""
        return len(self._destroyed)


def two_keys(subject: str) -> KeysUnusable:
    """Return the error that says that somebody else has made a key meanwhile."""
    return KeysUnusable(f"{subject!r} has another key already: another process uses the same keys; stop one of them")
