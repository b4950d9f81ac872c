"""What a person, a program or the saga that asked it can tell a saga to do, whatever its code says."""

from typing import Any

import msgspec

from actors import Failed, NotTaken, Parked, Refused, UnknownActor
from actors.messages import reply_type
from actors.verbs import Compensate, Retry, Skip, Verb
from runtime import saga_events as events
from runtime.cells import World
from runtime.kinds import Kind
from runtime.mailbox import Envelope
from runtime.saga_course import SagaCourse
from runtime.saga_mail import Waiters
from runtime.saga_story import COMPENSATE, StepStory


class SagaVerbs(SagaCourse):
    """A saga that can be told what to do. Each verb is an event of its story, with who and why."""

    __slots__ = ("_undoers",)

    def __init__(self, world: World, address: Any, kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._undoers: Waiters | None = None
        """Who has it compensated, and waits until it is."""

    def _carry_out(self, envelope: Envelope) -> None:
        """Do what a verb says, or say why it can't be done."""
        verb: Verb = envelope.message
        try:
            if isinstance(verb, Compensate):
                self._compensate(envelope, verb)
                return
            self._check_under_way(verb)
            match verb:
                case Retry():
                    event: events.SagaEvent = self._retried(verb)
                case Skip():
                    event = self._skipped(verb)
                case _:
                    event = events.Killed(verb.by, verb.reason)
        except Exception as error:  # noqa: BLE001 (what is wrong with the verb goes to who said it)
            self.give_back(envelope, error)
            return
        self._turn_for(envelope, envelope.id or self.world.new_id(), self._begin_anew, event)
        if envelope.reply is not None:
            envelope.reply.done(None)

    def _begin_anew(self, event: events.SagaEvent) -> None:
        """Take in a verb, and go on from there."""
        self._end_run()
        self.emit(event)
        if not self.story.ended and self.story.started is not None:  # one that is queued has not begun
            self._go_on(None)

    def _check_under_way(self, verb: Verb) -> None:
        story = self.story
        what = type(verb).__name__.lower()
        if story.ended:
            raise NotTaken(f"{self.address} is {story.status}; there is nothing to {what}")
        if story.start is None:
            raise UnknownActor(f"{self.address} was never started; there is nothing to {what}")

    # -- retry and skip -----------------------------------------------------------------------------------------

    def _retried(self, verb: Retry) -> events.Retried:
        event = events.Retried(verb.by, verb.reason, verb.step)
        if not verb.step:
            if verb.command is not None or verb.undo is not None:
                raise Failed(f"{self.address} has many steps; say which one is to be retried in another way: step=")
            return event
        step, encode = self._step(verb.step), self.kind.codec.encode
        to = step.asked.to
        if to is None:
            raise Failed(f"step {verb.step!r} of {self.address} sends no command that could be another one")
        if verb.command is not None:
            if not step.open or self.story.reason is not None:
                raise Failed(f"step {verb.step!r} of {self.address} is not under way, so it can't have another command")
            self.world.check(to, verb.command)
            before = self.world.kind(to.actor).command(step.asked.command)
            if reply_type(type(verb.command)) != reply_type(type(before)):
                raise Failed(
                    f"{type(verb.command).__name__} has another reply than {type(before).__name__}, which the code of "
                    f"{self.address} waits for"
                )
            event.command = msgspec.Raw(encode(verb.command, f"step {verb.step!r}"))
        if verb.undo is not None:
            if step.undone or self.story.past_pivot or bytes(step.undo) == bytes(COMPENSATE):
                raise Failed(f"step {verb.step!r} of {self.address} has no undo that could be another one now")
            if self.request(step, undo=True) in self._under_way or step.undo_failures:
                raise Failed(
                    f"the undo of step {verb.step!r} of {self.address} was sent before and may have taken effect; skip "
                    "it when it is done by hand, or retry it as it is"
                )
            self.world.check(to, verb.undo)
            event.undo = msgspec.Raw(encode(verb.undo, f"the undo of step {verb.step!r}"))
        return event

    def _skipped(self, verb: Skip) -> events.Skipped:
        story, step = self.story, self._step(verb.step)
        event = events.Skipped(verb.step, verb.by, verb.reason)
        if story.reason is not None or step.dropped:
            if not step.needs_undo:
                raise Failed(f"step {verb.step!r} of {self.address} need not be undone; there is nothing to skip")
            event.undo = True
        elif not step.open:
            raise Failed(f"step {verb.step!r} of {self.address} has its outcome already; there is nothing to skip")
        elif step.asked.to is not None:
            event.reply = msgspec.Raw(self.reply_data(step, verb.reply))
        elif step.asked.awaits and not step.asked.due:
            raise Failed(f"step {verb.step!r} of {self.address} waits for {step.asked.awaits}; send it one")
        return event

    def _step(self, name: str) -> StepStory:
        step = self.story.steps.get(name)
        if step is None:
            raise Failed(f"{self.address} has no step {name!r}; it has {', '.join(self.story.steps) or 'none yet'}")
        return step

    # -- compensate ---------------------------------------------------------------------------------------------

    def _compensate(self, envelope: Envelope, verb: Compensate) -> None:
        story, reply = self.story, envelope.reply
        by_saga = envelope.undoes is not None  # also one of another node, whose reply goes over the network
        if story.compensated or story.buried:
            if reply is not None:
                reply.done(None)
            return
        if story.killed is not None:
            raise Refused(f"{self.address} was ended where it stood by {story.killed.by}: {story.killed.reason}")
        if verb.unless_completed and story.status == "completed":
            raise NotTaken(f"{self.address} is completed, and is to stay so")
        if story.start is None and not by_saga:
            raise UnknownActor(f"{self.address} was never started; there is nothing to compensate")
        if story.past_pivot:
            raise Refused(f"{self.address} is past its pivot, so it can't be compensated")
        if story.pivot is not None and story.pivot.open:
            raise Failed(f"the pivot of {self.address} is under way; ask again when it is done or refused")
        if story.reason is not None and story.error is not None and by_saga:
            raise Parked(f"{self.address} is parked: {story.error}")
        if reply is not None:
            if self._undoers is None:
                self._undoers = Waiters()
            self._undoers.add(reply)
        if story.reason is None:
            self._turn_for(envelope, envelope.id or self.world.new_id(), self._turn_back, verb)
        elif story.error is not None:
            event = events.Retried(verb.by, verb.reason)
            self._turn_for(envelope, envelope.id or self.world.new_id(), self._begin_anew, event)

    def _turn_back(self, verb: Compensate) -> None:
        self._go_back(verb.reason, verb.by)

    def _answer_undoers(self) -> None:
        story, undoers = self.story, self._undoers
        if undoers is None:
            return
        if story.killed is not None:
            undoers.answer(None, Refused(f"{self.address} was ended where it stood by {story.killed.by}"))
        elif story.compensated or story.buried:
            undoers.answer(None, None)
        elif story.error is not None:
            undoers.answer(None, story.error_for(self.address))
