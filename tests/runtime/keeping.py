"""What the tests of snapshots and retention share."""

from collections.abc import Sequence
from typing import Any

import pytest

from actors import Address
from persistence import Journal, Record, Snapshot, Stream
from runtime import HistoryEntry, Runtime
from runtime import seen as seen_ids
from runtime.mailbox import Envelope
from runtime.promises import Promise
from runtime.service_cell import ServiceCell
from tests.runtime.cast import Account, Held, Hold, Release, Room
from tests.runtime.reminding import Bell
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of

ROOM = Room.at("r")


def keep_often(monkeypatch: pytest.MonkeyPatch, every: int | None = 3, recent: int = 2) -> None:
    """Have snapshots taken every few events, few ids kept as they are, and a filter that is wrong now and then."""
    for cls in (Room, Account, Bell):
        monkeypatch.setattr(cls, "snapshot_every", every)
    monkeypatch.setattr("runtime.snapshots.EVENT_WEIGHT", 1_000_000)
    monkeypatch.setattr(seen_ids, "RECENT", recent)
    monkeypatch.setattr(seen_ids, "FIRST_FILTER", 8)
    monkeypatch.setattr(seen_ids, "LAST_FILTER", 64)


def cell_of(runtime: Runtime, address: Address[Any]) -> ServiceCell:
    cell = node_of(runtime).find(address)
    assert isinstance(cell, ServiceCell)
    return cell


async def snapshot_of(journal: Journal, address: Address[Any]) -> Snapshot | None:
    stream = (address.actor, address.key)
    return (await journal.snapshots([stream])).get(stream)


def as_of(journal: HeldJournal, position: int) -> HeldJournal:
    """Return a journal as a crash behind this position would have left it, with the snapshots as of then."""
    records: Sequence[Record] = journal.records
    left = restart_of(records[:position])
    at = 0
    for append in (append for group in journal.groups for batch in group for append in batch):
        at += len(append.events)
        if append.snapshot is not None and at <= position:
            set_snapshot(left, append.stream, append.snapshot)
    return left


def batch_ends(journal: HeldJournal) -> list[int]:
    """Return the positions behind which the journal may have been cut off."""
    ends = [0]
    for batch in (batch for group in journal.groups for batch in group):
        ends.append(ends[-1] + sum(len(append.events) for append in batch))
    return ends


def set_snapshot(journal: HeldJournal, stream: Stream, snapshot: Snapshot) -> None:
    journal._snapshots[stream] = snapshot  # pyright: ignore[reportPrivateUsage]


async def back(runtime: Runtime, address: Address[Any]) -> ServiceCell:
    """Bring a service into memory."""
    cell = node_of(runtime).cell(address)
    assert isinstance(cell, ServiceCell)
    cell.kill()
    cell.revive()
    await quiet(runtime)
    return cell


def undo(runtime: Runtime, room: Address[Room], trip: str, step: str, undo_id: str) -> Promise:
    """Have a step undone as a saga does."""
    node = node_of(runtime)
    command = Release(trip)
    promise = node.promises.make(room, command)
    node.cell(room).put(Envelope(command, undo_id, promise, undoes=step))
    return promise


async def fill(runtime: Runtime, count: int = 10, address: Any = ROOM) -> list[Held]:
    return [await runtime.ask(address, Hold(f"t{n}"), id=f"id {n}") for n in range(1, count + 1)]


async def history_of(runtime: Runtime, address: Any = ROOM) -> list[HistoryEntry]:
    return [entry async for entry in runtime.history(address)]


async def left(runtime: Runtime, address: Any = ROOM) -> list[int]:
    """The versions of the events that can be read."""
    return [record.version for record in await node_of(runtime).journal.read((address.actor, address.key))]


def note_replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what will hold the versions of events that rooms have read back."""
    versions: list[int] = []
    replay = Room.evolve

    def noted(self: Any, state: Any, event: Any) -> Any:
        versions.append(state.count)
        return replay(self, state, event)

    monkeypatch.setattr(Room, "evolve", noted)
    return versions


async def hold(runtime: Runtime, *numbers: int) -> None:
    for number in numbers:
        await runtime.ask(ROOM, Hold(f"t{number}"), id=f"id {number}")
