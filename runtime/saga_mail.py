"""What comes to a saga while it is under way: outcomes of its steps, its timers, and people who ask for its result."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from actors import Address, Parked
from actors.actor import Reason
from runtime.cells import Cell
from runtime.mailbox import Envelope, ReplyTo
from runtime.throttle import Waiting
from runtime.timers import Timer
from runtime.watches import Watches


class StepOutcome(msgspec.Struct):
    """What became of a step, or of its undo: a reply, or an error.

    ``request`` is the id that it was sent with, and ``attempt`` tells which of those that were sent with it.
    """

    step: str
    undo: bool
    value: Any = None
    error: Exception | None = None
    request: str = ""
    attempt: int = 0
    told: bytes | None = None
    """The reply as JSON, if it was written down already."""
    uncertain: bool = False
    """Whether a refusal does not say what became of other copies that were sent to another node."""


class Wake(msgspec.Struct, eq=False):
    """A time has come: that of a step's end of sleep, of its timeout or next attempt, or (no step) of the deadline.

    Only the last one that was set for a step counts: another may be on its way already when its time is taken back.
    """

    step: str | None
    due: int
    undo: bool = False
    timer: Timer | None = None

    def cancel(self) -> None:
        """Don't send it, if that has not happened yet."""
        if self.timer is not None:
            self.timer.cancel()


class Resume(msgspec.Struct):
    """After a crash of the process it is the saga's turn to go on; ``incarnation``: the one that has counted it."""

    incarnation: int | None = None


class Begin(msgspec.Struct):
    """The saga has waited for its place, and has it now."""


class Held(msgspec.Struct, gc=False):
    """A step, or an undo, that waits until it may be sent. ``timeout`` is how long it may take from then on."""

    to: Address[Any]
    envelope: Envelope
    step: str
    timeout: timedelta | None
    waiting: Waiting


class Pass(msgspec.Struct):
    """What was to be sent under this id, and waited for the rate of whom it goes to, may go now."""

    request: str


class Join(msgspec.Struct):
    """Somebody asks for the saga's result without starting it."""


class Bury(msgspec.Struct):
    """Erase the whole story, if it has ended, and refuse everything from then on."""


class OnlyStart(msgspec.Struct, gc=False):
    """Where the news goes that a saga was started, for those who don't wait for its end."""

    reply: ReplyTo

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more."""
        return self.reply.gone

    def done(self, value: Any) -> None:
        """Say that it was started."""
        self.reply.done(value)

    def failed(self, error: Exception) -> None:
        """Say that it was not."""
        self.reply.failed(error)


class StepReturn(msgspec.Struct, gc=False):
    """Where the reply to a step goes: into the mailbox of its saga."""

    find: Callable[[Address[Any]], Cell | None]
    saga: Address[Any]
    step: str
    undo: bool
    request: str
    attempt: int
    told: bytes | None = None
    """The reply as JSON, where who gives it has written it down already; of the same class of requests."""
    uncertain: bool = False
    """Whether a refusal does not say what became of other copies that were sent to another node."""
    gone: bool = False
    """Whether nobody waits for the reply any more: never, for a saga's story goes on."""

    def done(self, value: Any) -> None:
        """Give the reply."""
        # An unfinished saga has its cell, or gets it back and sends the step again; one that has ended needs no reply.
        cell = self.find(self.saga)
        if cell is not None:
            cell.post(Envelope(StepOutcome(self.step, self.undo, value, None, self.request, self.attempt, self.told)))

    def failed(self, error: Exception) -> None:
        """Say that there is none."""
        cell = self.find(self.saga)
        if cell is not None:
            undo, request, attempt = self.undo, self.request, self.attempt
            cell.post(Envelope(StepOutcome(self.step, undo, None, error, request, attempt, None, self.uncertain)))


class SagaEnd(msgspec.Struct, gc=False):
    """Where a saga's result goes for those who only watch it: they are told that it has ended."""

    watches: Watches
    saga: Address[Any]
    hold: Callable[[Callable[[bool], None]], None]

    @property
    def gone(self) -> bool:
        """Whether nobody watches any more."""
        return self.saga not in self.watches

    def done(self, _value: Any) -> None:
        """Say that it has completed."""
        self._ended("finished")

    def failed(self, error: Exception) -> None:
        """Say that it was compensated or is parked, or was never started."""
        self._ended("parked" if isinstance(error, Parked) else "finished", error)

    def _ended(self, reason: Reason, error: Exception | None = None) -> None:
        # An end that is not durable is none: the saga goes on from what the journal holds, and the watch with it.
        self.hold(lambda durable: self.watches.ended(self.saga, reason, error) if durable else None)


def join(saga: Cell) -> None:
    """Have all who watch a saga told of its end."""
    world = saga.world
    saga.put(Envelope(Join(), None, SagaEnd(world.watches, saga.address, world.writer.hold)))


class Waiters:
    """Who asked for a saga's result. Like mail, they outlive its incarnations."""

    __slots__ = ("_limit", "_replies")

    def __init__(self) -> None:
        self._replies: list[ReplyTo] = []
        self._limit = 64

    def __bool__(self) -> bool:
        for reply in self._replies:  # noqa: SIM110 (asked at the end of each turn, and this takes half the time)
            if not reply.gone:
                return True
        return False

    def add(self, reply: ReplyTo) -> None:
        """Let one more wait; those who have given up are swept out from time to time."""
        if isinstance(reply, SagaEnd) and reply in self._replies:
            return  # one is there for all who watch
        self._replies.append(reply)
        if len(self._replies) > self._limit:
            self._replies = [reply for reply in self._replies if not reply.gone]
            self._limit = max(64, 2 * len(self._replies))

    def answer(self, value: Any, error: Exception | None) -> None:
        """Tell all of them how the saga has ended."""
        replies, self._replies = self._replies, []
        for reply in replies:
            if error is None:
                reply.done(value)
            else:
                reply.failed(error)
