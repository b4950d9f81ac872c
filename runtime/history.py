"""History: the audit trail of an actor, and its state as it was at any moment."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from actors import Address, EventsErased, Meta, Saga
from actors.reminders import EPOCH
from persistence import BURIED, DELETED, ERASED, Journal, Record, Snapshot, Stream
from persistence.journal import PAGE
from runtime import saga_events
from runtime.directory import Directory
from runtime.kinds import INTERNAL, Kind, decoded
from runtime.projector import to_meta
from runtime.snapshots import state_in


class HistoryEntry(msgspec.Struct, frozen=True):
    """One event of an actor's stream.

    ``event`` is the author's event, or, for what the runtime wrote itself (a saga's steps, a fence), its content as
    a mapping. ``command_id`` names the command on the first of its events.

    Events that were erased are one entry together, of the type ``journal.erased``: its event says the ``first`` and the
    ``last`` of their versions, and of ``meta`` only the version means anything, which is the last.
    """

    type: str
    event: Any
    meta: Meta
    command_id: str | None = None


async def history(journal: Journal, address: Address[Any], kind: Kind) -> AsyncIterator[HistoryEntry]:
    """Yield the events of an actor's stream, oldest first."""
    version = 0
    async for record in stream(journal, address):
        if record.version > version + 1:
            yield _erased(address, version + 1, record.version - 1)
        version = record.version
        yield entry(record, kind)


def _erased(address: Address[Any], first: int, last: int) -> HistoryEntry:
    meta = Meta(address.actor, address.key, last, 0, EPOCH, "", "")
    return HistoryEntry(ERASED, {"first": first, "last": last}, meta)


def entry(record: Record, kind: Kind) -> HistoryEntry:
    """Return a record as an entry of the audit trail."""
    if record.type in saga_events.DECODERS or record.type in INTERNAL:
        event = msgspec.json.decode(record.data)
    else:
        event = kind.event(record)
    return HistoryEntry(record.type, event, to_meta(record), record.command)


async def stream(journal: Journal, address: Address[Any], after: int = 0) -> AsyncIterator[Record]:
    """Yield the records of an actor's stream behind a version, a page at a time; those that are erased are left out."""
    name = (address.actor, address.key)
    while True:
        page = await journal.read(name, after)
        for record in page:
            yield record
        if len(page) < PAGE:
            return
        after = page[-1].version


async def state_of(
    journal: Journal,
    address: Address[Any],
    kind: Kind,
    version: int | None = None,
    at: datetime | None = None,
    position: int | None = None,
) -> Any:
    """Return a service's state, up to and including a version, a moment or a position.

    Raises:
        EventsErased: that can't be told any more.
    """
    until = None if at is None else round(at.timestamp() * 1e6)
    past = _Past(version, until, position)
    name = (address.actor, address.key)
    service = kind.cls(address.key)
    state, seen, erased = service.initial, 0, 0
    head = (await journal.heads([name])).get(name, 0)
    snapshot = (await journal.snapshots([name])).get(name)
    if snapshot is not None and snapshot.version <= head and await past.holds(journal, name, snapshot):
        kept = state_in(kind, snapshot)
        if kept is not None:
            state, seen = kept, snapshot.version
    async for record in stream(journal, address, seen):
        if record.version > seen + 1:
            erased = record.version - 1
        if not past.has(record):
            break
        seen = record.version
        if record.type in (DELETED, BURIED):
            state, erased = service.initial, 0
        elif record.type not in INTERNAL and not erased:
            state = service.evolve(state, kind.event(record))
    if erased and version != 0:
        raise EventsErased(f"what {address} was then can't be told: its events up to version {erased} were erased")
    return state


class _Past(msgspec.Struct, frozen=True):
    """A part of a stream: up to and including a version, a time or a position; None: all of it."""

    version: int | None
    until: int | None
    position: int | None

    def has(self, record: Record) -> bool:
        """Whether a record is in it."""
        return (
            (self.version is None or record.version <= self.version)
            and (self.until is None or record.time <= self.until)
            and (self.position is None or record.position <= self.position)
        )

    async def holds(self, journal: Journal, stream: Stream, snapshot: Snapshot) -> bool:
        """Whether all events behind a snapshot are certainly in it."""
        if self.version is not None and snapshot.version > self.version:
            return False
        if self.until is None and self.position is None:
            return True
        # The last of them, or, where that is erased, the next one.
        page = await journal.read(stream, snapshot.version - 1, 1)
        return bool(page) and self.has(page[0])


async def trail(journal: Journal, address: Address[Any], directory: Directory) -> list[HistoryEntry]:
    """Return every event of every actor that took part in a saga, in the order in which they happened.

    It follows the saga's own stream: each step names the actor it went to, and its command's id finds the events
    there.
    """
    found: dict[int, HistoryEntry] = {}
    todo, seen = [address], {address}
    while todo:
        saga = todo.pop()
        kind = directory.kind(saga.actor)
        async for record in stream(journal, saga):
            found[record.position] = entry(record, kind)
            if record.type == saga_events.NAMES[saga_events.Asked]:
                asked: saga_events.Asked = decoded(saga_events.DECODERS[record.type], record, record.data)
                if asked.to is not None:
                    other = directory.kind(asked.to.actor)
                    if issubclass(other.cls, Saga) and asked.to not in seen:
                        seen.add(asked.to)
                        todo.append(asked.to)
                    for mark in "#!":
                        for step in await _caused(journal, asked.to, f"{saga}{mark}{asked.step}"):
                            found[step.position] = entry(step, other)
    return [found[position] for position in sorted(found)]


async def _caused(journal: Journal, address: Address[Any], command_id: str) -> list[Record]:
    name = (address.actor, address.key)
    version = await journal.find(name, command_id)
    if version is None:
        return []
    page = await journal.read(name, version - 1)
    if not page or page[0].version != version:
        return []  # they were erased
    last = next((n for n, record in enumerate(page) if n and to_meta(record).causation != command_id), len(page))
    return page[:last]
