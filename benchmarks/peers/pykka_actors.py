"""Pykka: a thread and a queue for each actor. Run by an interpreter that has pykka."""

import threading
import time
from collections import deque
from functools import partial
from typing import Any

import pykka  # type: ignore[import-not-found]

from benchmarks.measuring import (
    CROWD,
    FLOOD,
    LIGHT,
    PER_ROUND,
    RING,
    SPAWNED_AT_ONCE,
    Figures,
    Latch,
    Memory,
    Tally,
    latency,
    main,
    rate,
)

Silent = pykka.ThreadingActor
"""What it is told it takes in silence, and what it is asked it answers with None."""


class Hop(pykka.ThreadingActor):  # type: ignore[misc]
    def __init__(self, latch: Latch) -> None:
        super().__init__()
        self._latch = latch
        self._next: Any = None

    def on_receive(self, message: Any) -> None:
        if not isinstance(message, int):
            self._next = message
        elif message:
            self._next.tell(message - 1)
        else:
            self._latch.down()


class Member(pykka.ThreadingActor):  # type: ignore[misc]
    def __init__(self, collector: Any) -> None:
        super().__init__()
        self._collector = collector

    def on_receive(self, message: int) -> None:
        for n in range(message):
            self._collector.tell(n)


class Arrival(pykka.ThreadingActor):  # type: ignore[misc]
    latch: Latch

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Latch):
            self.latch = message
        else:
            self.latch.down()


class Flooded(pykka.ThreadingActor):  # type: ignore[misc]
    def __init__(self, handled: Tally) -> None:
        super().__init__()
        self._handled = handled

    def on_receive(self, message: Any) -> None:  # noqa: ARG002
        self._handled.count += 1


def tell(count: int) -> Figures:
    actor = Silent.start()
    begun = time.perf_counter()
    for _ in range(count):
        actor.tell("hello")
    actor.ask("all handled?")
    return rate(count, begun)


def ask(count: int, in_flight: int = 1) -> Figures:
    actor = Silent.start()
    begun = time.perf_counter()
    if in_flight == 1:
        for _ in range(count):
            actor.ask("hello")
    else:
        under_way = deque[Any]()
        for _ in range(count):
            if len(under_way) == in_flight:
                under_way.popleft().get()
            under_way.append(actor.ask("hello", block=False))
        pykka.get_all(under_way)
    return rate(count, begun)


def ring(count: int, size: int = RING, hops: int = 1) -> Figures:
    done = threading.Event()
    latch = Latch(1, done.set)
    actors = [Hop.start(latch) for _ in range(size)]
    for n, actor in enumerate(actors):
        actor.tell(actors[(n + 1) % size])
    begun = time.perf_counter()
    actors[0].tell(count * hops)
    done.wait()
    return rate(count, begun)


def fan_in(count: int) -> Figures:
    collector, done = Arrival.start(), threading.Event()
    crowd = [Member.start(collector) for _ in range(CROWD)]
    rounds = max(1, count // (CROWD * PER_ROUND))
    begun = time.perf_counter()
    for _ in range(rounds):
        collector.tell(Latch(CROWD * PER_ROUND, done.set))
        for member in crowd:
            member.tell(PER_ROUND)
        done.wait()
        done.clear()
    return rate(rounds * CROWD * PER_ROUND, begun)


def spawned(count: int) -> None:
    for first in range(0, count, SPAWNED_AT_ONCE):
        actors = [Silent.start() for _ in range(min(SPAWNED_AT_ONCE, count - first))]
        pykka.get_all([actor.ask("hello", block=False) for actor in actors])


def spawn(count: int) -> Figures:
    begun = time.perf_counter()
    spawned(count)
    return rate(count, begun)


def idle(count: int) -> Figures:
    memory = Memory(resident=True)
    spawned(count)
    return memory.each(count)


def fair(count: int) -> Figures:
    handled, seconds, over = Tally(), list[float](), threading.Event()
    light, flooded = [Silent.start() for _ in range(LIGHT)], Flooded.start(handled)

    def flood() -> None:
        sent = 0
        while not over.is_set():
            while sent - handled.count < FLOOD:
                flooded.tell("hello")
                sent += 1
            time.sleep(0)

    flooding = threading.Thread(target=flood)
    flooding.start()
    time.sleep(0.1)
    before, started = handled.count, time.perf_counter()
    for n in range(count):
        begun = time.perf_counter()
        light[n % LIGHT].ask("hello")
        seconds.append(time.perf_counter() - begun)
    flood_rate = rate(handled.count - before, started)["per_second"]
    over.set()
    flooding.join()
    return latency(seconds) | {"flood_per_second": flood_rate}


if __name__ == "__main__":
    try:
        main(
            {
                "tell": tell,
                "ask": ask,
                "ask_100": partial(ask, in_flight=100),
                "ring": ring,
                "ping_pong": partial(ring, size=2, hops=2),
                "fan_in": fan_in,
                "spawn": spawn,
                "idle_resident": idle,
                "fair": fair,
            }
        )
    finally:
        pykka.ActorRegistry.stop_all(block=False)
