"""Of what makes a run fail, the least is left that still does."""

import pytest

from runtime.simulation.faults import Fault, Plan
from runtime.simulation.shrink import MOST_TRIES, shrink, smallest

NEEDED = [set[int](), {3}, {0, 19}, {7, 8, 9}, {1, 6, 11, 16}, set(range(20))]


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_nothing_is_left_that_is_not_needed(needed: set[int]) -> None:
    assert set(smallest(range(20), lambda some: needed.issubset(some))) == needed


def test_faults_and_choices_are_left_out_that_are_not_needed() -> None:
    faults = tuple(Fault("kill", "turn", number, "before") for number in range(10))
    choices = dict.fromkeys(range(50), 1)
    tried: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tried.append(plan)
        return faults[4] in plan.faults and (17, 1) in plan.given

    small = shrink(Plan(3, "random", faults), choices, fails)
    assert small == Plan(3, "fifo", (faults[4],), ((17, 1),))
    assert len(tried) < MOST_TRIES


def test_what_fails_no_more_stays_as_it_was() -> None:
    plan = Plan(3, "random", (Fault("twice", "turn", 1),))
    assert shrink(plan, {1: 1}, lambda _: False) == plan


def test_it_comes_to_an_end() -> None:
    tried = 0

    def fails(plan: Plan) -> bool:
        nonlocal tried
        tried += 1
        return len(plan.given) >= 700

    shrink(Plan(0, "pct"), dict.fromkeys(range(2_000), 1), fails)
    assert tried <= MOST_TRIES
