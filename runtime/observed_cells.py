"""The cells of a node that is observed: what the others do, and tell of it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from actors import Actor, Address, Saga, Service
from actors.actor import Reason
from actors.verbs import Verb
from persistence import Record
from runtime.actor_cell import ActorCell
from runtime.actor_life import Life
from runtime.cells import Cell, Phase, World
from runtime.directory import MakeCell
from runtime.inbox import Inbox
from runtime.instruments import StopReason
from runtime.kinds import Kind, meta_of
from runtime.lock_mail import LockMail
from runtime.mailbox import Envelope
from runtime.observer import Observer, outcome_of
from runtime.reminder_mail import Look, Sent
from runtime.saga_cell import SagaCell
from runtime.saga_events import NAMES, Released
from runtime.saga_locks import GivenBack
from runtime.saga_mail import Begin, Bury, Join, Pass, Resume, StepOutcome, Wake
from runtime.saga_story import StepStory
from runtime.service_cell import ServiceCell
from runtime.service_mail import Delete, Erase, TakeSnapshot
from runtime.timers import Timers
from runtime.tracing import Span
from runtime.turn_cell import TurnCell

RELEASED = NAMES[Released]
UNTRACED = (
    Begin,
    Bury,
    Delete,
    Erase,
    GivenBack,
    Join,
    LockMail,
    Look,
    Pass,
    Resume,
    Sent,
    StepOutcome,
    TakeSnapshot,
    Verb,
    Wake,
)
"""Messages of the runtime's own that are no part of a trace; what they lead to is."""


class Observed(Cell):
    """What all observed cells tell: their mail, and their lives."""

    __slots__ = ()

    @property
    def observer(self) -> Observer:
        """Whom it tells."""
        return self.world.observer

    # -- mail ---------------------------------------------------------------------------------------------------

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox, as part of the trace that it was sent in."""
        if not envelope.trace:
            envelope.trace = self.observer.tracing.here()
        self.observer.sent(self.address, type(envelope.message).__name__)
        super().put(envelope)

    def full_error(self) -> Any:
        """Return the error for senders that can't wait."""
        self.observer.mailbox_full(self.address)
        return super().full_error()

    def line_up(self, timers: Timers, due: int = 0) -> asyncio.Future[None]:
        """Join the senders who wait for room."""
        self.observer.mailbox_full(self.address)
        return super().line_up(timers, due)

    def _turn_away(self, sender: asyncio.Future[None]) -> None:
        if not sender.done():  # it was told that the mailbox is full when it lined up
            sender.set_exception(Inbox.full_error(self))

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end."""
        observer = self.observer
        traced = not isinstance(envelope.message, UNTRACED)
        work = observer.begin(self.kind.name, self.address, envelope, traced=traced)
        try:
            super().turn(envelope)
        except BaseException as error:
            work.error = error
            raise
        finally:
            observer.end(work)

    def give_back(self, envelope: Envelope, error: Exception) -> None:
        """Say why a message was not handled."""
        self.observer.gave_back(envelope, error)
        super().give_back(envelope, error)

    # -- life ---------------------------------------------------------------------------------------------------

    def recovered(self) -> None:
        """Go on: all that the journal holds has been replayed."""
        self.observer.started(self.address)
        with self.observer.tracing.within(""):  # not in whatever trace somebody was who opened the runtime
            super().recovered()

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation."""
        running, ended = self.phase is Phase.RUNNING, _STOPPED.get(reason)
        super().stop(reason, error)
        if running and ended is not None:
            self.observer.stopped(self.address, ended)

    def crashed(self, error: BaseException) -> None:
        """Stop after an error."""
        self.observer.crashed(self.address, error)
        super().crashed(error)

    def suspend(self) -> Callable[[], None]:
        """Let the actor wait with its mail; return what starts it again."""
        start, counts = super().suspend(), self.kind.counts

        def again() -> None:
            before = counts.restarts
            start()
            if counts.restarts != before:
                self.observer.restarted(self.address)

        return again

    def park(self, error: BaseException) -> None:
        """Set the actor aside, visibly."""
        self.observer.parked(self.address, error)
        super().park(error)


_STOPPED: dict[Reason | None, StopReason] = {None: "rested", "finished": "finished", "killed": "killed"}
"""Those that crashed or were parked are told as such."""


class ObservedService(Observed, ServiceCell):
    """A service that is observed."""

    __slots__ = ()


class ObservedTurnCell(Observed, TurnCell):
    """A plain actor that works in turns, and is observed."""

    __slots__ = ()

    def _begin(self) -> None:
        super()._begin()
        if self.phase is Phase.RUNNING:
            self.observer.started(self.address)


