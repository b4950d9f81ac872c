"""The planner of a schedule: looks at the clock and at the sagas that run, and has the schedule go on.

It keeps nothing. It comes by the schedule's reminders, and by the ends of sagas that it watches; whatever it sees, the
schedule decides by itself, so that a look that is repeated, or late, does no harm.
"""

from typing import Any, ClassVar, Protocol

import msgspec

from actors import Actor, Address, NotTaken, Stopped
from actors.schedules import run_key
from actors.verbs import Compensate
from runtime.cells import World
from runtime.log import log
from runtime.mailbox import Envelope
from runtime.promises import Promises
from runtime.reminder_mail import Look
from runtime.saga_progress import told
from runtime.schedule_events import Run, ScheduleState
from runtime.schedule_rules import Outlook, due_of, passed_over
from runtime.schedules import PLANNER, Advance, Plan, ReadSchedule, Schedules, start_of


class Cancelled(msgspec.Struct):
    """Where it goes what became of a run that was to go back; the schedule goes by the saga's own end."""

    saga: Address[Any]

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more."""
        return False

    def done(self, value: Any) -> None:
        """Do nothing: it has gone back, and its end is told."""

    def failed(self, error: Exception) -> None:
        """Say that it goes on, past its pivot say; that one has completed is told by its end."""
        if not isinstance(error, NotTaken):
            log.warning("a run could not be cancelled", saga=str(self.saga), error=str(error))


class Place(World, Protocol):
    """What a planner needs of its node."""

    promises: Promises


class Planner(Actor):
    """Looks at one schedule, whose name is its key."""

    place: ClassVar[Place]
    opened: ClassVar[int]
    """Since when the process is there, in microseconds since 1970."""

    async def receive(self, message: Plan | Stopped) -> None:
        """Look what is due, and whether what waits may go on."""
        parked = message.address if isinstance(message, Stopped) and message.reason == "parked" else None
        while (state := await self._look()) is None:
            pass  # somebody has set it anew meanwhile
        if state.waiting:
            await self._watch(state, parked)

    async def _look(self) -> ScheduleState | None:
        """Have the schedule go on where it can; None: it has changed in between."""
        place, schedule = self.place, Schedules.at(self.key)
        state = await place.ask(schedule, ReadSchedule())
        if state.content is None or state.paused:
            return msgspec.structs.replace(state, waiting=())
        now = place.clock.now()
        due = due_of(state, now, self.opened)
        if due is None and not state.waiting:
            return state
        ended = [run.planned for run in state.open if await has_ended(place, self.key, run)]
        if due is None and len(ended) < len(state.open) and state.content.overlap != "allow":
            return state
        missed = () if due is None else passed_over(due, "the process was away")
        outlook = Outlook(
            now,
            () if due is None else tuple(due.kept),
            missed,
            state.next if due is None else state.times.after(now),
            tuple(ended),
        )
        command = place.kind(state.content.saga).command(state.content.command)
        return await place.ask(schedule, Advance(state.serial, outlook, command))

    async def _watch(self, state: ScheduleState, parked: Address[Any] | None) -> None:
        """Be told when what others wait for has ended; one that is parked is looked at again in a minute."""
        assert state.content is not None
        command = self.place.kind(state.content.saga).command(state.content.command)
        for run in state.open:
            saga = run.address(self.key)
            if saga == parked:
                continue
            status = (await told(self.place.journal, saga)).story.status
            if status == "new":
                self.tell(saga, command)  # its start is on its way; this one joins it, and comes before the watch
            elif status in ("queued", "running", "parked") and state.content.overlap == "cancel":
                why = f"the time of {run_key(self.key, state.waiting[-1])} has come"
                # What comes to its end in this moment is not taken back for the next one.
                verb = Compensate(f"schedule {self.key}", why, unless_completed=True)
                self.place.cell(saga).post(Envelope(verb, None, Cancelled(saga)))
            self.watch(saga)


# A name with a dot is the runtime's own: no class of a user's can have it.
Planner.__name__ = PLANNER


async def has_ended(place: Place, name: str, run: Run) -> bool:
    """Whether a saga that a schedule has started has ended, or will never begin, for its start was given up."""
    story = (await told(place.journal, run.address(name))).story
    return story.ended or (story.status == "new" and not await _pending(place, name, run))


async def _pending(place: Place, name: str, run: Run) -> bool:
    schedule = Schedules.at(name)
    promise = place.promises.make(schedule, Look())
    place.cell(schedule).put(Envelope(Look(), None, promise))
    return any(one.name == start_of(run) for one in await promise.wait(0))


def planner(place: Place, opened: int) -> type[Planner]:
    """Return the class of the planners of one node."""
    return type(PLANNER, (Planner,), {"place": place, "opened": opened})
