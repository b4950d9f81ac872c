"""Addresses: an actor's class and its key, as a plain value that can be stored and sent."""

from typing import Any, Generic, TypeVar

import msgspec

A_co = TypeVar("A_co", covariant=True)


class Address(msgspec.Struct, Generic[A_co], frozen=True, array_like=True, cache_hash=True, order=True):
    """Where mail for one actor goes; made by ``Flight.at("LH441")``, printed as ``Flight/LH441``.

    Any text is a valid key. An address says nothing about whether the actor runs now: mail revives it.
    """

    actor: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.actor}/{self.key}" if self.key else self.actor


AnyAddress = Address[Any]
