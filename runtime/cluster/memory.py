"""The network in memory: the reference for others, and a network for tests that loses, repeats and delays at will."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from random import Random

import msgspec

from persistence.limits import WRAPPED_PAYLOAD
from runtime.cluster.network import Link, Network, Receiver

Fate = tuple[float, ...]
"""What becomes of a message: a copy arrives after each of these seconds. ``(0.0,)``: one, at once; ``()``: none."""


class Sent(msgspec.Struct, frozen=True):
    """A message on its way. ``number`` counts all that was sent in the network, from 1."""

    number: int
    sender: str
    subject: str
    data: bytes


Decide = Callable[[Sent], Fate]
"""Says what becomes of a message."""


def at_random(seed: int, *, lost: float = 0.0, twice: float = 0.0, late: float = 0.0, seconds: float = 0.01) -> Decide:
    """Return what loses, repeats and delays messages by chance, the same ones for the same seed.

    ``lost``, ``twice`` and ``late`` are probabilities; a late one comes up to so many ``seconds`` late.
    """
    random = Random(seed)

    def decide(_: Sent) -> Fate:
        if random.random() < lost:
            return ()
        copies = 2 if random.random() < twice else 1
        return tuple([random.uniform(0, seconds) if random.random() < late else 0.0 for _ in range(copies)])

    return decide


def _as_it_should(_: Sent) -> Fate:
    return (0.0,)


class MemoryNetwork(Network):
    """A network of the nodes of one process. ``decide`` says what becomes of each message; else all arrive."""

    def __init__(self, decide: Decide | None = None) -> None:
        self.decide: Decide = decide or _as_it_should
        self.sent = 0
        """How many messages were sent."""
        self._links: dict[str, MemoryLink] = {}
        self._listeners: dict[str, dict[str, list[MemoryLink]]] = {}
        """By subject and group; who listens alone is in a group without a name."""
        self._cut: set[MemoryLink] = set()

    def link(self, name: str, receiver: Receiver) -> "MemoryLink":
        """Return the link of a node of this name."""
        return MemoryLink(self, name, receiver)

    def cut_off(self, name: str) -> None:
        """Let nothing come to a node, or from it, until it is let in again; neither is told."""
        self._cut.add(self._links[name])

    def sever(self, name: str) -> None:
        """Take a node out of the network for good, as if it had died: others are told that nobody is there."""
        self._links[name].there = False
        self.forget(self._links[name])

    def let_in(self, name: str) -> None:
        """Let a node that was cut off send and receive again."""
        self._cut.discard(self._links[name])

    @property
    def names(self) -> list[str]:
        """The names of the nodes, in the order in which they have joined."""
        return list(self._links)

    # -- for the links ------------------------------------------------------------------------------------------

    def add(self, link: "MemoryLink") -> None:
        """Let a link be known by its name."""
        self._links[link.name] = link

    def join(self, link: "MemoryLink", subject: str, group: str) -> None:
        """Let a link receive what is sent to a subject, or its part of that."""
        self._listeners.setdefault(subject, {}).setdefault(group, []).append(link)

    def leave(self, link: "MemoryLink", subject: str) -> None:
        """Let it receive no more of it."""
        groups = self._listeners.pop(subject, {})
        left = {group: [other for other in links if other is not link] for group, links in groups.items()}
        if any(left.values()):
            self._listeners[subject] = {group: links for group, links in left.items() if links}

    def forget(self, link: "MemoryLink") -> None:
        """Let a link receive nothing more at all."""
        for subject in list(self._listeners):
            self.leave(link, subject)
        self._cut.discard(link)
        if self._links.get(link.name) is link:
            del self._links[link.name]

    def carry(self, link: "MemoryLink", subject: str, data: bytes, number: int) -> None:
        """Carry a message to whom it is for, as it is decided."""
        self.sent += 1
        fate = self.decide(Sent(self.sent, link.name, subject, data))
        loop = asyncio.get_running_loop()
        for seconds in () if link in self._cut else fate:
            if seconds > 0:
                loop.call_later(seconds, self._arrive, link, subject, data, number, context=Context())
            else:
                loop.call_soon(self._arrive, link, subject, data, number, context=Context())

    def _arrive(self, sender: "MemoryLink", subject: str, data: bytes, number: int) -> None:
        groups = self._listeners.get(subject)
        if groups is None:
            if number and sender.there and sender not in self._cut:
                sender.receiver.nobody(number)
            return
        for links in list(groups.values()):
            listener = links.pop(0)
            links.append(listener)  # the next one's turn, where several share
            if listener not in self._cut:
                listener.receiver.arrived(data)


class MemoryLink(Link):
    """One node's end of a network in memory."""

    largest = WRAPPED_PAYLOAD

    def __init__(self, network: MemoryNetwork, name: str, receiver: Receiver) -> None:
        self._network = network
        self.name = name
        self.receiver = receiver
        self.there = False
        """Whether it is open: it has come, and has not left yet."""

    async def open(self) -> None:
        """Join the network."""
        self.there = True
        self._network.add(self)

    async def listen(self, subject: str) -> None:
        """Receive what is sent to a subject."""
        self._network.join(self, subject, "")

    async def share(self, subject: str, group: str) -> None:
        """Receive some of what is sent to a subject."""
        self._network.join(self, subject, group)

    async def leave(self, subject: str) -> None:
        """Receive nothing more of it."""
        self._network.leave(self, subject)

    def send(self, subject: str, data: bytes, number: int = 0) -> None:
        """Send a message."""
        if self.there:
            self._network.carry(self, subject, data, number)

    async def close(self) -> None:
        """Leave the network; what is on its way to others arrives."""
        self.there = False
        self._network.forget(self)
