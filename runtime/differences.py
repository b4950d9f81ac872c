"""The difference between two moments of a service: which parts of its state differ, and what happened between."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import zip_longest
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from actors import Address, State
from persistence import Journal
from runtime.history import HistoryEntry, entries
from runtime.kinds import Kind
from runtime.replay import Past, Replay, check_come, to_past

S = TypeVar("S", bound=State)

MOST_EVENTS = 1_000
"""How many of the events between two moments are returned; the first ones."""


class Position(msgspec.Struct, frozen=True):
    """A moment: when the journal had come to this position."""

    number: int


Moment = int | datetime | Position
"""When: behind a version of the service's own stream, at a time, or behind a :class:`Position` of the journal."""


class Change(msgspec.Struct, frozen=True):
    """A part of a state that differs. ``UNSET`` (msgspec's) stands for what is not there."""

    path: tuple[Any, ...]
    """The names of fields, keys of mappings and places in lists that lead there."""
    before: Any | UnsetType
    after: Any | UnsetType

    def __str__(self) -> str:
        where = "".join(f".{part}" if isinstance(part, _Field) else f"[{part!r}]" for part in self.path)
        return f"{where.removeprefix('.')}: {self.before!r} -> {self.after!r}"


class Difference(msgspec.Struct, Generic[S], frozen=True):
    """What is between two moments of a service."""

    before: S
    """The state at the one."""
    after: S
    """The state at the other."""
    versions: tuple[int, int]
    """The versions of the stream at both."""
    changes: tuple[Change, ...]
    events: tuple[HistoryEntry, ...]
    """What happened between them, oldest first; 1,000 events at the most."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes))


class _Field(str):
    """The name of a field, in a path."""

    __slots__ = ()


async def difference(
    journal: Journal, address: Address[Any], kind: Kind, a: Moment, b: Moment | None, now: int
) -> Difference[Any]:
    """Replay a service's stream once, and compare its states at two moments; None: now.

    Raises:
        EventsErased: one of the states can't be told any more.
        NotYet: one of the moments has not come.
        ValueError: a time doesn't say in which time zone it is, or it is no moment.
    """
    moments = [_past_of(a), _past_of(b)]
    for moment in moments:
        await check_come(journal, address, moment, now)
    replay = Replay(address, kind)
    found: dict[int, tuple[Any, int]] = {}
    between: list[HistoryEntry] = []
    async for record in await replay.start(journal, moments):
        replay.come_to(record)
        for n, past in enumerate(moments):
            if n not in found and not past.has(record):
                found[n] = (replay.state(), replay.version)
        if len(found) == len(moments):
            break
        if found and len(between) < MOST_EVENTS:
            between += entries(record, kind)
        replay.take(record)
    (before, at), (after, until) = [found.get(n) or (replay.state(), replay.version) for n in range(len(moments))]
    changes = tuple(differences(before, after))
    return Difference(before, after, (at, until), changes, tuple(between[:MOST_EVENTS]))


def _past_of(moment: Any) -> Past:
    """Return what was there at a moment.

    Raises:
        ValueError: a time doesn't say in which time zone it is, or it is none.
    """
    if isinstance(moment, Position):
        return to_past(position=moment.number)
    if isinstance(moment, datetime):
        return to_past(at=moment)
    if moment is not None and (not isinstance(moment, int) or moment < 0):
        raise ValueError(f"{moment!r:.80} is no moment; write a version, datetime(..., tzinfo=UTC) or Position(...)")
    return to_past(moment)


def differences(before: Any, after: Any, path: tuple[Any, ...] = ()) -> Iterator[Change]:
    """Yield the parts that differ, the smallest ones: through structs, mappings, lists and tuples of the same sort."""
    if before is after or before == after:
        return
    sort = before.__class__
    if sort is not after.__class__:
        yield Change(path, before, after)
    elif issubclass(sort, msgspec.Struct):
        for name in before.__struct_fields__:
            yield from differences(getattr(before, name), getattr(after, name), (*path, _Field(name)))
    elif issubclass(sort, Mapping):
        for key in {**before, **after}:
            yield from differences(before.get(key, UNSET), after.get(key, UNSET), (*path, key))
    elif issubclass(sort, list | tuple):
        for place, (one, other) in enumerate(zip_longest(before, after, fillvalue=UNSET)):
            yield from differences(one, other, (*path, place))
    else:
        yield Change(path, before, after)
