"""What Understudy is measured at, on ``Runtime("memory:")``; what only plain actors do is in :mod:`talking`."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from actors import Address, Command
from benchmarks.measuring import FLOOD, LIGHT, SPAWNED_AT_ONCE, Figures, Latch, Memory, Tally, Work, latency, rate
from runtime import Runtime


class Cast(NamedTuple):
    """One sort of actors, and the messages that they take."""

    actors: list[type]
    silent: Callable[[str], Address[Any]]
    hello: Command[Any, None]
    arrival: Any
    arrive: Command[Any, None]
    flooded: Address[Any]
    flood: Command[Any, None]
    handled: Tally


async def tell(cast: Cast, count: int) -> Figures:
    actor, message = cast.silent("one"), cast.hello
    async with Runtime("memory:", actors=cast.actors) as runtime:
        begun = time.perf_counter()
        for _ in range(count):
            await runtime.tell(actor, message)
        await runtime.ask(actor, message)
        return rate(count, begun)


async def ask(cast: Cast, count: int, in_flight: int = 1) -> Figures:
    actor, message = cast.silent("one"), cast.hello
    async with Runtime("memory:", actors=cast.actors) as runtime:

        async def client() -> None:
            for _ in range(count // in_flight):
                await runtime.ask(actor, message)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(in_flight)))
        return rate(count, begun)


async def spawned(cast: Cast, runtime: Runtime, count: int) -> None:
    done = asyncio.Event()
    for first in range(0, count, SPAWNED_AT_ONCE):
        most = min(SPAWNED_AT_ONCE, count - first)
        cast.arrival.latch = Latch(most, done.set)
        for n in range(first, first + most):
            await runtime.tell(cast.arrival.at(str(n)), cast.arrive)
        await done.wait()
        done.clear()


async def spawn(cast: Cast, count: int) -> Figures:
    async with Runtime("memory:", actors=cast.actors) as runtime:
        begun = time.perf_counter()
        await spawned(cast, runtime, count)
        return rate(count, begun)


async def idle(cast: Cast, count: int, *, resident: bool) -> Figures:
    async with Runtime("memory:", actors=cast.actors) as runtime:
        memory = Memory(resident=resident)
        await spawned(cast, runtime, count)
        return memory.each(count)


async def fair(cast: Cast, count: int) -> Figures:
    light, handled = [cast.silent(str(n)) for n in range(LIGHT)], cast.handled
    handled.count, seconds = 0, list[float]()
    async with Runtime("memory:", actors=cast.actors) as runtime:

        async def flood() -> None:
            sent = 0
            while True:
                while sent - handled.count < FLOOD:
                    await runtime.tell(cast.flooded, cast.flood)
                    sent += 1
                await asyncio.sleep(0)

        for actor in light:
            await runtime.ask(actor, cast.hello)
        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.1)
        before, started = handled.count, time.perf_counter()
        for n in range(count):
            begun = time.perf_counter()
            await runtime.ask(light[n % LIGHT], cast.hello)
            seconds.append(time.perf_counter() - begun)
        flood_rate = rate(handled.count - before, started)["per_second"]
        flooding.cancel()
    return latency(seconds) | {"flood_per_second": flood_rate}


def works(cast: Cast) -> dict[str, Work]:
    return {
        "tell": partial(tell, cast),
        "ask": partial(ask, cast),
        "ask_100": partial(ask, cast, in_flight=100),
        "spawn": partial(spawn, cast),
        "idle_traced": partial(idle, cast, resident=False),
        "idle_resident": partial(idle, cast, resident=True),
        "fair": partial(fair, cast),
    }
