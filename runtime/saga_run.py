"""A saga's run: the author's coroutine, driven by hand as far as the story allows.

The coroutine awaits nothing but its own steps, so it needs no task and no event loop: each ``send`` runs it to the
next step, and what the story holds of that step is fed to it, or waited for. In recovery the same run is made
again from the beginning; it must come to the same steps.
"""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Protocol, cast

import msgspec

from actors import Address, Command, Refused, Saga, SagaMismatch, SagaMisuse, Step
from persistence import NotDecodable
from persistence.codec import PLAIN, Codec
from runtime.kinds import Kind
from runtime.log import log
from runtime.saga_events import Asked, SagaEvent
from runtime.saga_story import StepStory, Story

MAX_STEPS = 10_000
"""How many steps one saga may have; one that asks for more is looping, and is parked."""


class Stage(Protocol):
    """What a run can do to the world: all of it takes effect at the end of the turn."""

    address: Address[Any]
    story: Story

    @property
    def now(self) -> int:
        """The time of the turn, in microseconds since 1970."""
        ...

    def emit(self, event: SagaEvent) -> None:
        """Add an event to the story."""
        ...

    def send(self, step: str, to: Address[Any], command: Command[Any, Any]) -> bool:
        """Send a step's command, unless it is under way already; return whether it was sent."""
        ...

    def sleep(self, step: str, due: int) -> None:
        """Have the step answered when the time has come."""
        ...


