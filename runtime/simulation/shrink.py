"""Shrinking: of all that makes a run fail, the least that still does, by delta debugging (Zeller, 1999)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from runtime.simulation.faults import Fault, Plan

T = TypeVar("T")
Choices = Sequence[tuple[int, int]]

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

    def made_of(faults: Sequence[Fault], given: Choices) -> Plan:
        return Plan(plan.seed, "fifo", tuple(faults), tuple(given))

    faults: Sequence[Fault] = plan.faults
    given: Choices = ()
    if not still(made_of(faults, given)):
        given = plan.given if plan.schedule == "fifo" else tuple(sorted(choices.items()))
        if not still(made_of(faults, given)):
            return plan
    faults = smallest(faults, lambda some: still(made_of(some, given)))
    given = smallest(given, lambda some: still(made_of(faults, some)))
    return made_of(faults, given)


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
