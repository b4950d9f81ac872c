"""The test kit: a user's own actors under crashes of every sort."""

from runtime.simulation.monkey import ChaosMonkey, ProcessFailed

__all__ = ["ChaosMonkey", "ProcessFailed"]
