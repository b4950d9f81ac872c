"""Thespian's simpleSystemBase: all actors in the caller's thread. Run by an interpreter that has thespian."""

import time
from functools import partial
from typing import Any

from thespian.actors import Actor, ActorSystem  # type: ignore[import-not-found]

from benchmarks.measuring import CROWD, PER_ROUND, RING, Figures, Latch, Memory, main, rate

# Its own logging configuration would print; False leaves logging alone.
system: Any = ActorSystem("simpleSystemBase", logDefs=False)


def nothing() -> None:
    pass


class Silent(Actor):  # type: ignore[misc]
    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if message == "ask":
            self.send(sender, "reply")


class Hop(Actor):  # type: ignore[misc]
    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: ARG002, N802
        if isinstance(message, tuple):
            self.next, self.latch = message
        elif message:
            self.send(self.next, message - 1)
        else:
            self.latch.down()


class Member(Actor):  # type: ignore[misc]
    collector: Any

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: ARG002, N802
        if isinstance(message, int):
            for n in range(message):
                self.send(self.collector, n)
        else:
            self.collector = message


class Arrival(Actor):  # type: ignore[misc]
    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: ARG002, N802
        if isinstance(message, Latch):
            self.latch = message
        else:
            self.latch.down()


def tell(count: int) -> Figures:
    actor = system.createActor(Silent)
    begun = time.perf_counter()
    for _ in range(count):
        system.tell(actor, "hello")  # handled when it returns
    return rate(count, begun)


def ask(count: int) -> Figures:
    actor = system.createActor(Silent)
    begun = time.perf_counter()
    for _ in range(count):
        assert system.ask(actor, "ask") == "reply"
    return rate(count, begun)


def ring(count: int, size: int = RING, hops: int = 1) -> Figures:
    latch = Latch(1, nothing)
    actors = [system.createActor(Hop) for _ in range(size)]
    for n, actor in enumerate(actors):
        system.tell(actor, (actors[(n + 1) % size], latch))
    begun = time.perf_counter()
    system.tell(actors[0], count * hops)
    figures = rate(count, begun)
    assert latch.left == 0
    return figures


def fan_in(count: int) -> Figures:
    collector, crowd = system.createActor(Arrival), [system.createActor(Member) for _ in range(CROWD)]
    for member in crowd:
        system.tell(member, collector)
    rounds = max(1, count // (CROWD * PER_ROUND))
    begun = time.perf_counter()
    for _ in range(rounds):
        latch = Latch(CROWD * PER_ROUND, nothing)
        system.tell(collector, latch)
        for member in crowd:
            system.tell(member, PER_ROUND)
        assert latch.left == 0
    return rate(rounds * CROWD * PER_ROUND, begun)


def spawned(count: int) -> None:
    for _ in range(count):
        system.tell(system.createActor(Silent), "hello")


def spawn(count: int) -> Figures:
    begun = time.perf_counter()
    spawned(count)
    return rate(count, begun)


def idle(count: int, *, resident: bool) -> Figures:
    memory = Memory(resident=resident)
    spawned(count)
    return memory.each(count)


if __name__ == "__main__":
    main(
        {
            "tell": tell,
            "ask": ask,
            "ring": ring,
            "ping_pong": partial(ring, size=2, hops=2),
            "fan_in": fan_in,
            "spawn": spawn,
            "idle_traced": partial(idle, resident=False),
            "idle_resident": partial(idle, resident=True),
        }
    )