class SagaRun:
    """One run of one saga's code, in one incarnation."""

    __slots__ = (
        "_awaited",
        "_check",
        "_codec",
        "_coroutine",
        "_kind",
        "_met",
        "_refusal",
        "_saga",
        "_stage",
        "_waited",
        "result",
    )

    def __init__(
        self,
        stage: Stage,
        saga: Saga[Any, Any],
        command: Command[Any, Any],
        kind: Callable[[str], Kind],
        check: Callable[[Address[Any], object], None],
        codec: Codec = PLAIN,
    ) -> None:
        self._stage = stage
        self._saga = saga
        self._kind = kind
        self._check = check
        self._codec = codec
        self._coroutine: Coroutine[Any, Any, Any] | None = saga.run(command)
        self._awaited: dict[str, Step[Any]] = {}
        """The steps that the code waits for now, by name."""
        self._waited: list[StepStory] = []
        """What the story knows of them, in the same order."""
        self._met: set[str] = set()
        """The names of all the steps that the code has come to."""
        self._refusal: Refused | None = None
        """The refusal that was raised in the code."""
        self.result: Any = None

    def advance(self) -> bool:
        """Run the code until it waits for something that has not happened yet; return whether it has ended.

        Raises:
            Refused: the code says that the story can't go on: go back.
            SagaMisuse: it did what a saga can't do.
            SagaMismatch: it doesn't fit the story.
            Exception: whatever else the author's code raises.
        """
        while self._coroutine is not None and not self._pending():
            try:
                awaited = self._resume(self._coroutine)
            except StopIteration as stop:
                self._coroutine = None
                self._check_not_refused()
                self._check_complete()
                self.result = stop.value
                return True
            self._await(awaited)
        return False

    def close(self) -> None:
        """Drop the coroutine; its clean-up code runs, and can't await anything more."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            try:
                coroutine.close()
            except Exception as error:  # noqa: BLE001 (clean-up code of the author's)
                log.warning("saga resisted its end", saga=str(self._stage.address), error=repr(error))

    def command(self, step: str) -> Command[Any, Any] | None:
        """Return the command of a step that the code waits for."""
        waited = self._awaited.get(step)
        return None if waited is None else waited.command

    # -- the outcomes of what is awaited ------------------------------------------------------------------------

    def _pending(self) -> bool:
        """Whether an outcome is still awaited. Once a step is refused, siblings that fail are not waited for."""
        pending = [step for step in self._waited if not step.ended]
        if pending and len(self._waited) > 1 and any(step.reason is not None for step in self._waited):
            pending = [step for step in pending if not step.failures]
        return bool(pending)

    def _resume(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Give the code what it waited for: the replies, or the first refusal. Return what it awaits next."""
        waited = self._waited
        if not waited:
            self._saga.at_time(self._stage.story.started_at)
            return coroutine.send(None)
        refused = [step for step in waited if step.reason is not None]
        self._saga.at_time(max([step.ended_at for step in waited]))
        if refused:
            self._refusal = Refused(min(refused, key=lambda step: step.ended).reason or "")
            return coroutine.throw(self._refusal)
        return coroutine.send(tuple([self._reply(step) for step in waited]))

    def _reply(self, step: StepStory) -> Any:
        if step.value is None and step.reply is not None and step.asked.to is not None:
            command = self._awaited[step.asked.step].command
            step.value = self._kind(step.asked.to.actor).reply(type(command)).decode(step.reply)
        return step.value

    # -- the steps that the code comes to -----------------------------------------------------------------------

    def _check_not_refused(self) -> None:
        """A refusal ends the story, or its steps would be half taken back and half kept."""
        if self._refusal is not None:
            raise SagaMisuse(
                f"{self._stage.address} went on after the refusal {str(self._refusal)!r}; let Refused pass, and what "
                "was done is undone"
            )

    def _await(self, awaited: Any) -> None:
        address = self._stage.address
        self._check_not_refused()
        if not isinstance(awaited, tuple) or not all(isinstance(step, Step) for step in awaited):  # pyright: ignore[reportUnknownVariableType]
            what = type(cast(object, awaited)).__name__
            raise SagaMisuse(
                f"{address} awaited a {what}, which is no step; a saga awaits only self.ask, "
                "self.pivot, self.sleep and self.parallel: leave I/O to a plain actor and ask it"
            )
        steps = cast("tuple[Step[Any], ...]", awaited)
        self._awaited = {}
        self._waited = []
        for step in steps:
            self._waited.append(self._meet(step, alone=len(steps) == 1))
            self._awaited[step.name] = step

    def _meet(self, step: Step[Any], *, alone: bool) -> StepStory:
        """Find the step in the story, or write it there; send it, unless its outcome is known."""
        name = step.name
        if name in self._met:
            raise SagaMisuse(f"{self._stage.address} has two steps called {name!r}; give each a name of its own")
        self._met.add(name)
        known = self._stage.story.steps.get(name)
        new = known is None
        if known is None:
            self._check_new(step, alone=alone)
            self._intend(step)
            known = self._stage.story.steps[name]
        elif not self._is_same(step, known.asked):
            raise self._mismatch(step, known.asked)
        if not known.ended:
            if step.target is None or step.command is None:
                self._stage.sleep(name, known.asked.due)
            elif self._stage.send(name, step.target, step.command):
                known.resent = not new
        return known

    def _check_new(self, step: Step[Any], *, alone: bool) -> None:
        address, story = self._stage.address, self._stage.story
        if len(story.steps) >= MAX_STEPS:
            raise SagaMisuse(f"{address} has asked for more than {MAX_STEPS:,} steps; it seems to loop")
        if story.pivot is not None and (step.kind == "pivot" or step.undo is not None):
            what = "is a second pivot" if step.kind == "pivot" else "has an undo"
            raise SagaMisuse(
                f"{address}: step {step.name!r} {what} but comes after the pivot {story.pivot.asked.step!r}, and past "
                "the pivot a saga only goes forward"
            )
        if step.kind == "pivot" and not alone:
            raise SagaMisuse(f"{address}: the pivot {step.name!r} must be awaited alone, not in parallel")
        if step.target == address:
            raise SagaMisuse(f"{address}: step {step.name!r} asks the saga itself, which would wait for ever")
        if step.undo is not None and step.target is not None and issubclass(self._kind(step.target.actor).cls, Saga):
            raise SagaMisuse(f"{address}: step {step.name!r} asks another saga, which can't be undone by a command")
        if step.target is not None:
            for request in (step.command, step.undo):
                if request is not None:
                    self._check(step.target, request)

    def _intend(self, step: Step[Any]) -> None:
        due = self._stage.now + round(step.duration / timedelta(microseconds=1)) if step.kind == "sleep" else 0
        encode = self._codec.encode
        command = msgspec.Raw(encode(step.command, f"step {step.name!r}"))
        undo = msgspec.Raw(encode(step.undo, f"the undo of step {step.name!r}"))
        self._stage.emit(Asked(step.name, step.kind, step.target, command, undo, due))

    def _is_same(self, step: Step[Any], asked: Asked) -> bool:
        if asked.kind != step.kind or asked.to != step.target:
            return False
        if step.target is None:
            return True
        try:
            return bool(self._kind(step.target.actor).command(asked.command) == step.command)
        except NotDecodable:
            return False

    def _mismatch(self, step: Step[Any], asked: Asked) -> SagaMismatch:
        # Both sides, but not what is in them: errors are logged, and logs hold no content of messages.
        was, now = _fields(asked.command), _fields(self._codec.encode(step.command))
        differing = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        return SagaMismatch(
            f"{self._stage.address} was changed under way. Step {step.name!r} in its journal: {asked.kind} "
            f"{asked.to or ''} {was.get('type', '')}; in today's code: {step.kind} {step.target or ''} "
            f"{now.get('type', '')}; fields that differ: {', '.join(differing) or 'none'}"
        )

    def _check_complete(self) -> None:
        unmet = [name for name in self._stage.story.steps if name not in self._met]
        if unmet:
            raise SagaMismatch(
                f"{self._stage.address} was changed under way. Steps in its journal: {list(self._stage.story.steps)}; "
                f"today's code came to its end without {unmet}"
            )


def _fields(command: bytes | msgspec.Raw) -> dict[str, Any]:
    found = msgspec.json.decode(command)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
