"""History: the audit trail of an actor, and its state as it was at any moment."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from actors import Address, Meta, Saga
from persistence import Journal, Record
from persistence.journal import PAGE
from runtime import saga_events
from runtime.directory import Directory
from runtime.kinds import INTERNAL, Kind, decoded
from runtime.projector import to_meta


class HistoryEntry(msgspec.Struct, frozen=True):
    """One event of an actor's stream.

    ``event`` is the author's event, or, for what the runtime wrote itself (a saga's steps, a fence), its content as
    a mapping. ``command_id`` names the command on the first of its events.
    """

    type: str
    event: Any
    meta: Meta
    command_id: str | None = None


async def history(journal: Journal, address: Address[Any], kind: Kind) -> AsyncIterator[HistoryEntry]:
    """Yield the events of an actor's stream, oldest first."""
    async for record in stream(journal, address):
        yield entry(record, kind)


def entry(record: Record, kind: Kind) -> HistoryEntry:
    """Return a record as an entry of the audit trail."""
    if record.type in saga_events.DECODERS or record.type in INTERNAL:
        event = msgspec.json.decode(record.data)
    else:
        event = kind.event(record)
    return HistoryEntry(record.type, event, to_meta(record), record.command)


async def stream(journal: Journal, address: Address[Any]) -> AsyncIterator[Record]:
    """Yield the records of an actor's stream, a page at a time."""
    name = (address.actor, address.key)
    version = 0
    while True:
        page = await journal.read(name, version)
        for record in page:
            yield record
        version += len(page)
        if len(page) < PAGE:
            return


async def state_of(
    journal: Journal,
    address: Address[Any],
    kind: Kind,
    version: int | None = None,
    at: datetime | None = None,
    position: int | None = None,
) -> Any:
    """Return a service's state by replay, up to and including a version, a moment or a position."""
    service = kind.cls(address.key)
    state = service.initial
    until = None if at is None else round(at.timestamp() * 1e6)
    async for record in stream(journal, address):
        if (
            (version is not None and record.version > version)
            or (until is not None and record.time > until)
            or (position is not None and record.position > position)
        ):
            break
        if record.type not in INTERNAL:
            state = service.evolve(state, kind.event(record))
    return state


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
    last = next((n for n, record in enumerate(page) if n and to_meta(record).causation != command_id), len(page))
    return page[:last]
