"""A saga's story so far: the fold of its stream. Pure, and the same live and in recovery."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

import actors
from actors import Address, UnknownActor
from persistence import NEVER
from runtime.priorities import NEXT
from runtime.saga_events import (
    NOTHING,
    Answered,
    Asked,
    Compensated,
    Compensating,
    Completed,
    Dropped,
    Failed,
    Killed,
    Parked,
    Queued,
    Received,
    Refused,
    Released,
    Resumed,
    Retried,
    SagaEvent,
    Skipped,
    Started,
    Undone,
    UndoRevised,
)

SOMEDAY = NEVER - 1
"""When a stream wakes whose saga waits for a message: not by itself, but it is not at its end either."""


class StepStory(msgspec.Struct, gc=False):
    """What is known of one step.

    A step without an outcome is *unknown*: it may have taken effect. So is one that was refused when it
    had been sent before; undoing it is right, for an undo that finds nothing to undo does nothing (P9).
    """

    asked: Asked
    undo: msgspec.Raw
    """How it would be undone now."""
    copy: int = 1
    """Which command for this step it is: a person may have given it another one."""
    answered: bool = False
    reason: str | None = None
    """Why it was refused."""
    resent: bool = False
    """Whether it was sent more than once, so that a refusal does not say what became of the first."""
    reply: msgspec.Raw | None = None
    value: Any = None
    """The reply as it came, while the saga lives in memory."""
    ended: int = 0
    """Its place in the order of completion, from 1; 0: not yet."""
    ended_at: int = 0
    failures: int = 0
    """Attempts at the step that failed."""
    undo_failures: int = 0
    """Attempts at its undo that failed."""
    failing_since: int = 0
    """When the first of them failed, of the step or, once its undo has failed, of that; 0: none has, or none since the
    saga that it asks was last found parked."""
    open: bool = True
    """Whether its outcome is waited for: it has none, and the step was not dropped."""
    dropped: bool = False
    """Whether it is not waited for any more, and undone while the story goes on."""
    undone: bool = False
    revisions: tuple[msgspec.Raw, ...] = ()
    """The undos that the story has given it when it was done, oldest first."""

    @property
    def needs_undo(self) -> bool:
        """Whether going back must undo it: it has an undo, and was done or may have been."""
        certainly_not = self.reason is not None and not self.resent
        return has(self.undo) and not self.undone and not certainly_not

    def fail(self, at: int, *, undo: bool, parked: bool) -> None:
        """Count a failed attempt, at the step or at its undo."""
        if undo:
            self.undo_failures += 1
        else:
            self.failures += 1
            self.resent = True
        if parked:
            self.failing_since = 0
        elif not self.failing_since or (self.undo_failures if undo else self.failures) == 1:
            self.failing_since = at

    def pardon(self) -> None:
        """Forget the failures: a new budget."""
        self.failures = self.undo_failures = self.failing_since = 0


class Inbound(msgspec.Struct, gc=False):
    """A message that has come to the saga."""

    id: str
    name: str
    data: msgspec.Raw
    taken: bool = False


class _Named(msgspec.Struct):
    type: str


class Story(msgspec.Struct, gc=False):
    """The fold of a saga's stream."""

    queued: Queued | None = None
    """Its start, where it had to wait for its place."""
    queued_at: int = 0
    priority: int = 0
    """That by which it waits."""
    started: Started | None = None
    """Its beginning; of one that was queued, with command and path as they were then."""
    started_at: int = 0
    deadline: int = 0
    """When time is up, in microseconds since 1970; 0: never."""
    steps: dict[str, StepStory] = {}
    """By name, in the order in which they were asked. One whose command was replaced is there under its name and #."""
    waiting: dict[str, int] = {}
    """The sleeps and receives that are open, and when each is over; 0: never."""
    busy: int = 0
    """How many steps are open that were sent to somebody."""
    drops: int = 0
    """How many steps were dropped."""
    inbox: list[Inbound] = []
    """The messages that have come, oldest first."""
    outcomes: int = 0
    """Steps that have an outcome."""
    pivot: StepStory | None = None
    reason: str | None = None
    """Why the saga goes back, or went back."""
    compensated: bool = False
    killed: Killed | None = None
    error: str | None = None
    """Why it is parked."""
    crashes: int = 0
    """How often in a row the process has crashed with the saga under way, as far as that is counted."""
    result: msgspec.Raw | None = None
    locks: bool = False
    """Whether any step has asked for a lock, and none was given back yet."""
    ended: bool = False
    """Whether the saga is completed, compensated or killed, or was deleted since."""
    buried: bool = False
    """It was deleted; there was a story once, and there will be no other."""

    @property
    def status(self) -> str:
        """Where the saga is: new, queued, running, compensating, completed, compensated, killed or parked."""
        if self.ended:
            return "killed" if self.killed is not None else "compensated" if self.compensated else "completed"
        if self.error is not None:
            return "parked"
        if self.started is None:
            return "new" if self.queued is None else "queued"
        return "running" if self.reason is None else "compensating"

    @property
    def start(self) -> Started | Queued | None:
        """How it was started, whether it has begun or waits for its place; None: never."""
        return self.started or self.queued

    def error_for(self, address: Address[Any]) -> Exception | None:
        """Return what to tell those who ask for the result, where there is none and will be none by itself."""
        if self.buried:
            return actors.DeletedForGood(f"{address} was deleted; use another key")
        if self.killed is not None:
            return actors.SagaKilled(f"{address} was ended by {self.killed.by}: {self.killed.reason}")
        if self.compensated:
            return actors.Refused(self.reason or "")
        if self.start is None:
            return UnknownActor(f"{address} was never started")
        if self.error is not None:
            return actors.Parked(f"{address} is parked: {self.error}")
        return None

    @property
    def past_pivot(self) -> bool:
        """Whether the last step that may be refused is done: from there the saga only goes forward."""
        return self.pivot is not None and self.pivot.answered

    def apply(self, event: SagaEvent, at: int) -> None:
        """Take in the next event, which happened at this time (microseconds since 1970)."""
        cls = type(event)
        if cls is Asked:
            self._asked(cast(Asked, event))
        elif cls is Answered:
            answered = cast(Answered, event)
            step = self._end(answered.step, at)
            step.answered, step.reply = True, answered.reply
            if step.asked.awaits and (number := msgspec.json.decode(answered.reply)) is not None:
                self.inbox[number].taken = True
            self.crashes = 0
        elif cls is Started:
            self._started(cast(Started, event), at)
        elif cls is Completed:
            self.result, self.ended, self.crashes = cast(Completed, event).result, True, 0
        else:
            self._apply_other(event, at)

    def _started(self, event: Started, at: int) -> None:
        if self.queued is not None:
            event.command, event.path = self.queued.command, self.queued.path
        self.started, self.started_at, self.deadline, self.crashes = event, at, event.deadline, 0

    def _asked(self, event: Asked) -> None:
        step = self.steps[event.step] = StepStory(event, event.undo)
        if event.to is None:
            self.waiting[event.step] = event.due
        else:
            self.busy += 1
        if event.kind == "pivot":
            self.pivot = step
        if event.lock:
            self.locks = True

    def _apply_other(self, event: SagaEvent, at: int) -> None:
        self.crashes = event.crashes if isinstance(event, Resumed) else 0
        match event:
            case Resumed():
                pass
            case Queued():
                self.queued, self.queued_at, self.priority = event, at, event.priority
            case Refused(step=name, reason=reason, uncertain=uncertain):
                step = self._end(name, at)
                step.reason, step.resent = reason, uncertain
            case Failed(step=name, undo=undo, parked=parked):
                self.steps[name].fail(at, undo=undo, parked=parked)
            case Received(message=message, id=message_id):
                self.inbox.append(Inbound(message_id, msgspec.json.decode(message, type=_Named).type, message))
            case UndoRevised(step=name, undo=revised):
                self.steps[name].undo = revised
                self.steps[name].revisions += (revised,)
            case Dropped(step=name):
                self._close(self.steps[name])
                self.steps[name].dropped = True
                self.drops += 1
            case Undone(step=name):
                self.steps[name].undone = True
            case _:
                self._apply_turn(event, at)

    def _apply_turn(self, event: SagaEvent, at: int) -> None:
        """Take in an event by which the whole saga takes a turn."""
        match event:
            case Compensating(reason=reason):
                self.reason, self.error, self.ended = reason, None, False
            case Compensated():
                self.compensated = self.ended = True
            case Killed():
                self.killed, self.ended = event, True
            case Released():
                self.locks = False
            case Parked(error=error):
                self.error = error
            case Retried():
                self._retried(event, at)
            case Skipped(step=name, undo=True):
                self.steps[name].undone = True
                self._pardon(at)
            case Skipped(step=name, reply=reply):
                step = self._end(name, at)
                step.answered, step.reply = True, reply
                self._pardon(at)
            case _:
                raise AssertionError(f"a saga has no event {event!r}")

    def _end(self, name: str, at: int) -> StepStory:
        step = self.steps[name]
        self._close(step)
        self.outcomes = step.ended = self.outcomes + 1
        step.ended_at = at
        return step

    def _close(self, step: StepStory) -> None:
        """Take note that a step's outcome is waited for no more."""
        if step.open:
            step.open = False
            if step.asked.to is None:
                self.waiting.pop(step.asked.step, None)
            else:
                self.busy -= 1

    def _pardon(self, at: int) -> None:
        """Begin anew with budgets and deadline: somebody has looked at it."""
        self.error, self.priority = None, NEXT
        if self.deadline and self.started is not None:
            self.deadline = min(at + self.started.deadline - self.started_at, SOMEDAY)
        for step in self.steps.values():
            step.pardon()

    def _retried(self, event: Retried, at: int) -> None:
        self._pardon(at)
        if event.step:
            if has(event.command):
                self._replace(self.steps[event.step], event.command)
            if has(event.undo):
                self.steps[event.step].undo = event.undo

    def _replace(self, old: StepStory, command: msgspec.Raw) -> None:
        """Give a step another command; what the one before may have done is undone, where it has an undo."""
        asked = old.asked
        new = StepStory(msgspec.structs.replace(asked, command=command), old.undo, old.copy + 1)
        self.steps[f"{asked.step}#{old.copy}"] = old
        old.open, old.dropped = False, True
        self.drops += 1
        self.steps[asked.step] = new
        if self.pivot is old:
            self.pivot = new

    @property
    def lockers(self) -> list[StepStory]:
        """The steps that hold locks now, or may do so yet; when the saga has ended, all of it is to be given back."""
        if not self.locks:
            return []
        return [step for step in self.steps.values() if step.asked.lock and (step.reason is None or step.resent)]

    # -- what is to be done -------------------------------------------------------------------------------------

    def key_of(self, step: StepStory) -> str:
        """Return the key of a step in ``steps``."""
        current = self.steps[step.asked.step]
        return step.asked.step if current is step else f"{step.asked.step}#{step.copy}"

    def next_undo(self) -> StepStory | None:
        """Return what to undo next: first what may still be under way, then what was done, last first."""
        waiting = [step for step in self.steps.values() if step.needs_undo]
        if not waiting:
            return None
        unknown = [step for step in waiting if not step.ended]
        return unknown[-1] if unknown else max(waiting, key=lambda step: step.ended)

    def dropped(self) -> list[StepStory]:
        """Return the steps that are still to be undone while the story goes on."""
        return [step for step in self.steps.values() if step.dropped and step.needs_undo] if self.drops else []

    def first_in(self, name: str, today: Callable[[str], str]) -> int | None:
        """Return the number of the oldest message of this name that was not taken; ``today`` maps older names."""
        if not self.inbox:
            return None
        return next((n for n, one in enumerate(self.inbox) if not one.taken and today(one.name) == today(name)), None)

    def asleep_until(self) -> int | None:
        """Return when the saga has to wake, if it only waits for times and messages; None: it is busy."""
        if self.busy or not self.waiting or self.status != "running" or self.dropped():
            return None
        if self.started is not None and self.started.placed:
            return None  # its place is counted in memory
        times = [due for due in self.waiting.values() if due]
        if self.deadline and self.pivot is None:
            times.append(self.deadline)
        return min(times, default=SOMEDAY)


COMPENSATE = msgspec.Raw(b'{"type":"saga.compensate"}')
"""The undo of a step that asked another saga: compensate it."""


def has(raw: msgspec.Raw) -> bool:
    """Return whether there is anything in a part of an event that may be left out."""
    return bytes(raw) != bytes(NOTHING)
