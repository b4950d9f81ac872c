"""The cell of a plain actor: the only kind that has a task, and only while it has mail."""

from typing import Any, TypeVar

import anyio

from actors import Actor, Address, Failed, OutcomeUnknown, Refused, Request, RestartPolicy
from persistence import Record
from runtime.cells import NO_MAIL, Cell, Phase, World
from runtime.kinds import Kind
from runtime.mailbox import Envelope

A = TypeVar("A")
R = TypeVar("R")


class ActorCell(Cell):
    """A plain actor at work.

    A message reaches the mailbox only when all that was enqueued before it was sent is durable: what the actor does
    outside can't be taken back.
    """

    __slots__ = ("_correlation", "_kind", "_scope", "_working", "actor")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address)
        self._kind = kind
        self.actor: Actor | None = None
        self._scope: anyio.CancelScope | None = None
        self._working = False
        self._correlation: str | None = None

    @property
    def restart_policy(self) -> RestartPolicy:
        """How the actor is started again after a crash."""
        policy: RestartPolicy = self._kind.cls.restart
        return policy

    @property
    def unfinished(self) -> bool:
        """Whether it has mail or is at work."""
        return bool(self.mail) or self._working

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox, once it may leave the turns."""

        def release(durable: bool) -> None:
            if durable:
                super(ActorCell, self).put(envelope)
                self._work()

        self.world.writer.hold(release)

    def revive(self) -> None:
        """Begin a new incarnation: there is nothing to read back."""
        actor: Actor = self._kind.cls(self.address.key)
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
        self._correlation = envelope.correlation
        error: Exception | None = None
        reply: Any = None
        with anyio.CancelScope() as self._scope:
            try:
                reply = await actor.receive(envelope.message)
            except Refused as refused:
                error = refused
            except Exception as raised:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
                error = Failed(
                    f"{self.address} failed at {type(envelope.message).__name__}: {type(raised).__name__}: {raised}"
                )
                error.__cause__ = raised
        if self._scope.cancelled_caught:
            error = OutcomeUnknown(f"{self.address} was killed while it handled {type(envelope.message).__name__}")
        self._scope = None
        if envelope.reply is None:
            if error is not None:
                self.world.dead_letter(self.address, envelope.message, error)
        elif error is None:
            envelope.reply.done(reply)
        else:
            envelope.reply.failed(error)
        if isinstance(error, Failed) and self.actor is actor:
            self.crashed(error)

    async def ask(self, address: Address[A], request: Request[A, R], /) -> R:
        """Ask another actor, in the name of the message that is being handled."""
        return await self.world.ask(address, request, correlation=self._correlation)
