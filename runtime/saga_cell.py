"""The cell of a saga: drives its coroutine by hand, and keeps its story in the journal.

Each turn takes in one thing that happened (a reply, a refusal, a failure, a timer), runs the author's code as far
as the story allows, and ends by enqueueing the new events as one batch and sending what they announce.
"""

from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from actors import (
    Address,
    Command,
    CommandIdReused,
    DefinitionError,
    Event,
    NotTaken,
    Parked,
    Refused,
    RestartPolicy,
    Saga,
    SagaMismatch,
    SagaMisuse,
    Step,
    UnknownActor,
)
from persistence import Append, NewEvent, NotDecodable, NotEncodable, Record
from persistence.codec import Decoder, encode
from runtime import saga_events as events
from runtime.cells import Cell
from runtime.kinds import EventMeta, Kind, decoded, meta_of
from runtime.log import log
from runtime.mailbox import Envelope, ReplyTo
from runtime.saga_story import StepStory, Story
from runtime.service_cell import fingerprint_of
from runtime.timers import Timer

if TYPE_CHECKING:
    from runtime.node import Node

MAX_STEPS = 10_000
"""How many steps one saga may have; one that asks for more is looping, and is parked."""

FINAL = (UnknownActor, NotTaken, CommandIdReused, DefinitionError, NotEncodable)
"""Failures that no retry can mend: they park the saga at once."""


class StepOutcome(msgspec.Struct):
    """What became of a step, or of its undo: a reply, or an error."""

    step: str
    undo: bool
    value: Any = None
    error: Exception | None = None


class Wake(msgspec.Struct):
    """A timer of one incarnation has fired: for a step's end of sleep or retry, or (no step) the deadline."""

    incarnation: int
    step: str | None = None
    undo: bool = False


class Join(msgspec.Struct):
    """Somebody asks for the saga's result without starting it."""


class StepReturn:
    """Where the reply to a step goes: into the mailbox of its saga."""

    __slots__ = ("_node", "_saga", "_step", "_undo")

    def __init__(self, node: "Node", saga: Address[Any], step: str, undo: bool) -> None:
        self._node = node
        self._saga = saga
        self._step = step
        self._undo = undo

    def done(self, value: Any) -> None:
        """Give the reply."""
        self._post(StepOutcome(self._step, self._undo, value))

    def failed(self, error: Exception) -> None:
        """Say that there is none."""
        self._post(StepOutcome(self._step, self._undo, None, error))

    def _post(self, outcome: StepOutcome) -> None:
        # An unfinished saga always has its cell; one that has ended needs no more replies.
        cell = self._node.directory.find(self._saga)
        if cell is not None:
            cell.put(Envelope(outcome))


