"""What the contestants' scripts share. Standard library only: it runs in the peers' environments too."""

import asyncio
import gc
import inspect
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

Figures = dict[str, float]
Work = Callable[[int], Figures] | Callable[[int], Coroutine[Any, Any, Figures]]
"""Does so much of something, and says how fast it went."""

RING = 100
"""Actors in the ring."""
CROWD = 100
"""Actors that tell one collector."""
PER_ROUND = 50
"""What each of them tells it at a time."""
SPAWNED_AT_ONCE = 1_000
LIGHT = 1_000
"""Actors with little to do beside the one that is flooded."""
FLOOD = 5_000
"""Messages that are always waiting for the flooded one."""


class Latch:
    """Calls back when it has been told so many times."""

    __slots__ = ("_call", "left")

    def __init__(self, count: int, call: Callable[[], Any]) -> None:
        self.left = count
        self._call = call

    def down(self) -> None:
        self.left -= 1
        if not self.left:
            self._call()


class Tally:
    """Counts what has been handled."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Memory:
    """What so many idle actors take: as tracemalloc sees it, or as the process has grown (``resident``)."""

    def __init__(self, *, resident: bool) -> None:
        self._resident = resident
        if not resident:
            tracemalloc.start()
        self._before = self._now()

    def _now(self) -> int:
        gc.collect()
        if not self._resident:
            return tracemalloc.get_traced_memory()[0]
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def each(self, count: int) -> Figures:
        return {"bytes": (self._now() - self._before) / count, "actors": count}


def rate(count: int, begun: float) -> Figures:
    return {"per_second": count / (time.perf_counter() - begun)}


def latency(seconds: Sequence[float]) -> Figures:
    ordered = sorted(seconds)
    return {"p50_us": ordered[len(ordered) // 2] * 1e6, "p99_us": ordered[len(ordered) * 99 // 100] * 1e6}


def main(works: Mapping[str, Work]) -> None:
    """Do the work that the command line names: WORK COUNT [asyncio|uvloop]; a little of it first, to warm up."""
    name, count = sys.argv[1], int(sys.argv[2])
    loop = sys.argv[3] if len(sys.argv) > 3 else "asyncio"
    work = works[name]
    if not name.startswith("idle"):
        _run(work, max(count // 20, 200), loop)
    print(json.dumps(_run(work, count, loop)))


def _run(work: Work, count: int, loop: str) -> Figures:
    figures = work(count)
    if not inspect.iscoroutine(figures):
        assert isinstance(figures, dict)
        return figures
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(figures)
