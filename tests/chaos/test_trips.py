"""P1 to P3, P7, P8: a process that books trips is killed and paused, and nothing is lost, doubled or left half done."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from demos.trip import ACTORS, books
from demos.trip.messages import TripBooked
from demos.trip.read_models import FlightSales, KnownTrips, SalesOf, TripRow, Trips, TripsOf
from persistence import Record
from persistence.opening import journal_of
from runtime import Runtime
from runtime.simulation.monkey import ChaosMonkey
from tests.postgres import a_schema, needs_server, url_of
from tests.reading import everything
from tests.runtime.tools import check_once, check_stories, content, of

ROOT = Path(__file__).parents[2]
KILLS = 20


class Told:
    """What became of trips, by what the processes have said: the same each time that one is asked for."""

    def __init__(self) -> None:
        self.ends: dict[str, str] = {}
        self.again = 0

    def __call__(self, line: str) -> None:
        word, trip, *numbers = line.split()
        end = " ".join([word, *numbers])
        self.again += trip in self.ends
        assert self.ends.setdefault(trip, end) == end, f"{trip}: {self.ends[trip]}, and now {end}"


async def read(url: str) -> list[Record]:
    return await everything(journal_of(url, "full"))


async def check_read_model(runtime: Runtime, records: list[Record]) -> None:
    """Check that its rows are what the events say."""
    seats = {record.stream[1]: content(record)["seats"] for record in of(records, "FlightOpened")}
    sold = Counter(record.stream[1] for record in of(records, "SeatHeld"))
    sold.subtract(Counter(record.stream[1] for record in of(records, "SeatReleased")))
    for flight in seats:
        expected = FlightSales(flight, seats[flight], sold[flight])
        assert await runtime.ask(Trips.at(), SalesOf(flight), consistent=True) == expected
    booked: dict[str, list[TripRow]] = {}
    for record in of(records, TripBooked.__name__):
        one = content(record)
        row = TripRow(one["trip"], one["flight"], one["seat"], one["hotel"], one["cab"])
        booked.setdefault(one["customer"], []).append(row)
    for customer, rows in booked.items():
        assert await runtime.ask(Trips.at(), TripsOf(customer), consistent=True) == rows
    known = {content(record)["trip"] for record in of(records, "SeatHeld")}
    assert sorted(await runtime.ask(Trips.at(), KnownTrips(), consistent=True)) == sorted(known)


async def check(url: str, told: Told) -> None:
    """Let all come to its end, and check what there is against what was told."""
    async with Runtime(url, ACTORS) as runtime:
        unfinished = await runtime.unfinished()
        await asyncio.gather(*(runtime.result(trip, timeout=120) for trip in unfinished), return_exceptions=True)
        assert await runtime.unfinished() == []
        audited = await books.audit(runtime)
        assert audited.problems == []
    records = await read(url)
    check_once(records)
    check_stories(records)
    booked = Counter(content(record)["trip"] for record in of(records, TripBooked.__name__))
    refused = Counter(record.stream[1] for record in of(records, "saga.compensated"))
    assert max([*booked.values(), *refused.values()]) == 1
    assert {trip for trip, end in told.ends.items() if end.startswith("booked")} <= set(booked)
    assert {trip for trip, end in told.ends.items() if end == "refused"} <= set(refused)
    assert not of(records, "saga.parked")
    numbers = {
        one["trip"]: f"booked {one['seat']} {one['room']} {one['car']}"
        for one in map(content, of(records, TripBooked.__name__))
    }
    assert all(told.ends.get(trip, end) == end for trip, end in numbers.items())
    async with Runtime(url, ACTORS) as runtime:
        await check_read_model(runtime, records)


async def harm(url: str, seed: int) -> None:
    told = Told()
    async with ChaosMonkey(
        [sys.executable, "-m", "tests.chaos.tripper", url],
        seed=seed,
        lines=(0, 90),
        signals=("KILL", "KILL", "STOP", "TERM"),
        pause=(0.0, 0.05),
        on_line=told,
        cwd=ROOT,
    ) as monkey:
        await monkey.until(lambda: monkey.kills >= KILLS and monkey.harm["STOP"] > 2)
        assert len(told.ends) > 5 * KILLS
        assert told.again > 0
    await check(url, told)


async def test_trips_on_sqlite(tmp_path: Path) -> None:
    await harm(f"sqlite:{tmp_path / 'trips.db'}", 7)


@needs_server
async def test_trips_on_postgresql() -> None:
    async with a_schema() as schema:
        await harm(url_of(schema), 8)
