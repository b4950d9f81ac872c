"""Understudy's plain actors with a synchronous ``receive``; they also tell each other."""

import asyncio
import time
from functools import partial

from benchmarks.measuring import CROWD, PER_ROUND, RING, Figures, Latch, main, rate
from benchmarks.understudy import cast
from benchmarks.understudy.cast import PLAIN, Collector, Go, Hop, Member, Next
from benchmarks.understudy.works import Cast, works
from runtime import Runtime

ACTORS = Cast(
    actors=PLAIN,
    silent=cast.Silent.at,
    hello=cast.Say(),
    arrival=cast.Arrival,
    arrive=cast.Arrive(),
    flooded=cast.Flooded.at(),
    flood=cast.Flood(),
    handled=cast.Flooded.handled,
)


async def ring(count: int, size: int = RING, hops: int = 1) -> Figures:
    done = asyncio.Event()
    Hop.latch, Hop.size = Latch(1, done.set), size
    async with Runtime("memory:", actors=PLAIN) as runtime:
        begun = time.perf_counter()
        await runtime.tell(Hop.at("0"), Next(count * hops))
        await done.wait()
        return rate(count, begun)


async def fan_in(count: int) -> Figures:
    crowd, done, go = [Member.at(str(n)) for n in range(CROWD)], asyncio.Event(), Go(PER_ROUND)
    rounds = max(1, count // (CROWD * PER_ROUND))
    async with Runtime("memory:", actors=PLAIN) as runtime:
        begun = time.perf_counter()
        for _ in range(rounds):
            Collector.latch = Latch(CROWD * PER_ROUND, done.set)
            for member in crowd:
                await runtime.tell(member, go)
            await done.wait()
            done.clear()
        return rate(rounds * CROWD * PER_ROUND, begun)


if __name__ == "__main__":
    main(
        works(ACTORS)
        | {
            "ring": ring,
            "ping_pong": partial(ring, size=2, hops=2),
            "fan_in": fan_in,
        }
    )
