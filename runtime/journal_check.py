"""Checks a journal against today's code: which of what it holds would not load, and why. Best before a deployment.

It reads, and changes nothing. Each event is really read, through its aliases and upcasts, but not applied: what
``evolve`` does with it, it can't know. Of sagas that have not ended, and of reminders that are pending, the commands
are read too, and the replies that a saga's code will be fed; the code of those sagas is run against their stories, to
see that it would go on; and where events were erased, the snapshot that stands for them is read. In memory are a page
of events, one stream that has something to go on with, the names of the streams of which something was erased, and a
line for each sort of event.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors import Address, Command, EventsErased, JournalMismatch, Refused, Saga, SagaMismatch, Service, UnknownActor
from persistence import Journal, JournalDamaged, Keys, MemoryJournal, NotDecodable, Record, Stream
from persistence.archiving import import_from
from persistence.journal import BURIED, DELETED, ERASED, Sleeper
from runtime import saga_events
from runtime.built_in import BUILT_IN
from runtime.directory import Directory
from runtime.history import state_of
from runtime.kinds import INTERNAL, LOCK_EVENTS, Kind, decoded, meta_of
from runtime.personal import PersonalData
from runtime.reminder_events import NOTHING_PENDING, REMINDERS, PendingByName, replayed
from runtime.replay import stream
from runtime.saga_fit import code_of
from runtime.saga_progress import all_of
from runtime.saga_reading import follow, own_event
from runtime.saga_rehearsal import run_through
from runtime.saga_story import COMPENSATE, StepStory, Story, has
from runtime.schedule_events import ScheduleState
from runtime.schedules import Schedules
from runtime.snapshots import read_kept, state_in

MOST_SORTS = 10_000
"""Sorts of events, and problems, that are told apart; what comes behind them is counted only."""

Progress = Callable[[int, int], None]
"""Called after each page with the position that has been reached, and the journal's last."""
_JOURNALS_OWN = frozenset({ERASED, DELETED, BURIED})


class StoredEvents(msgspec.Struct):
    """One sort of event that the journal holds, by the name and revision under which it is stored."""

    actor: str
    type: str
    revision: int
    position: int
    """Where the first one stands."""
    key: str
    """The key of its stream."""
    count: int = 0


class Problem(msgspec.Struct):
    """Something that would not load."""

    actor: str
    what: str
    """The event, the command or the reply."""
    reason: str
    position: int
    """Where the first one stands."""
    key: str
    """The key of its stream."""
    count: int = 0

    def __str__(self) -> str:
        many = "1 time" if self.count == 1 else f"{self.count:,} times"
        where = f"{self.actor}/{self.key}"
        return f"{self.what} of {self.actor}: {many}, first at position {self.position} in {where}: {self.reason}"


class CheckReport(msgspec.Struct):
    """What a journal holds, and what of it would not load with today's code."""

    events: int = 0
    """How many were looked at."""
    stored: list[StoredEvents] = []
    problems: list[Problem] = []
    left_out: int = 0
    """Events and problems of so many sorts that they are only counted."""

    @property
    def ok(self) -> bool:
        """Whether everything would load."""
        return not self.problems and not self.left_out

    def __str__(self) -> str:
        if self.ok:
            return f"all {self.events:,} events would load"
        sorts = len({(problem.actor, problem.what) for problem in self.problems})
        heading = "this type" if sorts == 1 else f"these {sorts:,} types"
        lines = [f"{heading} would not load with today's code ({self.events:,} events were checked):"]
        lines += [f"  {problem}" for problem in self.problems]
        if self.left_out:
            lines.append(f"  and {self.left_out:,} more")
        return "\n".join(lines)


async def check_journal(
    journal: Journal,
    actors: Sequence[type],
    progress: Progress | None = None,
    keys: Keys | None = None,
    *,
    ended: bool = False,
) -> CheckReport:
    """Go through an open journal, and return what of it would not load with these classes of actors.

    With ``keys``, which must be open, personal values are opened too. One that is forgotten is no problem. With
    ``ended``, the code of sagas is also run against the stories of those that are over: a test of new code against what
    production has gone through.

    Raises:
        DefinitionError: a class can't work, or its upcasts don't lead to today's classes.
        JournalDamaged: a record is missing or is not what was written.
    """
    codec = PersonalData(keys, blind=True, max_payload=journal.max_payload).codec
    check = _Check(journal, Directory([*actors, *BUILT_IN], {}, _no_pools, codec))
    position = 0
    while page := await journal.read_all(position):
        for record in page:
            check.event(record)
        position = page[-1].position
        if progress is not None:
            progress(position, max(position, journal.position))
    for name in check.erased:
        await check.snapshot(name)
    for name in await journal.unfinished():
        await check.saga(name)
    async for name in _sleeping(journal):
        await check.saga(name)
    if ended:
        async for name in check.all_sagas():
            await check.saga(name, ended=True)
    async for name in _sleeping(journal):
        await check.reminders(name)
        if name[0] == Schedules.__name__:
            await check.schedule(name)
    return check.report


