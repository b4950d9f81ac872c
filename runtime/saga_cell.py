"""The cell of a saga: keeps its story in the journal, takes in what happens, and leads it to its end.

Each turn takes in one thing (a reply, a refusal, a failure, a timer), goes as far as it leads, forward by the
author's code or back by the undos in the story, and ends by enqueueing the new events as one batch and sending what
they announce.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from actors import (
    Address,
    AskCycle,
    JournalMismatch,
    PoisonMessage,
    Refused,
    Saga,
    SagaMismatch,
    UnknownActor,
)
from actors.actor import Reason
from actors.verbs import Verb
from persistence import NEVER, Append, NotDecodable
from runtime import saga_events as events
from runtime.cells import Phase, World
from runtime.failures import failure
from runtime.kinds import Kind, deletion
from runtime.log import log
from runtime.mailbox import Envelope, ReplyTo
from runtime.reminder_mail import ReminderReturn
from runtime.saga_alerts import SagaAlert
from runtime.saga_locks import GivenBack
from runtime.saga_mail import (
    Begin,
    Bury,
    Join,
    OnlyStart,
    Pass,
    Resume,
    StepOutcome,
    StepReturn,
    Waiters,
    Wake,
)
from runtime.saga_queue import SagaQueue
from runtime.saga_rehearsal import rehearsed
from runtime.saga_stage import NO_LETTERS, UNTOLD
from runtime.saga_story import Story
from runtime.suspects import Suspect

SHORT = 10_000_000
"""A saga that has to wake in so many microseconds, or sooner, stays in memory; one that sleeps longer leaves."""

BRIEF = 100
"""One with so many events, or fewer, leaves at once when it sleeps; one that would take longer to read back leaves when
it has rested for a while, as all actors do: a saga that takes a thousand messages must not be read a thousand times."""


class SagaCell(SagaQueue):
    """A saga at work."""

    __slots__ = ("_counting", "_suspect", "_waiters")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._waiters = Waiters()

    @property
    def unfinished(self) -> bool:
        """Whether it must live on: there is mail, somebody waits, or the story goes on by itself."""
        story = self.story
        under_way = story.started is not None and not story.ended and story.error is None
        if under_way and (self._under_way or story.asleep_until() is None):
            return True
        if story.locks and story.ended and story.lockers:
            return True
        # (and what keeps any cell alive; not by super(), for it is asked at each saga's end, several times)
        return bool(self.mail or self.control or self.gate or self._waiters or self._undoers)

    # -- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from an empty story."""
        super().begin()
        self._suspect = self._counting = False
        """Whether it may have been under way when the process before this one crashed, and has not gone on since."""

    def recovered(self) -> None:
        """Go on where the journal ends."""
        super().recovered()
        status = self.story.status
        if status in ("running", "compensating"):
            until = self.story.asleep_until()
            # One that sleeps for now was not what ended the process.
            asleep = until is not None and until > self.world.clock.now()
            self._suspect = self._position <= self.world.suspects.position and not asleep
            if self._suspect:
                self._line_up()
            else:
                self._turn(self.name, self._go_on, None)
        else:
            self._answer_waiters()
            if self.story.ended and self.story.locks:
                self._give_back_locks()
            if self._summoned and self.story.ended:
                self._turn(self.name, lambda _: None, None)  # to rest for good
        self._rest()

    def ring(self) -> None:
        """Wake up: the alarm has rung. One that is awake has a timer of its own."""
        if self.phase is Phase.STOPPED and not self.world.closing:
            self.revive()

    # -- after a crash of the process ---------------------------------------------------------------------------

    def _line_up(self) -> None:
        resume = Envelope(Resume())
        crashes = self.story.crashes
        left = self._most_crashes - crashes
        go: Callable[[], None] = partial(self.post, resume)
        self.world.suspects.line_up(Suspect(self.name, crashes, left, self._position, go, self._cleared))

    @property
    def _most_crashes(self) -> int:
        policy = self.kind.cls.retry if self.story.reason is None else self.kind.cls.undo_retry
        most: int = policy.crashes
        return most

    def _cleared(self) -> bool:
        return self.phase is not Phase.RECOVERING and not self.story.crashes  # also one that has ended, and is gone

    def _resume(self, turn: Resume) -> None:
        """Count the crash, and go on when that is durable: what ends the process each time must come to its limit."""
        if not self._suspect:
            return  # it has gone on since, by what a person has told it, or has ended
        if turn.incarnation is None:
            if not self._counting:
                self._counting = True
                self._turn(self.name, self._count, None)
                self.world.writer.hold(partial(self._counted, self.incarnation))
        elif turn.incarnation == self.incarnation:
            self._suspect = False
            self._turn(self.name, self._go_on_counted, None)

    def _count(self, _: None) -> None:
        crashes = self.story.crashes + 1
        if crashes > self._most_crashes:
            raise PoisonMessage(
                f"the process crashed {crashes} times in a row while {self.address} was under way, and made no "
                "progress in between; it seems to be what ends the process"
            )
        self.emit(events.Resumed(crashes))

    def _counted(self, incarnation: int, durable: bool) -> None:
        if durable and incarnation == self.incarnation:
            self.post(Envelope(Resume(incarnation)))

    def _go_on_counted(self, _: None) -> None:
        self._go_on(None)
        if self.story.crashes and self._only_waits():
            self.emit(events.Resumed())

    def _only_waits(self) -> bool:
        """Whether nothing is under way but what can't end the process: times to come, and sagas, which are counted."""
        if self.story.reason is not None or any(timer.due <= self.now for timer in self._timers.values()):
            return False
        steps = [step for step in self.story.steps.values() if step.open or (step.dropped and step.needs_undo)]
        targets = [step.asked.to for step in steps if step.asked.to is not None]
        return all(issubclass(self.world.kind(to.actor).cls, Saga) for to in targets)

    def circle(self, path: tuple[Address[Any], ...], message: object = None) -> AskCycle | None:
        """Return the error for an asker who would wait for itself; nobody waits for more of these than an arrival."""
        soon = type(message) in self.kind.messages or type(message) in self.kind.queries
        return None if soon else super().circle(path, message)

    # -- the end of an incarnation ------------------------------------------------------------------------------

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:  # noqa: ARG002
        """End the incarnation, leaving the mail. Nobody is told: a saga ends when its story does."""
        super().stop(None)

    def forget(self) -> None:
        """Drop the coroutine, the timers and the story."""
        self._end_run()
        self.story = UNTOLD

    def park(self, error: BaseException) -> None:
        """Set the saga aside because its stream can't be read."""
        super().park(error)
        self._waiters.answer(None, self.parked_error())
        if self._undoers is not None:
            self._undoers.answer(None, self.parked_error())
        self.world.alert(SagaAlert(self.address, "parked", "", events.told(error)))

    def turn_away(self, error: Callable[[], Exception]) -> None:
        """Say of all mail, and of what people want, why it will not be handled."""
        super().turn_away(error)
        control = [self.control.popleft() for _ in range(len(self.control))]
        for envelope in control:
            if isinstance(envelope.message, Verb):
                self.give_back(envelope, error())
            else:
                self.control.append(envelope)

    def _leave(self, durable: bool) -> None:
        if durable:
            self.world.release(self)

    def _end_run(self) -> None:
        super()._end_run()
        self._suspect = False  # it goes on from here, or back, or has ended

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Take in one thing that happened, and go as far as it leads."""
        self._take_in(envelope)
        self._rest()

    def _rest(self) -> None:
        """Leave the memory when all is durable, where there is nothing to do for long; who is parked stays in sight."""
        story = self.story
        if story.busy and not story.ended:
            return  # the shortest way, for most turns end here
        until = story.asleep_until()
        asleep = until is not None and until - self.world.clock.now() > SHORT and self._version <= BRIEF
        if (asleep or story.started is None or story.ended) and not self.unfinished:
            self.world.writer.hold(self._leave)

    def _take_in(self, envelope: Envelope) -> None:
        message = envelope.message
        if type(message) is StepOutcome:
            last = self._under_way.get(message.request, message.attempt)
            if message.error is not None and message.attempt != last:
                return  # another attempt is under way, and may still work
            self._under_way.pop(message.request, None)
            self._turn(message.request, self._take_undo if message.undo else self._take_outcome, message)
        elif isinstance(message, Wake):
            if self._timers.get(message.step or "") is message:
                del self._timers[message.step or ""]
                self._turn(f"{self.name}#{message.step}" if message.step else self.name, self._wake, message)
        elif isinstance(message, Join):
            self._join(envelope.reply)
        elif isinstance(message, Bury):
            self._bury(envelope)
        elif isinstance(message, Resume):
            self._resume(message)
        elif isinstance(message, Pass):
            self._turn(message.request, self._pass, message)
        elif isinstance(message, Begin):
            self._turn(self.name, self._begin, message)
        elif isinstance(message, GivenBack):
            self._turn(self.name, self._given_back, message)
        elif isinstance(message, Verb):
            self._carry_out(envelope)
        elif type(message) in self.kind.queries:
            self._answer(envelope)
        elif type(message) in self.kind.messages:
            self._receive(envelope)
        else:
            self._turn(envelope.id or self.world.new_id(), self._start, envelope)

    def _answer(self, envelope: Envelope) -> None:
        """Answer a query by the author's code, from where the story has come to; nothing comes of it."""
        message: Any = envelope.message
        try:
            with rehearsed(self.world, self.address, self.kind, self.story) as saga:
                value = saga.answer(message)
            self.kind.check_reply(message.__class__, value)
        except (UnknownActor, SagaMismatch) as error:
            self.give_back(envelope, error)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self.give_back(envelope, failure(self.address, message, error))
        else:
            if envelope.reply is not None:
                envelope.reply.done(value)

    def _turn(self, cause: str, handle: Callable[[Any], None], message: Any) -> None:
        self._cause = cause
        self.now = self.world.clock.now()
        try:
            handle(message)
        except Exception as error:  # noqa: BLE001 (the author's code, or a journal that doesn't fit it)
            self._set_aside(error)
        self._end_turn()

    # -- beginning and end --------------------------------------------------------------------------------------

    def _join(self, reply: ReplyTo | None) -> None:
        if isinstance(reply, (ReminderReturn, OnlyStart)) and self.story.start is not None:
            self._starters += (reply,)  # it has arrived, and need not wait for the end
        elif reply is not None:
            self._waiters.add(reply)
        status = self.story.status
        if status in ("new", "parked") or self.story.ended:
            self._answer_waiters()

    def _bury(self, envelope: Envelope) -> None:
        """Erase the whole story in one append, so that nobody ever reads a part of it; refuse everything then."""
        if not self.story.ended or self.story.lockers:
            why = "has locks to give back" if self.story.ended else "has not ended"
            self.give_back(envelope, Refused(f"{self.address} {why}, so it can't be deleted"))
            return
        if not self.story.buried:
            context = None if envelope.origin is None else envelope.origin.context
            event = deletion(self.world.new_id(), context, for_good=True)
            append = Append(self.stream, self._version, [event], self.world.clock.now(), wake=NEVER, sound=True)
            self._version = append.erase_before = self._version + 1
            self.world.writer.enqueue((append,))
            self.written = True
            self.story = Story(ended=True, buried=True)
        if envelope.reply is not None:
            envelope.reply.done(None)

    def _answer_waiters(self) -> None:
        self._answer_undoers()
        if not self._waiters:
            return
        error = self.story.error_for(self.address)
        if error is None and self._value is None:
            try:
                self._value = self.kind.result.decode(self.story.result or events.NOTHING)
            except NotDecodable as changed:
                error = JournalMismatch(f"{self.address} has ended, but today's code can't read its result: {changed}")
        self._waiters.answer(self._value, error)

    def _set_aside(self, error: BaseException) -> None:
        """Park the saga, with what went wrong written into its stream; what was not sent yet stays unsent."""
        assert not self.story.ended
        self._end_run()
        for _, envelope in self._outbox:
            if isinstance(envelope.reply, StepReturn):
                self._under_way.pop(envelope.reply.request, None)
        self._outbox = NO_LETTERS
        log.error("saga parked", saga=str(self.address), error=repr(error))
        self.emit(events.Parked(events.told(error)))
        self._alerts += (SagaAlert(self.address, "parked", "", events.told(error)),)

    def _over(self) -> None:
        self._end_run()
        self._answer_waiters()
