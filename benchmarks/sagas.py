"""Three-step sagas a second on SQLite with a sync for each group, beside DBOS where it is given.

    python -m benchmarks.sagas [--dbos PYTHON] [--scale 1.0] [--json FILE]

PYTHON is an interpreter that has ``dbos`` installed (``python3 -m venv /tmp/dbos; /tmp/dbos/bin/pip install dbos``).
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from actors import Command, Decision, Event, Message, Saga, Service, State
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


async def ours(in_flight: int, count: int) -> dict[str, Any]:
    latencies: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with Runtime(f"sqlite:{folder}/trips.db", actors=[Places, Trip]) as runtime:
            numbers = iter(range(count))

            async def client() -> None:
                for n in numbers:
                    begun = time.perf_counter()
                    await runtime.ask(
                        Trip.at(f"trip-{n}"), Book(f"flight-{n % 97}", f"hotel-{n % 89}", f"cab-{n % 83}")
                    )
                    latencies.append(time.perf_counter() - begun)

            begun = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(in_flight)))
            seconds = time.perf_counter() - begun
            latencies.sort()
            return {
                "in_flight": in_flight,
                "per_second": count / seconds,
                "p50_ms": latencies[count // 2] * 1e3,
                "p99_ms": latencies[count * 99 // 100] * 1e3,
                "groups_per_saga": runtime.groups / count,
                "events_per_saga": runtime.position / count,
            }


def dbos(python: str, in_flight: int, count: int) -> float:
    peer = Path(__file__).parent / "peers" / "dbos_sagas.py"
    done = subprocess.run([python, peer, str(in_flight), str(count)], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="three-step sagas a second")
    parser.add_argument("--dbos", metavar="PYTHON", help="an interpreter that has dbos installed")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many sagas")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("in flight   sagas/s    p50 ms    p99 ms  groups/saga" + ("   DBOS/s   ratio" if options.dbos else ""))
    for in_flight, count in RUNS:
        row = asyncio.run(ours(in_flight, max(in_flight, int(count * options.scale))))
        line = f"{in_flight:9} {row['per_second']:9.0f} {row['p50_ms']:9.2f} {row['p99_ms']:9.2f}"
        line += f" {row['groups_per_saga']:12.3f}"
        if options.dbos:
            row["dbos_per_second"] = dbos(options.dbos, in_flight, max(in_flight, int(min(count, 400) * options.scale)))
            line += f" {row['dbos_per_second']:8.0f} {row['per_second'] / row['dbos_per_second']:7.1f}"
        print(line)
        rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
