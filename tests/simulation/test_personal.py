"""Personal data under faults: whatever dies, who is forgotten is forgotten everywhere, and nobody else is."""

from runtime.simulation import Simulation
from tests.extras import need
from tests.runtime.people import ALL, leave
from tests.simulation.goodbye import explored, forgets_ana

need("cryptography")


def test_who_is_forgotten_is_forgotten_and_nobody_else() -> None:
    found = explored(depth=2, runs=150)
    for what in ("fail before", "fail after", "crash before", "crash after"):
        for how in ("kept", "destroyed"):
            assert found.faults[f"{what} at a keys {how}"]


def test_the_same_seed_is_the_same_run() -> None:
    first, again = (Simulation(7).run(forgets_ana, actors=ALL, outside=leave).trace for _ in range(2))
    assert first == again
