"""Schedules: a service that every runtime has, one for each schedule.

It starts sagas, and has itself looked at when times have come, by reminders of its own that are set with its events:
what was decided is started, whatever dies. It has no clock; who looks at it (``planner.py``) tells the time.
"""

from datetime import datetime, timedelta
from typing import Any, assert_never

from actors import Address, Command, Decision, Service
from actors.reminders import EPOCH
from actors.schedules import run_key
from runtime import schedule_events
from runtime.schedule_events import (
    Content,
    Run,
    ScheduleAdvanced,
    SchedulePaused,
    ScheduleResumed,
    ScheduleSet,
    ScheduleState,
    ScheduleUnset,
)
from runtime.schedule_rules import Outlook, advance
from runtime.schedule_times import LATEST

PLAN, WAIT = "plan", "wait"
"""The names of a schedule's own reminders: a time comes; a run waits for another one's end."""
AGAIN = timedelta(hours=1)
"""If a look at what is due comes to nothing (the clock was set back, say), it comes again at an hour of that grid."""
POLL = timedelta(minutes=1)
"""How often it is looked whether a run may go on that waits. The end of the one before is noticed at once, but for
crashes and for sagas that were parked and go on."""


class Plan(Command[Any, None], tag="runtime.plan"):
    """Look what is due."""


class SetSchedule(Command["Schedules", None], tag="runtime.schedule"):
    """Set a schedule; nothing happens where it is set to the same already."""

    content: Content
    now: int


class UnsetSchedule(Command["Schedules", None], tag="runtime.unschedule"):
    """Drop the schedule, and what waits."""


class PauseSchedule(Command["Schedules", None], tag="runtime.pause-schedule"):
    """Start nothing any more."""


class ResumeSchedule(Command["Schedules", None], tag="runtime.resume-schedule"):
    """Go on, with the first time behind now."""

    now: int


class ReadSchedule(Command["Schedules", ScheduleState], tag="runtime.read-schedule"):
    """Tell what is known."""


class Advance(Command["Schedules", ScheduleState | None], tag="runtime.advance-schedule"):
    """Decide what becomes of what is due; ``command`` is what a run is started with. The reply is the state behind it.

    Nothing happens, and the reply is None, where the schedule has changed since the state with this number was read.
    """

    serial: int
    outlook: Outlook
    command: Any


ScheduleCommand = SetSchedule | UnsetSchedule | PauseSchedule | ResumeSchedule | ReadSchedule | Advance


class Schedules(
    Service[
        ScheduleState,
        SetSchedule | UnsetSchedule | PauseSchedule | ResumeSchedule | ReadSchedule | Advance,
        ScheduleSet | ScheduleUnset | SchedulePaused | ScheduleResumed | ScheduleAdvanced,
    ]
):
    """One schedule; its key is its name. As long as it is set, it has a time to wake at, by which all are found."""

    initial = ScheduleState()

    def decide(self, state: ScheduleState, command: ScheduleCommand) -> Decision:
        """Set, drop, pause, resume or advance it."""
        match command:
            case ReadSchedule():
                return command.reply(state)
            case Advance(serial, outlook, start):
                return self._advance(state, command, outlook, start) if serial == state.serial else command.reply(None)
            case SetSchedule(content, now):
                if content.same(state.content):
                    return command.reply(None)
                return self._set(state, command, content, now)
            case _ if state.content is None:
                return command.reply(None)  # it was dropped meanwhile
            case UnsetSchedule():
                return command.reply(None, ScheduleUnset()).forget(PLAN).forget(WAIT)
            case PauseSchedule():
                if state.paused:
                    return command.reply(None)
                return self._plan(command.reply(None, SchedulePaused()).forget(WAIT), 0)
            case ResumeSchedule(now):
                return self._resume(state, command, now) if state.paused else command.reply(None)
            case _:
                assert_never(command)

    def _set(self, state: ScheduleState, command: SetSchedule, content: Content, now: int) -> Decision:
        anchor = content.at or now + content.every
        first = anchor
        times = content.times(anchor)
        if content.cron or (content.every and anchor <= now):
            first = times.after(now)
        if first <= state.last:
            first = times.after(state.last)  # no time comes twice, whatever was set
        decision = command.reply(None, ScheduleSet(content, anchor, first))
        return decision if state.paused else self._plan(decision, first)

    def _resume(self, state: ScheduleState, command: ResumeSchedule, now: int) -> Decision:
        runs: tuple[Run, ...] = ()
        if 0 < state.next <= now:
            due = state.times.due(state.next, now, 1)
            since = due.first if due.missed else 0
            runs = (Run(due.kept[0], "skipped", "it was paused", since=since, count=due.missed + 1, more=due.more),)
        next_ = state.times.after(now) if runs else state.next
        decision = self._plan(command.reply(None, ScheduleResumed(next_, runs)), next_)
        return self._wait(decision, timedelta(0)) if state.waiting else decision

    def _advance(self, state: ScheduleState, command: Advance, outlook: Outlook, start: Any) -> Decision:
        event = advance(state, self.key, outlook)
        decision = self._plan(command.reply(self.evolve(state, event), event), event.next)
        for run in event.runs:
            if run.outcome == "started":
                to = Address[Any](run.saga, run_key(self.key, run.planned))
                decision = decision.remind(start_of(run), start, after=timedelta(0), to=to)
        if event.waiting and not state.waiting:
            return self._wait(decision, POLL)
        return decision if event.waiting else decision.forget(WAIT)

    def _plan(self, decision: Decision, next_: int) -> Decision:
        """Have it looked at when it comes next; if it never does, at the end of all times, for it is there still."""
        return decision.remind(PLAN, Plan(), at=time_of(next_ or LATEST), every=AGAIN, to=planner_for(self.key))

    def _wait(self, decision: Decision, after: timedelta) -> Decision:
        return decision.remind(WAIT, Plan(), after=after, every=POLL, to=planner_for(self.key))

    def evolve(self, state: ScheduleState, event: schedule_events.ScheduleEvent) -> ScheduleState:
        """Take in an event."""
        return schedule_events.evolve(state, event)


# A name with a dot is the runtime's own: no class of a user's can have it.
Schedules.__name__ = "runtime.schedules"
PLANNER = "runtime.planner"


def planner_for(name: str) -> Address[Any]:
    """Return who looks at a schedule."""
    return Address(PLANNER, name)


def start_of(run: Run) -> str:
    """Return the name of the reminder that starts a run."""
    return f"start {run_key('', run.planned)}"


def time_of(moment: int) -> datetime:
    """Return a moment in microseconds since 1970 as a time."""
    return EPOCH + timedelta(microseconds=moment)
