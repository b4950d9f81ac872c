"""Three-step sagas a second, durable, on SQLite and PostgreSQL, beside DBOS where it is given.

    python -m benchmarks.sagas [--dbos PYTHON] [--postgres URL] [--scale 1.0] [--rounds 1]
                               [--loop LOOP] [--fsync MS] [--json FILE]

PYTHON is an interpreter that has ``dbos[postgres]`` installed, URL a database to work in: in a schema of our own, and
for DBOS in a database of its own beside it, ``understudy_dbos``, which is dropped again.
"""

import argparse
import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors import Command, Decision, Event, Message, Saga, Service, State
from benchmarks.databases import a_database, place
from benchmarks.disk import add_fsync, print_fsync
from benchmarks.loops import add_loop
from runtime import Runtime

RUNS = ((1, 500), (50, 5_000), (500, 10_000))
"""Sagas in flight, and how many in all."""


class Held(Message):
    number: int


class PlaceHeld(Event):
    trip: str
    number: int


class PlaceReleased(Event):
    trip: str


class Hold(Command["Places", Held]):
    trip: str


class Release(Command["Places", None]):
    trip: str


class Count(State):
    held: int = 0


class Places(Service[Count, Hold | Release, PlaceHeld | PlaceReleased]):
    initial = Count()

    def decide(self, state: Count, command: Hold | Release) -> Decision:
        match command:
            case Hold(trip):
                return command.reply(Held(state.held + 1), PlaceHeld(trip, state.held + 1))
            case Release(trip):
                return command.reply(None, PlaceReleased(trip))

    def evolve(self, state: Count, event: PlaceHeld | PlaceReleased) -> Count:
        return Count(state.held + (1 if isinstance(event, PlaceHeld) else -1))


class Book(Command["Trip", int]):
    flight: str
    hotel: str
    cab: str


class Trip(Saga[Book, int]):
    async def run(self, command: Book) -> int:
        hold, release = Hold(self.key), Release(self.key)
        flight = await self.ask("flight", Places.at(command.flight), hold, undo=release)
        hotel = await self.ask("hotel", Places.at(command.hotel), hold, undo=release)
        cab = await self.ask("cab", Places.at(command.cab), hold, undo=release)
        return flight.number + hotel.number + cab.number


async def ours(in_flight: int, count: int, postgres: str | None = None) -> dict[str, Any]:
    latencies: list[float] = []
    async with place(postgres) as url, Runtime(url, actors=[Places, Trip]) as runtime:
        numbers = iter(range(count))

        async def client() -> None:
            for n in numbers:
                begun = time.perf_counter()
                await runtime.ask(Trip.at(f"trip-{n}"), Book(f"flight-{n % 97}", f"hotel-{n % 89}", f"cab-{n % 83}"))
                latencies.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(in_flight)))
        seconds = time.perf_counter() - begun
        latencies.sort()
        return {
            "per_second": count / seconds,
            "p50_ms": latencies[count // 2] * 1e3,
            "p99_ms": latencies[count * 99 // 100] * 1e3,
            "groups_per_saga": runtime.groups / count,
            "events_per_saga": runtime.position / count,
        }


def dbos(python: str, in_flight: int, count: int, postgres: str | None = None) -> dict[str, Any]:
    peer = Path(__file__).parent / "peers" / "dbos_sagas.py"
    command = [python, str(peer), str(in_flight), str(count)]
    if postgres is None:
        return _figures(command)
    with a_database(postgres, "understudy_dbos") as url:
        return _figures([*command, url])


def _figures(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rounds, key=lambda one: one["per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(description="three-step sagas a second")
    parser.add_argument("--dbos", metavar="PYTHON", help="an interpreter that has dbos installed")
    parser.add_argument("--postgres", metavar="URL", help="a PostgreSQL database to work in, too")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many sagas")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    add_loop(parser)
    add_fsync(parser)
    options = parser.parse_args()
    print_fsync()
    rows: list[dict[str, Any]] = []
    heading = f"{'':11} in flight   sagas/s    p50 ms    p99 ms  groups/saga"
    print(heading + ("   DBOS/s  p50 ms  p99 ms   ratio" if options.dbos else ""))
    for postgres in (None, options.postgres) if options.postgres else (None,):
        engine = "sqlite" if postgres is None else urlsplit(postgres).scheme
        for in_flight, count in RUNS:
            count = max(in_flight, int(count * options.scale))
            rounds = range(options.rounds)
            row = best([asyncio.run(ours(in_flight, count, postgres)) for _ in rounds])
            row = {"engine": engine, "in_flight": in_flight, **row}
            line = f"{engine:11} {in_flight:9} {row['per_second']:9.0f} {row['p50_ms']:9.2f} {row['p99_ms']:9.2f}"
            line += f" {row['groups_per_saga']:12.3f}"
            if options.dbos:
                few = max(in_flight, int(min(count, 400) * options.scale))
                row["dbos"] = peer = best([dbos(options.dbos, in_flight, few, postgres) for _ in rounds])
                line += f" {peer['per_second']:8.0f} {peer['p50_ms']:7.1f} {peer['p99_ms']:7.1f}"
                line += f" {row['per_second'] / peer['per_second']:7.1f}"
            print(line)
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
