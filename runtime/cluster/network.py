"""The contract of networks: they carry messages between nodes, and need not keep them.

A message arrives once, several times, late, or never. Those that one link sends to one subject keep their order, as
long as none of it is lost and no connection is made anew. What is sent to a subject at which nobody listens is told to
the sender where the network can tell. Whatever must not be lost is sent again by who sent it.
"""

from abc import ABC, abstractmethod
from typing import Protocol


class Receiver(Protocol):
    """Who is told of what comes over a link. Both return at once, and raise nothing."""

    def arrived(self, data: bytes, /) -> None:
        """Take a message in."""
        ...

    def nobody(self, number: int, /) -> None:
        """Take note that nobody listened at the subject to which the message with this number was sent."""
        ...


class Link(ABC):
    """One node's end of a network; nothing comes over it, and nothing is sent, before it is open."""

    largest: int
    """The largest message that it carries, in bytes; known when it is open."""

    @abstractmethod
    async def open(self) -> None:
        """Join the network. Where that fails, or is cancelled, nothing is left behind.

        Raises:
            NetworkUnusable: it can't be reached.
        """

    @abstractmethod
    async def listen(self, subject: str) -> None:
        """Receive what is sent to a subject, from when this returns on. No other link listens there."""

    @abstractmethod
    async def share(self, subject: str, group: str) -> None:
        """Receive some of what is sent to a subject: each message comes to one of each group of those who share it."""

    @abstractmethod
    async def leave(self, subject: str) -> None:
        """Receive nothing more that is sent to a subject, from when this returns on."""

    @abstractmethod
    def send(self, subject: str, data: bytes, number: int = 0) -> None:
        """Send a message, without waiting; what can't be sent now may be lost.

        Where it has a ``number``, the receiver is told by it when nobody listens.
        """

    @abstractmethod
    async def close(self) -> None:
        """Send what has not left yet, and leave the network."""


class Network(ABC):
    """A network that nodes join; it is given to the runtime of each."""

    @abstractmethod
    def link(self, name: str, receiver: Receiver) -> Link:
        """Return the link of a node of this name, which no other has; it is not open yet."""
