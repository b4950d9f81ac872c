"""What a service has in memory, and how it gets it back: from its stream, or from a snapshot and what comes behind."""

from collections.abc import Iterable
from functools import reduce
from typing import Any

import msgspec

from actors import Address, Decision, DeletedForGood, EventsErased, Service
from actors.service import NOBODY
from persistence import BURIED, DELETED, NEVER, Append, Record, Snapshot
from persistence.codec import WRAPPING, Decoder
from runtime.cells import Cell, Phase, World
from runtime.evolution import Several
from runtime.kinds import FENCED, HANDLED, INTERNAL, LOCK_EVENTS, REVISED, Kind, decoded
from runtime.lock_events import Held, Locks
from runtime.reminder_events import NOTHING_PENDING, PendingByName, replayed
from runtime.seen import EVERY_ID, Seen
from runtime.snapshots import read_kept, restore, snapshot_of, worth_asking, worthwhile

NOTHING_SEEN = Seen()
"""Shared by all services that are not awake."""


class Fenced(msgspec.Struct):
    """An undo overtook its step: the step, should it still come, is refused."""

    step: str


_fence = Decoder(Fenced, WRAPPING)


def step_of(record: Record) -> str:
    """Return the id of the step that a fence is for."""
    fence: Fenced = decoded(_fence, record, record.data)
    return fence.step


class Buried:
    """What stands for a service that was deleted for good."""

    locked_by = NOBODY

    def __init__(self, address: Address[Any]) -> None:
        self.address = address

    def lock_of(self, _command: Any) -> None:
        """Return None: no lock helps."""

    def decide(self, _state: Any, _command: Any) -> Decision:
        """Refuse."""
        raise DeletedForGood(f"{self.address} was deleted for good; use another key")

    def answer(self, state: Any, _query: Any) -> Any:
        """Refuse."""
        return self.decide(state, _query)

    def evolve(self, state: Any, _event: Any) -> Any:
        """Leave everything as it is."""
        return state

    def tags(self, _event: Any) -> tuple[str, ...]:
        """Return none."""
        return ()


