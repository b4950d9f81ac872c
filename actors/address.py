"""Addresses: an actor's class and its key, as a plain value that can be stored and sent."""

from typing import Any, Generic, TypeVar

import msgspec

from actors.errors import UnknownActor, in_words

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


def check_address(address: Any) -> None:
    """Make sure that what should be an address is one; type checkers find it before.

    Raises:
        UnknownActor: it is none, or its key is no text.
    """
    if not issubclass(type(address), Address):
        raise UnknownActor(f'{in_words(address)} is no address; write Actor.at("key"), with the class of the actor')
    if not isinstance(address.key, str):
        raise UnknownActor(
            f"the key of an actor is text, not {in_words(address.key)}; write {address.actor}.at(str(key))"
        )
