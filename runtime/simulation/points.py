"""Which faults there are to try: every one, at every point that a run has come to."""

from collections.abc import Iterator, Sequence

from runtime.simulation.faults import FULL, LATE, STEP, TOO_LATE, Fault, Plan, What
from runtime.simulation.machine import Point


def faults_at(point: Point) -> Iterator[Fault]:
    """Yield all that may go wrong at a point."""
    place, number = point.place, point.number
    match place:
        case "write":
            for kept in range(point.batches + 1):
                yield Fault("crash", place, number, str(kept))
            yield Fault("fail", place, number, "before")
            yield Fault("fail", place, number, "after")
            yield Fault("full", place, number, f"{FULL:g}")
            yield Fault("step", place, number, f"{STEP:g}")
            yield Fault("step", place, number, f"{-STEP:g}")
        case "turn":
            yield Fault("kill", place, number, "before")
            yield Fault("kill", place, number, "after")
            if point.replies:
                yield Fault("late", place, number, f"{LATE:g}")
                yield Fault("late", place, number, f"{TOO_LATE:g}")
                yield Fault("twice", place, number)
        case "handling":
            yield from _around(point, "kill", "crash")
        case "view":
            yield from _around(point, "fail", "kill", "crash")
        case "read":
            yield Fault("fail", place, number)
        case "keys":
            yield from _around(point, "fail", "crash")


def _around(point: Point, *all_: What) -> Iterator[Fault]:
    for what in all_:
        yield Fault(what, point.place, point.number, "before")
        yield Fault(what, point.place, point.number, "after")


def every_fault(plan: Plan, points: Sequence[Point]) -> Iterator[Plan]:
    """Yield plans with one fault more, at every point that a run of this plan has come to.

    Where it has faults already, only at points behind the last of them, or the same would come twice.
    """
    last = -1
    for fault in plan.faults:
        for place, point in enumerate(points):
            if (point.place, point.number) == (fault.place, fault.number):
                last = max(last, place)
    for place, point in enumerate(points):
        for fault in faults_at(point):
            if place > last or (place == last and fault not in plan.faults and plan.faults[-1] < fault):
                yield Plan(plan.seed, plan.schedule, (*plan.faults, fault), plan.given)
