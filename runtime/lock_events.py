"""What the runtime writes into a service's stream about its locks, and what follows from it: who holds what."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from actors import Address, ServiceLocked, ServiceUnlocked
from actors.messages import Event
from persistence import NewEvent
from persistence.codec import encode
from runtime.kinds import LOCKED, UNLOCKED

MOST_LOCKS = 10_000
"""How many locks may be held at one service at the same time."""


class Held(msgspec.Struct, frozen=True):
    """A lock that a saga holds. ``since``: when it was taken, in microseconds since 1970."""

    lock: str
    holder: Address[Any]
    step: str
    since: int


class Locks:
    """The locks of one service that are held, by name and by holder; where none is, a service has no such thing.

    A saga and one that it has asked, or several sagas at a service that only tells, may hold the same one.
    """

    __slots__ = ("_by_holder", "_by_name", "_tally")

    def __init__(self, tally: Counter[Address[Any]], held: Iterable[Held] = ()) -> None:
        """Begin with what is held; ``tally`` counts the locks of each saga in the whole node."""
        self._tally = tally
        self._by_name: dict[str, dict[Address[Any], Held]] = {}
        self._by_holder: dict[Address[Any], dict[str, Held]] = {}
        for one in held:
            self.add(one)

    def __len__(self) -> int:
        """Return how many locks are held; there is at least one."""
        return len(self._by_name)

    def __iter__(self) -> Iterator[Held]:
        for held in self._by_name.values():
            yield from held.values()

    def add(self, held: Held) -> None:
        """Note that a lock was taken."""
        if held.holder not in self._by_name.setdefault(held.lock, {}):
            self._tally[held.holder] += 1
        self._by_name[held.lock][held.holder] = held
        self._by_holder.setdefault(held.holder, {})[held.lock] = held

    def remove(self, lock: str, holder: Address[Any]) -> None:
        """Note that a lock was given back."""
        holders, locks = self._by_name.get(lock, {}), self._by_holder.get(holder, {})
        if lock not in locks:
            return
        del holders[holder], locks[lock]
        if not holders:
            del self._by_name[lock]
        if not locks:
            del self._by_holder[holder]
        self._tally[holder] -= 1
        if not self._tally[holder]:
            del self._tally[holder]

    def replay(self, event: Event, time: int) -> None:
        """Take in an event about locks that was read from the journal."""
        if isinstance(event, ServiceLocked):
            self.add(Held(event.lock, event.holder, event.step, time))
        elif isinstance(event, ServiceUnlocked):
            self.remove(event.lock, event.holder)

    def clear(self) -> None:
        """Know of none any more: the service has left the memory."""
        for one in list(self):
            self.remove(one.lock, one.holder)

    def holders(self, lock: str) -> Iterable[Address[Any]]:
        """Return who holds a lock."""
        return self._by_name.get(lock, {})

    def of(self, holder: Address[Any]) -> list[Held]:
        """Return what a saga holds."""
        return list(self._by_holder.get(holder, {}).values())

    def blocks(self, lock: str, path: tuple[Address[Any], ...]) -> bool:
        """Whether a lock is held, and not by anybody who waits for the command that needs it."""
        holders = self._by_name.get(lock)
        return holders is not None and not any(one in holders for one in path)


class Others(Mapping[str, tuple[Address[Any], ...]]):
    """Who holds which locks beside those in a path; looked up when somebody looks."""

    def __init__(self, locks: Locks, path: tuple[Address[Any], ...]) -> None:
        self._locks = locks
        self._path = path

    def __getitem__(self, lock: str) -> tuple[Address[Any], ...]:
        """Return who else holds a lock."""
        others = tuple([one for one in self._locks.holders(lock) if one not in self._path])
        if not others:
            raise KeyError(lock)
        return others

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(held.lock for held in self._locks if held.holder not in self._path))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def locked(held: Held, meta: bytes) -> NewEvent:
    """Return the event that says that a lock was taken."""
    return _new(LOCKED, ServiceLocked(held.lock, held.holder, held.step), meta)


def unlocked(held: Held, reason: str, by: str, meta: bytes) -> NewEvent:
    """Return the event that says that a lock was given back."""
    return _new(UNLOCKED, ServiceUnlocked(held.lock, held.holder, reason, by), meta)


def _new(name: str, event: Event, meta: bytes) -> NewEvent:
    return NewEvent(name, encode(event, f"a lock of the service, {name}"), meta, event)
