"""The cell of an async plain actor: the only kind that has tasks, and only while it has mail."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from actors import Actor, Address, Command, Failed, Request
from actors.actor import Reason
from runtime.cells import Phase, World
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.log import log
from runtime.mailbox import Envelope, recycle
from runtime.plain_cell import PlainCell

A = TypeVar("A")
R = TypeVar("R")

RESISTS = 10.0
"""Seconds after which an actor that was told to end and goes on is told again, and named in the log."""


class Handling:
    """One message that is being handled by an async actor."""

    __slots__ = ("cell", "envelope", "number", "overdue", "sent", "stashed")

    def __init__(self, cell: "ActorCell", envelope: Envelope | None = None, number: int = 0) -> None:
        self.cell = cell
        self.envelope = envelope
        self.number = number
        self.sent = 0
        """How many requests have been sent for it."""
        self.stashed = False
        self.overdue = False
        """Whether it has taken too long, and was cancelled for that."""

    @property
    def path(self) -> tuple[Address[Any], ...]:
        """The actors that wait while this goes on, the first asker first."""
        return (*(self.envelope.path if self.envelope is not None else ()), self.cell.address)

    @property
    def due(self) -> int:
        """When the asker stops waiting; 0: never."""
        return self.envelope.due if self.envelope is not None else 0


handling: ContextVar[Handling | None] = ContextVar("handling", default=None)
"""What the running task handles; tasks that the author's code starts inherit it."""


class Life:
    """One incarnation: its actor object and its tasks."""

    __slots__ = ("actor", "error", "finishing", "killed", "reason", "tasks", "unhandled")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.tasks: list[asyncio.Task[Any]] = []  # an empty set is four times as large
        self.finishing = False
        self.killed = False
        self.reason: Reason | None = None
        self.error: BaseException | None = None
        self.unhandled: list[tuple[int, Envelope]] = []
        """What it was in the middle of when it was killed."""