class ObservedActorCell(Observed, ActorCell):
    """An async plain actor that is observed."""

    __slots__ = ()

    async def _begin(self, life: Life) -> None:
        await super()._begin(life)
        if self._life is life and self.phase is Phase.RUNNING:
            self.observer.started(self.address)

    async def _handle(self, life: Life, envelope: Envelope) -> None:
        work = self.observer.begin(self.kind.name, self.address, envelope, traced=True)
        try:
            await super()._handle(life, envelope)
        except BaseException as error:
            work.error = error
            raise
        finally:
            self.observer.end(work, cut_off=any(other is envelope for _, other in life.unhandled))


class ObservedSaga(Observed, SagaCell):
    """A saga that is observed.

    All that it does is part of the trace of the message that started it, which stands in the metadata of its first
    event, so that whoever brings it back goes on with that trace. Each step, and each undo, is a part of its own, from
    sending to outcome.
    """

    __slots__ = ("_steps", "_trace", "_trouble")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._trace = ""
        self._trouble: BaseException | None = None
        """Why the turn sets it aside."""
        self._steps: dict[str, Span] = {}
        """The steps and undos that are under way; like those, they outlive the incarnation."""

    def begin(self) -> None:
        """Start from an empty story."""
        super().begin()
        self._trace = ""

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        super().replay(record)
        if record.version == 1:
            self._trace = meta_of(record).trace

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation; where the journal is lost, the steps that are under way are too."""
        super().stop(reason, error)
        if error is not None:
            self._end_steps("lost", error)

    def left(self) -> None:
        """Note that the runtime closes, and another one will go on."""
        self._end_steps("unfinished")

    def _end_steps(self, outcome: str, error: BaseException | None = None) -> None:
        for span in self._steps.values():
            span.end(self.world.clock.now(), outcome, error)
        self._steps.clear()

    def turn(self, envelope: Envelope) -> None:
        """Take in one thing that happened, and go as far as it leads."""
        message = envelope.message
        if isinstance(message, StepOutcome):
            span = self._steps.pop(message.request, None)
            if span is not None:
                span.end(self.world.clock.now(), outcome_of(message.error), message.error)
        super().turn(envelope)

    def _turn(self, cause: str, handle: Callable[[Any], None], message: Any) -> None:
        if self._trace:
            with self.observer.tracing.within(self._trace):
                super()._turn(cause, handle, message)
        else:
            super()._turn(cause, handle, message)

    def _start(self, envelope: Envelope) -> None:
        if self.story.start is None:
            self._trace = self.observer.tracing.here()
        super()._start(envelope)

    def _send(
        self,
        step: StepStory,
        to: Address[Any],
        message: Any,
        request: str,
        data: msgspec.Raw,
        timeout: timedelta | None,
        undoes: str | None = None,
    ) -> Envelope | None:
        sent = super()._send(step, to, message, request, data, timeout, undoes)
        if sent is not None:
            attributes = {
                "understudy.actor": self.kind.name,
                "understudy.key": self.address.key,
                "understudy.step": step.asked.step,
                "understudy.to": str(to),
            }
            name = f"{self.kind.name} {'undo' if undoes else 'step'} {step.asked.step}"
            span = self.observer.tracing.begin(name, self._trace, self.now, attributes, current=False)
            self._steps[request] = span
            sent.trace = span.trace
        return sent

    def _end_turn(self) -> None:
        story = self.story
        news = bool(self._new) and self._new[0].type != RELEASED
        super()._end_turn()
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            self._tell(partial(self.observer.parked, self.address, trouble))
        if story.ended and news:
            self._ended(story.status, story.started_at or story.queued_at)

    def _ended(self, end: Any, started_at: int) -> None:
        self._end_steps("given up")
        attributes = {"understudy.actor": self.kind.name, "understudy.key": self.address.key}
        tracing = self.observer.tracing
        tracing.begin(f"{self.kind.name} {end}", self._trace, started_at, attributes, current=False).end(self.now, end)
        self._tell(partial(self.observer.saga_ended, self.address, end, (self.now - started_at) / 1e6))

    def _tell(self, hook: Callable[[], None]) -> None:
        """Tell of what the turn has led to when it is durable; what is lost has not happened, and the saga goes on."""
        self.world.writer.hold(lambda durable: hook() if durable else None)

    def _set_aside(self, error: BaseException) -> None:
        super()._set_aside(error)
        self._trouble = error


def makers(world: World) -> dict[type, MakeCell]:
    """Return what makes the cells of a node, by the base of the actor's class."""
    if world.observer.on:
        return {
            Service: lambda address, kind: ObservedService(world, address, kind),
            Saga: lambda address, kind: ObservedSaga(world, address, kind),
            Actor: lambda address, kind: (ObservedActorCell if kind.cls.is_async else ObservedTurnCell)(
                world, address, kind
            ),
        }
    return {
        Service: lambda address, kind: ServiceCell(world, address, kind),
        Saga: lambda address, kind: SagaCell(world, address, kind),
        Actor: lambda address, kind: (ActorCell if kind.cls.is_async else TurnCell)(world, address, kind),
    }
