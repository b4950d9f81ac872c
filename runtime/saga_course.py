"""The course of a saga: forward by the author's code, back by the undos in the story."""

from typing import Any

import msgspec

from actors import (
    Command,
    DeletedForGood,
    Event,
    Locked,
    MailboxFull,
    NotTaken,
    OutcomeUnknown,
    Parked,
    Refused,
    SagaMisuse,
    UnknownActor,
)
from persistence.intake import check_text
from persistence.limits import ID_LENGTH
from runtime import saga_events as events
from runtime.mailbox import Envelope
from runtime.saga_alerts import FAILURES, SagaAlert
from runtime.saga_fit import check_same, code_of
from runtime.saga_mail import StepOutcome, Wake
from runtime.saga_pace import SagaPace
from runtime.saga_retry import pause_before_retry
from runtime.saga_run import SagaRun
from runtime.saga_story import StepStory

INBOX = 1_000
"""How many messages may wait until a saga's story takes them; more are refused."""


class SagaCourse(SagaPace):
    """A saga that goes on, by what happens to it."""

    __slots__ = ("_value",)

    def begin(self) -> None:
        """Start from an empty story."""
        super().begin()
        self._value: Any = None

    def _end_run(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
        for wake in self._timers.values():
            wake.cancel()
        self._timers.clear()

    # -- forward ------------------------------------------------------------------------------------------------

    def _go_on(self, _: None) -> None:
        """Go on where the story ends."""
        story = self.story
        if story.reason is not None:
            self._undo_next()
            return
        assert story.started is not None
        self._arm_deadline(story.deadline)
        for step in story.dropped():  # first, for a command that was replaced must not stand in the way of the new one
            self.send_undo(step)
        self._begin_run(self.kind.command(story.started.command))

    def _begin_run(self, command: Command[Any, Any]) -> None:
        saga = code_of(self.kind, self.story)(self.address.key)
        self._run = SagaRun(self, saga, command, self.kind, self.world.kind)
        self._advance()

    def _advance(self) -> None:
        assert self._run is not None
        try:
            ended = self._run.advance()
        except Refused as refusal:
            self._go_back(refusal.reason)
            return
        if ended:
            self._complete(self._run.result)

    def _complete(self, value: Any) -> None:
        """End, unless a step that was given up is not undone yet."""
        if self.story.dropped():
            return
        result = self.kind.result.encode(value, f"the result of {self.address}")
        told = isinstance(value, Event) and type(value) in self.kind.names
        also = self.kind.new_events([value], b"") if told else ()
        self._value = value
        self.emit(events.Completed(msgspec.Raw(result)))
        self._new += also

    def _take_outcome(self, outcome: StepOutcome) -> None:
        story = self.story
        step = story.steps.get(outcome.step)
        if step is None or not step.open or story.reason is not None or story.ended:
            return  # a second reply, or one that comes when the saga has given the step up
        if outcome.request and outcome.request != self.request(step):
            return  # to a command that was replaced
        if self._timers:
            self._cancel_timer(outcome.step)
        if outcome.error is None:
            self._answered(step, outcome.value, outcome.told)
        elif isinstance(outcome.error, Refused) and not self._comes_free(step, outcome.error):
            self.emit(events.Refused(outcome.step, outcome.error.reason, step.resent or outcome.uncertain))
            if step.asked.optional and step.needs_undo:
                self.drop(step)  # its first copy may have taken effect, or may do so yet
        elif story.error is None:
            self._failed(step, outcome.error, undo=False)
        if self._run is not None:
            self._advance()

    def _comes_free(self, step: StepStory, error: Exception) -> bool:
        """Whether a refusal will pass, where there is no way back: somebody holds a lock, and will give it back."""
        return isinstance(error, Locked) and self.story.past_pivot and not step.asked.optional

    def _answered(self, step: StepStory, value: Any, told: bytes | None) -> None:
        raw = b"null" if told is None else told
        if told is None and step.asked.to is not None:
            raw = self.reply_data(step, value)
        self.emit(events.Answered(step.asked.step, msgspec.Raw(raw)))
        step.value = value

    def reply_data(self, step: StepStory, value: Any) -> bytes:
        """Return the reply to a step as JSON.

        Raises:
            NotEncodable: it is not what the command declares.
        """
        assert step.asked.to is not None
        kind = self.world.kind(step.asked.to.actor)
        own = self._run.step(step.asked.step) if self._run is not None else None
        command = own.command if own is not None else kind.command(step.asked.command)
        return kind.reply(type(command)).encode(value, f"the reply to step {step.asked.step!r}")

    def _failed(self, step: StepStory, error: Exception, *, undo: bool) -> None:
        """Try again later, with the same id; park when the budget is spent or when no retry can help."""
        key, to = self.story.key_of(step), step.asked.to
        parked = isinstance(error, Parked) and to is not None and self.world.kind(to.actor).is_saga
        self.emit(events.Failed(key, events.told(error), undo, parked))
        if undo and step.undo_failures == FAILURES:
            self._alerts += (SagaAlert(self.address, "undo", step.asked.step, events.told(error)),)
        own = self._run.step(key) if self._run is not None else None
        policy = own.retry if own is not None else None
        random, delays = self.world.random, self.world.delays
        pause = pause_before_retry(self.code, policy, step, error, self.now, random, undo=undo, parked=parked)
        self._set_timer(delays, delays.now() + round(pause * 1e6), key, undo=undo)

    def _wake(self, wake: Wake) -> None:
        story = self.story
        if story.ended or story.error is not None:
            return
        if wake.step is None:
            # Past the pivot, or while its outcome is open, there is no way back.
            if story.reason is None and story.pivot is None:
                self._go_back("the deadline has passed")
            return
        step = story.steps[wake.step]
        request = self.request(step, undo=wake.undo)
        if request in self._under_way:
            del self._under_way[request]
            error = OutcomeUnknown(f"no reply to step {step.asked.step!r} in time; what became of it is unknown")
            if wake.undo:
                self._take_undo(StepOutcome(wake.step, undo=True, error=error))
            else:
                self._take_outcome(StepOutcome(wake.step, undo=False, error=error))
        elif wake.undo:
            if step.needs_undo:
                self.send_undo(step)
        elif step.open and story.reason is None:
            if step.asked.to is None:
                self._take_outcome(StepOutcome(wake.step, undo=False))
            else:
                self.send(step, step.asked.to, self.world.kind(step.asked.to.actor).command(step.asked.command))

    def drop(self, step: StepStory) -> None:
        """Wait for a step no more, and undo it while the story goes on."""
        key = self.story.key_of(step)
        self._cancel_timer(key)
        self.emit(events.Dropped(key))
        if step.needs_undo:
            self.send_undo(step)

    # -- messages -----------------------------------------------------------------------------------------------

    def _receive(self, envelope: Envelope) -> None:
        """Take in a message, for a step that waits for it or will; it is answered when it is durable."""
        try:
            message_id = envelope.id or self.world.new_id()
            data = self._accepted(envelope.message, message_id)
        except Exception as error:  # noqa: BLE001 (it goes to the sender)
            self.give_back(envelope, error)
            return
        if data is not None:
            self._turn_for(envelope, message_id, self._take_message, events.Received(msgspec.Raw(data), message_id))
        if envelope.reply is not None:
            envelope.reply.done(None)

    def _accepted(self, message: Command[Any, Any], message_id: str) -> bytes | None:
        """Return a message as JSON; None: it has come before.

        Raises:
            NotEncodable: it, or its id, can't be stored.
            UnknownActor, NotTaken: the saga is not under way.
            CommandIdReused: another one has come with its id.
            MailboxFull: too many are waiting.
        """
        story, name = self.story, type(message).__name__
        check_text("a command's id", message_id, ID_LENGTH)
        for known in story.inbox:
            if known.id == message_id:
                check_same(self.address, self.kind, message, known.data, f"a message {message_id!r}")
                return None
        if story.status == "new":
            raise UnknownActor(f"{self.address} was never started, so it takes no {name}")
        if story.buried:
            raise DeletedForGood(f"{self.address} was deleted; use another key")
        if story.ended or story.reason is not None:
            raise NotTaken(f"{self.address} is {story.status}, and takes no {name} any more")
        if sum(not one.taken for one in story.inbox) >= INBOX:
            raise MailboxFull(f"{self.address} has {INBOX:,} messages that it has not taken; send {name} later")
        return self.kind.command_data(message)

    def _take_message(self, event: events.Received) -> None:
        story, today = self.story, self.kind.today
        self.emit(event)
        name = today(story.inbox[-1].name)
        for waiting in list(story.waiting):
            asked = story.steps[waiting].asked
            if asked.awaits and today(asked.awaits) == name and story.error is None:
                number = story.first_in(name, today)
                assert number is not None
                self._cancel_timer(waiting)
                self.emit(events.Answered(waiting, msgspec.Raw(b"%d" % number)))
                if self._run is not None:
                    self._advance()
                return

    # -- back ---------------------------------------------------------------------------------------------------

    def _go_back(self, reason: str, by: str = "") -> None:
        if self.story.past_pivot:
            raise SagaMisuse(f"refused after the pivot, where the saga can only go forward: {reason}")
        self._end_run()
        self.emit(events.Compensating(reason, by))
        self._undo_next()

    def _undo_next(self) -> None:
        """Undo one step at a time, last first, from what stands in the journal: the author's code is not needed."""
        step = self.story.next_undo()
        if step is None:
            self.emit(events.Compensated(self.story.reason or ""))
        else:
            self.send_undo(step)

    def _take_undo(self, outcome: StepOutcome) -> None:
        story = self.story
        step = story.steps.get(outcome.step)
        if outcome.request and (step is None or outcome.request != self.request(step, undo=True)):
            # Its command was replaced meanwhile, and it has another key now.
            step = next((s for s in story.steps.values() if self.request(s, undo=True) == outcome.request), None)
        if step is None or step.undone or story.ended or not (story.reason is not None or step.dropped):
            return
        key = story.key_of(step)
        self._cancel_timer(key)
        if outcome.error is None:
            self.emit(events.Undone(key))
            if story.error is None:
                self._undone()
        elif isinstance(outcome.error, Refused):
            raise SagaMisuse(
                f"the undo of step {step.asked.step!r} was refused ({outcome.error.reason}), so what it should undo "
                "stands"
            )
        elif story.error is None:
            self._failed(step, outcome.error, undo=True)

    def _undone(self) -> None:
        """Go on, back or forward, when a step is undone."""
        if self.story.reason is not None:
            self._undo_next()
        elif self._run is not None and self._run.ended:
            self._complete(self._run.result)