class ActorCell(PlainCell):
    """An async plain actor at work.

    A message reaches the mailbox only when all that was enqueued before it was sent is durable: what the actor does
    outside can't be taken back. A new incarnation begins when the last task of the old one has ended.
    """

    __slots__ = ("_begins", "_life", "_old", "_taken")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._life: Life | None = None
        self._old: Life | None = None
        """An incarnation that is still ending."""
        self._begins = False
        """Whether a new one is to begin when it has."""
        self._taken = 0

    @property
    def unfinished(self) -> bool:
        """Whether it has mail, also on its way, or is at work."""
        at_work = self._old is not None or (self._life is not None and bool(self._life.tasks))
        return at_work or self.limit < self.kind.mailbox.limit or super().unfinished

    @property
    def alive(self) -> bool:
        """Whether there is an incarnation, or one is about to begin."""
        return super().alive or self._old is not None

    # -- mail ---------------------------------------------------------------------------------------------------

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox, once it may leave the turns."""

        def release(durable: bool) -> None:
            self.limit += 1
            if durable:
                super(ActorCell, self).put(envelope)
                self._work()
            else:
                self.give_back(envelope, Failed(f"{self.address} was not given it: the journal could not be written"))

        self.limit -= 1
        self.world.writer.hold(release)

    def post(self, envelope: Envelope) -> None:
        """Put a message into the control lane."""
        super().post(envelope)
        self._work()

    def _take(self) -> Envelope | None:
        if self.control:
            return self.control.popleft()
        self.control = recycle(self.control)
        while self.mail:
            envelope = self.mail.popleft()
            if not self.expired(envelope, self.world.clock.steady()):
                return envelope
        self.mail = recycle(self.mail)
        return None

    # -- life ---------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """Begin a new incarnation, when the old one has ended."""
        if self.world.closing:
            return
        self.phase = Phase.RECOVERING
        if self._old is not None:
            self._begins = True
            return
        self._begins = False
        try:
            actor: Actor = self.kind.cls(self.address.key)
        except Exception as error:  # noqa: BLE001 (the author's code; one that can't even begin is parked in the end)
            self.crashed(error)
            return
        actor.attach(self)
        self.actor = actor
        self._life = life = Life(actor)
        self._start(life, self._begin(life))

    async def _begin(self, life: Life) -> None:
        _, error = await self._guarded(life, Handling(self), life.actor.started)
        if self._life is life:
            if error is not None:
                self.crashed(error)
            else:
                self.phase = Phase.RUNNING
                self._work()

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation, leaving the mail; its tasks end by themselves, unless it is killed."""
        life, self._life = self._life, None
        self._begins = False
        super().stop(None)
        if life is None:
            if reason is not None and self._old is None:
                self.world.watches.ended(self.address, reason, error)
            return
        self._old, life.reason, life.error = life, reason, error
        if reason == "killed" or (reason in ("crashed", "parked") and asyncio.current_task() not in life.tasks):
            life.killed = True
            self._cancel(life)
        if not life.tasks:
            self._start(life, self._end(life))

    def _cancel(self, life: Life) -> None:
        for task in list(life.tasks):
            task.cancel()

        def again() -> None:
            if life.tasks:
                log.warning("actor resists its end", actor=self.name, tasks=len(life.tasks))
                self._cancel(life)

        self.world.delays.after(RESISTS, again)

    async def _end(self, life: Life) -> None:
        if not life.killed:
            _, error = await self._guarded(life, Handling(self), life.actor.stopped)
            if error is not None:
                log.warning("actor failed at its end", actor=self.name, error=repr(error))
        self._old = None
        if life.unhandled:
            # At least once: the next incarnation gets these messages again, with the same ids.
            last_first = sorted(life.unhandled, reverse=True)
            self.put_back((envelope for _, envelope in last_first), self.world.clock.steady())
        if life.reason is not None:
            self.world.watches.ended(self.address, life.reason, life.error)
        owner = self.world.owners.get(self.address)
        if life.reason == "finished" and owner is not None:
            owner.finished(self.address)
        if self.phase is Phase.PARKED:
            self._bring_back()  # refuse what was put back
        elif self._begins or (self.phase is Phase.STOPPED and (self.mail or self.control)):
            self.revive()
        elif self.phase is Phase.STOPPED:
            self.world.release(self)

    def _start(self, life: Life, work: Coroutine[Any, Any, None]) -> None:
        task = self.world.spawn(work)
        life.tasks.append(task)
        task.add_done_callback(partial(self._done, life))

    def _done(self, life: Life, task: asyncio.Task[Any]) -> None:
        life.tasks.remove(task)
        if life is self._life:
            self._work()
        elif life is self._old and not life.tasks:
            self._start(life, self._end(life))

    # -- work ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        life = self._life
        if life is not None and self.phase is Phase.RUNNING and not life.finishing:
            waiting = len(self.mail) + len(self.control)
            for _ in range(min(waiting, self.kind.at_once) - len(life.tasks)):
                self._start(life, self._run(life))

    async def _run(self, life: Life) -> None:
        while self._life is life and self.phase is Phase.RUNNING and not life.finishing:
            envelope = self._take()
            if envelope is None:
                return
            await self._handle(life, envelope)
            self.let_in()

    async def _handle(self, life: Life, envelope: Envelope) -> None:
        self._taken += 1
        self.kind.counts.turns += 1
        self.used = self.world.clock.steady()
        if self.mail:
            self.left_behind(1, self.used)
        now = Handling(self, envelope, self._taken)
        message, reply_to = envelope.message, envelope.reply
        reply, error = await self._guarded(life, now, partial(life.actor.receive, message))
        if error is None and reply_to is not None and not now.stashed:
            try:
                self.kind.check_reply(message.__class__, reply)
            except TypeError as wrong:
                error = wrong
        if error is None:
            if reply_to is not None and not now.stashed:
                reply_to.done(reply)
        elif life.killed and isinstance(error, asyncio.CancelledError):
            life.unhandled.append((now.number, envelope))
        else:
            told = failure(self.address, message, error)
            self.give_back(envelope, told)
            if told is not error and self._life is life:
                self.crashed(told)  # the failure may have left the object in disorder
        if life.finishing and self._life is life:
            self.stop("finished")

    async def _guarded(self, life: Life, now: Handling, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Run the author's code, for so long as it may take; return its result, or what it raised."""
        handling.set(now)
        task = asyncio.current_task()
        assert task is not None
        limit, timer = life.actor.time_limit, None
        if limit is not None:
            timer = self.world.delays.after(limit.total_seconds(), partial(_cut_off, now, task))
        try:
            result = work()
            return (await result if inspect.isawaitable(result) else result), None
        except asyncio.CancelledError as cancelled:
            while not life.killed and task.cancelling():
                task.uncancel()  # it was the time limit, or the author's code; the task has more to do
            overdue = TimeoutError(f"it took longer than {limit}, the actor's time_limit")
            return None, overdue if now.overdue and not life.killed else cancelled
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            return None, raised
        finally:
            if timer is not None:
                timer.cancel()

    def cut_off(self) -> None:
        """Cancel whatever is under way: the runtime closes, and can't wait any longer."""
        for life in (self._life, self._old):
            if life is not None:
                life.killed = True
                for task in list(life.tasks):
                    task.cancel()

    # -- the context of the actor -------------------------------------------------------------------------------

    @property
    def envelope(self) -> Envelope | None:
        """The message that the running task handles."""
        now = handling.get()
        return now.envelope if now is not None and now.cell is self else None

    def next_id(self, envelope: Envelope) -> str:
        """Return the id of the next request that is sent for a message: the same, should the message come again."""
        now = handling.get()
        assert now is not None
        now.sent += 1
        return f"{envelope.id}>{now.sent}"

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command without waiting for anything."""
        self._envelope = self.envelope  # of the task that runs now
        super().tell(address, message, id)

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> R:
        """Ask another actor, in the name of the message that is being handled."""
        envelope, correlation = self.envelope, None
        if envelope is not None:
            correlation = envelope.correlation
            if id is None and envelope.id is not None:
                id = self.next_id(envelope)  # noqa: A001
        return await self.world.ask(address, request, request_id=id, correlation=correlation, timeout=timeout)

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        super().stash()
        now = handling.get()
        assert now is not None
        now.stashed = True

    def finish(self) -> None:
        """End in order, when what is being handled has been."""
        if self._life is not None:
            self._life.finishing = True


def _cut_off(now: Handling, task: asyncio.Task[Any]) -> None:
    now.overdue = True
    task.cancel()