class SagaCell(Cell):
    """A saga at work."""

    __slots__ = (
        "_awaited",
        "_cause",
        "_correlation",
        "_coroutine",
        "_deadline",
        "_kind",
        "_met",
        "_new",
        "_now",
        "_outbox",
        "_refusal",
        "_saga",
        "_timers",
        "_value",
        "_waiters",
        "story",
        "version",
    )

    def __init__(self, node: "Node", address: Address[Any], kind: Kind) -> None:
        super().__init__(node, address)
        self._kind = kind
        self._waiters: list[ReplyTo] = []
        """Who asked for the result; like mail, they outlive the incarnation."""
        self._coroutine: Coroutine[tuple[Step[Any], ...], Any, Any] | None = None
        self._timers: dict[str, Timer] = {}
        self._reset()

    def _reset(self) -> None:
        self.story = Story()
        self.version = 0
        self._saga: Saga[Any, Any] | None = None
        self._coroutine = None
        self._awaited: tuple[Step[Any], ...] = ()
        self._met: set[str] = set()
        """The steps that the author's code has come to in this incarnation."""
        self._refusal: Refused | None = None
        """The refusal that was raised in the author's code."""
        self._value: Any = None
        self._correlation = str(self.address)
        self._new: list[NewEvent] = []
        self._outbox: list[tuple[Address[Any], Envelope]] = []
        self._cause = ""
        self._now = 0
        self._deadline = 0

    @property
    def restart_policy(self) -> RestartPolicy:
        """How a saga whose stream can't be read is tried again."""
        return RestartPolicy()

    @property
    def unfinished(self) -> bool:
        """Whether it must live on: there is mail, somebody waits, or the story has not ended."""
        running = self.story.started is not None and not self.story.ended and self.story.error is None
        return running or bool(self.mail) or bool(self._waiters)

    # -- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from an empty story."""
        self._reset()

    def replay(self, record: Record) -> None:
        """Take in one event of the stream; the result as an event of the author's is passed over."""
        decoder = events.DECODERS.get(record.type)
        if decoder is not None:
            event = decoded(decoder, record, record.data)
            self.story.apply(event, record.time)
            if type(event) is events.Started:
                self._correlation = meta_of(record).correlation or self._correlation
        self.version = record.version

    def recovered(self) -> None:
        """Go on where the journal ends."""
        super().recovered()
        story = self.story
        if story.started is None or story.ended:
            self._answer_waiters()
            self._leave_when_durable()
            return
        if story.error is not None:
            self._answer_waiters()
            return
        self._begin_turn(str(self.address))
        try:
            self._arm_deadline(story.started.deadline)
            if story.reason is not None:
                self._undo_next()
            else:
                self._run(story.started)
        except Exception as error:  # noqa: BLE001 (the author's code, or a journal that doesn't fit it)
            self._set_aside(error)
        self._end_turn()

    def forget(self) -> None:
        """Drop the coroutine, the timers and the story."""
        self._close_coroutine()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._reset()

    def park(self, error: BaseException) -> None:
        """Set the saga aside because its stream can't be read."""
        super().park(error)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.failed(self.parked_error())

    def _leave_when_durable(self) -> None:
        def release(durable: bool) -> None:
            if durable:
                self.node.directory.release(self)

        self.node.writer.hold(release)

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Take in one thing that happened, and go as far as it leads."""
        message = envelope.message
        kind = type(message)
        if kind is Join:
            self._join(envelope.reply)
            return
        if kind is StepOutcome:
            self._begin_turn(f"{self.address}{'!' if message.undo else '#'}{message.step}")
            handle: Any = self._take_undo if message.undo else self._take_outcome
        elif kind is Wake:
            if message.incarnation != self.incarnation:
                return
            self._begin_turn(f"{self.address}#{message.step}" if message.step else str(self.address))
            handle = self._wake
        else:
            self._begin_turn(envelope.id or self.node.new_id())
            handle = self._start
            message = envelope
        try:
            handle(message)
        except Exception as error:  # noqa: BLE001 (the author's code, or a value that can't be stored)
            self._set_aside(error)
        self._end_turn()

    def _begin_turn(self, cause: str) -> None:
        self._cause = cause
        self._now = self.node.clock.now()

    def _emit(self, event: events.SagaEvent) -> None:
        data = encode(event, f"the event {type(event).__name__} of {self.address}")
        self.story.apply(event, self._now)
        self._new.append(NewEvent(events.NAMES[type(event)], data, b"", event))

    def _end_turn(self) -> None:
        """Enqueue what is new, then send what it announces: decide, evolve, enqueue, reply."""
        story = self.story
        if self._new:
            meta = encode(EventMeta(self._cause, self._correlation))
            for event in self._new:
                event.meta = meta
            first = self.version == 0
            self.node.writer.enqueue(
                (
                    Append(
                        self.stream,
                        self.version,
                        self._new,
                        self._now,
                        self._cause if first else None,
                        False if story.ended else True if first else None,
                    ),
                )
            )
            self.version += len(self._new)
            self.written = True
            self._new = []
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            for address, envelope in outbox:
                self.node.directory.cell(address).put_from_inside(envelope)
        if story.ended:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            self._leave_when_durable()
        if self._waiters and (story.ended or story.error is not None):
            self._answer_waiters()

    # -- beginning and end --------------------------------------------------------------------------------------

    def _start(self, envelope: Envelope) -> None:
        command, started = envelope.message, self.story.started
        try:
            fingerprint = fingerprint_of(command)
            if started is None:
                deadline = self._kind.cls.deadline
                due = 0 if deadline is None else self._now + round(deadline / timedelta(microseconds=1))
                self._correlation = envelope.correlation or self._correlation
                raw = msgspec.Raw(encode(command, "the command"))
                self._emit(started := events.Started(raw, fingerprint, due))
                self._arm_deadline(due)
            elif started.fingerprint != fingerprint:
                raise CommandIdReused(
                    f"{self.address} was started with another command; a saga's address names one story for ever, "
                    "so give this one a key of its own"
                )
        except (NotEncodable, CommandIdReused) as error:
            if envelope.reply is not None:
                envelope.reply.failed(error)
            return
        self._join(envelope.reply)
        if self.version == 0:
            self._run(started, command)

    def _join(self, reply: ReplyTo | None) -> None:
        if reply is None:
            return
        if self.story.started is None:
            reply.failed(UnknownActor(f"{self.address} was never started"))
            self._leave_when_durable()
            return
        self._waiters.append(reply)
        if self.story.ended or self.story.error is not None:
            self._answer_waiters()

    def _answer_waiters(self) -> None:
        story = self.story
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if story.result is not None:
                waiter.done(self._result(story.result))
            elif story.compensated:
                waiter.failed(Refused(story.reason or "compensated"))
            elif story.error is not None:
                waiter.failed(Parked(f"{self.address} is parked: {story.error}"))
            else:
                waiter.failed(UnknownActor(f"{self.address} was never started"))

    def _result(self, raw: msgspec.Raw) -> Any:
        if self._value is None:
            self._value = Decoder(self._kind.cls.result).decode(raw)
        return self._value

    def _set_aside(self, error: BaseException) -> None:
        """Park the saga, with what went wrong written into its stream; what was not sent yet stays unsent."""
        self._close_coroutine()
        self._outbox.clear()
        log.error("saga parked", saga=str(self.address), error=repr(error))
        self._emit(events.Parked(f"{type(error).__name__}: {error}"))

    # -- forward ------------------------------------------------------------------------------------------------

    def _run(self, started: events.Started, command: Command[Any, Any] | None = None) -> None:
        """Call the author's code from the beginning; the story feeds it what has happened already."""
        if command is None:
            command = self._kind.command(started.command)
        self._saga = self._kind.cls(self.address.key)
        self._coroutine = self._saga.run(command)
        self._advance(None, None)

    def _advance(self, replies: tuple[Any, ...] | None, refusal: Refused | None) -> None:
        """Run the author's code until it waits for something that has not happened yet."""
        story, saga = self.story, self._saga
        while self._coroutine is not None:
            assert saga is not None
            times = [story.steps[step.name].ended_at for step in self._awaited]
            saga.at_time(max(times, default=story.started_at))
            try:
                if refusal is not None:
                    self._refusal = refusal
                    awaited: Any = self._coroutine.throw(refusal)
                else:
                    awaited = self._coroutine.send(replies)
            except StopIteration as stop:
                self._coroutine = None
                self._complete(stop.value)
                return
            except Refused as error:
                self._coroutine = None
                self._go_back(error.reason)
                return
            self._check_awaited(awaited)
            self._awaited = awaited
            for step in self._awaited:
                self._meet(step)
            if self._pending():
                return
            replies, refusal = self._replies()

    def _check_awaited(self, awaited: Any) -> None:
        if self._refusal is not None:
            raise SagaMisuse(
                f"{self.address} went on after the refusal {str(self._refusal)!r}; let Refused pass, and what was "
                "done is undone"
            )
        if type(awaited) is not tuple or not all(type(step) is Step for step in awaited):  # pyright: ignore[reportUnknownVariableType]
            raise SagaMisuse(
                f"{self.address} awaited {awaited!r}, which is no step; a saga awaits only self.ask, self.pivot, "
                "self.sleep and self.parallel: leave I/O to a plain actor and ask it"
            )

    def _meet(self, step: Step[Any]) -> None:
        """Find the step in the story, or write it there; send it, unless its outcome is known."""
        known = self.story.steps.get(step.name)
        if step.name in self._met:
            raise SagaMisuse(f"{self.address} has two steps called {step.name!r}; give each a name of its own")
        self._met.add(step.name)
        if known is None:
            self._check_new(step)
            known = self._intend(step)
        elif not self._is_same(step, known):
            asked = known.asked
            raise SagaMismatch(
                f"{self.address} was changed under way: in its journal step {step.name!r} is {asked.kind} "
                f"{asked.to or ''} {bytes(asked.command).decode()}, in today's code {step.kind} "
                f"{step.target or ''} {step.command!r}"
            )
        if not known.ended:
            if step.kind == "sleep":
                self._set_timer(step.name, known.asked.due)
            else:
                self._send(step.name, step.target, step.command)

    def _check_new(self, step: Step[Any]) -> None:
        pivot = self.story.pivot
        if len(self.story.steps) >= MAX_STEPS:
            raise SagaMisuse(f"{self.address} has asked for more than {MAX_STEPS:,} steps; it seems to loop")
        if pivot is not None and (step.kind == "pivot" or step.undo is not None):
            what = "is a second pivot" if step.kind == "pivot" else "has an undo"
            raise SagaMisuse(
                f"{self.address}: step {step.name!r} {what} but comes after the pivot {pivot.asked.step!r}, and past "
                "the pivot a saga only goes forward"
            )
        if step.kind == "pivot" and len(self._awaited) > 1:
            raise SagaMisuse(f"{self.address}: the pivot {step.name!r} must be awaited alone, not in parallel")

    def _intend(self, step: Step[Any]) -> StepStory:
        due = self._now + round(step.duration / timedelta(microseconds=1)) if step.kind == "sleep" else 0
        command = msgspec.Raw(encode(step.command, f"step {step.name!r}"))
        undo = msgspec.Raw(encode(step.undo, f"the undo of step {step.name!r}"))
        for request in (step.command, step.undo):
            if request is not None and step.target is not None:
                self.node.directory.check(step.target, request)
        self._emit(events.Asked(step.name, step.kind, step.target, command, undo, due))
        return self.story.steps[step.name]

    def _is_same(self, step: Step[Any], known: StepStory) -> bool:
        asked = known.asked
        if asked.kind != step.kind or asked.to != step.target:
            return False
        if step.target is None:
            return True
        try:
            command = self.node.directory.kind(step.target.actor).command(asked.command)
        except NotDecodable:
            return False
        return bool(command == step.command)

    def _pending(self) -> bool:
        """Whether an outcome is still awaited. Once a step is refused, siblings that fail are not waited for."""
        waited = [self.story.steps[step.name] for step in self._awaited]
        refused = any(step.reason is not None for step in waited)
        return any(not step.ended and not (refused and step.failures.count) for step in waited)

    def _replies(self) -> tuple[tuple[Any, ...] | None, Refused | None]:
        steps = [self.story.steps[step.name] for step in self._awaited]
        refused = sorted((step for step in steps if step.reason is not None), key=lambda step: step.ended)
        if refused:
            return None, Refused(refused[0].reason or "refused")
        return tuple(self._reply(step, known) for step, known in zip(self._awaited, steps, strict=True)), None

    def _reply(self, step: Step[Any], known: StepStory) -> Any:
        if known.value is None and known.reply is not None and step.target is not None:
            kind = self.node.directory.kind(step.target.actor)
            known.value = kind.reply(type(step.command)).decode(known.reply)
        return known.value

    def _complete(self, value: Any) -> None:
        unmet = [name for name in self.story.steps if name not in self._met]
        if unmet:
            raise SagaMismatch(
                f"{self.address} was changed under way: its journal holds the steps {list(self.story.steps)}, today's "
                f"code came to its end without {unmet}"
            )
        self._value = value
        result = self._kind.result.encode(value, f"the result of {self.address}")
        self._emit(events.Completed(msgspec.Raw(result)))
        if isinstance(value, Event) and type(value) in self._kind.names:
            self._new += self._kind.new_events([value], b"")

    # -- what comes back ----------------------------------------------------------------------------------------

    def _take_outcome(self, outcome: StepOutcome) -> None:
        story, step = self.story, self.story.steps.get(outcome.step)
        if step is None or step.ended or story.reason is not None or story.ended:
            return  # a second reply, or one that comes when the saga has given the step up
        error = outcome.error
        if error is None:
            target = step.asked.to
            raw = b"null"
            if target is not None:
                command = next(s.command for s in self._awaited if s.name == outcome.step)
                raw = self.node.directory.kind(target.actor).reply(type(command)).encode(outcome.value, "the reply")
            self._emit(events.Answered(outcome.step, msgspec.Raw(raw)))
            step.value = outcome.value
        elif isinstance(error, Refused):
            self._emit(events.Refused(outcome.step, error.reason))
        else:
            self._failed(step, error, undo=False)
        if story.error is None and self._coroutine is not None and not self._pending():
            self._advance(*self._replies())

    def _failed(self, step: StepStory, error: Exception, *, undo: bool) -> None:
        """Try again later, with the same id; park when the budget is spent or when no retry can help."""
        assert self._kind.cls is not None
        name = step.asked.step
        self._emit(events.Failed(name, str(error), undo))
        failures = step.undo_failures if undo else step.failures
        policy = self._kind.cls.undo_retry if undo else self._kind.cls.retry
        spent = (self._now - failures.since) / 1e6 >= policy.budget.total_seconds()
        if spent or isinstance(error, FINAL):
            what = f"the undo of step {name!r}" if undo else f"step {name!r}"
            raise SagaMisuse(f"{what} failed {failures.count} times, last: {error}") from error
        pause = policy.backoff.pause(failures.count, self.node.random)
        self._set_timer(name, self._now + round(pause * 1e6), undo=undo)

    def _wake(self, wake: Wake) -> None:
        story = self.story
        if story.ended or story.error is not None:
            return
        if wake.step is None:
            if story.reason is None and story.pivot is None:
                self._close_coroutine()
                self._go_back("its deadline has passed")
            return
        step = story.steps[wake.step]
        if wake.undo:
            if not step.undone:
                self._send_undo(step)
        elif not step.ended and story.reason is None:
            if step.asked.kind == "sleep":
                self._take_outcome(StepOutcome(wake.step, undo=False))
            else:
                command = next(s.command for s in self._awaited if s.name == wake.step)
                self._send(wake.step, step.asked.to, command)

    # -- back ---------------------------------------------------------------------------------------------------

    def _go_back(self, reason: str) -> None:
        if self.story.past_pivot:
            raise SagaMisuse(f"refused after the pivot, where the saga can only go forward: {reason}")
        self._emit(events.Compensating(reason))
        self._undo_next()

    def _undo_next(self) -> None:
        """Undo one step at a time, last first, from what stands in the journal: the author's code is not needed."""
        step = self.story.next_undo()
        if step is None:
            self._emit(events.Compensated(self.story.reason or ""))
        else:
            self._send_undo(step)

    def _send_undo(self, step: StepStory) -> None:
        asked = step.asked
        assert asked.to is not None
        command = self.node.directory.kind(asked.to.actor).command(asked.undo)
        self._send(asked.step, asked.to, command, undo=True)

    def _take_undo(self, outcome: StepOutcome) -> None:
        story, step = self.story, self.story.steps.get(outcome.step)
        if step is None or step.undone or story.reason is None or story.ended:
            return
        if outcome.error is None:
            self._emit(events.Undone(outcome.step))
            if story.error is None:
                self._undo_next()
        elif isinstance(outcome.error, Refused):
            raise SagaMisuse(
                f"the undo of step {outcome.step!r} was refused: {outcome.error.reason}; what it should undo still stands"
            )
        else:
            self._failed(step, outcome.error, undo=True)

    # -- tools --------------------------------------------------------------------------------------------------

    def _send(
        self, name: str, target: Address[Any] | None, command: Command[Any, Any] | None, *, undo: bool = False
    ) -> None:
        assert target is not None
        step_id = f"{self.address}#{name}"
        self._outbox.append(
            (
                target,
                Envelope(
                    command,
                    f"{self.address}!{name}" if undo else step_id,
                    StepReturn(self.node, self.address, name, undo),
                    self._correlation,
                    step_id if undo else None,
                ),
            )
        )

    def _set_timer(self, name: str, due: int, *, undo: bool = False) -> None:
        wake = Envelope(Wake(self.incarnation, name, undo))
        self._timers[name] = self.node.timers.at(due, lambda: self.put(wake))

    def _arm_deadline(self, due: int) -> None:
        if due:
            wake = Envelope(Wake(self.incarnation))
            self._timers[""] = self.node.timers.at(due, lambda: self.put(wake))

    def _close_coroutine(self) -> None:
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            try:
                coroutine.close()
            except Exception as error:  # noqa: BLE001 (clean-up code of the author's that goes on awaiting)
                log.warning("saga resisted its end", saga=str(self.address), error=repr(error))
