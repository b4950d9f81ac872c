"""Durable commands a second on SQLite and PostgreSQL, beside raw inserts in the same run, and eventsourcing.

    python -m benchmarks.commands [--postgres URL] [--peers PYTHON] [--scale 1.0] [--rounds 3] [--loop uvloop]
                                  [--fsync MS] [--json FILE]

A command is one ask of one of 1,000 services, which answers when its one event is durable. PYTHON is an interpreter
that has eventsourcing installed (``python3 -m venv /tmp/es; /tmp/es/bin/pip install 'eventsourcing[postgres]'``).
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import raw
from benchmarks.contestants import ROOT
from benchmarks.disk import add_fsync, print_fsync
from benchmarks.loops import add_loop
from benchmarks.raw import SCHEMA, SERVICES, drop
from benchmarks.sagas import Hold, Places
from runtime import Runtime

RUNS = ((1, 1_000), (10, 8_000), (100, 30_000), (1_000, 60_000))
"""Commands in flight, and how many in all."""
PEER_COMMANDS, PEER_THREADS = 2_000, (1, 8)


async def ours(url: str, in_flight: int, count: int) -> dict[str, float]:
    latencies: list[float] = []
    async with Runtime(url, actors=[Places]) as runtime:
        numbers = iter(range(count))

        async def client() -> None:
            for n in numbers:
                begun = time.perf_counter()
                await runtime.ask(Places.at(f"{n % SERVICES}"), Hold(f"t{n}"))
                latencies.append(time.perf_counter() - begun)

        await asyncio.gather(*(runtime.ask(Places.at(f"{n}"), Hold("warm-up")) for n in range(SERVICES)))
        groups = runtime.groups
        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(in_flight)))
        seconds = time.perf_counter() - begun
        latencies.sort()
        return {
            "per_second": count / seconds,
            "p50_ms": latencies[count // 2] * 1e3,
            "p99_ms": latencies[count * 99 // 100] * 1e3,
            "events_per_group": count / (runtime.groups - groups),
        }


def on_sqlite(in_flight: int, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(ours(f"sqlite:{folder}/commands.db", in_flight, count))


def on_postgres(server: str, in_flight: int, count: int) -> dict[str, float]:
    asyncio.run(drop(server))
    try:
        return asyncio.run(ours(f"{server}?schema={SCHEMA}", in_flight, count))
    finally:
        asyncio.run(drop(server))


def peer(python: str, engine: str, place: str, count: int) -> float:
    """The best of one thread and several."""
    script = [python, "-m", "benchmarks.peers.eventsourcing_commands", engine, str(count)]
    return max(
        float(
            subprocess.run(
                [*script, str(threads), place], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.splitlines()[-1]
        )
        for threads in PEER_THREADS
    )


def peer_sqlite(python: str, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return peer(python, "sqlite", f"{folder}/peer.db", count)


def peer_postgres(python: str, server: str, count: int) -> float:
    asyncio.run(drop(server, make=True))
    try:
        return peer(python, "postgres", place_of(server), count)
    finally:
        asyncio.run(drop(server))


def place_of(server: str) -> str:
    """Return a server's URL, and our schema there, as the peers' scripts take it."""
    parts = urlsplit(server)
    return f"{parts.netloc}{parts.path}/{SCHEMA}"


def measure(
    engine: str,
    run: Callable[[int, int], dict[str, float]],
    inserts: Callable[[int, int], float],
    other: float | None,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Measure one engine at each number in flight, ours and raw in turns; keep the best round of each."""
    table: list[dict[str, Any]] = []
    for in_flight, count in RUNS:
        count = max(in_flight, int(count * options.scale)) // in_flight * in_flight
        rounds = [(run(in_flight, count), inserts(in_flight, count)) for _ in range(options.rounds)]
        best = max((one for one, _ in rounds), key=lambda one: one["per_second"])
        fastest = max(one for _, one in rounds)
        row: dict[str, Any] = {"engine": engine, "in_flight": in_flight, **best, "raw_per_second": fastest}
        line = f"{engine:10} {in_flight:9} {best['per_second']:12,.0f} {best['p50_ms']:9.2f} {best['p99_ms']:9.2f}"
        line += f" {best['events_per_group']:13.0f} {fastest:12,.0f} {best['per_second'] / fastest:6.2f}"
        if other:
            row["peer_per_second"] = other
            line += f" {other:15,.0f} {best['per_second'] / other:6.1f}"
        print(line, flush=True)
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="durable commands a second")
    parser.add_argument(
        "--postgres", metavar="URL", help="a database to work in, in a schema of our own: also measure it"
    )
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has eventsourcing installed")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many commands")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    add_loop(parser)
    add_fsync(parser)
    options = parser.parse_args()
    print_fsync()
    count = int(PEER_COMMANDS * options.scale)
    head = "engine     in flight   commands/s    p50 ms    p99 ms  events/group        raw/s  ratio"
    print(head + ("  eventsourcing/s  ratio" if options.peers else ""))
    other = peer_sqlite(options.peers, count) if options.peers else None
    table = measure("sqlite", on_sqlite, raw.executemany, other, options)
    if options.postgres:
        server: str = options.postgres
        other = peer_postgres(options.peers, server, count) if options.peers else None
        table += measure(
            "postgresql",
            lambda in_flight, n: on_postgres(server, in_flight, n),
            lambda in_flight, n: asyncio.run(raw.unnest(server, in_flight, n)),
            other,
            options,
        )
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
