"""The machine that a run takes place on: its time, its disk, its faults, and what was seen to happen.

It outlives the processes that die on it, one after the other.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn

import msgspec

from persistence import Batch
from runtime.simulation.clock import BEGINNING, SimulatedClock
from runtime.simulation.faults import Fault, Place, Plan
from runtime.simulation.loop import SimulatedLoop
from runtime.simulation.shelf import ViewDisk
from runtime.simulation.simulated_keys import KeyDisk

SLOW_WRITE, SLOW_READ = 4_000, 300
"""The most microseconds that a group takes to become durable, and a read to come back."""

Kind = Literal["message", "reply", "write", "fault", "process", "log"]


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened in a run."""

    time: int
    """Virtual time, in microseconds."""
    kind: Kind
    sender: str
    to: str
    text: str


class Point(msgspec.Struct, frozen=True, gc=False):
    """A place at which something may go wrong."""

    place: Place
    number: int
    label: str
    """What is done there."""
    sort: str
    """The same without keys, to count by."""
    batches: int = 0
    """Of a write: how many batches the group has."""
    replies: bool = False
    """Of a turn: whether somebody waits for a reply that may be late."""


class Machine:
    """One machine."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.schedule = plan.new_schedule()
        self.loop = SimulatedLoop(0, self.schedule)
        self.clock = SimulatedClock(self.loop)
        self.batches: list[Batch] = []
        """What is durable of the journal."""
        self.views = ViewDisk()
        self.keys = KeyDisk()
        self.processes = 0
        """How many processes have run."""
        self.moments: list[Moment] = []
        self.points: list[Point] = []
        self.fired: list[Fault] = []
        """The faults that have happened."""
        self.durable_before: dict[str, int] = {}
        """How many events were durable when each fault happened, by its text."""
        self.positions = 0
        """How many events are durable."""
        self.refusals: list[str] = []
        """What a service's ``evolve`` has refused, which it must not."""
        self.on_durable: Callable[[], None] = lambda: None
        """Called when more of the journal is durable."""
        self.on_end: list[Callable[[], None]] = []
        """Called when the run has been judged."""
        self.on_kill: Callable[[str], None] = lambda _: None
        """Called to let a read model crash."""
        self._counts: Counter[Place] = Counter()
        self._faults: dict[tuple[Place, int], list[Fault]] = {}
        for fault in plan.faults:
            self._faults.setdefault((fault.place, fault.number), []).append(fault)
        self._full_until = 0
        self._drawn = 0

    def start(self) -> SimulatedLoop:
        """Begin a process, and return its event loop."""
        now, ahead = self.loop.now, self.clock.ahead
        self.processes += 1
        self.loop = SimulatedLoop(now + (1_000_000 if self.processes > 1 else 0), self.schedule)
        self.clock = SimulatedClock(self.loop, ahead if self.processes > 1 else BEGINNING)
        self.note("process", "", "", "the process starts" if self.processes == 1 else "the next process starts")
        return self.loop

    @property
    def quiet(self) -> bool:
        """Whether no more faults are to come, and the disk is not full."""
        return not self._faults and self.loop.now >= self._full_until

    async def end_here(self) -> NoReturn:
        """Let the process die in the middle of a task."""
        await self.loop.end_here()

    def kill(self, read_model: str) -> None:
        """Let a read model of the process crash."""
        self.on_kill(read_model)

    # -- what happens -------------------------------------------------------------------------------------------

    def note(self, kind: Kind, sender: str, to: str, text: str) -> None:
        """Keep that something happened."""
        self.moments.append(Moment(self.loop.now, kind, sender, to, text))

    def at(
        self, place: Place, label: str, sort: str, batches: int = 0, replies: bool = False
    ) -> tuple[Fault, ...] | list[Fault]:
        """Come to a place; return what goes wrong there."""
        number = self._counts[place] = self._counts[place] + 1
        self.points.append(Point(place, number, label, sort, batches, replies))
        faults = self._faults.pop((place, number), None)
        if faults is None:
            return ()
        for fault in faults:
            self.fired.append(fault)
            self.durable_before[str(fault)] = self.positions
            self.note("fault", "", "", fault.tell(label))
        return faults

    def pause(self, most: int) -> float:
        """Return how long something takes, in seconds, that takes so many microseconds at the most: by the seed."""
        self._drawn += 1
        return most * _mixed(self.plan.seed, self._drawn) / 1e6

    def fill(self, seconds: float) -> None:
        """Let the disk be full for so long."""
        self._full_until = self.loop.now + round(seconds * 1e6)

    @property
    def full(self) -> bool:
        """Whether the disk is full."""
        return self.loop.now < self._full_until

    def keep(self, batches: Sequence[Batch]) -> None:
        """Have batches durable."""
        for batch in batches:
            self.batches.append(batch)
            self.positions += sum(len(append.events) for append in batch)


_MASK = 2**64 - 1


def _mixed(seed: int, number: int) -> float:
    """Return a number in [0, 1) that looks random (splitmix64), the same on every machine."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x632BE59BD9B4E019) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) / 2**64
