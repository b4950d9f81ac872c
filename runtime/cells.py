"""Cells: what the runtime keeps of one actor. A cell's life reads as phases:

    stopped --mail--> recovering --journal read--> running --crash--> stopped
                          |                                              ^
                          +--budget of restarts spent--> parked          | (mail, waiting callers and a
                                                                           saga's duty to finish stay)

Mail belongs to the address, not to the incarnation: a crash drops what the actor had in memory and nothing else.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from random import Random
from typing import Any, Protocol, TypeVar

from actors import Address, Failed, Parked, Request
from actors.actor import Reason
from persistence import Journal, Record, Stream
from persistence.writer import Writer
from runtime.asking import Asks, AsksQuery
from runtime.clock import Clock
from runtime.flow import Flow
from runtime.inbox import Inbox
from runtime.kinds import Kind
from runtime.lock_waits import LockWaits
from runtime.log import log
from runtime.mailbox import NO_MAIL, SPARE, Envelope, new_lane
from runtime.observer import Observer
from runtime.origin import Origin
from runtime.owner import Owner
from runtime.projector import Projector
from runtime.restarts import Budget
from runtime.saga_alerts import SagaAlert
from runtime.slow_turns import SlowTurns
from runtime.suspects import Suspects
from runtime.timers import Timers
from runtime.watches import Watches

A = TypeVar("A")
R = TypeVar("R")


class World(Protocol):
    """What a cell knows of the node that it lives in."""

    journal: Journal
    writer: Writer
    timers: Timers
    delays: Timers
    clock: Clock
    random: Random
    watches: Watches
    slow: SlowTurns
    suspects: Suspects
    flow: Flow
    lock_waits: LockWaits
    observer: Observer
    projectors: dict[str, Projector]
    """The read models, by the names of their classes."""
    closing: bool
    """Whether the node is closing, so that plain actors that have ended are not started again."""
    owners: dict[Address[Any], Owner]
    """The groups of the actors that are supervised."""

    def ready(self, cell: "Cell", /) -> None:
        """Give a cell its turn, sometime; its first mail has just come."""
        ...

    def recover(self, cell: "Cell", /) -> None:
        """Replay a cell's stream to it, once its own events are durable."""
        ...

    def release(self, cell: "Cell", /) -> None:
        """Let go of a cell that nothing keeps in memory."""
        ...

    def find(self, address: Address[Any], /) -> "Cell | None":
        """Return the cell of an address, if it is in memory."""
        ...

    def cell(self, address: Address[Any], /) -> "Cell":
        """Return the cell of an address; it need not be awake."""
        ...

    def kind(self, name: str, /) -> Kind:
        """Return what is known of a class of actors, by its name."""
        ...

    def check(self, address: Address[Any], message: object, /) -> None:
        """Make sure that the actor at an address takes a message."""
        ...

    def taker(self, address: Address[Any], message: object, /) -> "Cell":
        """Return the cell of an address, having made sure that its actor takes the message."""
        ...

    def new_id(self) -> str:
        """Return an id for a message that came without one."""
        ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something as a task of the node."""
        ...

    def alert(self, alert: SagaAlert) -> None:
        """Tell who looks after sagas, when it is durable, that one needs a person."""
        ...

    def dead_letter(self, address: Address[Any], message: object, error: Exception) -> None:
        """Note a message that nobody waits for and that could not be handled."""
        ...

    ask_inside: Asks
    """What plain actors' commands go through."""
    query_inside: AsksQuery
    """What their queries go through."""

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        origin: Origin | None = None,
        timeout: float | None = None,
    ) -> R:
        """Send a command from outside of the turns, and wait for the reply."""
        ...


class Phase(Enum):
    """Where a cell is in its life."""

    STOPPED = "stopped"
    RECOVERING = "recovering"
    RUNNING = "running"
    PARKED = "parked"


