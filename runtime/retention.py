"""Retention: how long events are kept. Snapshots on demand, truncating and deleting streams."""

from typing import Any

from actors import Address, NotTaken, Saga, Service
from persistence import NEVER, Append, Stream
from runtime.cells import Cell, Phase
from runtime.inspection import Inspection
from runtime.mailbox import Envelope
from runtime.node import Node
from runtime.saga_mail import Bury
from runtime.service_mail import Delete, Erase, TakeSnapshot
from runtime.snapshots import snapshot_of_lost
from runtime.upkeep import deletion

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
        await self._in_turn(self._service(address), TakeSnapshot())

    async def truncate(self, address: Address[Service[Any, Any, Any]], before_version: int) -> None:
        """Erase the events of a service with versions below ``before_version``; they are gone when this returns.

        Their places, ids and digests stay, versions and positions go on, and a command whose event was erased still takes
        effect only once. A snapshot stands for them from then on, taken with it where there is none. A read model
        that is built anew doesn't see them.

        Raises:
            ValueError: there are no events up to there yet.
            NotTaken: the actor is no service.
            Failed: its state can't be kept in a snapshot; nothing was erased.
            Parked: the actor is set aside.
            OutcomeUnknown: some of it may be erased; ask again.
        """
        stream = self._service(address)
        await self._erase(address, await self._first(stream), before_version)

    async def delete(self, address: Address[Any], *, for_good: bool = False) -> None:
        """Erase all events of a service, or of a saga that has ended; they are gone when this returns.

        A service is back at its first state then, without reminders of its own; its versions go on, and ids of commands
        stay used. ``for_good``: it refuses everything from then on (``DeletedForGood``). A saga is always deleted
        for good, for a second story under its name would find its steps done. A service that is parked can be deleted too.

        Raises:
            NotTaken: the actor is neither a service nor a saga.
            Refused: the saga has not ended.
            OutcomeUnknown: some of it may be erased; ask again.
        """
        node = self._open_node()
        if issubclass(node.directory.kind(address.actor).cls, Saga):
            await self._in_turn(node.directory.cell(address), Bury())
            return
        stream = self._service(address)
        ...
