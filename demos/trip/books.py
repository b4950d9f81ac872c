"""Checks that the books balance, by replay of the journal alone: what is held, and what the trips came to.

Every held seat, room and car must belong to a booked trip, every booked trip must hold all three, and a trip that was
taken back must hold nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from actors import Address, Service
from demos.trip.messages import TripBooked
from demos.trip.read_models import KnownTrips, Sellers, Trips
from demos.trip.sagas import TripSaga
from demos.trip.services import Cab, Flight, Hotel, Stock
from runtime import Runtime

SERVICES: dict[str, type[Service[Any, Any, Any]]] = {"Flight": Flight, "Hotel": Hotel, "Cab": Cab}

Ending = TripBooked | Literal["compensated", "parked", "unfinished"]
"""What became of a trip."""
Stocks = Mapping[Address[Any], Stock]
"""What every seller has, and who holds what."""


class Books(NamedTuple):
    """The books, and what is wrong with them."""

    held: int
    """Seats, rooms and cars."""
    booked: int
    compensated: int
    """Trips that held something and were taken back."""
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"By replay of the journal, {self.held:,} seats, rooms and cars are held, three each by {self.booked:,} "
            f"booked trips, and nothing by {self.compensated:,} that had to give back what they held."
        )


async def audit(runtime: Runtime) -> Books:
    """Replay the sellers and the trips in the journal, and compare them."""
    stocks: dict[Address[Any], Stock] = {}
    for actor, key in await runtime.ask(Trips.at(), Sellers(), consistent=True):
        address = SERVICES[actor].at(key)
        stocks[address] = await runtime.state_of(address)
    known = set(await runtime.ask(Trips.at(), KnownTrips(), consistent=True))
    known.update(trip for stock in stocks.values() for trip in stock.held)
    endings: dict[str, Ending] = {trip: await ending(runtime, trip) for trip in sorted(known)}
    return Books(
        held=sum(len(stock.held) for stock in stocks.values()),
        booked=sum(isinstance(end, TripBooked) for end in endings.values()),
        compensated=sum(end == "compensated" for end in endings.values()),
        problems=[*held_for_nobody(stocks, endings), *booked_in_vain(stocks, endings), *oversold(stocks)],
    )


async def ending(runtime: Runtime, trip: str) -> Ending:
    """Return what became of a trip, from its saga's history."""
    end: Ending = "unfinished"
    async for entry in runtime.history(TripSaga.at(trip)):
        if isinstance(entry.event, TripBooked):
            end = entry.event
        elif entry.type in ("saga.compensated", "saga.parked"):
            end = "compensated" if entry.type == "saga.compensated" else "parked"
    return end


def claims(booked: TripBooked) -> dict[Address[Any], int]:
    """Return what a booked trip says that it holds."""
    return {
        Flight.at(booked.flight): booked.seat,
        Hotel.at(booked.hotel): booked.room,
        Cab.at(booked.cab): booked.car,
    }


def held_for_nobody(stocks: Stocks, endings: Mapping[str, Ending]) -> Iterator[str]:
    """Find what is held without a booked trip that says so."""
    for address, stock in stocks.items():
        for trip, number in stock.held.items():
            end = endings.get(trip, "unfinished")
            if not isinstance(end, TripBooked):
                yield f"{address} holds number {number} for trip {trip}, which is {end}"
            elif claims(end).get(address) != number:
                yield f"{address} holds number {number} for trip {trip}, which was booked without it"


def booked_in_vain(stocks: Stocks, endings: Mapping[str, Ending]) -> Iterator[str]:
    """Find booked trips that don't hold what they were promised."""
    for trip, end in endings.items():
        for address, number in claims(end).items() if isinstance(end, TripBooked) else ():
            if address not in stocks or stocks[address].held.get(trip) != number:
                yield f"trip {trip} is booked, but doesn't hold number {number} of {address}"


def oversold(stocks: Stocks) -> Iterator[str]:
    """Find numbers that were sold twice or that don't exist."""
    for address, stock in stocks.items():
        numbers = list(stock.held.values())
        for number in sorted(set(numbers)):
            if numbers.count(number) > 1:
                yield f"{address} has sold number {number} to {numbers.count(number)} trips"
            if not 1 <= number <= stock.capacity:
                yield f"{address} has sold number {number}, but has numbers 1 to {stock.capacity}"
