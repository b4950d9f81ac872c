"""Requests between nodes: what goes out, what comes in, and the networks that carry it."""

from runtime.cluster.memory import Fate, MemoryNetwork, Sent, at_random
from runtime.cluster.nats import NatsNetwork
from runtime.cluster.network import Link, Network, Receiver

__all__ = ["Fate", "Link", "MemoryNetwork", "NatsNetwork", "Network", "Receiver", "Sent", "at_random"]
