"""Work that is done many times at once, and measured."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

import anyio

from actors import OutcomeUnknown
from demos.page import Progress

IN_FLIGHT = 500
"""How many are under way at the same time."""
ATTEMPTS = 10
"""How often a thing is asked for when its outcome is unknown because the journal could not be written."""

R = TypeVar("R")
T = TypeVar("T")


class Figures(NamedTuple):
    """How long it took, all together and each, in seconds."""

    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        """How many were done in a second."""
        return len(self.latencies) / self.seconds if self.latencies else 0.0

    def percentile(self, percent: int) -> float:
        """Return what so many of a hundred took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


async def measured(
    items: Iterable[T],
    total: int,
    noun: str,
    work: Callable[[T], Awaitable[object]],
    *,
    in_flight: int = IN_FLIGHT,
) -> Figures:
    """Do the work for each item, so many at a time; measure each from the question to the durable answer."""
    progress = Progress(total, noun)
    latencies: list[float] = []

    async def one(item: T) -> None:
        asked = time.perf_counter()
        await work(item)
        latencies.append(time.perf_counter() - asked)
        progress.show(len(latencies))

    begun = time.perf_counter()
    try:
        await for_each(items, one, in_flight=in_flight)
    finally:
        progress.clear()
    return Figures(time.perf_counter() - begun, latencies)


async def insist(ask: Callable[[], Awaitable[R]]) -> R:
    """Ask; while the outcome is unknown ask again, for what is asked has a name by which it happens once."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await ask()
        except OutcomeUnknown:
            continue
    return await ask()


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, in_flight: int = IN_FLIGHT) -> None:
    """Do the work for each item, for so many at the same time; the first error ends it all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with anyio.create_task_group() as workers:
            for _ in range(in_flight):
                workers.start_soon(worker)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
