"""The demos under every single fault, and under pairs of them and other schedules within a budget."""

import pytest

from runtime.simulation import Simulation
from tests.demos.explored import EXPLORED, letters_to_nobody


@pytest.mark.parametrize("name", EXPLORED)
def test_a_demo_survives(simulation: Simulation, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    letters_to_nobody(monkeypatch)
    one = EXPLORED[name]
    explored = one.explore(simulation, one.depth, one.runs)
    assert explored.runs == 1 or explored.runs > one.runs  # 1: a replay
