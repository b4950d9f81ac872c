"""Upkeep of a service's stream, between its turns: snapshots on demand, erasing, and deleting."""

from collections.abc import Iterable
from typing import Any, Protocol

from actors import Address, Failed
from actors.request_context import Texts
from persistence import NEVER, Append, Snapshot, Stream
from runtime.cells import World
from runtime.kinds import Kind, deletion
from runtime.lock_events import Held, Locks
from runtime.mailbox import Envelope
from runtime.reminder_events import PendingByName
from runtime.seen import Seen
from runtime.service_mail import Delete, Erase, TakeSnapshot
from runtime.snapshots import snapshot_of, snapshot_of_nothing


class Kept(Protocol):
    """A service whose stream is kept up."""

    world: World
    address: Address[Any]
    kind: Kind
    state: Any
    version: int
    pending: PendingByName
    seen: Seen
    locks: Locks | None
    snapshot_at: int
    kept_at: int
    deleted_at: int
    written: bool

    @property
    def stream(self) -> Stream:
        """The name of the service's stream."""
        ...

    @property
    def buried(self) -> bool:
        """Whether it was deleted for good."""
        ...

    def give_back(self, envelope: Envelope, error: Exception) -> None:
        """Say why a message was not handled."""
        ...

    def empty(self, version: int) -> None:
        """Begin anew behind this version; ids stay."""
        ...

    def hold(self, held: Iterable[Held]) -> None:
        """Know of these locks, and of no others."""
        ...

    def bury(self, version: int) -> None:
        """Refuse everything behind this version."""
        ...


def keep_up(cell: Kept, envelope: Envelope) -> None:
    """Do what a message says about a service's stream."""
    message: TakeSnapshot | Erase | Delete = envelope.message
    try:
        reply = _done(cell, message, None if envelope.origin is None else envelope.origin.context)
    except (Failed, ValueError) as error:
        cell.give_back(envelope, error)
        return
    if envelope.reply is not None:
        envelope.reply.done(reply)


def _done(cell: Kept, message: TakeSnapshot | Erase | Delete, context: Texts | None) -> int:
    append = Append(cell.stream, cell.version, [], cell.world.clock.now())
    match message:
        case TakeSnapshot():
            if not cell.version or cell.buried:
                return cell.version  # there is nothing to keep
            append.snapshot = _snapshot(cell)
        case Erase(before, until):
            if until > cell.version:
                raise ValueError(
                    f"{cell.address} is at version {cell.version}, and its last event stays; before_version can't be "
                    f"{until}"
                )
            if until - 1 > cell.kept_at and until > cell.deleted_at:
                append.snapshot = _snapshot(cell)
            append.erase_before = before
        case Delete(for_good, erase_before):
            if cell.buried or not cell.version:
                return cell.version
            _delete(cell, append, context, for_good=for_good)
            append.erase_before = min(erase_before, cell.version)
    cell.world.writer.enqueue((append,))
    cell.written = True
    return cell.version


def _snapshot(cell: Kept) -> Snapshot:
    snapshot = snapshot_of(cell)
    if snapshot is None:
        raise Failed(
            f"the state of {cell.address} can't be kept in a snapshot, so its events can't be done without; the log "
            "says what is wrong with it"
        )
    return snapshot


def _delete(cell: Kept, append: Append, context: Texts | None, *, for_good: bool) -> None:
    append.events = [deletion(cell.world.new_id(), context, for_good=for_good)]
    append.wake = NEVER
    cell.version += 1
    if for_good:
        cell.bury(cell.version)
    else:
        cell.empty(cell.version)
    append.snapshot = snapshot_of_nothing(cell, buried=for_good)
