"""The test kit: a user's own actors under every crash and many schedules, in virtual time and without real I/O."""

from runtime.simulation.built_in import Effects
from runtime.simulation.errors import BadPlan, Deadlock, Endless, NoRealIO, SimulationError
from runtime.simulation.explore import Explored, Failed
from runtime.simulation.faults import Fault, Plan
from runtime.simulation.invariants import Invariant, always, eventually, finally_
from runtime.simulation.run import RunResult
from runtime.simulation.simulation import Simulation
from runtime.simulation.world import World

__all__ = [
    "BadPlan",
    "Deadlock",
    "Effects",
    "Endless",
    "Explored",
    "Failed",
    "Fault",
    "Invariant",
    "NoRealIO",
    "Plan",
    "RunResult",
    "Simulation",
    "SimulationError",
    "World",
    "always",
    "eventually",
    "finally_",
]
