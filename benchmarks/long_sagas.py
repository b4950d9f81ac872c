"""Many sagas that are not at their end: asleep, under way when the process died, queued. On SQLite and PostgreSQL.

    python -m benchmarks.long_sagas [--postgres URL] [--asleep 100000] [--unfinished 10000] [--queued 10000]

Asleep: how fast they are put to sleep, what memory they take meanwhile, how long a journal with them takes to open, and
how fast they wake when their time has come. Unfinished: how long a new process takes until the last has ended. Queued:
how fast they queue for ten places, and how fast a new process empties the queue, where each sends one step. Each is
measured in a process of its own. A count of 0 leaves a part out.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from actors import Command, Saga
from benchmarks.databases import place
from benchmarks.journal_works import Ask, Desk, Errand, Wait
from runtime import ManualClock, Runtime

IN_FLIGHT = 500
DAY = 86_400.0


class Nap(Command["Sleeper", int]):
    number: int


class Sleeper(Saga[Nap, int]):
    async def run(self, command: Nap) -> int:
        await self.sleep("nap", timedelta(days=1))
        return command.number


class Stand(Command["Queuer", int]):
    number: int


class Queuer(Saga[Stand, int]):
    at_once = 10

    async def run(self, command: Stand) -> int:
        return await self.ask("desk", Desk.at(f"{command.number % 100}"), Wait(command.number))


ACTORS = [Sleeper, Errand, Queuer, Desk]
Figures = dict[str, float]


def resident() -> float:
    """Return the memory of this process, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def start_all(runtime: Runtime, saga: Any, command: Any, count: int) -> float:
    numbers = iter(range(count))

    async def client() -> None:
        for n in numbers:
            await runtime.start(saga.at(f"s{n}"), command(n))

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - begun


async def put_to_sleep(url: str, count: int) -> Figures:
    async with Runtime(url, ACTORS, clock=ManualClock()) as runtime:
        before = resident()
        seconds = await start_all(runtime, Sleeper, Nap, count)
        return {
            "asleep_per_second": count / seconds,
            "asleep_kb_each": (resident() - before) * 1e3 / count,
            "asleep_in_memory": runtime.stats().actors["Sleeper"].active,
        }


async def wake_up(url: str, count: int) -> Figures:
    clock = ManualClock()
    begun = time.perf_counter()
    async with Runtime(url, ACTORS, clock=clock) as runtime:
        there = time.perf_counter() - begun
        opened = resident()
        begun = time.perf_counter()
        clock.advance(DAY)
        for n in range(count):
            assert await runtime.result(Sleeper.at(f"s{n}")) == n
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "asleep_open_s": there,
        "asleep_open_mb": opened,
        "asleep_wake_per_second": count / seconds,
        "asleep_wake_peak_mb": peak,
    }


async def leave(url: str, count: int) -> Figures:
    Desk.answers = False
    async with Runtime(url, ACTORS) as runtime:
        await start_all(runtime, Errand, Ask, count)
        print("{}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def go_on(url: str, count: int) -> Figures:
    begun = time.perf_counter()
    async with Runtime(url, ACTORS) as runtime:
        there = time.perf_counter() - begun
        for n in range(count):
            assert await runtime.result(Errand.at(f"s{n}")) == n
        ended = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"unfinished_open_s": there, "unfinished_ended_s": ended, "unfinished_peak_mb": peak}


async def queue(url: str, count: int) -> Figures:
    Desk.answers = False
    async with Runtime(url, ACTORS, shutdown_timeout=1) as runtime:
        seconds = await start_all(runtime, Queuer, Stand, count)
        print(json.dumps({"queue_per_second": count / seconds}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


async def empty(url: str, count: int) -> Figures:
    begun = time.perf_counter()
    async with Runtime(url, ACTORS) as runtime:
        there = time.perf_counter() - begun
        begun = time.perf_counter()
        for n in range(max(count - 100, 0), count):  # those before them are at their end by then
            assert await runtime.result(Queuer.at(f"s{n}")) == n
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"queue_open_s": there, "queue_emptied_per_second": count / seconds, "queue_peak_mb": peak}


WORKS = {
    "put_to_sleep": put_to_sleep,
    "wake_up": wake_up,
    "leave": leave,
    "go_on": go_on,
    "queue": queue,
    "empty": empty,
}


def in_a_process(work: str, url: str, count: int) -> Figures:
    script = [sys.executable, "-m", "benchmarks.long_sagas", "--work", work, "--url", url, "--asleep", str(count)]
    done = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{work} failed")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


async def measured(postgres: str | None, asleep: int, unfinished: int, queued: int) -> Figures:
    figures: Figures = {}
    parts = ((("put_to_sleep", "wake_up"), asleep), (("leave", "go_on"), unfinished), (("queue", "empty"), queued))
    for works, count in parts:
        if not count:
            continue
        async with place(postgres) as url:
            for work in works:
                figures |= await asyncio.to_thread(in_a_process, work, url, count)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="many sagas that are not at their end")
    parser.add_argument("--postgres", metavar="URL", help="a PostgreSQL database to work in, too")
    parser.add_argument("--asleep", type=int, default=100_000, help="how many sagas sleep")
    parser.add_argument("--unfinished", type=int, default=10_000, help="how many are under way")
    parser.add_argument("--queued", type=int, default=10_000, help="how many wait for their place")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(asyncio.run(WORKS[options.work](options.url, options.asleep))))
        return
    table: dict[str, Figures] = {}
    for engine, server in (("sqlite", None), ("postgresql", options.postgres)):
        if engine == "sqlite" or server:
            table[engine] = asyncio.run(measured(server, options.asleep, options.unfinished, options.queued))
    print(f"{'':26}" + "".join(f"{engine:>14}" for engine in table))
    for name in next(iter(table.values())):
        print(f"{name:26}" + "".join(f"{figures[name]:14,.2f}" for figures in table.values()))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
