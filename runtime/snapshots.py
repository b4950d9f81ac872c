"""Snapshots of services: what is kept, when it is worth it, and how a service starts from it.

A snapshot is handed to the journal's writer with the events that it comes after, so it is never ahead of what is
durable. It only spares reading: one that is damaged, or doesn't fit today's code, is ignored, and the events are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from actors import Address
from persistence import NEVER, Snapshot
from persistence.limits import MAX_SNAPSHOT, WRAPPED_DEPTH, too_deep
from runtime.cells import World
from runtime.kinds import Kind
from runtime.lock_events import Held, Locks
from runtime.log import log
from runtime.reminder_events import NOTHING_PENDING, Pending, PendingByName
from runtime.seen import KeptSeen, Seen

EVENT_WEIGHT = 100
"""Bytes that an event counts as. The events between two snapshots weigh as much as the snapshot at the least, so that
what is written, and the time that it takes, at most doubles, however large the state is."""


class Kept(msgspec.Struct, omit_defaults=True):
    """What a service's snapshot holds. The form of the state is the author's; the rest can be read whatever it is."""

    state: msgspec.Raw
    pending: Sequence[Pending] = ()
    seen: KeptSeen = msgspec.field(default_factory=KeptSeen)
    buried: bool = False
    locks: Sequence[Held] = ()
    run: str = ""
    """Which process has made it, so that the next one knows which reminders it has not set itself."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Kept).decode


class Keeper(Protocol):
    """A service that is kept in snapshots."""

    world: World
    address: Address[Any]
    kind: Kind
    state: Any
    version: int
    pending: PendingByName
    seen: Seen
    locks: Locks | None
    snapshot_at: int
    """The version from which on the next snapshot is worth it."""
    kept_at: int
    """The version of the last one."""

    def hold(self, held: Iterable[Held]) -> None:
        """Know of these locks, and of no others."""
        ...


def snapshot_of(cell: Keeper) -> Snapshot | None:
    """Return a snapshot of a service as it is now; None: its state can't be in one."""
    form = cell.kind.state
    data = form.encode(cell.state)
    if data is None:
        cell.snapshot_at = NEVER  # until the next incarnation
        return None
    # Like a service that is read back, one that starts from a snapshot tries at once what has failed.
    pending = tuple([msgspec.structs.replace(one, retry=0) for one in cell.pending.values()])
    kept = Kept(msgspec.Raw(data), pending, cell.seen.kept(), locks=_held(cell), run=cell.world.suspects.run)
    snapshot = Snapshot(cell.version, form.fingerprint, written := _encode(kept))
    if len(written) > MAX_SNAPSHOT:
        log.warning("no snapshot", actor=str(cell.address), because=f"it would have {len(written):,} bytes")
        cell.snapshot_at = NEVER
        return None
    _note(cell, snapshot)
    return snapshot


def snapshot_of_nothing(cell: Keeper, *, buried: bool = False) -> Snapshot:
    """Return what replaces the snapshot of a service that is deleted: nothing of its state stays."""
    data = None if buried else cell.kind.state.encode(cell.kind.cls.initial)
    kept = Kept(msgspec.Raw(data or b"null"), (), KeptSeen() if buried else cell.seen.kept(), buried, _held(cell))
    snapshot = Snapshot(cell.version, cell.kind.state.fingerprint if data else "", _encode(kept))
    if data or buried:
        _note(cell, snapshot)
    return snapshot


def _held(cell: Keeper) -> tuple[Held, ...]:
    return () if cell.locks is None else tuple(cell.locks)


def snapshot_of_lost(
    kind: Kind, version: int, known: Mapping[str, int], locks: Iterable[Held], *, buried: bool
) -> Snapshot:
    """Return what :func:`snapshot_of_nothing` would of a service that can't be brought back.

    All ids are looked up then, but for those that are ``known``: fences must be.
    """
    data = None if buried else kind.state.encode(kind.cls.initial)
    seen = KeptSeen({} if buried else dict(known), all=not buried)
    kept = Kept(msgspec.Raw(data or b"null"), (), seen, buried, () if buried else tuple(locks))
    return Snapshot(version, kind.state.fingerprint if data else "", _encode(kept))


def _note(cell: Keeper, snapshot: Snapshot) -> None:
    cell.kept_at = snapshot.version
    every: int | None = cell.kind.cls.snapshot_every
    weight = len(snapshot.data or b"") // EVENT_WEIGHT
    cell.snapshot_at = NEVER if every is None else snapshot.version + max(every, weight)


def worthwhile(cell: Keeper) -> bool:
    """Whether a snapshot spares reading enough events to be taken when the service leaves the memory."""
    return cell.version - cell.kept_at >= (cell.snapshot_at - cell.kept_at + 3) // 4


def worth_asking(kind: Kind) -> int:
    """Return the version from which on a stream may have a snapshot that is worth asking for."""
    every: int = kind.cls.snapshot_every or 1
    return (every + 3) // 4


def restore(cell: Keeper, snapshot: Snapshot, head: int, *, erased: bool = False) -> Kept | None:
    """Let a service that has just begun start from a snapshot; return None where it can't, and the log says why.

    Where events before it are ``erased``, the form of the state is all that must fit.
    """
    kept = read_kept(snapshot)
    if kept is None or snapshot.version > head:
        because = "it is damaged" if kept is None else f"the stream ends at version {head}"
        log.warning("snapshot ignored", actor=str(cell.address), version=snapshot.version, because=because)
        return None
    if not kept.buried:
        form = cell.kind.state
        if not form.fits(snapshot.fingerprint, erased=erased):
            form.misfit(cell.address)
            return None
        try:
            cell.state = form.decode(kept.state)
        except (ValueError, RecursionError) as error:
            log.warning("snapshot ignored", actor=str(cell.address), version=snapshot.version, because=repr(error))
            return None
    cell.version = snapshot.version
    cell.pending = {one.name: one for one in kept.pending} or NOTHING_PENDING
    if cell.pending and kept.run != cell.world.suspects.run:
        # Their events are older than this process. Where they stand in the journal matters no more.
        cell.pending = {one.name: msgspec.structs.replace(one, position=one.position or 1) for one in kept.pending}
    cell.seen = kept.seen.seen()
    cell.hold(kept.locks)
    _note(cell, snapshot)
    return kept


def state_in(kind: Kind, snapshot: Snapshot, *, erased: bool) -> Any:
    """Return the state that a snapshot holds; None: it doesn't fit today's class."""
    kept = read_kept(snapshot)
    if kept is None:
        return None
    if kept.buried:
        return kind.cls.initial
    if not kind.state.fits(snapshot.fingerprint, erased=erased):
        return None
    try:
        return kind.state.decode(kept.state)
    except (ValueError, RecursionError):
        return None


def read_kept(snapshot: Snapshot | None) -> Kept | None:
    """Return what a snapshot holds; None: it is damaged, or there is none."""
    if snapshot is None or snapshot.data is None or len(snapshot.data) > MAX_SNAPSHOT:
        return None
    if too_deep(snapshot.data, WRAPPED_DEPTH):
        return None
    try:
        kept = _decode(snapshot.data)
        kept.seen.seen()
    except (ValueError, RecursionError):
        return None
    return kept
