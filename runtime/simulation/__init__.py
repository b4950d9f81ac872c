"""The test kit: one actor alone by given, when, then; a system under every crash; processes that die."""

from runtime.simulation.asked import Asked
from runtime.simulation.built_in import Effects
from runtime.simulation.errors import BadPlan, Deadlock, Endless, NoRealIO, SimulationError
from runtime.simulation.explore import Explored, InvariantBroken
from runtime.simulation.faults import Fault, Plan
from runtime.simulation.given import given
from runtime.simulation.given_read_model import ReadModelGiven
from runtime.simulation.given_saga import SagaGiven, SagaPlay, SentStep
from runtime.simulation.given_service import ServiceGiven, ServiceTurn
from runtime.simulation.invariants import Invariant, always, eventually, finally_
from runtime.simulation.monkey import ChaosMonkey, ProcessFailed
from runtime.simulation.past import Stored
from runtime.simulation.run import RunResult
from runtime.simulation.simulation import Simulation
from runtime.simulation.world import World

__all__ = [
    "Asked",
    "BadPlan",
    "ChaosMonkey",
    "Deadlock",
    "Effects",
    "Endless",
    "Explored",
    "Fault",
    "Invariant",
    "InvariantBroken",
    "NoRealIO",
    "Plan",
    "ProcessFailed",
    "ReadModelGiven",
    "RunResult",
    "SagaGiven",
    "SagaPlay",
    "SentStep",
    "ServiceGiven",
    "ServiceTurn",
    "Simulation",
    "SimulationError",
    "Stored",
    "World",
    "always",
    "eventually",
    "finally_",
    "given",
]