class Cell(Inbox):
    """An actor's place in the runtime: its mailbox, its phase, and its incarnation, kept by subclasses."""

    __slots__ = ("budget", "error", "incarnation", "name", "phase", "queued", "runnable", "used", "world", "written")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(address, kind)
        self.world = world
        self.name = str(address)
        self.phase = Phase.STOPPED
        self.runnable = False
        """Whether the dispatcher may give it turns: it is running, and not waiting in the middle of something."""
        self.queued = False
        self.incarnation = 0
        self.budget: Budget | None = None
        self.error: BaseException | None = None
        self.written = False
        """Whether it has ever enqueued events, so that its recovery must wait until they are durable."""
        self.used = 0
        """When it last had a turn, in microseconds of steady time; kept by the dispatcher."""

    @property
    def stream(self) -> Stream:
        """The name of the actor's stream in the journal."""
        return (self.address.actor, self.address.key)

    # -- mail ---------------------------------------------------------------------------------------------------

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox; an actor that is not there is revived by it."""
        if self.mail is NO_MAIL:
            self.mail = SPARE.pop() if SPARE else new_lane()
        self.mail.append(envelope)
        if self.runnable:
            if not self.queued:
                self.world.ready(self)
        else:
            if len(self.mail) == 1:
                self.since = self.world.clock.steady()
            self._bring_back()

    def post(self, envelope: Envelope) -> None:
        """Put a message into the control lane, which never waits behind the mail."""
        if self.control is NO_MAIL:
            self.control = SPARE.pop() if SPARE else new_lane()
        self.control.append(envelope)
        if self.runnable:
            if not self.queued:
                self.world.ready(self)
        else:
            self._bring_back()

    def _bring_back(self) -> None:
        if self.phase is Phase.STOPPED:
            self.revive()
        elif self.phase is Phase.PARKED:
            self.turn_away(self.parked_error)

    def put_from_inside(self, envelope: Envelope) -> None:
        """Put a message from another actor's turn, which can't wait for room.

        Raises:
            MailboxFull: there is none, and nobody waits for a reply who could be told.
        """
        error: Exception | None = None
        if len(self.mail) >= self.limit:
            error = self.full_error()
        elif self.address in envelope.path:
            error = self.circle(envelope.path, envelope.message)
        if error is None:
            self.put(envelope)
            return
        if envelope.reply is not None:
            envelope.reply.failed(error)
        elif self.kind.mailbox.overflow == "drop":
            self.world.dead_letter(self.address, envelope.message, error)
        else:
            raise error

    def target(self, message: object, path: tuple[Address[Any], ...] = ()) -> "Cell":  # noqa: ARG002 (a pool looks)
        """Return the cell that a message is for: this one, or one of a pool's workers."""
        return self

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end. What goes wrong goes to the asker; what is raised crashes the actor."""
        raise NotImplementedError

    def control_turn(self, envelope: Envelope) -> None:
        """Handle one message of the control lane to its end."""
        self.turn(envelope)

    # -- life ---------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """Begin a new incarnation: have the stream read from the journal."""
        self.phase = Phase.RECOVERING
        self.world.recover(self)

    def begin(self) -> None:
        """Prepare for :meth:`replay`: a new incarnation that knows nothing yet."""
        raise NotImplementedError

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        raise NotImplementedError

    def replay_all(self, records: Iterable[Record]) -> None:
        """Take in a page of the stream."""
        for record in records:
            self.replay(record)

    def recovered(self) -> None:
        """Go on: all that the journal holds has been replayed."""
        self.phase = Phase.RUNNING
        self.runnable = True
        if (self.mail or self.control) and not self.queued:
            self.ready_again()

    def ready_again(self) -> None:
        """Ask for turns after a while without any; what has waited in the meantime keeps its age."""
        since = self.since
        self.world.ready(self)
        if self.mail:
            self.since = since

    def forget(self) -> None:
        """Drop what the incarnation has in memory."""
        raise NotImplementedError

    @property
    def unfinished(self) -> bool:
        """Whether it must live on: it has mail, or a duty."""
        return bool(self.mail or self.control or self.gate)

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory, and nobody would notice."""
        return not self.unfinished and not self.queued and self.phase in (Phase.RUNNING, Phase.STOPPED)

    def kill(self) -> None:
        """Crash: the incarnation is gone. Mail and duties stay, and bring the next one to life."""
        self.read_again("killed")

    def read_again(self, reason: Reason | None = None) -> None:
        """Drop what is in memory, to be read again from the journal. Watchers are told the reason, if there is one."""
        if self.phase in (Phase.STOPPED, Phase.PARKED):
            return
        must_live = self.unfinished or self.phase is Phase.RECOVERING or self.address in self.world.owners
        self.stop(reason)
        if must_live or self.mail or self.control:  # stopping may have put back what it was in the middle of
            self.revive()

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation, leaving the mail. Watchers are told the reason; None: it only rests."""
        self.incarnation += 1
        self.runnable = False
        self.phase = Phase.STOPPED
        self.forget()
        if reason is not None:
            self.world.watches.ended(self.address, reason, error)

    def end_with_owner(self) -> None:
        """End for good: whoever waits for an answer is told that none will come."""
        self.stop("finished")
        self.turn_away(self.ended_error)
        self.let_all_in()
        self.world.release(self)

    def crashed(self, error: BaseException) -> None:
        """Stop after an error, and start again after a pause, or park when the budget of restarts is spent."""
        self.kind.counts.failures += 1
        owner = self.world.owners.get(self.address)
        if owner is not None:
            self.stop("crashed", error)
            owner.crashed(self.address, error)
            return
        if self.budget is None:
            self.budget = Budget(self.kind.restart)
        pause = self.budget.spend(error, self.world.clock.steady(), self.world.random)
        self.stop("crashed" if pause is not None else "parked", error)
        if pause is None:
            self.park(error)
            return
        log.warning("actor crashed", actor=str(self.address), restart_in=round(pause, 3), error=repr(error))
        self.world.delays.after(pause, self.suspend())

    def suspend(self) -> Callable[[], None]:
        """Let the actor, which is stopped, wait with its mail; return what starts it again."""
        self.phase = Phase.RECOVERING
        incarnation = self.incarnation

        def again() -> None:
            if self.incarnation == incarnation and self.phase is Phase.RECOVERING:
                self.kind.counts.restarts += 1
                self.revive()

        return again

    def park(self, error: BaseException) -> None:
        """Set the actor aside, visibly; its mail is answered with :class:`Parked`."""
        self.phase = Phase.PARKED
        self.runnable = False
        self.error = error
        log.error("actor parked", actor=str(self.address), error=repr(error))
        self.turn_away(self.parked_error)
        self.let_all_in()
        incarnation = self.incarnation
        owner = self.world.owners.get(self.address)
        pause = (self.kind.restart if owner is None else owner.restart).parked_for.total_seconds()
        self.world.delays.after(pause, lambda: self.unpark() if self.incarnation == incarnation else None)

    def unpark(self) -> None:
        """Let a parked actor, and the group that it is in, try again with a new budget."""
        if self.phase is not Phase.PARKED:
            return
        owner = self.world.owners.get(self.address)
        if owner is not None:
            owner.unpark()
            return
        self.pardon()
        if self.unfinished:
            self.revive()

    def pardon(self) -> None:
        """Forget that the actor was parked, and how often it has crashed."""
        self.incarnation += 1
        self.phase, self.error, self.budget = Phase.STOPPED, None, None

    def let_go(self) -> None:
        """Put what was put aside until another time back into the mailbox."""

    def turn_away(self, error: Callable[[], Exception]) -> None:
        """Say of all mail why it will not be handled."""
        while self.mail:
            self.give_back(self.mail.popleft(), error())

    def ended_error(self) -> Failed:
        """Return the error for those who asked a child that has ended with its parent."""
        return Failed(f"{self.address} has ended with its parent")

    def give_back(self, envelope: Envelope, error: Exception) -> None:
        """Say to whoever asked, or else as a dead letter, why a message was not handled."""
        if envelope.reply is not None:
            envelope.reply.failed(error)
        else:
            self.world.dead_letter(self.address, envelope.message, error)

    def parked_error(self) -> Parked:
        """Return the error for those who ask a parked actor."""
        parked = Parked(f"{self.address} is parked: {self.error}")
        parked.__cause__ = self.error
        return parked
