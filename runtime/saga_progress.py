"""Where sagas have come to, as the journal tells it: nothing is asked of them, and they are not disturbed."""

from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

import msgspec

from actors import Address, Command
from persistence import BURIED, Journal, Stream
from persistence.journal import PAGE
from runtime.kinds import Kind
from runtime.replay import stream
from runtime.saga_reading import take_in
from runtime.saga_story import COMPENSATE, StepStory, Story

LAST = 253_402_300_800_000_000
"""The end of the year 9999, behind which there are no dates; in microseconds since 1970."""

Status = Literal["new", "queued", "running", "compensating", "completed", "compensated", "parked", "killed"]
StepStatus = Literal["under way", "failing", "waiting", "done", "refused", "given up", "to be undone", "undone"]


STATUSES: tuple[Status, ...] = get_args(Status)


class StepProgress(msgspec.Struct, frozen=True):
    """One step of a saga.

    ``status``: it is ``"under way"``, or ``"failing"`` and tried again, or ``"waiting"`` for a time or a message; it is
    ``"done"``, ``"refused"``, or ``"given up"`` for another one; it is ``"to be undone"`` or ``"undone"``.
    ``failures`` counts the attempts that failed, at the step or at its undo.
    """

    name: str
    status: StepStatus
    to: Address[Any] | None = None
    failures: int = 0
    until: datetime | None = None
    """When its sleep, or its patience, ends."""


class SagaProgress(msgspec.Struct, frozen=True):
    """Where a saga has come to."""

    saga: Address[Any]
    status: Status
    steps: tuple[StepProgress, ...] = ()
    """In the order in which they were asked."""
    version: int = 0
    """How many events its stream has."""
    started: datetime | None = None
    """When it has begun."""
    changed: datetime | None = None
    """When its last event happened."""
    deadline: datetime | None = None
    reason: str | None = None
    """Why it goes back, went back, or was killed."""
    error: str | None = None
    """Why it is parked."""
    messages: int = 0
    """How many messages wait until its story takes them."""
    queued: datetime | None = None
    """When it was queued, where it had to wait for its place."""
    priority: int = 0
    """By which it waits for its place, while it does; one that a person has told to go on has 10."""


class PlannedUndo(msgspec.Struct, frozen=True):
    """What going back would send. ``command`` None: the saga that was asked is compensated."""

    step: str
    to: Address[Any]
    command: Command[Any, Any] | None
    done: bool
    """Whether the step is known to have been done; else its outcome is unknown."""


class Told:
    """A saga's story as it is read, event by event."""

    def __init__(self, address: Address[Any]) -> None:
        self.address = address
        self.story = Story()
        self.version = 0
        self._changed = 0

    async def read(self, journal: Journal) -> bool:
        """Read what is new; return whether there was anything."""
        before = self.version
        async for record in stream(journal, self.address, self.version):
            if take_in(self.story, record) is None and record.type == BURIED:
                self.story = Story(ended=True, buried=True)
            self.version, self._changed = record.version, record.time
        return self.version > before

    def progress(self) -> SagaProgress:
        """Return where it has come to."""
        story = self.story
        ended = story.ended
        return SagaProgress(
            self.address,
            cast(Status, story.status),
            tuple([_step(name, step, story) for name, step in story.steps.items()]),
            self.version,
            _time(story.started_at),
            _time(self._changed),
            None if ended else _time(story.deadline),
            story.reason if story.killed is None else story.killed.reason,
            None if ended else story.error,
            0 if ended else sum(not one.taken for one in story.inbox),
            _time(story.queued_at),
            story.priority if story.status == "queued" else 0,
        )


def _step(name: str, step: StepStory, story: Story) -> StepProgress:
    failures = step.undo_failures or step.failures
    until = _time(step.asked.due) if step.open else None
    return StepProgress(name, _step_status(step, story), step.asked.to, failures, until)


def _step_status(step: StepStory, story: Story) -> StepStatus:
    if step.undone:
        return "undone"
    if (story.reason is not None or step.dropped) and step.needs_undo:
        return "to be undone"
    if step.answered:
        return "done"
    if step.reason is not None:
        return "refused"
    if step.dropped or story.ended:
        return "given up"
    if step.asked.to is None:
        return "waiting"
    return "failing" if step.failures else "under way"


def _time(micros: int) -> datetime | None:
    return datetime.fromtimestamp(micros / 1e6, UTC) if 0 < micros < LAST else None


async def told(journal: Journal, address: Address[Any]) -> Told:
    """Return a saga's story as far as it is durable."""
    one = Told(address)
    await one.read(journal)
    return one


async def plan_of(journal: Journal, address: Address[Any], kind: Callable[[str], Kind]) -> list[PlannedUndo]:
    """Return what going back would send now, in order; nothing where there is no way back."""
    story = (await told(journal, address)).story
    plan: list[PlannedUndo] = []
    back = story.reason is not None or not story.past_pivot
    while back and not story.compensated and story.killed is None and (step := story.next_undo()) is not None:
        assert step.asked.to is not None
        undo = None if bytes(step.undo) == bytes(COMPENSATE) else kind(step.asked.to.actor).command(step.undo)
        plan.append(PlannedUndo(step.asked.step, step.asked.to, undo, done=step.answered))
        step.undone = True
    return plan


async def unfinished(journal: Journal, others: Container[str]) -> AsyncIterator[Address[Any]]:
    """Yield the sagas that have not ended: those under way, oldest first, then those that sleep, then the queued ones.

    ``others`` are the classes that are no sagas; one of a class that is not known here is told. Each is told once, also
    if it goes to sleep or is woken meanwhile.
    """
    told: set[Stream] = set()

    def new(streams: Iterable[Stream]) -> Iterator[Address[Any]]:
        for one in streams:
            if one[0] not in others and one not in told:
                told.add(one)
                yield Address(*one)

    for address in new(await journal.unfinished()):
        yield address
    after = None
    while True:
        page = await journal.sleeping(after)
        for address in new(sleeper.stream for sleeper in page):
            yield address
        if len(page) < PAGE:
            break
        after = page[-1]
    for address in new(await journal.unfinished()):  # it has slept, and was woken before its page was read
        yield address


async def all_of(journal: Journal, category: str) -> AsyncIterator[Address[Any]]:
    """Yield all sagas of a class that there ever were, oldest first."""
    after = 0
    while page := await journal.streams(after, category=category):
        for state in page:
            yield Address(*state.stream)
        after = page[-1].number
