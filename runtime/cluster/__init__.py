"""Requests between nodes: what goes out, what comes in, and the networks that carry it."""

from runtime.cluster.memory import Fate, MemoryNetwork, Sent
from runtime.cluster.nats import NatsNetwork
from runtime.cluster.network import BadNetworkUrl, Link, Network, NetworkUnusable, Receiver

__all__ = [
    "BadNetworkUrl",
    "Fate",
    "Link",
    "MemoryNetwork",
    "NatsNetwork",
    "Network",
    "NetworkUnusable",
    "Receiver",
    "Sent",
]
