"""Shrinking: of all that makes a run fail, the least that still does, by delta debugging (Zeller, 1999)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from runtime.simulation.faults import Fault, Plan

T = TypeVar("T")

MOST_TRIES = 400
"""How many runs shrinking may take."""


def shrink(plan: Plan, choices: dict[int, int], fails: Callable[[Plan], bool]) -> Plan:
    """Return the smallest plan found that still fails in the same way.

    ``choices`` are those that the schedule of the plan has made. The faults go first, then the choices.
    """
    tries = 0

    def still(candidate: Plan) -> bool:
        nonlocal tries
        tries += 1
        return tries <= MOST_TRIES and fails(candidate)

    def made_of(faults: Sequence[Fault], given: dict[int, int]) -> Plan:
        return Plan(plan.seed, "fifo", tuple(faults), given)

    faults: Sequence[Fault] = plan.faults
    best = plan
    for given in ({}, dict(choices) if plan.schedule != "fifo" else dict(plan.given)):
        if still(candidate := made_of(faults, given)):
            best = candidate
            break
    else:
        return plan
    faults = smallest(best.faults, lambda some: still(made_of(some, dict(best.given))))
    pairs = smallest(sorted(best.given.items()), lambda some: still(made_of(faults, dict(some))))
    return made_of(faults, dict(pairs))


def smallest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Return a part of ``items`` with which it still fails, and of which no single one can be left out."""
    if items and fails(()):
        return ()
    pieces = 2
    while len(items) > 1:
        size = max(1, len(items) // pieces)
        for begin in range(0, len(items), size):
            rest = [*items[:begin], *items[begin + size :]]
            if rest and fails(rest):
                items = rest
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                return items
            pieces = min(pieces * 2, len(items))
    return items
