"""Schedules, as a runtime's users set and see them."""

from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, get_args

import msgspec

from actors import Address, Command, Failed, NotTaken, Saga, UnknownActor, UnknownSchedule
from actors.reminders import EPOCH, LONGEST, NAME_LIMIT, check_length
from actors.schedules import Overlap
from persistence import NotDecodable, NotEncodable, Sleeper
from runtime.fingerprint import fingerprint_of
from runtime.inspection import Inspection
from runtime.kinds import Kind
from runtime.node import Node
from runtime.origin import caller
from runtime.planner import has_ended
from runtime.schedule_events import Content, Run, ScheduleState
from runtime.schedule_times import LATEST, check_cron
from runtime.schedules import (
    PauseSchedule,
    ReadSchedule,
    ResumeSchedule,
    Schedules,
    SetSchedule,
    UnsetSchedule,
    time_of,
)

G = TypeVar("G", bound=Saga[Any, Any])

MOST_SCHEDULES = 1_000
"""How many schedules there may be at a time, for each owner of the journal."""
MOST_CAUGHT_UP = 100
"""The largest bound of what is caught up with."""
SHORTEST = timedelta(seconds=1)
"""The shortest interval."""
NEXT_TOLD = 5
"""So many of its next times are told of a schedule."""
_MICROSECOND = timedelta(microseconds=1)


class ScheduledRun(msgspec.Struct, frozen=True):
    """What became of a planned time; of several, where they were passed over together.

    ``started``: the saga at ``saga`` was started; :meth:`Runtime.result` tells what became of it. ``waiting``: it will
    be, when the run before it has ended. ``skipped``: it was not, and ``why`` says why. ``missed``: nor was this one,
    for the process was away.
    """

    planned: datetime
    outcome: Literal["started", "waiting", "skipped", "missed"]
    why: str
    saga: Address[Any] | None
    since: datetime
    """The first of several planned times; else the same as ``planned``, the last of them."""
    count: int
    """How many planned times it speaks of, at the least."""
    more: bool
    """Whether there are more than ``count``, and nobody has counted them."""


class ScheduleInfo(msgspec.Struct, frozen=True):
    """A schedule: what it was set to, when it comes next, and what became of its last 20 runs, the latest last.

    ``upcoming`` are up to five next times; a paused schedule has none. ``running`` are the sagas that it has started
    and that have not ended. A command that today's classes can't read is None.
    """

    name: str
    saga: str
    command: Command[Any, Any] | None
    cron: str | None
    timezone: str | None
    at: datetime | None
    every: timedelta | None
    overlap: Overlap
    catch_up: int
    paused: bool
    upcoming: tuple[datetime, ...]
    running: tuple[Address[Any], ...]
    runs: tuple[ScheduledRun, ...]


