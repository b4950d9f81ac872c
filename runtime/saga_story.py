"""A saga's story so far: the fold of its stream. Pure, and the same live and in recovery."""

from contextlib import suppress
from typing import Any, cast

import msgspec

import actors
from actors import Address, Command, CommandIdReused, UnknownActor
from persistence import NotDecodable
from runtime.kinds import Kind
from runtime.saga_events import (
    Answered,
    Asked,
    Compensated,
    Compensating,
    Completed,
    Failed,
    Parked,
    Refused,
    Resumed,
    SagaEvent,
    Started,
    Undone,
)


class StepStory(msgspec.Struct, gc=False):
    """What is known of one step.

    A step without an outcome is *unknown*: it may have taken effect. So is one that was refused when it
    had been sent before; undoing it is right, for an undo that finds nothing to undo does nothing (P9).
    """

    asked: Asked
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
    """When the first of them failed, of the step or, once its undo has failed, of that."""
    undone: bool = False

    @property
    def needs_undo(self) -> bool:
        """Whether going back must undo it: it has an undo, and was done or may have been."""
        certainly_not = self.reason is not None and not self.resent
        return bytes(self.asked.undo) != b"null" and not self.undone and not certainly_not

    def fail(self, at: int, *, undo: bool) -> None:
        """Count a failed attempt, at the step or at its undo."""
        if undo:
            self.undo_failures += 1
        else:
            self.failures += 1
        if (self.undo_failures if undo else self.failures) == 1:
            self.failing_since = at


class Story(msgspec.Struct, gc=False):
    """The fold of a saga's stream."""

    started: Started | None = None
    started_at: int = 0
    steps: dict[str, StepStory] = {}
    """By name, in the order in which they were asked."""
    outcomes: int = 0
    """Steps that have an outcome."""
    pivot: StepStory | None = None
    reason: str | None = None
    """Why the saga goes back, or went back."""
    compensated: bool = False
    error: str | None = None
    """Why it is parked."""
    crashes: int = 0
    """How often in a row the process has crashed with the saga under way, as far as that is counted."""
    result: msgspec.Raw | None = None
    buried: bool = False
    """It was deleted; there was a story once, and there will be no other."""

    @property
    def ended(self) -> bool:
        """Whether the saga is completed or compensated, or was deleted since."""
        return self.result is not None or self.compensated or self.buried

    @property
    def status(self) -> str:
        """Where the saga is: new, running, compensating, completed, compensated or parked."""
        if self.started is None:
            return "new"
        if self.ended:
            return "compensated" if self.compensated else "completed"
        if self.error is not None:
            return "parked"
        return "running" if self.reason is None else "compensating"

    def error_for(self, address: Address[Any]) -> Exception | None:
        """Return what to tell those who ask for the result, where there is none and will be none by itself."""
        if self.buried:
            return actors.DeletedForGood(f"{address} was deleted; use another key")
        if self.started is None:
            return UnknownActor(f"{address} was never started")
        if self.compensated:
            return actors.Refused(self.reason or "")
        if self.error is not None and self.result is None:
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
            step = self._end(cast(Answered, event).step, at)
            step.answered, step.reply = True, cast(Answered, event).reply
            self.crashes = 0
        else:
            self._apply_other(event, at)

    def _asked(self, event: Asked) -> None:
        step = self.steps[event.step] = StepStory(event)
        if event.kind == "pivot":
            self.pivot = step

    def _apply_other(self, event: SagaEvent, at: int) -> None:
        self.crashes = event.crashes if isinstance(event, Resumed) else 0
        match event:
            case Resumed():
                pass
            case Started():
                self.started, self.started_at = event, at
            case Refused(step=name, reason=reason, uncertain=uncertain):
                step = self._end(name, at)
                step.reason, step.resent = reason, uncertain
            case Failed(step=name, undo=undo):
                self.steps[name].fail(at, undo=undo)
            case Compensating(reason=reason):
                self.reason = reason
            case Undone(step=name):
                self.steps[name].undone = True
            case Completed(result=result):
                self.result = result
            case Compensated():
                self.compensated = True
            case Parked(error=error):
                self.error = error
            case _:
                raise AssertionError(f"a saga has no event {event!r}")

    def _end(self, name: str, at: int) -> StepStory:
        step = self.steps[name]
        self.outcomes += 1
        step.ended, step.ended_at = self.outcomes, at
        return step

    def next_undo(self) -> StepStory | None:
        """Return what to undo next: first what may still be under way, then what was done, last first."""
        waiting = [step for step in self.steps.values() if step.needs_undo]
        if not waiting:
            return None
        unknown = [step for step in waiting if not step.ended]
        return unknown[-1] if unknown else max(waiting, key=lambda step: step.ended)


def check_same(address: Address[Any], kind: Kind, command: Command[Any, Any], started: Started) -> None:
    """Make sure that a saga that is there was started by this command, as today's classes read it.

    Raises:
        CommandIdReused: it was started by another one.
    """
    with suppress(NotDecodable):
        if kind.command(started.command) == command:
            return
    raise CommandIdReused(
        f"{address} was started with another command; a saga's address names one story for ever, so give this one a "
        "key of its own"
    )
