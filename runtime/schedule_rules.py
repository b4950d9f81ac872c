"""The rules of schedules: what becomes of planned times that have come, by overlap policy and catch-up bound. Pure."""

import msgspec

from actors.schedules import run_key
from runtime.schedule_events import Run, ScheduleAdvanced, ScheduleState
from runtime.schedule_times import Due

MOST_OPEN = 100
"""How many runs of one schedule may be under way at a time, where its policy allows several."""
LATE = 60_000_000
"""A run that is at most so many microseconds late, in a process that was there all the time, is not missed."""


def due_of(state: ScheduleState, now: int, opened: int) -> Due | None:
    """Return the times that have come and are to be seen to, or None; the process is there since ``opened``.

    Raises:
        ValueError, ExtraMissing: a cron expression or a time zone can't be read here.
    """
    if state.content is None or state.paused or not 0 < state.next <= now:
        return None
    on_time = max(opened, now - LATE)
    most = max(state.content.catch_up, LATE // 1_000_000)  # no two times are nearer than a second
    due = state.times.due(state.next, now, most)
    late = [time for time in due.kept if time < on_time]
    return _without(due, late[: max(0, len(due.kept) - max(state.content.catch_up, len(due.kept) - len(late)))])


def _without(due: Due, missed: list[int]) -> Due:
    if not missed:
        return due
    first = due.first if due.missed else missed[0]
    return Due(due.kept[len(missed) :], due.missed + len(missed), first, missed[-1], more=due.more)


def passed_over(due: Due, why: str) -> tuple[Run, ...]:
    """Return what is remembered of times that nothing was started for."""
    if not due.missed:
        return ()
    since = due.first if due.missed > 1 else 0
    return (Run(due.until, "missed", why, since=since, count=due.missed, more=due.more),)


class Outlook(msgspec.Struct, frozen=True):
    """What is known when a schedule is looked at."""

    now: int
    due: tuple[int, ...]
    """The times that have come, and are not missed."""
    missed: tuple[Run, ...]
    next: int
    """The first time behind now; 0: there is none."""
    ended: tuple[int, ...]
    """The planned times of open runs that have ended."""


def advance(state: ScheduleState, name: str, outlook: Outlook) -> ScheduleAdvanced:
    """Return what becomes of what is due and of what waits; runs whose outcome is "started" are to be started."""
    assert state.content is not None
    overlap, saga = state.content.overlap, state.content.saga
    open_runs = [run.planned for run in state.open if run.planned not in outlook.ended]
    waiting = list(state.waiting)
    runs = list(outlook.missed)

    def start(planned: int) -> None:
        runs.append(Run(planned, "started", saga=saga))
        open_runs.append(planned)

    def free() -> bool:
        return not open_runs or (overlap == "allow" and len(open_runs) < MOST_OPEN)

    while waiting and free():
        start(waiting.pop(0))
    for planned in outlook.due:
        if not waiting and free():
            start(planned)
            continue
        ahead = f"{run_key(name, open_runs[-1])} had not ended"
        if overlap == "cancel":
            runs += [Run(one, "skipped", f"{run_key(name, planned)} took its place") for one in waiting]
            waiting = [planned]
        elif overlap == "queue" and len(waiting) < max(1, state.content.catch_up):
            waiting.append(planned)
        else:
            why = ahead if overlap == "skip" else f"{MOST_OPEN} runs had not ended"
            if overlap == "queue":
                why = f"{ahead}, and {len(waiting)} waited already"
            runs.append(Run(planned, "skipped", why))
            continue
        runs.append(Run(planned, "waiting", ahead))
    return ScheduleAdvanced(outlook.next, tuple(runs), outlook.ended, tuple(waiting))
