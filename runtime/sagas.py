"""Sagas, from outside: starting them, their results, where they have come to, and what they can be told to do."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Generic, TypeVar

from actors import Address, Command, NotTaken, RuntimeClosed, Saga
from actors.verbs import Compensate, Kill, Retry, Skip, Verb
from persistence.intake import check_text
from persistence.limits import ID_LENGTH, MAX_PAYLOAD
from runtime import saga_progress
from runtime.doors import Doors
from runtime.inspection import Inspection
from runtime.mailbox import Envelope
from runtime.node import Node
from runtime.origin import caller
from runtime.saga_cell import SagaCell
from runtime.saga_mail import Join
from runtime.saga_progress import PlannedUndo, SagaProgress, Status, Told
from runtime.saga_sending import say, start

A = TypeVar("A")
R = TypeVar("R")


class SagaControl(Generic[A]):
    """One saga, to be looked at and told what to do; made by ``runtime.saga(address)``.

    Each verb says by whom and why, and both are kept in the saga's story. All of them are durable when they return.
    """

    def __init__(self, node: Node, doors: Doors | None, address: Address[A]) -> None:
        self._node = node
        self._doors = doors
        self._address = address

    async def progress(self) -> SagaProgress:
        """Return where the saga has come to, as far as that is durable."""
        return (await saga_progress.told(self._node.journal, self._address)).progress()

    async def follow(self) -> AsyncIterator[SagaProgress]:
        """Yield where the saga has come to, now and whenever that changes, until it has ended.

        Raises:
            RuntimeClosed: the runtime is closed meanwhile.
        """
        node, one = self._node, Told(self._address)
        with node.news.of((self._address.actor, self._address.key)) as news:
            while True:
                news.clear()
                if await one.read(node.journal) or not one.version:
                    yield one.progress()
                if one.story.ended:
                    return
                await news.wait()
                if node.news.closed:
                    raise RuntimeClosed(f"{self._address} can't be followed any more: the runtime was closed")

    async def retry(
        self,
        *,
        by: str,
        reason: str,
        step: str = "",
        command: Command[Any, Any] | None = None,
        undo: Command[Any, Any] | None = None,
    ) -> None:
        """Let a parked saga go on, and one that is under way try again, with new budgets and a new deadline.

        ``command`` is sent for ``step`` instead of the one before, with an id of its own; what that one may have done
        is undone, where the step has an undo. ``undo`` is what will undo it.

        Raises:
            Failed: it can't be done; the message says why. Nothing has changed.
            NotTaken: the saga has ended.
            UnknownActor: it was never started.
        """
        await self._tell(Retry(by, reason, step, command, undo))

    async def skip(self, step: str, reply: Any = None, *, by: str, reason: str) -> None:
        """Take a step as done, with this reply, or, where the saga goes back, take its undo as done.

        It goes on with new budgets and a new deadline, as by :meth:`retry`.

        Raises:
            Failed: it has its outcome already, or there is nothing to undo. Nothing has changed.
            NotEncodable: the reply is none that the step's command declares.
            NotTaken: the saga has ended.
            UnknownActor: it was never started.
        """
        await self._tell(Skip(by, reason, step, reply))

    async def compensate(
        self, *, by: str, reason: str, unless_completed: bool = False, timeout: float | None = None
    ) -> None:
        """Have the saga go back, also from its end, and wait until it has; ``unless_completed``: not from its good end.

        Raises:
            NotTaken: it has completed, and is to go back only if it has not.
            Refused: it is past its pivot, or was killed.
            Failed: its pivot is under way.
            Parked: it was set aside on its way back.
            UnknownActor: it was never started.
            OutcomeUnknown: it has not come to its end within ``timeout`` seconds; it goes on.
        """
        await self._tell(Compensate(by, reason, unless_completed), timeout)

    async def kill(self, *, by: str, reason: str) -> None:
        """End the saga where it stands: what was done stays done. Who waits for it is told :class:`SagaKilled`.

        Raises:
            NotTaken: it has ended.
            UnknownActor: it was never started.
        """
        await self._tell(Kill(by, reason))

    async def _tell(self, verb: Verb, timeout: float | None = None) -> None:
        if not verb.by or not verb.reason:
            raise ValueError('a verb says who wants it and why: by="ana", reason="the bank was called"')
        check_text("who wants it (by)", verb.by, ID_LENGTH)
        check_text("the reason", verb.reason, MAX_PAYLOAD)
        if self._doors is not None:
            await self._doors.say(self._address, verb, timeout)
        else:
            await say(self._node, self._address, verb, self._node.deadline(timeout), caller())


class Sagas(Inspection):
    """The part of a runtime that knows sagas."""

    async def start(self, address: Address[A], command: Command[A, Any], /, *, timeout: float | None = None) -> None:
        """Start a saga, and don't wait for its end; that it was started is durable when this returns.

        Started again with the same command, it is there already. :meth:`result` waits for its end.

        Raises:
            CommandIdReused: it was started with another command; its address names one story for ever.
            NotTaken, UnknownActor: it is no saga, or nobody here takes this.
            MailboxFull: it had no room within ``timeout`` seconds; nothing was sent.
            OutcomeUnknown: it may or may not have been started; start it again.
        """
        node = self._plain
        if node is None:
            await self._doors_open().start(address, command, timeout)
        else:
            await start(node, address, command, node.deadline(timeout))

    async def result(self, address: Address[Saga[Any, R]], *, timeout: float | None = None) -> R:
        """Wait for the end of a saga that was started before, maybe by another process.

        Raises:
            Refused: it was compensated.
            SagaKilled: it was ended where it stood.
            Parked: it was set aside.
            UnknownActor: it was never started.
            AskCycle: the saga waits for the actor that asks.
        """
        node = self._open_node()
        cell = self._saga(address)
        node.check_path(cell)
        promise = node.promises.make(address, Join())
        due = node.deadline(timeout)
        cell.put(Envelope(Join(), None, promise, due=due))
        reply: R = await promise.wait(due)
        return reply

    def saga(self, address: Address[A], /) -> SagaControl[A]:
        """Return a saga to be looked at and told what to do.

        Raises:
            NotTaken, UnknownActor: it is no saga.
        """
        self._check_saga(address)
        return SagaControl(self._open_node(), self._doors, address)

    async def progress_of(self, address: Address[Saga[Any, Any]], /) -> SagaProgress:
        """Return where a saga has come to, as far as that is durable; one that was never started is ``"new"``.

        Raises:
            NotTaken, UnknownActor: it is no saga.
        """
        return await self.saga(address).progress()

    async def plan_of(self, address: Address[Saga[Any, Any]], /) -> list[PlannedUndo]:
        """Return what a saga would send if it went back now, in this order; nothing where there is no way back.

        Raises:
            NotTaken, UnknownActor: it is no saga.
        """
        self._check_saga(address)
        node = self._open_node()
        return await saga_progress.plan_of(node.journal, address, node.kind)

    async def sagas(
        self,
        *,
        status: Status | None = None,
        type: type[Saga[Any, Any]] | None = None,  # noqa: A002 (the word that people look for)
        since: datetime | None = None,
    ) -> AsyncIterator[SagaProgress]:
        """Yield the sagas of this journal, of one status, class, or started at or after a time, or all.

        Of those that have not ended only the unfinished part of the journal is read; else all sagas are.

        Raises:
            UnknownActor: the class is none of this runtime's.
            ValueError: there is no such status, or ``since`` doesn't say in which time zone it is.
        """
        node = self._open_node()
        if since is not None and since.tzinfo is None:
            raise ValueError(f"since={since} could be any time zone; write datetime(..., tzinfo=UTC)")
        if status is not None and status not in saga_progress.STATUSES:
            raise ValueError(f"no saga is {status!r}; a status is {', '.join(saga_progress.STATUSES)}")
        if type is not None:
            self._check_saga(type.at())
        kinds = node.directory.kinds(Saga) if type is None else [node.directory.kind(type.__name__)]
        async for address in self._addresses({kind.name for kind in kinds}, status):
            one = (await saga_progress.told(node.journal, address)).progress()
            if (status is None or one.status == status) and (
                since is None or ((begun := one.queued or one.started) is not None and begun >= since)
            ):
                yield one

    async def _addresses(self, names: set[str], status: Status | None) -> AsyncIterator[Address[Any]]:
        journal = self._open_node().journal
        if status in ("queued", "running", "compensating", "parked"):
            async for address in saga_progress.unfinished(journal, self._others()):
                if address.actor in names:
                    yield address
            return
        for name in sorted(names):
            async for address in saga_progress.all_of(journal, name):
                yield address

    async def unfinished(self) -> list[Address[Any]]:
        """Return the sagas that have not ended: under way (oldest first), asleep, queued."""
        node = self._open_node()
        return [address async for address in saga_progress.unfinished(node.journal, self._others())]

    def _others(self) -> set[str]:
        """Return the classes whose streams are no sagas."""
        return {kind.name for kind in self._open_node().directory.all_kinds if not issubclass(kind.cls, Saga)}

    def _saga(self, address: Address[Any]) -> SagaCell:
        self._check_saga(address)
        cell = self._open_node().directory.cell(address)
        assert isinstance(cell, SagaCell)
        return cell

    def _check_saga(self, address: Address[Any]) -> None:
        if not issubclass(self._open_node().directory.own_kind(address).cls, Saga):
            raise NotTaken(f"{address} is no saga")
