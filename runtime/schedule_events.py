"""What stands in the stream of a schedule, and what follows from it: when it comes next, and what has run."""

from typing import Any, Literal, assert_never

import msgspec

from actors import Address, Event, State
from actors.schedules import Overlap, run_key
from runtime.schedule_times import Cron, Interval, Once, Times

RUNS_KEPT = 20
"""So many of its last runs a schedule remembers, and what became of them."""


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a schedule was set to. Times are in microseconds since 1970, 0 where there is none."""

    saga: str
    command: msgspec.Raw
    fingerprint: str
    """Of the command: what is personal in it is written differently each time."""
    cron: str = ""
    timezone: str = ""
    at: int = 0
    every: int = 0
    overlap: Overlap = "skip"
    catch_up: int = 1

    def same(self, other: "Content | None") -> bool:
        """Whether another one means the same."""
        return other is not None and msgspec.structs.replace(other, command=self.command) == self

    def times(self, anchor: int) -> Times:
        """Return its times; ``anchor`` is the first one of an interval.

        Raises:
            ValueError, ExtraMissing: a cron expression or a time zone can't be read here.
        """
        if self.cron:
            return Cron(self.cron, self.timezone)
        return Interval(anchor, self.every) if self.every else Once(self.at)


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one planned time, or of several that were passed over together."""

    planned: int
    outcome: Literal["started", "waiting", "skipped", "missed"]
    why: str = ""
    saga: str = ""
    """The class of the saga that was started."""
    since: int = 0
    """Where there are several: the first of them, up to ``planned``."""
    count: int = 1
    more: bool = False
    """Whether there are more than ``count`` says."""

    def address(self, name: str) -> Address[Any]:
        """Return the saga that was started."""
        return Address(self.saga, run_key(name, self.planned))


class ScheduleSet(Event, tag="schedule.set"):
    """The schedule was set, or set anew; ``next`` is when it comes first, or 0."""

    content: Content
    anchor: int
    next: int


class ScheduleUnset(Event, tag="schedule.unset"):
    """The schedule is no more."""


class SchedulePaused(Event, tag="schedule.paused"):
    """Nothing is started from here on."""


class ScheduleResumed(Event, tag="schedule.resumed"):
    """It goes on; ``runs`` says what it has passed over."""

    next: int
    runs: tuple[Run, ...]


class ScheduleAdvanced(Event, tag="schedule.advanced"):
    """Times have come, or a run that others waited for has ended."""

    next: int
    runs: tuple[Run, ...]
    ended: tuple[int, ...]
    """The planned times of those that were known to run, and have ended."""
    waiting: tuple[int, ...]
    """What waits now, the first first."""


ScheduleEvent = ScheduleSet | ScheduleUnset | SchedulePaused | ScheduleResumed | ScheduleAdvanced


class ScheduleState(State):
    """A schedule: what it was set to (None: it is not there), and how far it has come."""

    content: Content | None = None
    anchor: int = 0
    next: int = 0
    """The planned time that comes next; 0: none does."""
    last: int = 0
    """The latest planned time that was seen to; what comes next is behind it, whatever was set meanwhile."""
    paused: bool = False
    open: tuple[Run, ...] = ()
    """What was started and was not known to have ended, when it was looked at last."""
    waiting: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()
    """The last ones, the latest last."""
    serial: int = 0
    """How many events it has seen; tells whether something has happened since it was read."""

    @property
    def times(self) -> Times:
        """When it comes.

        Raises:
            ValueError, ExtraMissing: see :meth:`Content.times`.
        """
        assert self.content is not None
        return self.content.times(self.anchor)


def evolve(state: ScheduleState, event: ScheduleEvent) -> ScheduleState:
    """Return a schedule after one more event."""
    serial = state.serial + 1
    match event:
        case ScheduleSet(content, anchor, next_):
            return msgspec.structs.replace(state, content=content, anchor=anchor, next=next_, serial=serial)
        case ScheduleUnset():
            runs = tuple(
                Run(run.planned, "skipped", "the schedule was dropped") if run.outcome == "waiting" else run
                for run in state.runs
            )
            return msgspec.structs.replace(
                state, content=None, next=0, paused=False, waiting=(), runs=runs, serial=serial
            )
        case SchedulePaused():
            return msgspec.structs.replace(state, paused=True, serial=serial)
        case ScheduleResumed(next_, runs):
            return _told(state, next_, runs, paused=False, serial=serial)
        case ScheduleAdvanced(next_, runs, ended, waiting):
            still = [run for run in state.open if run.planned not in ended]
            begun = [run for run in runs if run.outcome == "started"]
            return _told(state, next_, runs, open=(*still, *begun), waiting=waiting, serial=serial)
        case _:
            assert_never(event)


def _told(state: ScheduleState, next_: int, runs: tuple[Run, ...], **changes: object) -> ScheduleState:
    last = max((run.planned for run in runs), default=0)
    known = {run.planned: run for run in (*state.runs, *runs)}  # one that has waited stays where it is
    kept = tuple(known.values())[-RUNS_KEPT:]
    return msgspec.structs.replace(state, next=next_, last=max(state.last, last), runs=kept, **changes)