async def check_archive(
    path: Path, actors: Sequence[type], keys: Keys | None = None, *, ended: bool = False
) -> CheckReport:
    """Check what was exported from a journal, in a test of new code say; see :func:`check_journal`.

    It is read into memory whole.

    Raises:
        NotAnArchive, ArchiveDamaged: the file is not a whole archive.
        JournalUnusable: the file can't be read.
        DefinitionError: a class can't work, or its upcasts don't lead to today's classes.
    """
    journal = MemoryJournal()
    await import_from(path, journal)
    return await check_journal(journal, actors, keys=keys, ended=ended)


class _Check:
    """One check under way."""

    def __init__(self, journal: Journal, directory: Directory) -> None:
        self.report = CheckReport()
        self.erased: dict[Stream, int] = {}
        """Streams of which something was erased, and the positions of the first of it."""
        self._journal = journal
        self._directory = directory
        self._sorts: dict[tuple[str, str, int], StoredEvents] = {}
        self._problems: dict[tuple[str, str, str], Problem] = {}

    def event(self, record: Record) -> None:
        """Count an event, and read it as its reader would."""
        self.report.events += 1
        if record.type in _JOURNALS_OWN:
            if record.type == ERASED:
                self.erased.setdefault(record.stream, record.position)
            return
        what = record.type
        try:
            kind = self._directory.kind(record.stream[0])
            revision = meta_of(record).revision
            what = f"{record.type} revision {revision}"
            self._count(record, revision)
            _read(kind, record)
        except (JournalMismatch, UnknownActor, JournalDamaged) as error:
            self._problem(record.stream, record.position, what, error)

    async def snapshot(self, name: Stream) -> None:
        """Read the snapshot that stands for what was erased, where one has to."""
        try:
            kind = self._directory.kind(name[0])
        except UnknownActor:
            return  # it is among the events, where there are any left
        left = await self._journal.read(name, 0, 1)
        if not issubclass(kind.cls, Service) or not left or left[0].type in (DELETED, BURIED):
            return
        snapshot = (await self._journal.snapshots([name])).get(name)
        erased = left[0].version - 1
        if snapshot is None or snapshot.version < erased or state_in(kind, snapshot, erased=True) is None:
            error = EventsErased("no snapshot stands for them that today's class can read")
            self._problem(name, self.erased[name], "what was erased", error)

    async def all_sagas(self) -> AsyncIterator[Stream]:
        """Yield the streams of all sagas."""
        for kind in self._directory.kinds(Saga):
            async for address in all_of(self._journal, kind.name):
                yield address.actor, address.key

    async def saga(self, name: Stream, *, ended: bool = False) -> None:
        """Read what a saga that has not ended needs to go on: commands, undos and replies; or one that has."""
        address = Address[Any](*name)
        story, position = Story(), 0
        try:
            kind = self._directory.kind(address.actor)
            if not issubclass(kind.cls, Saga):
                return
            async for record in stream(self._journal, address):
                position = position or record.position
                event = own_event(record)
                if event is not None and not self._follows(story, event, record):
                    return
        except (JournalMismatch, UnknownActor):
            return  # it is among the events
        if story.start is None or story.buried or story.ended is not ended:
            return
        before = len(self._problems)
        try:
            code_of(kind, story)
        except SagaMismatch as error:
            what = "code" if story.started is None else f"version {story.started.version} of its code"
            self._problem(name, position, what, error)
        self._command(name, position, "command that it began with", kind.name, story.start.command)
        for message in story.inbox:
            self._command(name, position, f"message {message.name}", kind.name, message.data)
        for step in story.steps.values():
            self._step(name, position, step)
        begun = story.started is not None
        if begun and len(self._problems) == before and (story.reason is None or ended):
            self._resume(name, position, kind, story)

    def _follows(self, story: Story, event: saga_events.SagaEvent, record: Record) -> bool:
        try:
            follow(story, event, record)
        except JournalMismatch as error:
            self._problem(record.stream, record.position, "place in its saga's story", error)
            return False
        return True

    def _resume(self, name: Stream, position: int, kind: Kind, story: Story) -> None:
        """Run a saga's code against its story, as its runtime would to bring it back."""
        address = Address[Any](*name)
        try:
            run_through(self._directory, address, kind, story, code_of(kind, story)(address.key))
        except Refused:
            pass  # it would go back
        except Exception as error:  # noqa: BLE001 (whatever the author's code raises would park the saga)
            self._problem(name, position, "code that would go on with it", error)

    def _step(self, name: Stream, position: int, step: StepStory) -> None:
        asked = step.asked
        if asked.to is None:
            return
        to = asked.to.actor
        command = self._command(name, position, f"command of step {asked.step!r}", to, asked.command)
        if has(step.undo) and bytes(step.undo) != bytes(COMPENSATE):
            self._command(name, position, f"undo of step {asked.step!r}", to, step.undo)
        if command is not None and step.reply is not None:
            try:
                self._directory.kind(to).reply(type(command)).decode(step.reply)
            except NotDecodable as error:
                self._problem(name, position, f"reply to step {asked.step!r}", error)

    async def reminders(self, name: Stream) -> None:
        """Read the commands of the reminders that are pending in a service's stream."""
        pending: PendingByName = NOTHING_PENDING
        positions: dict[int, int] = {}
        after = 0
        if name in self.erased:
            snapshot = (await self._journal.snapshots([name])).get(name)
            kept = read_kept(snapshot)
            if kept is not None and snapshot is not None:
                pending, after = {one.name: one for one in kept.pending}, snapshot.version
        try:
            async for record in stream(self._journal, Address[Any](*name), after):
                if record.type in (DELETED, BURIED):
                    pending = NOTHING_PENDING
                elif record.type in REMINDERS:
                    pending = replayed(pending, record)
                    positions[record.version] = record.position
        except JournalMismatch:
            return  # it is among the events, or what was erased would be needed
        for one in pending.values():
            to = one.to.actor if one.to is not None else name[0]
            self._command(
                name, positions.get(one.version, one.position), f"reminder {one.name!r}", to, msgspec.Raw(one.command)
            )

    async def schedule(self, name: Stream) -> None:
        """Read the command that a schedule starts sagas with."""
        address = Address[Any](*name)
        try:
            state: ScheduleState = await state_of(self._journal, address, self._directory.kind(name[0]))
        except (JournalMismatch, EventsErased):
            return  # it is among the events, or what was erased would be needed
        if state.content is not None:
            (last,) = await self._journal.read_back(name, limit=1)
            saga, command = state.content.saga, state.content.command
            self._command(name, last.position, "command that it starts sagas with", saga, command)

    def _command(self, name: Stream, position: int, what: str, to: str, data: msgspec.Raw) -> Command[Any, Any] | None:
        try:
            return self._directory.kind(to).command(data)
        except (NotDecodable, UnknownActor) as error:
            self._problem(name, position, what, error)
            return None

    def _count(self, record: Record, revision: int) -> None:
        actor, key = record.stream
        found = self._sorts.get((actor, record.type, revision))
        if found is None:
            if len(self._sorts) == MOST_SORTS:
                return
            found = self._sorts[actor, record.type, revision] = StoredEvents(
                actor, record.type, revision, record.position, key
            )
            self.report.stored.append(found)
        found.count += 1

    def _problem(self, name: Stream, position: int, what: str, error: Exception) -> None:
        reason = str(error.__cause__ or error) if isinstance(error, JournalMismatch) else str(error)
        actor, key = name
        found = self._problems.get((actor, what, reason))
        if found is None:
            if len(self._problems) == MOST_SORTS:
                self.report.left_out += 1
                return
            found = self._problems[actor, what, reason] = Problem(actor, what, reason, position, key)
            self.report.problems.append(found)
        found.count += 1


def _read(kind: Kind, record: Record) -> None:
    """Read an event as its reader would; what is in the memory of a journal's writer is not looked at.

    Raises:
        JournalMismatch: it doesn't fit today's classes.
    """
    is_saga, is_service = issubclass(kind.cls, Saga), issubclass(kind.cls, Service)
    if is_saga and record.type in saga_events.DECODERS:
        decoded(saga_events.DECODERS[record.type], record, record.data)
    elif is_service and record.type in INTERNAL:
        if record.type in LOCK_EVENTS:
            kind.read(msgspec.structs.replace(record, value=None))
        elif record.type in REMINDERS:
            decoded(REMINDERS[record.type], record, record.data)
    else:
        kind.read(msgspec.structs.replace(record, value=None))


async def _sleeping(journal: Journal) -> AsyncIterator[Stream]:
    last: Sleeper | None = None
    while page := await journal.sleeping(last):
        for sleeper in page:
            yield sleeper.stream
        last = page[-1]


def _no_pools(address: Address[Any], _: Kind) -> Any:
    raise AssertionError(f"nobody lives at {address}, for a check starts nobody")
