"""Exploring: one run is recorded, every fault is tried at every point of it, and then what seeds and a budget say."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any

import msgspec

from runtime.simulation.faults import Plan
from runtime.simulation.points import every_fault
from runtime.simulation.report import Reached, report
from runtime.simulation.run import Broken, Run, RunResult, Setup
from runtime.simulation.schedule import LENGTH
from runtime.simulation.shrink import shrink

RUNS = 200
"""How many runs beyond the exhaustive ones an exploration has, unless told otherwise."""


SEEDS = 10**9
"""Seeds of random runs are below it, drawn by the exploration's own: two explorations have few runs in common."""


class InvariantBroken(AssertionError):
    """An invariant was broken. The text is the report; ``result`` is the smallest run that shows it."""

    def __init__(self, text: str, result: RunResult, runs: int) -> None:
        super().__init__(text)
        self.result = result
        self.runs = runs
        """How many runs it took to find."""


class Explored(msgspec.Struct):
    """What an exploration has gone through, without finding anything."""

    runs: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter[str])
    """How often each sort of fault has happened, by what is done at its place."""
    points: Counter[str] = msgspec.field(default_factory=Counter[str])
    """How often each sort of point was reached."""
    schedules: int = 0
    """How many different orders of turns were seen."""
    journals: int = 0
    """How many different journals the runs have ended with, by the streams and types of their events in order."""
    not_reached: list[str] = []
    """Messages and events of the actors that came in no run."""

    def __str__(self) -> str:
        faults = sum(self.faults.values())
        found = f"{self.schedules:,} different orders of turns, {self.journals:,} different journals"
        lines = [f"{self.runs:,} runs, {faults:,} faults, {found}"]
        lines += [f"  {count:>6,} x {what}" for what, count in sorted(self.faults.items())]
        if self.not_reached:
            lines.append(f"never reached: {', '.join(self.not_reached)}")
        return "\n".join(lines)


class Explorer:
    """One exploration."""

    def __init__(self, setup: Setup, again: Callable[[Plan], str] = lambda plan: f"--understudy-replay={plan}") -> None:
        """``again`` returns the line by which a plan is run again."""
        self.setup = setup
        self._again = again
        self._explored = Explored()
        self._orders: set[int] = set()
        self._journals: set[int] = set()
        self._length = LENGTH
        """How many choices the schedule of the last run had in which each was equally likely."""

    def replay(self, plan: Plan) -> RunResult:
        """Run one plan.

        Raises:
            InvariantBroken: something is broken.
        """
        __tracebackhide__ = True
        return self._try(plan, smaller=False)

    def explore(self, *, depth: int = 1, runs: int = RUNS, seed: int = 0) -> Explored:
        """Try every fault at every point (depth 1), then pairs of faults (depth 2), and random schedules.

        Depth 1 is exhaustive. Of what is deeper, and of schedules with and without faults, there are ``runs``, by the
        ``seed``.

        Raises:
            InvariantBroken: something is broken; its text is the report.
            ValueError: the depth or the number of runs is negative.
        """
        __tracebackhide__ = True
        if depth < 0 or runs < 0:
            raise ValueError(f"depth and runs are at least 0, not {depth} and {runs}")
        base = Plan(seed)
        first = self._try(base)
        if depth:
            for plan in every_fault(base, first.points):
                self._try(plan)
        for plan in islice(self._random_plans(first, depth, seed), runs):
            self._try(plan)
        self._explored.schedules, self._explored.journals = len(self._orders), len(self._journals)
        self._explored.not_reached = self._not_reached()
        return self._explored

    def _random_plans(self, first: RunResult, depth: int, seed: int) -> Iterator[Plan]:
        """Yield plans without end: other seeds, schedules of both sorts, and as many faults as the depth says."""
        random = Random(seed)
        single = list(every_fault(Plan(seed), first.points))
        number = 0
        while True:
            number += 1
            sorts = ("pct", "random", "fifo") if depth > 1 else ("pct", "random")
            schedule = sorts[number % len(sorts)]
            if schedule == "pct":
                schedule = f"pct-{self._length}"
            plan = Plan(random.randrange(SEEDS), schedule)
            if schedule == "fifo" or number % 2 == 0:
                plan = self._with_faults(plan, single, random, depth)
            yield plan

    def _with_faults(self, plan: Plan, single: Sequence[Plan], random: Random, depth: int) -> Plan:
        faults: dict[tuple[str, int], Any] = {}
        for _ in range(depth):
            if single:
                (fault,) = random.choice(single).faults
                faults.setdefault((fault.place, fault.number), fault)
        return Plan(plan.seed, plan.schedule, tuple(faults.values()))

    def _try(self, plan: Plan, *, smaller: bool = True) -> RunResult:
        __tracebackhide__ = True
        result = Run(self.setup, plan, logs=not smaller).go()
        self._count(result)
        if result.broken is not None:
            runs = self._explored.runs
            if smaller:
                result = self._smallest(plan, result, result.broken)
            reached = Reached(self._explored.points, self._not_reached())
            text = report(result, runs, self._again(result.plan), reached)
            raise InvariantBroken(text, result, runs)
        return result

    def _smallest(self, plan: Plan, result: RunResult, broken: Broken) -> RunResult:
        def fails(candidate: Plan) -> bool:
            found = Run(self.setup, candidate).go().broken
            return found is not None and found.name == broken.name

        small = shrink(plan, result.choices, fails)
        again = Run(self.setup, small, logs=True).go()
        return again if again.broken is not None else result

    def _count(self, result: RunResult) -> None:
        explored = self._explored
        explored.runs += 1
        if result.plan.schedule == "random":
            self._length = result.chosen
        sorts = {(point.place, point.number): point.sort for point in result.points}
        for fault in result.fired:
            where = "" if fault.place == "write" else f" {sorts[fault.place, fault.number]}"
            how = "" if fault.place == "write" and fault.what == "crash" else f" {fault.how}" if fault.how else ""
            explored.faults[f"{fault.what}{how} at a {fault.place}{where}"] += 1
        explored.points.update(point.sort for point in result.points)
        self._orders.add(hash(tuple(moment.to + moment.text for moment in result.moments if moment.kind == "message")))
        self._journals.add(hash(tuple((record.stream, record.type) for record in result.records)))

    def _not_reached(self) -> list[str]:
        seen = {name for sort in self._explored.points for name in (sort, *sort.split(" "))}
        return [name for name in self._all() if name not in seen]

    def _all(self) -> Iterable[str]:
        for kind in self.setup.kinds.values():
            if "." not in kind.name:
                yield from (f"{kind.name}: {name}" for name in kind.commands)
                yield from (f"{kind.name}:{name}" for name in kind.events)
