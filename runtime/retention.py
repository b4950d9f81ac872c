"""Retention: how long events are kept. Snapshots on demand, truncating and deleting streams."""

from collections import Counter
from typing import Any

from actors import Address, NotTaken, OutcomeUnknown, Parked, Saga, Service
from persistence import NEVER, Append, JournalError, Stream, StreamBuried
from runtime.cells import Cell, Phase
from runtime.inspection import Inspection
from runtime.kinds import FENCED, LOCK_EVENTS, deletion
from runtime.lock_events import Locks
from runtime.mailbox import Envelope
from runtime.origin import caller
from runtime.replay import stream
from runtime.saga_mail import Bury
from runtime.service_mail import Delete, Erase, ServiceMail, TakeSnapshot
from runtime.service_memory import step_of
from runtime.snapshots import read_kept, snapshot_of_lost

ERASED_AT_ONCE = 5_000
"""How many events of a service are erased in one append; others are written in between."""


class Retention(Inspection):
    """The part of a runtime that decides what is kept."""

    async def snapshot(self, address: Address[Service[Any, Any, Any]]) -> None:
        """Keep a service's state as it is now in a snapshot; it is durable when this returns.

        That happens by itself often enough; this is for the moment before events are moved or erased.

        Raises:
            NotTaken: the actor is no service.
            Failed: its state can't be kept in a snapshot.
            Parked: the actor is set aside.
            OutcomeUnknown: it may or may not be durable; ask again.
        """
        self._service(address)
        await self._in_turn(address, TakeSnapshot())

    async def truncate(self, address: Address[Service[Any, Any, Any]], before_version: int) -> None:
        """Erase the events of a service with versions below ``before_version``; they are gone when this returns.

        The last event always stays, so that is the version of the service at the most.
        Their places, ids and digests stay, versions and positions go on, and a command whose event was erased still
        takes effect only once. A snapshot that is taken first stands for them from then on. A read model that
        is built anew doesn't see them.

        Raises:
            ValueError: it is not at that version yet.
            NotTaken: the actor is no service.
            Failed: its state can't be kept in a snapshot; nothing was erased.
            Parked: the actor is set aside.
            OutcomeUnknown: some of it may be erased; ask again.
        """
        first = await self._first(self._service(address))
        if first < before_version:
            await self._in_turn(address, TakeSnapshot())  # the last one may be damaged, and nobody has looked
            await self._erase(address, first, before_version)

    async def delete(self, address: Address[Any], *, for_good: bool = False) -> None:
        """Erase all events of a service, or of a saga that has ended; they are gone when this returns.

        A service is back at its first state then, without reminders of its own; its versions go on, and ids of
        commands stay used. ``for_good``: it refuses everything from then on (``DeletedForGood``). A saga is always
        deleted for good, for a second story under its name would find its steps done. A service that is parked can be
        deleted too.

        Raises:
            NotTaken: the actor is neither a service nor a saga.
            Refused: the saga has not ended.
            OutcomeUnknown: some of it may be erased; ask again.
        """
        node = self._open_node()
        if issubclass(node.directory.own_kind(address).cls, Saga):
            await self._in_turn(address, Bury())
            return
        first = await self._first(self._service(address))
        try:
            version = await self._in_turn(address, Delete(for_good, first + ERASED_AT_ONCE))
        except Parked:
            version = await self._delete_parked(node.directory.cell(address), for_good=for_good)
        await self._erase(address, first, version)

    # -- how ----------------------------------------------------------------------------------------------------

    def _service(self, address: Address[Any]) -> Stream:
        """Return the stream of a service.

        Raises:
            NotTaken: it is none.
        """
        if not issubclass(self._open_node().directory.own_kind(address).cls, Service):
            raise NotTaken(f"{address} is no service, and has no events of its own to keep or to erase")
        return (address.actor, address.key)

    async def _in_turn(self, address: Address[Any], message: ServiceMail | Bury) -> Any:
        """Have a service or a saga do something between two turns, and wait until that is durable."""
        node = self._open_node()
        due = node.deadline(None)
        if isinstance(message, Bury):
            cell = node.directory.cell(address)
        else:
            (cell,) = await node.services([address], due)
        promise = node.promises.make(address, message)
        cell.put(Envelope(message, None, promise, caller()))
        return await promise.wait(due)

    async def _first(self, stream: Stream) -> int:
        """Return the version of the first event that is not erased."""
        page = await self._open_node().journal.read(stream, 0, 1)
        return page[0].version if page else 1

    async def _erase(self, address: Address[Any], first: int, before: int) -> None:
        """Erase a service's events from one version to another, in steps between which others have their turns."""
        while first < before:
            first = min(first + ERASED_AT_ONCE, before)
            await self._in_turn(address, Erase(first, before))

    async def _known(self, cell: Cell) -> tuple[dict[str, int], Locks]:
        """Return what only the service knows, as far as it can be read.

        That is, which steps were undone before they came, and who holds locks.
        """
        journal, name = self._open_node().journal, cell.stream
        kept = read_kept((await journal.snapshots([name])).get(name))
        fences = {} if kept is None else {one: at for one, at in kept.seen.known.items() if at < 0}
        locks = Locks(Counter(), () if kept is None else kept.locks)
        async for record in stream(journal, cell.address):
            if record.type == FENCED:
                fences[step_of(record)] = -record.version
            elif record.type in LOCK_EVENTS:
                locks.replay(cell.kind.event(record), record.time)
        return fences, locks

    async def _delete_parked(self, cell: Cell, *, for_good: bool) -> int:
        """Delete a service that takes no turns, from outside; return the version of the event that says so."""
        node, name = self._open_node(), cell.stream
        await node.writer.barrier()
        head = (await node.journal.heads([name])).get(name, 0)
        known, locks = await self._known(cell)
        if cell.phase is not Phase.PARKED:
            version: int = await self._in_turn(cell.address, Delete(for_good, 0))
            return version
        if not head:
            return 0
        snapshot = snapshot_of_lost(cell.kind, head + 1, known, locks, buried=for_good)
        origin = caller()
        events = [deletion(node.new_id(), None if origin is None else origin.context, for_good=for_good)]
        cell.written = True  # so that who comes next waits until it is durable
        outcome = node.writer.submit((Append(name, head, events, node.clock.now(), None, NEVER, snapshot),))
        node.writer.kick()
        try:
            written = await outcome
        except JournalError as error:
            written = error
        if isinstance(written, JournalError) and not isinstance(written, StreamBuried):
            raise OutcomeUnknown(f"whether {cell.address} was deleted is unknown: {written}; ask again") from written
        cell.unpark()
        return head + 1
