"""A saga's run: the author's coroutine, driven by hand as far as the story allows.

The coroutine awaits nothing but its own steps, so it needs no task and no event loop: each ``send`` runs it to the
next step, and what the story holds of that step is fed to it, or waited for. In recovery the same run is made
again from the beginning; it must come to the same steps.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, cast

import msgspec

from actors import Address, Chosen, Command, Parallel, Refused, Request, Saga, SagaMismatch, SagaMisuse, Select, Step
from actors.messages import name_of
from persistence import NotDecodable
from runtime.kinds import Kind
from runtime.log import log
from runtime.saga_events import Answered, Asked, SagaEvent, UndoRevised
from runtime.saga_intent import check_new, intent
from runtime.saga_story import StepStory, Story
from runtime.takers import check_takes


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

    def send(self, step: StepStory, to: Address[Any], command: Request[Any, Any]) -> bool:
        """Send a step's command, unless it is under way already; return whether it was sent."""
        ...

    def sleep(self, step: str, due: int) -> None:
        """Have the step answered when the time has come."""
        ...

    def drop(self, step: StepStory) -> None:
        """Wait for a step no more, and undo it."""
        ...


class SagaRun:
    """One run of one saga's code, in one incarnation."""

    __slots__ = (
        "_awaited",
        "_coroutine",
        "_first",
        "_kind",
        "_met",
        "_own",
        "_refusal",
        "_revised",
        "_stage",
        "_waited",
        "ended",
        "result",
        "saga",
    )

    def __init__(
        self,
        stage: Stage,
        saga: Saga[Any, Any],
        command: Command[Any, Any],
        own: Kind,
        kind: Callable[[str], Kind],
    ) -> None:
        self._stage = stage
        self.saga = saga
        self._own = own
        self._kind = kind
        saga.play_as(stage.address, self._revise)
        self._coroutine: Coroutine[Any, Any, Any] | None = saga.run(command)
        self._awaited: dict[str, Step[Any]] = {}
        """The steps that the code waits for now, by name."""
        self._waited: list[StepStory] = []
        """What the story knows of them, in the same order."""
        self._first: bool | None = None
        """Whether it waits for the first of them, for all of them (False), or for one (None)."""
        self._met: set[str] = set()
        """The names of all the steps that the code has come to."""
        self._revised: dict[str, int] = {}
        """How often the code has given a step another undo."""
        self._refusal: Refused | None = None
        """The refusal that was raised in the code."""
        self.ended = False
        """Whether the code has come to its end."""
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
                self.ended, self.result = True, stop.value
                break
            self._await(awaited)
        return self.ended

    def close(self) -> None:
        """Drop the coroutine; its clean-up code runs, and can't await anything more."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            try:
                coroutine.close()
            except Exception as error:  # noqa: BLE001 (clean-up code of the author's)
                log.warning("saga resisted its end", saga=str(self._stage.address), error=repr(error))

    def step(self, name: str) -> Step[Any] | None:
        """Return a step that the code waits for."""
        return self._awaited.get(name)

    # -- the outcomes of what is awaited ------------------------------------------------------------------------

    def _pending(self) -> bool:
        """Whether an outcome is still awaited. Once a step is refused, siblings that fail are not waited for."""
        waited = self._waited
        if self._first is None:  # the shortest way, for most steps are awaited alone
            return bool(waited) and waited[0].open
        if self._first:
            return self._winner() is None and any(step.open for step in waited)
        pending = [step for step in waited if step.open]
        if pending and len(waited) > 1 and any(_is_refusal(step) for step in waited):
            pending = [step for step in pending if not step.failures]
        return bool(pending)

    def _winner(self) -> StepStory | None:
        """Return the step of a select that was done first."""
        done = [step for step in self._waited if step.ended and not _is_refusal(step)]
        return min(done, key=lambda step: step.ended) if done else None

    def _resume(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Give the code what it waited for: the replies, or a refusal. Return what it awaits next."""
        waited = self._waited
        if not waited:
            self.saga.at_time(self._stage.story.started_at)
            return coroutine.send(None)
        if self._first:
            return self._choose(coroutine)
        if self._first is None and not _is_refusal(only := waited[0]):
            self.saga.at_time(only.ended_at)
            return coroutine.send(self._reply(only) if only.value is None else only.value)
        self.saga.at_time(max([step.ended_at for step in waited]))
        refused = [step for step in waited if _is_refusal(step)]
        if refused:
            return self._refuse(coroutine, min(refused, key=lambda step: step.ended))
        return coroutine.send(tuple([self._reply(step) for step in waited]))

    def _choose(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        winner = self._winner()
        if winner is None:
            last = max(self._waited, key=lambda step: step.ended)
            self.saga.at_time(last.ended_at)
            return self._refuse(coroutine, last)
        for step in self._waited:
            if step is not winner and not step.dropped and (step.open or step.needs_undo):
                self._stage.drop(step)
        self.saga.at_time(winner.ended_at)
        return coroutine.send(Chosen(winner.asked.step, self._reply(winner)))

    def _refuse(self, coroutine: Coroutine[Any, Any, Any], step: StepStory) -> Any:
        self._refusal = Refused(step.reason or "")
        return coroutine.throw(self._refusal)

    def _reply(self, step: StepStory) -> Any:
        asked = step.asked
        if step.reason is not None:
            return Refused(step.reason)
        if asked.awaits and step.reply is not None:
            number: int | None = msgspec.json.decode(step.reply)
            return None if number is None else self._own.command(self._stage.story.inbox[number].data)
        if step.value is None and step.reply is not None and asked.to is not None:
            command = self._awaited[asked.step].command
            step.value = self._kind(asked.to.actor).reply(type(command)).decode(step.reply)
        return step.value

    # -- the steps that the code comes to -----------------------------------------------------------------------

    def _check_not_refused(self) -> None:
        """A refusal ends the story, or its steps would be half taken back and half kept."""
        if self._refusal is not None:
            raise SagaMisuse(
                f"{self._stage.address} went on after the refusal {str(self._refusal)!r}; let Refused pass, and what "
                "was done is undone, or make the step one that may be refused: self.optional(self.ask(...))"
            )

    def _await(self, awaited: Any) -> None:
        if self._refusal is not None:
            self._check_not_refused()
        only = awaited
        if type(awaited) is Step:
            self._first, self._awaited = None, {only.name: only}
            self._waited = [self._meet(only, alone=True)]
            return
        steps: Sequence[Step[Any]]
        match awaited:
            case Parallel() | Select():
                steps, self._first = awaited.steps, isinstance(awaited, Select)
            case _:
                raise SagaMisuse(
                    f"{self._stage.address} awaited a {type(awaited).__name__}, which is no step; a saga awaits only "
                    "self.ask, self.pivot, self.sleep, self.receive, self.parallel and self.select: leave I/O to a "
                    "plain actor and ask it"
                )
        self._awaited = {}
        self._waited = []
        for step in steps:
            if self._first and step.name not in self._stage.story.steps and self._winner() is not None:
                continue  # one has won already: those behind it are never begun
            self._awaited[step.name] = step
            self._waited.append(self._meet(step, alone=False))

    def _meet(self, step: Step[Any], *, alone: bool) -> StepStory:
        """Find the step in the story, or write it there; send it, unless its outcome is known."""
        name, story = step.name, self._stage.story
        if name in self._met:
            raise SagaMisuse(f"{self._stage.address} has two steps called {name!r}; give each a name of its own")
        self._met.add(name)
        known = story.steps.get(name)
        new = known is None
        if known is None:
            stage = self._stage
            check_new(stage.address, story, step, self._kind, alone=alone)
            stage.emit(intent(step, story, self._own.codec, self._kind, stage.now))
            known = story.steps[name]
        elif not self._is_same(step, known):
            raise self._mismatch(step, known.asked)
        if known.open:
            if step.target is not None and step.command is not None:
                command = (
                    step.command if known.copy == 1 else self._kind(step.target.actor).command(known.asked.command)
                )
                if self._stage.send(known, step.target, command) and not new:
                    known.resent = True
            elif (
                step.awaits is not None and (number := story.first_in(known.asked.awaits, self._own.today)) is not None
            ):
                self._stage.emit(Answered(name, msgspec.Raw(b"%d" % number)))
            elif known.asked.due:
                self._stage.sleep(name, known.asked.due)
        return known

    def _revise(self, name: str, undo: Command[Any, Any]) -> None:
        """Give a step that was done another undo; at a replay the story knows it."""
        address, story = self._stage.address, self._stage.story
        if self._coroutine is None:
            raise SagaMisuse(f"{address} revises the undo of step {name!r} when its story is over")
        step = story.steps.get(name)
        if step is None or name not in self._met or not step.answered or step.asked.to is None:
            raise SagaMisuse(f"{address} revises the undo of step {name!r}, which is not done; await the step first")
        count = self._revised[name] = self._revised.get(name, 0) + 1
        to = self._kind(step.asked.to.actor)
        if count <= len(step.revisions):
            if to.command(step.revisions[count - 1]) != undo:
                raise SagaMismatch(
                    f"{address} was changed under way: it gives step {name!r} another undo than the one in its journal"
                )
            return
        if story.pivot is not None or step.dropped or to.is_saga:
            why = "it is past the pivot" if story.pivot is not None else "the step is given up"
            why = "a saga that was asked is undone by compensating it" if to.is_saga else why
            raise SagaMisuse(f"{address} can't revise the undo of step {name!r}: {why}")
        check_takes(to, step.asked.to, undo)
        self._stage.emit(UndoRevised(name, msgspec.Raw(self._own.codec.encode(undo, f"the undo of step {name!r}"))))

    def _is_same(self, step: Step[Any], known: StepStory) -> bool:
        asked = known.asked
        if asked.kind != step.kind or asked.to != step.target:
            return False
        if step.awaits is not None:
            return self._own.today(asked.awaits) == name_of(step.awaits)
        if step.target is None or known.copy > 1:
            return True
        try:
            return bool(self._kind(step.target.actor).command(asked.command) == step.command)
        except NotDecodable:
            return False

    def _mismatch(self, step: Step[Any], asked: Asked) -> SagaMismatch:
        # Both sides, but not what is in them: errors are logged, and logs hold no content of messages.
        was, now = _fields(asked.command), _fields(self._own.codec.encode(step.command))
        differing = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        return SagaMismatch(
            f"{self._stage.address} was changed under way. Step {step.name!r} in its journal: {asked.kind} "
            f"{asked.to or asked.awaits} {was.get('type', '')}; in today's code: {step.kind} "
            f"{step.target or (name_of(step.awaits) if step.awaits else '')} "
            f"{now.get('type', '')}; fields that differ: {', '.join(differing) or 'none'}"
        )

    def _check_complete(self) -> None:
        steps, met = self._stage.story.steps, self._met
        if met.issuperset(steps):
            return
        names = dict.fromkeys(step.asked.step for step in steps.values())
        unmet = [name for name in names if name not in met]
        if unmet:
            raise SagaMismatch(
                f"{self._stage.address} was changed under way. Steps in its journal: {list(names)}; "
                f"today's code came to its end without {unmet}"
            )


def _is_refusal(step: StepStory) -> bool:
    """Whether a step's outcome is a refusal that is no value."""
    return step.reason is not None and not step.asked.optional


def _fields(command: bytes | msgspec.Raw) -> dict[str, Any]:
    found = msgspec.json.decode(command)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
