"""Books many trips at once, and measures: ``python -m demos.trip --trips 2000``."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from typing import NamedTuple, TypeVar

import anyio

from actors import OutcomeUnknown
from demos.trip import books, carrying_on
from demos.trip.messages import TripBooked
from demos.trip.page import Page, Progress
from demos.trip.report import Report, Tally, tell_books
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime import Runtime

IN_FLIGHT = 500
"""Trips that are under way at the same time."""
CAPACITY = 20
"""Seats of a flight, rooms of a hotel, cars of a cab company: as many in all as there are trips. Who chooses what is
chance, so some are asked for too often, and about one trip in seven is refused."""
ATTEMPTS = 10
"""How often a trip is asked for when its outcome is unknown because the journal could not be written."""
FIRST_NAMES = ("Ana", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gina", "Hugo", "Iris", "Jan", "Kim", "Lea", "Max", "Nora")

T = TypeVar("T")


class Wish(NamedTuple):
    """A trip that somebody wants."""

    trip: str
    command: BookTrip


class Figures(NamedTuple):
    """How long the trips took, all together and each, in seconds."""

    seconds: float
    latencies: list[float]

    @property
    def trips_per_second(self) -> float:
        """Trips by time."""
        return len(self.latencies) / self.seconds if self.latencies else 0.0

    def percentile(self, percent: int) -> float:
        """Return what so many of a hundred trips took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def wishes(trips: int, seed: int, run: str) -> Iterator[Wish]:
    """Yield trips to book; the same ones for the same seed. ``run`` keeps their ids apart from other runs'."""
    chance = Random(seed)
    sellers = sellers_for(trips)
    for number in range(1, trips + 1):
        flight, hotel, cab = (chance.randint(1, sellers) for _ in range(3))
        customer = f"{chance.choice(FIRST_NAMES)} {chance.randint(1, sellers)}"
        yield Wish(f"{run}-{number}", BookTrip(customer, f"{run}-F{flight}", f"{run}-H{hotel}", f"{run}-C{cab}"))


def sellers_for(trips: int) -> int:
    """Return how many flights there are for so many trips; as many as hotels and cab companies."""
    return -(-trips // CAPACITY)


async def run(runtime: Runtime, trips: int, seed: int, page: Page) -> Report:
    """Finish what is unfinished, book the trips, and check the books."""
    tally = Tally()
    begin = runtime.position
    resumed = await carrying_on.finish(runtime, tally, page)
    prefix = f"run{runtime.position}"  # the journal only grows, so no other run begins here
    await open_sellers(runtime, prefix, sellers_for(trips))
    page.say(
        f"{trips:,} trips are booked, up to {IN_FLIGHT} at a time, on {sellers_for(trips):,} flights, in as many "
        "hotels and with as many cab companies."
    )
    groups = runtime.groups
    figures = await book(runtime, trips, wishes(trips, seed, prefix), tally)
    groups = runtime.groups - groups
    audited = await books.audit(runtime)
    report = Report(tally, resumed, runtime.position - begin, figures.trips_per_second, audited)
    tell(report, figures, groups, page)
    tell_books(audited, page)
    return report


async def open_sellers(runtime: Runtime, run: str, sellers: int) -> None:
    """Open flights, hotels and cab companies."""

    async def open_one(number: int) -> None:
        await runtime.ask(Flight.at(f"{run}-F{number}"), OpenFlight(CAPACITY), id="open")
        await runtime.ask(Hotel.at(f"{run}-H{number}"), OpenHotel(CAPACITY), id="open")
        await runtime.ask(Cab.at(f"{run}-C{number}"), OpenCab(CAPACITY), id="open")

    await for_each(range(1, sellers + 1), open_one)


async def book(runtime: Runtime, trips: int, wanted: Iterator[Wish], tally: Tally) -> Figures:
    """Book the trips, so many at a time; measure each from the question to the durable answer."""
    progress = Progress(trips)
    latencies: list[float] = []

    async def book_one(wish: Wish) -> None:
        asked = time.perf_counter()
        await tally.count(insist(runtime, wish))
        latencies.append(time.perf_counter() - asked)
        progress.show(len(latencies))

    begun = time.perf_counter()
    try:
        await for_each(wanted, book_one)
    finally:
        progress.clear()
    return Figures(time.perf_counter() - begun, latencies)


async def insist(runtime: Runtime, wish: Wish) -> TripBooked:
    """Ask for a trip; while the outcome is unknown ask again, for the trip's id makes sure that it is booked once."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await runtime.ask(TripSaga.at(wish.trip), wish.command)
        except OutcomeUnknown:
            continue
    return await runtime.ask(TripSaga.at(wish.trip), wish.command)


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each item, for so many at the same time; the first error ends it all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with anyio.create_task_group() as workers:
            for _ in range(IN_FLIGHT):
                workers.start_soon(worker)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def tell(report: Report, figures: Figures, groups: int, page: Page) -> None:
    """Write the totals."""
    tally = report.tally
    page.scene("What they came to")
    page.figure("booked", f"{tally.booked:,}", "counting those that were unfinished before" if report.resumed else "")
    page.figure("compensated", f"{tally.compensated:,}", "something was full, so what was held was given back")
    page.figure("parked", f"{tally.parked:,}", "set aside for a person to look at")
    page.figure("events", f"{report.events:,}", f"the trips' own were written in {groups:,} groups")
    if figures.latencies:
        page.figure("trips a second", f"{figures.trips_per_second:,.0f}")
        page.figure("p50", f"{figures.percentile(50) * 1000:,.1f} ms", "half of the trips took no longer")
        page.figure("p99", f"{figures.percentile(99) * 1000:,.1f} ms", "99 of 100 took no longer")
