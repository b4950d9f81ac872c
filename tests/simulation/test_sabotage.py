"""The kit finds what it is there to find: bugs that are planted into the runtime, each in a few runs."""

import pytest

from runtime.simulation import Failed, Simulation
from tests.simulation.company import ACTORS, INVARIANTS, SCENARIOS, post
from tests.simulation.sabotage import BUGS, Plant

ENOUGH = 250
"""Runs within which each is found; depth 1 takes about as many."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: "object", monkeypatch: Plant) -> None:
    assert callable(bug)
    bug(monkeypatch)
    with pytest.raises(Failed) as failed:
        Simulation().explore(*SCENARIOS, actors=ACTORS, invariants=INVARIANTS, outside=post)
    assert failed.value.runs <= ENOUGH
    assert len(failed.value.result.plan.faults) <= 1
    print(f"{bug}: {failed.value.runs} runs, {failed.value.result.plan}")
