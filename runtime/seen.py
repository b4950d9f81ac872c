"""The ids of commands that a service has handled: the latest as they are, all older ones as a few bits each.

An id names a command for ever, so none may be forgotten; and a service may handle any number of them, so they can't
all be kept. Of those that have left, a Bloom filter (Bloom, "Space/time trade-offs in hash coding", CACM 1970) says:
certainly not among them, or maybe. Where it says maybe, the journal knows.
"""

import sys
from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from math import log
from typing import Protocol
from zlib import crc32

import msgspec

RECENT = 500
"""How many ids a service keeps as they are; up to twice as many before it clears up."""
BITS = 16
"""Bits for each older id. Filled up to that, the filter takes one new id in 600 for one that it may have seen."""
FIRST_FILTER, LAST_FILTER, GROWTH = 2_048, 1_048_576, 8
"""Bytes of the first filter and of the largest, and how many times as large the next is. The largest takes all that
comes; with 1,000,000 ids it mistakes one new id in 60."""


class OlderIds(Protocol):
    """Ids of which it is known only roughly whether they are among them."""

    def add(self, command_ids: Iterable[str], /) -> None:
        """Put ids among them."""
        ...

    def may_hold(self, command_id: str, /) -> bool:
        """Return False where the id is certainly not among them."""
        ...


class Seen(dict[str, int]):
    """What is known of each id: the version of its command's first event.

    A step that was undone before it came has minus the version of the fence (P9), and 0 stands for an id that the
    journal doesn't have, though ``older`` may say that it does. Fences never leave: there are few, and the journal
    doesn't find them.
    """

    __slots__ = ("_limit", "older")

    def __init__(self, known: Mapping[str, int] | None = None, older: OlderIds | None = None) -> None:
        if known:
            self.update(known)
        self.older = older
        self._limit = 2 * RECENT

    def unsure(self, command_id: str) -> bool:
        """Whether only the journal can tell if this id has been seen."""
        older = self.older
        return older is not None and command_id not in self and older.may_hold(command_id)

    def note(self, command_id: str, version: int) -> None:
        """Take note of an id; a negative version is a fence's."""
        self[command_id] = version
        if len(self) > self._limit:
            self._clear_up()

    def _clear_up(self) -> None:
        leave = [command_id for command_id, version in self.items() if version >= 0][:-RECENT]
        older = self.older
        if older is None:
            older = self.older = BloomFilter()
        older.add([command_id for command_id in leave if self.pop(command_id)])
        self._limit = len(self) + RECENT

    def roll_back(self, version: int) -> None:
        """Forget the ids of what came behind this version: it was never written."""
        for command_id in [command_id for command_id, at in self.items() if abs(at) > version]:
            del self[command_id]

    def kept(self) -> "KeptSeen":
        """Return what a snapshot holds of it."""
        known = self if 0 not in self.values() else {one: version for one, version in self.items() if version}
        older = self.older
        if isinstance(older, BloomFilter):
            return KeptSeen(known, older.kept())
        return KeptSeen(known, all=older is not None)


class KeptSeen(msgspec.Struct, omit_defaults=True):
    """Ids as a snapshot holds them; as JSON the filters are base64. ``all``: any other id may have been seen."""

    known: dict[str, int] = {}
    older: list[bytes] = []
    all: bool = False

    def seen(self) -> Seen:
        """Return them, ready for more.

        Raises:
            ValueError: these are no filters.
        """
        if self.all:
            return Seen(self.known, EVERY_ID)
        return Seen(self.known, BloomFilter(self.older) if self.older else None)


class EveryId:
    """Stands where the ids are lost: each may have been seen, so the journal is asked for each."""

    def add(self, _command_ids: Iterable[str]) -> None:
        """Do nothing: they are among them already."""

    def may_hold(self, _command_id: str) -> bool:
        """Return True."""
        return True


EVERY_ID = EveryId()


def _pattern(number: int) -> int:
    bits = dict.fromkeys(byte % 64 for byte in blake2b(number.to_bytes(2, "little")).digest())
    return sum(1 << bit for bit in list(bits)[:4])


_PATTERNS = tuple(_pattern(number) for number in range(1_024))
"""Four bits of a word each. They are part of what is stored, and so is the number by which checksums are multiplied."""


_SPREAD = 0x9E3779B97F4A7C15
"""By which a checksum is multiplied, so that each of its bits has a say in where an id goes. A checksum does for a
hash here, and is the quickest: who makes ids collide only makes the journal be asked."""


class BloomFilter:
    """A Bloom filter in steps: when one is filled up, the next and larger one takes what comes.

    An id sets the same four bits in two words, so that to look takes two steps, and not eight.
    """

    __slots__ = ("_filters", "_room")
    _filters: list[tuple["array[int]", int]]
    """Each with the number of its last word, of which all bits are set."""

    def __init__(self, kept: Iterable[bytes] = ()) -> None:
        """Begin empty, or with what :meth:`kept` returned.

        Raises:
            ValueError: that can't be.
        """
        stored = list(kept) or [bytes(FIRST_FILTER)]
        self._filters = [(words, len(words) - 1) for words in map(_words, stored)]
        self._room = _room(stored[-1])

    def add(self, command_ids: Iterable[str]) -> None:
        """Put ids among them."""
        words, last = self._filters[-1]
        for command_id in command_ids:
            if self._room <= 0 and last * 8 < LAST_FILTER - 8:
                words, last = self._grow()
            self._room -= 1
            spread = crc32(command_id.encode("utf-8", "surrogatepass")) * _SPREAD
            pattern = _PATTERNS[spread >> 22 & 1_023]
            words[spread >> 32 & last] |= pattern
            words[spread >> 52 & last] |= pattern

    def _grow(self) -> tuple["array[int]", int]:
        size = len(self._filters[-1][0]) * 8 * GROWTH
        words = _words(bytes(size))
        self._filters.append((words, len(words) - 1))
        self._room = size * 8 // BITS
        return self._filters[-1]

    def may_hold(self, command_id: str) -> bool:
        """Return False where the id is certainly not among them."""
        spread = crc32(command_id.encode("utf-8", "surrogatepass")) * _SPREAD
        pattern = _PATTERNS[spread >> 22 & 1_023]
        for words, last in self._filters:
            if words[spread >> 32 & last] & pattern == pattern and words[spread >> 52 & last] & pattern == pattern:
                return True
        return False

    def kept(self) -> list[bytes]:
        """Return what it holds, the same on every machine."""
        return [_little(words).tobytes() for words, _ in self._filters]


def _room(data: bytes) -> int:
    """Return how many ids a filter still takes: those that are in it have set eight bits each, some of them again."""
    bits = len(data) * 8
    unset = bits - int.from_bytes(data, "little").bit_count()
    return bits // BITS - round(-bits / 8 * log(max(unset, 1) / bits))


def _words(data: bytes) -> "array[int]":
    size = len(data)
    if not FIRST_FILTER <= size <= LAST_FILTER or size & (size - 1):
        raise ValueError(f"no filter has {size} bytes")
    return _little(array("Q", data))


def _little(words: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        words = words[:]
        words.byteswap()
    return words
