"""Cells: what the runtime keeps of one actor. A cell's life reads as phases:

    stopped --mail--> recovering --journal read--> running --crash--> stopped
                          |                                              ^
                          +--budget of restarts spent--> parked          | (mail, waiting callers and a
                                                                           saga's duty to finish stay)

Mail belongs to the address, not to the incarnation: a crash drops what the actor had in memory and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar

from actors import Address, Failed, MailboxFull, Parked, Request
from persistence import Journal, JournalDamaged, JournalError, Record, Stream
from persistence.writer import Writer
from runtime.clock import Clock
from runtime.kinds import Kind
from runtime.log import log
from runtime.mailbox import MAILBOX_LIMIT, Envelope
from runtime.timers import Timers

A = TypeVar("A")
R = TypeVar("R")

NO_MAIL: deque[Envelope] = deque()
"""Shared by all cells without mail; an empty deque of one's own takes 760 bytes."""


class World(Protocol):
    """What a cell knows of the node that it lives in."""

    journal: Journal
    writer: Writer
    timers: Timers
    clock: Clock
    random: Random

    def ready(self, cell: "Cell", /) -> None:
        """Give a cell that has mail its turn, sometime."""
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

    def new_id(self) -> str:
        """Return an id for a message that came without one."""
        ...

    def spawn(self, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something as a task of the node."""
        ...

    def dead_letter(self, address: Address[Any], message: object, error: Exception) -> None:
        """Note a message that nobody waits for and that could not be handled."""
        ...

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        correlation: str | None = None,
    ) -> R:
        """Send a command from outside of the turns, and wait for the reply."""
        ...


def failure(address: Address[Any], message: object, error: BaseException) -> Failed:
    """Return what to tell the asker of a message that an actor could not handle."""
    failed = Failed(f"{address} failed at {type(message).__name__}: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed


class Phase(Enum):
    """Where a cell is in its life."""

    STOPPED = "stopped"
    RECOVERING = "recovering"
    RUNNING = "running"
    PARKED = "parked"


class Cell:
    """An actor's place in the runtime: its mailbox, its phase, and its incarnation, kept by subclasses."""

    __slots__ = (
        "address",
        "coming",
        "error",
        "held",
        "incarnation",
        "kind",
        "mail",
        "name",
        "phase",
        "queued",
        "restarts",
        "runnable",
        "senders",
        "world",
        "written",
    )

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        self.world = world
        self.kind = kind
        self.address = address
        self.name = str(address)
        self.mail: deque[Envelope] = NO_MAIL
        self.senders: deque[asyncio.Future[None]] | None = None
        """Callers outside who wait for room in the mailbox, first come first served."""
        self.coming = 0
        """How many of them have been let in and have not put their message yet."""
        self.held = 0
        """Messages on their way here that wait for what caused them to be durable; only plain actors have such."""
        self.phase = Phase.STOPPED
        self.runnable = False
        """Whether the dispatcher may give it turns: it is running, and not waiting in the middle of something."""
        self.queued = False
        self.incarnation = 0
        self.restarts: deque[int] | None = None
        self.error: BaseException | None = None
        self.written = False
        """Whether it has ever enqueued events, so that its recovery must wait until they are durable."""

    @property
    def stream(self) -> Stream:
        """The name of the actor's stream in the journal."""
        return (self.address.actor, self.address.key)

    # -- mail ---------------------------------------------------------------------------------------------------

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox; an actor that is not there is revived by it."""
        if self.mail is NO_MAIL:
            self.mail = deque()
        self.mail.append(envelope)
        if self.runnable:
            if not self.queued:
                self.world.ready(self)
        elif self.phase is Phase.STOPPED:
            self.revive()
        elif self.phase is Phase.PARKED:
            self._refuse_mail()

    def put_from_inside(self, envelope: Envelope) -> None:
        """Put a message from another actor's turn, which can't wait for room: beyond the limit it fails."""
        if self.full and envelope.reply is not None:
            envelope.reply.failed(self.full_error())
        else:
            self.put(envelope)

    @property
    def full(self) -> bool:
        """Whether the mailbox, with what is held on its way there, is at its limit."""
        return len(self.mail) + self.held >= MAILBOX_LIMIT

    @property
    def crowded(self) -> bool:
        """Whether a sender from outside must line up: the mailbox is full, or others were here first."""
        return len(self.mail) + self.held >= MAILBOX_LIMIT or self.coming > 0 or bool(self.senders)

    def full_error(self) -> MailboxFull:
        """Return the error for senders that can't wait."""
        return MailboxFull(f"the mailbox of {self.address} is full ({MAILBOX_LIMIT:,} messages); ask again later")

    def line_up(self, due: int | None = None) -> asyncio.Future[None]:
        """Join the senders who wait for room, at once; to be awaited by :meth:`room`."""
        sender: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.senders is None:
            self.senders = deque()
        self.senders.append(sender)
        if due is not None:
            timer = self.world.timers.at(due, partial(self._turn_away, sender))
            sender.add_done_callback(lambda _: timer.cancel())
        return sender

    async def room(self, sender: asyncio.Future[None]) -> None:
        """Wait until there is room for one who has lined up.

        Raises:
            MailboxFull: it had none in time.
        """
        try:
            await sender
        finally:
            if not sender.cancelled() and sender.exception() is None:
                self.coming -= 1

    def _turn_away(self, sender: asyncio.Future[None]) -> None:
        if not sender.done():
            sender.set_exception(self.full_error())

    def let_in(self) -> None:
        """Let waiting senders go on, when the mailbox is down to half."""
        if self.senders is not None and len(self.mail) <= MAILBOX_LIMIT // 2:
            room = MAILBOX_LIMIT - len(self.mail)
            while self.senders and room:
                sender = self.senders.popleft()
                if not sender.done():  # one who went away takes no room
                    sender.set_result(None)
                    self.coming += 1
                    room -= 1

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end. What goes wrong goes to the asker; what is raised crashes the actor."""
        raise NotImplementedError

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

    def recovered(self) -> None:
        """Go on: all that the journal holds has been replayed."""
        self.phase = Phase.RUNNING
        self.runnable = True
        if self.mail and not self.queued:
            self.world.ready(self)

    def forget(self) -> None:
        """Drop what the incarnation has in memory."""
        raise NotImplementedError

    @property
    def unfinished(self) -> bool:
        """Whether it must live on without mail."""
        return bool(self.mail)

    def kill(self) -> None:
        """Crash: the incarnation is gone. Mail and duties stay, and bring the next one to life."""
        if self.phase in (Phase.STOPPED, Phase.PARKED):
            return
        must_live = self.unfinished or self.phase is Phase.RECOVERING
        self.stop()
        if must_live or self.mail:  # stopping may have put back what it was in the middle of
            self.revive()

    def stop(self) -> None:
        """End the incarnation, leaving the mail."""
        self.incarnation += 1
        self.runnable = False
        self.phase = Phase.STOPPED
        self.forget()

    def crashed(self, error: BaseException) -> None:
        """Stop after an error, and start again after a pause, or park when the budget of restarts is spent."""
        self.stop()
        passing = isinstance(error, JournalError) and not isinstance(error, JournalDamaged)
        pause = self._next_pause()
        if pause is None and passing:
            pause = self.kind.restart.backoff.cap.total_seconds()  # the actor is not to blame, and there is no hurry
        if pause is None:
            self.park(error)
            return
        log.warning("actor crashed", actor=str(self.address), restart_in=round(pause, 3), error=repr(error))
        self.phase = Phase.RECOVERING
        incarnation = self.incarnation

        def again() -> None:
            if self.incarnation == incarnation and self.phase is Phase.RECOVERING:
                self.revive()

        self.world.timers.after(pause, again)

    def _next_pause(self) -> float | None:
        policy = self.kind.restart
        now = self.world.clock.now()
        if self.restarts is None:
            self.restarts = deque(maxlen=policy.restarts + 1)
        since = now - round(policy.within.total_seconds() * 1e6)
        while self.restarts and self.restarts[0] < since:
            self.restarts.popleft()
        self.restarts.append(now)
        if len(self.restarts) > policy.restarts:
            return None
        return policy.backoff.pause(len(self.restarts), self.world.random)

    def park(self, error: BaseException) -> None:
        """Set the actor aside, visibly; its mail is answered with :class:`Parked`."""
        self.phase = Phase.PARKED
        self.runnable = False
        self.error = error
        log.error("actor parked", actor=str(self.address), error=repr(error))
        self._refuse_mail()
        self.let_in()
        incarnation = self.incarnation
        pause = self.kind.restart.parked_for.total_seconds()
        self.world.timers.after(pause, lambda: self.unpark() if self.incarnation == incarnation else None)

    def unpark(self) -> None:
        """Let a parked actor try again, with a new budget."""
        if self.phase is Phase.PARKED:
            self.incarnation += 1
            self.phase, self.error, self.restarts = Phase.STOPPED, None, None
            if self.unfinished:
                self.revive()

    def _refuse_mail(self) -> None:
        mail, self.mail = self.mail, NO_MAIL
        for envelope in mail:
            if envelope.reply is not None:
                envelope.reply.failed(self.parked_error())

    def parked_error(self) -> Parked:
        """Return the error for those who ask a parked actor."""
        parked = Parked(f"{self.address} is parked: {self.error}")
        parked.__cause__ = self.error
        return parked