class ServiceMemory(Cell):
    """The part of a service's cell that recovery fills.

    ``seen`` tells the ids of commands that took effect (P3), and of steps that were undone before they came (P9).
    """

    __slots__ = (
        "_lost",
        "deleted_at",
        "kept_at",
        "locks",
        "pending",
        "seen",
        "service",
        "snapshot_at",
        "state",
        "version",
    )

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self.service: Service[Any, Any, Any] | Buried | None = None
        """None: its state is not known."""
        self.state: Any = None
        self.version = self.kept_at = self.deleted_at = 0
        """Where it is, and where its snapshot and its last deletion are."""
        self.snapshot_at: int = NEVER
        """The version from which on the next snapshot is worth it."""
        self.seen = NOTHING_SEEN
        self.pending: PendingByName = NOTHING_PENDING
        """Its reminders; replaced as a whole, never changed."""
        self.locks: Locks | None = None
        """The locks that sagas hold; None: there are none."""
        self._lost: EventsErased | None = None
        """Why its state is not known, though its stream was read."""

    # -- coming and going ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from the initial state; what there was before has been forgotten."""
        self.seen = Seen()
        self.empty(0)

    def empty(self, version: int) -> None:
        """Begin anew behind this version; ids stay, and so do locks, which are their sagas'."""
        kind = self.kind
        self.service = kind.cls(self.address.key)
        self.state = kind.cls.initial
        self.pending = NOTHING_PENDING
        self.deleted_at = version
        every = kind.cls.snapshot_every
        self.snapshot_at = NEVER if every is None else version + every

    def bury(self, version: int) -> None:
        """Refuse everything behind this version."""
        self.empty(version)
        self.service = Buried(self.address)
        self.hold(())
        self.seen = Seen()
        self.snapshot_at = NEVER

    def forget(self) -> None:
        """Drop state and ids."""
        self.service = self.state = self._lost = None
        self.version = self.kept_at = self.deleted_at = 0
        self.snapshot_at = NEVER
        self.seen = NOTHING_SEEN
        self.pending = NOTHING_PENDING
        self.hold(())

    def hold(self, held: Iterable[Held]) -> None:
        """Know of these locks, and of no others."""
        if self.locks is not None:
            self.locks.clear()
            self.locks = None
        for one in held:
            self.lock(one)

    def lock(self, held: Held) -> None:
        """Take note of a lock that was taken."""
        if self.locks is None:
            self.locks = Locks(self.world.lock_waits.tally)
        self.locks.add(held)

    def unlock(self, held: Iterable[Held]) -> None:
        """Take note of locks that were given back."""
        if self.locks is not None:
            for one in held:
                self.locks.remove(one.lock, one.holder)
            if not self.locks:
                self.locks = None
                if self.service is not None:
                    self.service.locked_by = NOBODY

    def recovered(self) -> None:
        """Go on: all that is left of the stream has been read."""
        if self._lost is not None and self.service is None:
            raise self._lost
        super().recovered()

    @property
    def buried(self) -> bool:
        """Whether it was deleted for good."""
        return type(self.service) is Buried

    # -- events -------------------------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        service = self.service
        if record.type not in INTERNAL:
            if service is not None:
                event = self.kind.event(record)
                if type(event) is Several:
                    self.state = reduce(service.evolve, event, self.state)
                else:
                    self.state = service.evolve(self.state, event)
        elif record.type == FENCED:
            self.seen.note(step_of(record), -record.version)
        elif record.type == DELETED:
            self.empty(record.version)
        elif record.type == BURIED:
            self.bury(record.version)
        elif record.type in LOCK_EVENTS:
            locks = self.locks or Locks(self.world.lock_waits.tally)
            locks.replay(self.kind.event(record), record.time)
            self.locks = locks or None
        elif record.type != HANDLED and service is not None:
            self.pending = replayed(self.pending, record)
        if record.command is not None:
            self.seen.note(record.command, record.version)
        self.version = record.version

    def replay_all(self, records: Iterable[Record]) -> None:
        """Take in a page of the stream: what is no more than an event of the service's own, by the shortest way."""
        plain, state = self.kind.plain, self.state
        for record in records:
            decoder, service = plain.get(record.type), self.service
            if decoder is None or service is None or record.command is not None or record.meta[:12] == REVISED:
                self.state = state
                self.replay(record)
                state = self.state
            else:
                event = record.value
                state = service.evolve(state, decoded(decoder, record, record.data) if event is None else event)
                self.version = record.version
        self.state = state

    # -- snapshots ----------------------------------------------------------------------------------------------

    @property
    def ask_snapshot_from(self) -> int:
        """From which version of its stream on a snapshot may spare reading much."""
        return worth_asking(self.kind)

    def restore(self, snapshot: Snapshot, head: int) -> int:
        """Start from a snapshot of a stream that is at version ``head``; return the version, 0 where it doesn't fit."""
        kept = restore(self, snapshot, head)
        if kept is not None and kept.buried:
            self.bury(snapshot.version)
        return self.version

    def lose(self, version: int, snapshot: Snapshot | None, head: int) -> int:
        """Go on without the events up to this version, which were erased; return the version from which to read on."""
        if snapshot is not None and version <= snapshot.version:
            kept = restore(self, snapshot, head, erased=True)
            if kept is not None:
                return self.version
        kept = read_kept(snapshot)
        if kept is not None:  # what is not of the author's making can be read all the same
            self.seen = kept.seen.seen()
            self.hold(kept.locks)
        if kept is None or snapshot is None or snapshot.version < version:
            self.seen.older = EVERY_ID
        self.service = None
        self._lost = EventsErased(
            f"the events of {self.address} up to version {version} were erased, and no snapshot stands for them whose "
            f"state today's {self.kind.name} can read; run the code that made it, or let the actor begin anew: "
            f"await runtime.delete({self.address})"
        )
        return version

    def keep(self, append: Append) -> None:
        """Have a snapshot written with what was just enqueued, where it is time for one."""
        if self.version >= self.snapshot_at and append.expected + len(append.events) == self.version:
            append.snapshot = snapshot_of(self)

    def rest(self) -> None:
        """Get ready to leave the memory: keep what would take long to read back."""
        if self.phase is Phase.RUNNING and worthwhile(self) and (snapshot := snapshot_of(self)) is not None:
            append = Append(self.stream, self.version, [], self.world.clock.now(), snapshot=snapshot, sound=True)
            self.world.writer.enqueue((append,))
            self.written = True
