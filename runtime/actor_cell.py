"""The cell of a plain actor: the only kind that has a task, and only while it has mail."""

import asyncio
from collections import deque
from typing import Any, TypeVar

import anyio

from actors import Actor, Address, Failed, Refused, Request
from actors.reminders import Remind
from persistence import Record
from runtime import reminders
from runtime.cells import NO_MAIL, Cell, Phase, World, failure
from runtime.kinds import Kind
from runtime.mailbox import Envelope

A = TypeVar("A")
R = TypeVar("R")


class ActorCell(Cell):
    """A plain actor at work.

    A message reaches the mailbox only when all that was enqueued before it was sent is durable: what the actor does
    outside can't be taken back.
    """

    __slots__ = ("_asks", "_envelope", "_scope", "_working", "actor")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self.actor: Actor | None = None
        self._scope: anyio.CancelScope | None = None
        self._working = False
        self._envelope: Envelope | None = None
        """The message that it handles now."""
        self._asks = 0
        """What it has asked of others while it handled it."""

    @property
    def unfinished(self) -> bool:
        """Whether it has mail or is at work."""
        return bool(self.mail) or self._working or self.held > 0

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox, once it may leave the turns."""

        def release(durable: bool) -> None:
            self.held -= 1
            if durable:
                super(ActorCell, self).put(envelope)
                self._work()

        self.held += 1
        self.world.writer.hold(release)

    def revive(self) -> None:
        """Begin a new incarnation: there is nothing to read back."""
        try:
            actor: Actor = self.kind.cls(self.address.key)
        except Exception as error:  # noqa: BLE001 (the author's code; one that can't even begin is parked in the end)
            self.crashed(error)
            return
        actor.attach(self)
        self.actor = actor
        self.phase = Phase.RUNNING
        self._work()

    def begin(self) -> None:
        """Do nothing: a plain actor keeps nothing."""

    def replay(self, record: Record) -> None:
        """Do nothing: a plain actor has no stream."""

    def forget(self) -> None:
        """Drop the actor object and stop what it is doing."""
        self.actor = None
        if self._scope is not None:
            self._scope.cancel()

    def _work(self) -> None:
        if self.phase is Phase.RUNNING and self.mail and not self._working:
            self._working = True
            self.world.spawn(self._run)

    async def _run(self) -> None:
        try:
            # One at a time: a new incarnation's first message waits here for the old one's last to have ended.
            while self.mail and self.phase is Phase.RUNNING:
                await self._handle(self.mail.popleft())
                self.let_in()
            if not self.mail:
                self.mail = NO_MAIL
        finally:
            self._working = False
        self._work()

    async def _handle(self, envelope: Envelope) -> None:
        actor = self.actor
        assert actor is not None
        actor.message_id = envelope.id or self.world.new_id()
        self._envelope, self._asks = envelope, 0
        error: Exception | None = None
        reply: Any = None
        with anyio.CancelScope() as self._scope:
            try:
                reply = await actor.receive(envelope.message)
            except Refused as refused:
                error = refused
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise  # we are the ones who are cancelled, not something that the actor waited for
                error = failure(self.address, envelope.message, cancelled)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as raised:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
                error = failure(self.address, envelope.message, raised)
        killed = self._scope.cancelled_caught
        self._scope = self._envelope = None
        if killed:
            # At least once: the next incarnation gets the message again, with the same id.
            self.mail = deque([envelope, *self.mail])
            return
        if envelope.reply is None:
            if error is not None:
                self.world.dead_letter(self.address, envelope.message, error)
        elif error is None:
            envelope.reply.done(reply)
        else:
            envelope.reply.failed(error)
        if isinstance(error, Failed) and self.actor is actor:
            self.crashed(error)  # the failure may have left the object in disorder

    async def ask(self, address: Address[A], request: Request[A, R], /, *, id: str | None = None) -> R:  # noqa: A002
        """Ask another actor, in the name of the message that is being handled.

        The id of what is asked is derived from the message's own, so that a message that comes again asks for nothing
        twice.
        """
        self._asks += 1
        envelope = self._envelope
        if envelope is None:
            return await self.world.ask(address, request, request_id=id)
        if id is None and envelope.id is not None:
            id = f"{envelope.id}>{self._asks}"  # noqa: A001
        return await self.world.ask(address, request, request_id=id, correlation=envelope.correlation)

    async def remind(self, reminder: Remind, /) -> None:
        """Set a reminder for the actor."""
        await reminders.remind(self.world, reminder)

    async def forget_reminder(self, name: str, /) -> None:
        """Drop a reminder of the actor."""
        await reminders.forget(self.world, self.address, name)