class Scheduling(Inspection):
    """The part of a runtime that starts sagas at planned times."""

    async def schedule(
        self,
        name: str,
        saga: type[G],
        command: Command[G, Any],
        /,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
        overlap: Overlap = "skip",
        catch_up: int = 1,
    ) -> None:
        """Start a saga with this command at planned times, from now on; durable when this returns.

        Once ``at`` a time; ``every`` so often, for the first time then or after one interval; or as a ``cron``
        expression says, in a ``timezone`` (by default UTC). Never early, and each planned time at most once: the
        saga's key is made of the schedule's name and that time, and :func:`actors.planned_time` reads it back.

        ``overlap`` says what becomes of a run whose time comes while the one before has not ended: it is left out
        (``"skip"``), begins all the same (``"allow"``, up to 100 at a time), waits (``"queue"``, as many as
        ``catch_up`` says, one at the least), or waits and has the other one compensated (``"cancel"``). ``catch_up`` is
        how many runs come late that were missed while the process was away, the latest ones; 0 to 100.

        Setting a schedule to what it is changes nothing, so that programs can do it at each start. Setting it to
        something else replaces it; what has run, waits or is paused stays so.

        Raises:
            ValueError: the times can't be meant, the name is empty, or there are 1,000 schedules already.
            ExtraMissing: a cron expression needs ``understudy[cron]``.
            NotTaken, UnknownActor: the saga doesn't take this command, or is not here.
            Elsewhere: the schedule belongs to another owner of the journal.
            Failed: the command can't be stored.
            OutcomeUnknown: it may or may not have been set; set it again.
        """
        node = self._open_node()
        kind = node.directory.own_kind(Address(_class_name(saga)))
        if not issubclass(kind.cls, Saga):
            raise NotTaken(
                f"{saga.__name__} is no saga, and only sagas are scheduled; remind others: runtime.remind(...)"
            )
        node.check(Address(kind.name), command)
        now = node.clock.now()
        expression, zone, first, interval = _times(name, cron, timezone, at, every, now)
        _check_policies(name, overlap, catch_up)
        data, fingerprint = _stored(name, kind, command)
        content = Content(kind.name, data, fingerprint, expression, zone, first, interval, overlap, catch_up)
        if (await self._schedule(node, name)).content is None:
            await _check_room(node, name)
        await node.ask(Schedules.at(name), SetSchedule(content, now), origin=caller())

    async def unschedule(self, name: str, /) -> None:
        """Drop a schedule, if there is one; durable when this returns. What runs goes on, and what waits is dropped.

        Raises:
            Elsewhere: it belongs to another owner of the journal.
            OutcomeUnknown: it may or may not have been dropped; drop it again.
        """
        await self._open_node().ask(Schedules.at(name), UnsetSchedule(), origin=caller())

    async def pause_schedule(self, name: str, /) -> None:
        """Start nothing by this schedule until :meth:`resume_schedule`; durable when this returns.

        What waits goes on waiting, what runs goes on. It stays paused when it is set anew.

        Raises:
            UnknownSchedule: there is none.
            Elsewhere: it belongs to another owner of the journal.
            OutcomeUnknown: it may or may not be paused; pause it again.
        """
        await self._schedule_there(name)
        await self._open_node().ask(Schedules.at(name), PauseSchedule(), origin=caller())

    async def resume_schedule(self, name: str, /) -> None:
        """Let a schedule go on with the first time that is still to come; durable when this returns.

        What was planned in between is not caught up with, and is among its runs as skipped.

        Raises:
            UnknownSchedule: there is none.
            Elsewhere: it belongs to another owner of the journal.
            OutcomeUnknown: it may or may not go on; resume it again.
        """
        await self._schedule_there(name)
        node = self._open_node()
        await node.ask(Schedules.at(name), ResumeSchedule(node.clock.now()))

    async def schedules(self) -> list[ScheduleInfo]:
        """Return the schedules of this owner of the journal, by name, those that have no times left included.

        Raises:
            Parked: one can't be read.
        """
        node = self._open_node()
        found = [(name, await self._schedule(node, name)) for name in sorted(await _names(node))]
        return [await _info(node, name, state, state.content) for name, state in found if state.content is not None]

    async def _schedule(self, node: Node, name: str) -> ScheduleState:
        return await node.ask(Schedules.at(name), ReadSchedule())

    async def _schedule_there(self, name: str) -> None:
        if (await self._schedule(self._open_node(), name)).content is None:
            raise UnknownSchedule(f"there is no schedule {name!r:.250}; await runtime.schedules() lists those that are")


# -- what can't be meant ----------------------------------------------------------------------------------------------


