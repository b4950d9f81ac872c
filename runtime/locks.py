"""Locks as people see them: who holds what at a service, what is stale, and how it is removed by hand."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from actors import Address, Service
from runtime import saga_progress
from runtime.lock_events import Held
from runtime.lock_mail import LookAtLocks, Unlock
from runtime.retention import Retention


class HeldLock(msgspec.Struct, frozen=True):
    """A lock that a saga holds at a service."""

    lock: str
    """Its name, in the service's own words."""
    holder: Address[Any]
    """The saga."""
    step: str
    """The id of the command that took it."""
    since: datetime
    waiting: int
    """How many commands wait for it now."""
    stale: bool
    """Whether nobody will give it back: the saga was never started here, has ended, or was deleted.

    Of a saga that lives on another node that can't be told here, and it is not called stale.
    """


class Locking(Retention):
    """The part of a runtime that looks after locks."""

    async def locks(self, address: Address[Service[Any, Any, Any]], /) -> list[HeldLock]:
        """Return the locks that sagas hold at a service, those that were taken first first.

        A saga that is parked holds its locks until it goes on, or is brought to an end: it is ``unfinished``.

        Raises:
            NotTaken: the actor is no service.
            Parked: it is set aside.
        """
        self._service(address)
        found: list[tuple[Held, int]] = await self._in_turn(address, LookAtLocks())
        node = self._open_node()
        journal = node.journal
        unfinished: set[Address[Any]] = set()
        if found:
            unfinished = {saga async for saga in saga_progress.unfinished(journal, ())}
        held = [
            HeldLock(
                one.lock,
                one.holder,
                one.step,
                datetime.fromtimestamp(one.since / 1e6, UTC),
                waiting,
                one.holder not in unfinished and node.directory.may_tell(one.holder),
            )
            for one, waiting in found
        ]
        return sorted(held, key=lambda one: one.since)

    async def unlock(
        self,
        address: Address[Service[Any, Any, Any]],
        lock: str,
        /,
        *,
        reason: str,
        by: str = "",
        holder: Address[Any] | None = None,
    ) -> int:
        """Remove a lock by hand, and let go on who waits for it; return how many held it.

        ``reason``, and who it was (``by``), are written into the service's stream; durable when this returns. With
        ``holder``, only that saga's. A saga that lives doesn't notice, and goes on without the lock; this is for those
        that will not give it back.

        Raises:
            ValueError: no reason is given.
            NotTaken: the actor is no service.
            Parked: it is set aside.
            OutcomeUnknown: it may or may not have been removed; do it again.
        """
        if not reason:
            raise ValueError(f"say why {address} is unlocked, for those who look at its history: reason=...")
        self._service(address)
        count: int = await self._in_turn(address, Unlock(holder, lock, reason=reason, by=by))
        return count
