"""The process that the soak harms: books trips and takes orders at full load, and tells each second how it fares.

    python -m benchmarks.soak_node URL SEED LETTERBOXES [--trips 300] [--orders 40] [--active 5000]

On its standard output it says what becomes of each trip, at once (``completed TRIP``), and once a second how it fares,
as JSON. Actors are killed, delayed and robbed of their replies on the way.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from math import log
from pathlib import Path
from typing import Any

from actors import Parked, Refused
from demos import orders, trip
from demos.measuring import insist
from demos.orders import load as order_load
from demos.trip import load as trip_load
from demos.trip.sagas import TripSaga
from runtime import Chaos, Runtime

BLOCK = 1_000
"""So many trips, or orders, want what the same sellers have."""
AHEAD = 1_000
"""Wishes that are ready before somebody sees to them."""
FINENESS = 20
"""Buckets of latencies for each factor of e."""


def bucket(seconds: float) -> int:
    return round(log(max(seconds, 1e-6)) * FINENESS)


def resident() -> float:
    """What the process takes, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def log_size(journal: str) -> int:
    """How many bytes the write-ahead log takes."""
    try:
        return os.stat(f"{journal.removeprefix('sqlite:')}-wal").st_size
    except OSError:
        return 0


class Counts:
    """What was done since it was told last."""

    def __init__(self) -> None:
        self.latencies: dict[str, Counter[int]] = {"trips": Counter(), "orders": Counter()}

    def take_latencies(self) -> dict[str, Counter[int]]:
        taken, self.latencies = self.latencies, {"trips": Counter(), "orders": Counter()}
        return taken


def tell(line: str) -> None:
    """Say it at once: what is said before it is durable must be found out."""
    print(line, flush=True)


async def wanted_trips(runtime: Runtime, seed: int, run: str) -> AsyncIterator[trip_load.Wish]:
    for block in count():
        await trip_load.open_sellers(runtime, f"{run}b{block}", trip_load.sellers_for(BLOCK))
        for wish in trip_load.wishes(BLOCK, seed + block, f"{run}b{block}"):
            yield wish


async def wanted_orders(runtime: Runtime, seed: int, run: str, boxes: Path) -> AsyncIterator[order_load.Wish]:
    for block in count():
        await order_load.open_shop(runtime, f"{run}o{block}", order_load.crowds(BLOCK))
        for number in range(1, order_load.crowds(BLOCK) + 1):
            (boxes / f"{run}o{block}-C{number}").mkdir()
        for wish in order_load.wishes(BLOCK, seed + block, f"{run}o{block}", str(boxes)):
            yield wish


async def feed(wishes: AsyncIterator[Any], queue: "asyncio.Queue[Any]") -> None:
    async for wish in wishes:
        await queue.put(wish)


async def book(runtime: Runtime, counts: Counts, queue: "asyncio.Queue[trip_load.Wish]") -> None:
    while True:
        wish = await queue.get()
        asked = time.perf_counter()
        try:
            await insist(lambda: runtime.ask(TripSaga.at(wish.trip), wish.command))  # noqa: B023 (asked at once)
        except Refused:
            tell(f"compensated {wish.trip}")
        except Parked:
            tell(f"parked {wish.trip}")
        else:
            tell(f"completed {wish.trip}")
        counts.latencies["trips"][bucket(time.perf_counter() - asked)] += 1


async def take(runtime: Runtime, counts: Counts, queue: "asyncio.Queue[order_load.Wish]") -> None:
    while True:
        wish = await queue.get()
        asked = time.perf_counter()
        with suppress(Refused, Parked):  # the ledger counts them
            await insist(lambda: order_load.see_through(runtime, wish))  # noqa: B023 (asked at once)
        counts.latencies["orders"][bucket(time.perf_counter() - asked)] += 1


async def watch(runtime: Runtime, counts: Counts, chaos: Chaos, journal: str) -> None:
    """Tell how it fares, each second."""
    begun = time.monotonic()
    while True:
        await asyncio.sleep(1)
        sample = {
            "pid": os.getpid(),
            "age": time.monotonic() - begun,
            "rss": resident(),
            "files": len(os.listdir("/proc/self/fd")),
            "wal": log_size(journal) / 1e6,
            "active": runtime.stats().active,
            "chaos": [chaos.kills, chaos.delays, chaos.lost_replies],
            **counts.take_latencies(),
        }
        tell(json.dumps(sample))


async def main(options: argparse.Namespace) -> None:
    chaos = Chaos(options.seed + os.getpid(), 0.000_5, delay=0.000_5, longest_delay=0.02, lose_replies=0.000_5)
    print(chaos, file=sys.stderr, flush=True)
    counts = Counts()
    actors = [*trip.ACTORS, *orders.ACTORS]
    async with (
        Runtime(options.url, actors, chaos=chaos, active=options.active) as runtime,
        asyncio.TaskGroup() as tasks,
    ):
        run = f"s{runtime.position}"  # the journal only grows, so no other run begins here
        tasks.create_task(watch(runtime, counts, chaos, options.url))
        trips: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
        tasks.create_task(feed(wanted_trips(runtime, options.seed, run), trips))
        for _ in range(options.trips):
            tasks.create_task(book(runtime, counts, trips))
        wanted: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
        boxes = Path(options.letterboxes)
        tasks.create_task(feed(wanted_orders(runtime, options.seed, run, boxes), wanted))
        for _ in range(options.orders):
            tasks.create_task(take(runtime, counts, wanted))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the process that the soak harms")
    parser.add_argument("url")
    parser.add_argument("seed", type=int)
    parser.add_argument("letterboxes")
    parser.add_argument("--trips", type=int, default=300, help="trips under way")
    parser.add_argument("--orders", type=int, default=40, help="orders under way")
    parser.add_argument("--active", type=int, default=5_000, help="actors in memory")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
