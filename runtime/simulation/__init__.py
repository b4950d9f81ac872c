"""Testing actors: given, when, then for one actor alone."""

from runtime.simulation.asked import Asked
from runtime.simulation.given import given
from runtime.simulation.given_read_model import ReadModelGiven
from runtime.simulation.given_saga import SagaGiven, SagaPlay, SentStep
from runtime.simulation.given_service import ServiceGiven, ServiceTurn
from runtime.simulation.past import Stored

__all__ = [
    "Asked",
    "ReadModelGiven",
    "SagaGiven",
    "SagaPlay",
    "SentStep",
    "ServiceGiven",
    "ServiceTurn",
    "Stored",
    "given",
]
