"""History: the audit trail of an actor, and its state as it was at any moment."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from actors import Address, Meta, Saga
from actors.reminders import EPOCH
from persistence import ERASED, Journal, Record
from persistence.codec import WRAPPING, Decoder
from runtime import saga_events
from runtime.directory import Directory
from runtime.kinds import INTERNAL, Kind, decoded
from runtime.projection import to_meta
from runtime.replay import ALL, Past, Replay, stream


class HistoryEntry(msgspec.Struct, frozen=True):
    """One event of an actor's stream.

    ``event`` is the author's event, or, for what the runtime wrote itself (a saga's steps, a fence), its content as
    a mapping. ``type`` is the name under which it is stored; where upcasts make several events of one, or none, there
    are as many entries. ``command_id`` names the command on the first of its events.

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
        for entry in entries(record, kind):
            yield entry


def _erased(address: Address[Any], first: int, last: int) -> HistoryEntry:
    meta = Meta(address.actor, address.key, last, 0, EPOCH, "", "")
    return HistoryEntry(ERASED, {"first": first, "last": last}, meta)


_anything = Decoder(Any, WRAPPING)


def entries(record: Record, kind: Kind) -> list[HistoryEntry]:
    """Return a record as entries of the audit trail."""
    if record.type in saga_events.DECODERS or record.type in INTERNAL:
        events: Sequence[Any] = (decoded(_anything, record, record.data),)
    else:
        events = kind.read(record)
    meta = to_meta(record)
    return [HistoryEntry(record.type, event, meta, record.command) for event in events]


async def state_of(journal: Journal, address: Address[Any], kind: Kind, moment: Past = ALL) -> Any:
    """Return a service's state, up to and including a moment, which has come.

    Raises:
        EventsErased: that can't be told any more.
    """
    replay = Replay(address, kind)
    if moment.version == 0:
        return replay.state()
    async for record in await replay.start(journal, [moment]):
        replay.come_to(record)
        if not moment.has(record):
            break
        replay.take(record)
    return replay.state()


async def trail(journal: Journal, address: Address[Any], directory: Directory) -> list[HistoryEntry]:
    """Return every event of every actor that took part in a saga, in the order in which they happened.

    It follows the saga's own stream: each step names the actor it went to, and its command's id finds the events
    there.
    """
    found: dict[int, list[HistoryEntry]] = {}
    todo, seen = [address], {address}
    while todo:
        saga = todo.pop()
        kind = directory.kind(saga.actor)
        async for record in stream(journal, saga):
            found[record.position] = entries(record, kind)
            if record.type == saga_events.NAMES[saga_events.Asked]:
                asked: saga_events.Asked = decoded(saga_events.DECODERS[record.type], record, record.data)
                if asked.to is not None:
                    other = directory.kind(asked.to.actor)
                    if issubclass(other.cls, Saga) and asked.to not in seen:
                        seen.add(asked.to)
                        todo.append(asked.to)
                    for mark in "#!":
                        for step in await _caused(journal, asked.to, f"{saga}{mark}{asked.step}"):
                            found[step.position] = entries(step, other)
    return [entry for position in sorted(found) for entry in found[position]]


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
