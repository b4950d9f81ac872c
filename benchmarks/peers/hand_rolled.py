"""What a careful asyncio programmer writes by hand: a deque, a future and a task for each actor.

It has a bounded mailbox with backpressure, survives its handler's errors, and yields to the loop now and then. Its
handler is a plain function, and its messages are what is cheapest: that is as fast as this design gets.
"""

import asyncio
import logging
import time
from collections import deque
from functools import partial
from typing import Any

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

LIMIT = 10_000
TURNS = 64


class Actor:
    __slots__ = ("_idle", "_loop", "_mail", "_room", "_task")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._mail: deque[tuple[Any, asyncio.Future[Any] | None]] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run())

    def receive(self, message: Any) -> Any:
        raise NotImplementedError

    @property
    def full(self) -> bool:
        return len(self._mail) >= LIMIT

    async def room(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()
        await self._room

    def tell(self, message: Any) -> None:
        self._mail.append((message, None))
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def ask(self, message: Any) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._mail.append((message, reply))
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        return reply

    async def _run(self) -> None:
        mail, receive, turns = self._mail, self.receive, 0
        while True:
            while mail:
                message, reply = mail.popleft()
                try:
                    value = receive(message)
                except Exception as error:
                    if reply is None:
                        logging.exception("a message could not be handled")
                    elif not reply.done():
                        reply.set_exception(error)
                else:
                    if reply is not None and not reply.done():
                        reply.set_result(value)
                turns += 1
                if turns == TURNS:
                    turns = 0
                    if self._room is not None and len(mail) <= LIMIT // 2:
                        self._room.set_result(None)
                        self._room = None
                    await asyncio.sleep(0)
            if self._room is not None:
                self._room.set_result(None)
                self._room = None
            self._idle = idle = self._loop.create_future()
            await idle


class Silent(Actor):
    __slots__ = ()

    def receive(self, message: Any) -> None:
        pass


class Hop(Actor):
    __slots__ = ("latch", "next")
    next: Actor
    latch: Latch

    def receive(self, message: int) -> None:
        if message:
            self.next.tell(message - 1)
        else:
            self.latch.down()


class Member(Actor):
    __slots__ = ("collector",)
    collector: Actor

    def receive(self, message: int) -> None:
        for n in range(message):
            self.collector.tell(n)


class Arrival(Actor):
    __slots__ = ("latch",)
    latch: Latch

    def receive(self, message: Any) -> None:  # noqa: ARG002
        self.latch.down()


class Flooded(Actor):
    __slots__ = ("handled",)
    handled: Tally

    def receive(self, message: Any) -> None:  # noqa: ARG002
        self.handled.count += 1


async def tell(count: int) -> Figures:
    actor = Silent()
    begun = time.perf_counter()
    for _ in range(count):
        actor.tell("hello")
        if actor.full:
            await actor.room()
    await actor.ask("all handled?")
    return rate(count, begun)


async def ask(count: int, in_flight: int = 1) -> Figures:
    actor = Silent()

    async def client() -> None:
        for _ in range(count // in_flight):
            await actor.ask("hello")

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(in_flight)))
    return rate(count, begun)


async def ring(count: int, size: int = RING, hops: int = 1) -> Figures:
    done = asyncio.Event()
    actors = [Hop() for _ in range(size)]
    for n, actor in enumerate(actors):
        actor.next, actor.latch = actors[(n + 1) % size], Latch(1, done.set)
    begun = time.perf_counter()
    actors[0].tell(count * hops)
    await done.wait()
    return rate(count, begun)


async def fan_in(count: int) -> Figures:
    collector, crowd, done = Arrival(), [Member() for _ in range(CROWD)], asyncio.Event()
    for member in crowd:
        member.collector = collector
    rounds = max(1, count // (CROWD * PER_ROUND))
    begun = time.perf_counter()
    for _ in range(rounds):
        collector.latch = Latch(CROWD * PER_ROUND, done.set)
        for member in crowd:
            member.tell(PER_ROUND)
        await done.wait()
        done.clear()
    return rate(rounds * CROWD * PER_ROUND, begun)


async def spawned(count: int) -> list[Actor]:
    actors: list[Actor] = []
    done = asyncio.Event()
    for first in range(0, count, SPAWNED_AT_ONCE):
        most = min(SPAWNED_AT_ONCE, count - first)
        latch = Latch(most, done.set)
        for _ in range(most):
            actor = Arrival()
            actor.latch = latch
            actor.tell("hello")
            actors.append(actor)
        await done.wait()
        done.clear()
    return actors


async def spawn(count: int) -> Figures:
    begun = time.perf_counter()
    await spawned(count)
    return rate(count, begun)


async def idle(count: int, *, resident: bool) -> Figures:
    memory = Memory(resident=resident)
    actors = await spawned(count)
    return memory.each(len(actors))


async def fair(count: int) -> Figures:
    light, flooded, sent, seconds = [Silent() for _ in range(LIGHT)], Flooded(), 0, list[float]()
    handled = flooded.handled = Tally()

    async def flood() -> None:
        nonlocal sent
        while True:
            while sent - handled.count < FLOOD:
                flooded.tell("hello")
                sent += 1
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    await asyncio.sleep(0.1)
    before, started = handled.count, time.perf_counter()
    for n in range(count):
        begun = time.perf_counter()
        await light[n % LIGHT].ask("hello")
        seconds.append(time.perf_counter() - begun)
    flood_rate = rate(handled.count - before, started)["per_second"]
    flooding.cancel()
    return latency(seconds) | {"flood_per_second": flood_rate}


if __name__ == "__main__":
    main(
        {
            "tell": tell,
            "ask": ask,
            "ask_100": partial(ask, in_flight=100),
            "ring": ring,
            "ping_pong": partial(ring, size=2, hops=2),
            "fan_in": fan_in,
            "spawn": spawn,
            "idle_traced": partial(idle, resident=False),
            "idle_resident": partial(idle, resident=True),
            "fair": fair,
        }
    )