def _times(
    name: str, cron: str | None, timezone: str | None, at: datetime | None, every: timedelta | None, now: int
) -> tuple[str, str, int, int]:
    """Return when, as it is kept: cron expression, time zone, a time and an interval; empty or 0: there is none."""
    _check_times(name, cron, timezone, at, every)
    if cron is not None:
        timezone = timezone or "UTC"
        check_cron(cron, timezone, now)
        return cron, timezone, 0, 0
    first = 0 if at is None else max(1, (at - EPOCH) // _MICROSECOND)
    return "", "", first, 0 if every is None else every // _MICROSECOND


def _stored(name: str, kind: Kind, command: Command[Any, Any]) -> tuple[msgspec.Raw, str]:
    """Return a command as it is kept, and its fingerprint."""
    try:
        return msgspec.Raw(kind.command_data(command)), fingerprint_of(command, codec=kind.codec)
    except NotEncodable as error:
        raise Failed(f"schedule {name!r:.250} can't be set: {error}") from error


def _check_times(
    name: str, cron: str | None, timezone: str | None, at: datetime | None, every: timedelta | None
) -> None:
    what = f"schedule {name!r:.250}"
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"a schedule needs a name of 1 to {NAME_LIMIT} printable characters, not {name!r:.250}")
    if cron is None and at is None and every is None:
        raise ValueError(f'{what} doesn\'t say when; write cron="0 3 * * *", every=timedelta(...) or at=datetime(...)')
    if cron is not None and (at is not None or every is not None):
        raise ValueError(f"{what} has cron= and {'at=' if at is not None else 'every='}; leave one of them out")
    if timezone is not None and cron is None:
        raise ValueError(f"{what} has a timezone=, which only cron= needs; at= has its own, every= needs none")
    if at is not None and at.tzinfo is None:
        raise ValueError(f"{what}: at={at} could be any time zone; write datetime(..., tzinfo=UTC)")
    if at is not None and at >= time_of(LATEST):
        raise ValueError(f"{what} can't be due after the year 9998, not at={at}")
    check_length(what, "every", every)
    if every is not None and not SHORTEST <= every <= LONGEST:
        raise ValueError(f"{what} must repeat after a second or more, and a thousand years at the most, not {every}")


def _class_name(saga: object) -> str:
    """Return the name of the class of sagas that is to be scheduled.

    Raises:
        NotTaken: it is no class.
    """
    if not isinstance(saga, type):
        raise NotTaken(f"a schedule starts a saga of its own each time: give it the class, not {saga!r:.250}")
    return saga.__name__


def _check_policies(name: str, overlap: Overlap, catch_up: int) -> None:
    what = f"schedule {name!r:.250}"
    if overlap not in get_args(Overlap):
        raise ValueError(f"{what}: overlap= is one of {', '.join(map(repr, get_args(Overlap)))}, not {overlap!r}")
    if type(catch_up) is not int or not 0 <= catch_up <= MOST_CAUGHT_UP:
        raise ValueError(f"{what}: catch_up= is a number of runs, 0 to {MOST_CAUGHT_UP}, not {catch_up!r}")


async def _check_room(node: Node, name: str) -> None:
    if len(await _names(node)) >= MOST_SCHEDULES:
        raise ValueError(
            f"there are {MOST_SCHEDULES:,} schedules, which is the most; drop some (await runtime.unschedule(name)) "
            f"before {name!r} is set, or start what comes once by runtime.remind(Saga.at(key), ...)"
        )


# -- what there is ----------------------------------------------------------------------------------------------------


async def _names(node: Node) -> set[str]:
    """Return the names of the owner's schedules: their streams have a time to wake at."""
    names: set[str] = set()  # one whose time to wake moves on between two pages is on both
    last: Sleeper | None = None
    while page := await node.journal.sleeping(last):
        last = page[-1]
        names.update(key for category, key in (one.stream for one in page) if category == Schedules.__name__)
    return names


async def _info(node: Node, name: str, state: ScheduleState, content: Content) -> ScheduleInfo:
    upcoming: list[datetime] = []
    next_ = 0 if state.paused else state.next
    while next_ and len(upcoming) < NEXT_TOLD:
        upcoming.append(time_of(next_))
        next_ = state.times.after(next_)
    return ScheduleInfo(
        name,
        content.saga,
        _command(node, content),
        content.cron or None,
        content.timezone or None,
        time_of(content.at) if content.at else None,
        timedelta(microseconds=content.every) if content.every else None,
        content.overlap,
        content.catch_up,
        state.paused,
        tuple(upcoming),
        tuple([run.address(name) for run in state.open if not await has_ended(node, name, run)]),
        tuple(_told(name, run) for run in state.runs),
    )


def _told(name: str, run: Run) -> ScheduledRun:
    planned = time_of(run.planned)
    saga = run.address(name) if run.outcome == "started" else None
    since = time_of(run.since) if run.since else planned
    return ScheduledRun(planned, run.outcome, run.why, saga, since, run.count, run.more)


def _command(node: Node, content: Content) -> Command[Any, Any] | None:
    try:
        kind: Kind = node.kind(content.saga)
        return kind.command(content.command)
    except (UnknownActor, NotDecodable):
        return None
