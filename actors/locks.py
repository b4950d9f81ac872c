"""Semantic locks: what a saga is in the middle of, in the words of the service that it works with.

The countermeasure for sagas' lack of isolation: Frank and Zahle, "Semantic ACID properties in multidatabases using
remote procedure calls and update propagations", Software: Practice and Experience, 1998.
"""

from typing import Any, Literal

from actors.address import Address
from actors.messages import Event

WhenLocked = Literal["refuse", "queue", "tell"]


class ServiceLocked(Event, tag="service.locked"):
    """A saga's step has taken a lock of a service. Read models follow it to show what is pending, of every service."""

    lock: str
    """The service's own word for it, from ``lock_of``."""
    holder: Address[Any]
    """The saga that holds it until it has ended."""
    step: str
    """The id of the command that took it."""


class ServiceUnlocked(Event, tag="service.unlocked"):
    """A lock of a service was given back: its saga has ended, or somebody has removed it by hand and says why."""

    lock: str
    holder: Address[Any]
    reason: str = ""
    by: str = ""
