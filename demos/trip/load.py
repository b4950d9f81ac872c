"""Books many trips at once, and measures: ``python -m demos.trip --trips 2000``."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from demos.measuring import IN_FLIGHT, Figures, for_each, insist, measured
from demos.page import Page
from demos.report import Report, Tally, tell_books, tell_figures, tell_tally
from demos.trip import books, carrying_on
from demos.trip.carrying_on import ENDINGS
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime import Runtime

CAPACITY = 20
"""Seats of a flight, rooms of a hotel, cars of a cab company: as many in all as there are trips. Who chooses what is
chance, so some are asked for too often, and about one trip in seven is refused."""
FIRST_NAMES = ("Ana", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gina", "Hugo", "Iris", "Jan", "Kim", "Lea", "Max", "Nora")


class Wish(NamedTuple):
    """A trip that somebody wants."""

    trip: str
    command: BookTrip


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
    report = Report(ENDINGS, tally, resumed, runtime.position - begin, figures.per_second, audited)
    tell(report, figures, groups, page)
    tell_books(audited, page)
    return report


async def open_sellers(runtime: Runtime, run: str, sellers: int) -> None:
    """Open flights, hotels and cab companies."""

    async def open_one(number: int) -> None:
        await insist(lambda: runtime.ask(Flight.at(f"{run}-F{number}"), OpenFlight(CAPACITY), id="open"))
        await insist(lambda: runtime.ask(Hotel.at(f"{run}-H{number}"), OpenHotel(CAPACITY), id="open"))
        await insist(lambda: runtime.ask(Cab.at(f"{run}-C{number}"), OpenCab(CAPACITY), id="open"))

    await for_each(range(1, sellers + 1), open_one)


async def book(runtime: Runtime, trips: int, wanted: Iterator[Wish], tally: Tally) -> Figures:
    """Book the trips; the trip's id makes sure that it is booked once, however often it is asked for."""

    async def book_one(wish: Wish) -> None:
        await tally.count(insist(lambda: runtime.ask(TripSaga.at(wish.trip), wish.command)))

    return await measured(wanted, trips, "trips", book_one)


def tell(report: Report, figures: Figures, groups: int, page: Page) -> None:
    """Write the totals."""
    page.scene("What they came to")
    tell_tally(report, "something was full, so what was held was given back", page)
    page.figure("events", f"{report.events:,}", f"the trips' own were written in {groups:,} groups")
    tell_figures(ENDINGS.things, figures, page)
