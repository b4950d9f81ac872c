"""Testing actors: given, when, then for one actor alone; and real processes that are killed and paused."""

from runtime.simulation.asked import Asked
from runtime.simulation.given import given
from runtime.simulation.given_read_model import ReadModelGiven
from runtime.simulation.given_saga import SagaGiven, SagaPlay, SentStep
from runtime.simulation.given_service import ServiceGiven, ServiceTurn
from runtime.simulation.monkey import ChaosMonkey, ProcessFailed
from runtime.simulation.past import Stored

__all__ = [
    "Asked",
    "ChaosMonkey",
    "ProcessFailed",
    "ReadModelGiven",
    "SagaGiven",
    "SagaPlay",
    "SentStep",
    "ServiceGiven",
    "ServiceTurn",
    "Stored",
    "given",
]
