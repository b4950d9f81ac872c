"""Tables made for asking: who travels where, how a flight sells, and who sells what.

They are filled from the events and can be thrown away and built anew at any time.
"""

from collections.abc import Iterator
from typing import Any

import aiosqlite

from actors import Message, Meta, Query, ReadModel, Statement, sql
from demos.trip.messages import CabsOpened, FlightOpened, HotelOpened, SeatHeld, SeatReleased, TripBooked


class TripRow(Message):
    """A trip as its customer wants to see it."""

    trip: str
    flight: str
    seat: int
    hotel: str
    cab: str


class TripsOf(Query["Trips", list[TripRow]]):
    """The booked trips of a customer, in the order in which they were booked."""

    customer: str


class FlightSales(Message):
    flight: str
    seats: int
    sold: int


class SalesOf(Query["Trips", FlightSales | None]):
    """How many seats of a flight there are, and how many are sold; None for a flight that nobody knows."""

    flight: str


class Sellers(Query["Trips", list[tuple[str, str]]]):
    """Everybody who sells parts of trips, as (actor, key): each flight, hotel and cab company that was opened."""


class KnownTrips(Query["Trips", list[str]]):
    """The ids of all trips that have ever held a seat, and so of all that were booked."""


class Trips(ReadModel):
    """What the travel agency looks at."""

    schema = """
        create table trips (
            number integer primary key, trip text not null unique, customer text not null,
            flight text not null, seat integer not null, hotel text not null, cab text not null);
        create index trips_customer on trips (customer);
        create table flights (flight text primary key, seats integer not null, sold integer not null);
        create table sellers (actor text not null, key text not null, primary key (actor, key));
        create table known (trip text primary key);
    """

    def project(
        self, event: FlightOpened | HotelOpened | CabsOpened | SeatHeld | SeatReleased | TripBooked, meta: Meta
    ) -> Iterator[Statement]:
        """Turn an event into changes of rows."""
        match event:
            case FlightOpened(seats):
                yield sql("insert into flights values (?, ?, 0)", meta.key, seats)
                yield sql("insert into sellers values (?, ?)", meta.actor, meta.key)
            case HotelOpened() | CabsOpened():
                yield sql("insert into sellers values (?, ?)", meta.actor, meta.key)
            case SeatHeld(trip):
                yield sql("update flights set sold = sold + 1 where flight = ?", meta.key)
                yield sql("insert or ignore into known values (?)", trip)
            case SeatReleased():
                yield sql("update flights set sold = sold - 1 where flight = ?", meta.key)
            case TripBooked(trip, customer, flight, seat, hotel, _, cab):
                values = (trip, customer, flight, seat, hotel, cab)
                yield sql(
                    "insert into trips (trip, customer, flight, seat, hotel, cab) values (?, ?, ?, ?, ?, ?)", *values
                )

    async def answer(self, db: aiosqlite.Connection, query: TripsOf | SalesOf | Sellers | KnownTrips) -> Any:
        """Answer a query from the tables."""
        match query:
            case TripsOf(customer):
                rows = await db.execute_fetchall(
                    "select trip, flight, seat, hotel, cab from trips where customer = ? order by number", (customer,)
                )
                return [TripRow(*row) for row in rows]
            case SalesOf(flight):
                rows = await db.execute_fetchall("select * from flights where flight = ?", (flight,))
                return next((FlightSales(*row) for row in rows), None)
            case Sellers():
                return [(row[0], row[1]) for row in await db.execute_fetchall("select actor, key from sellers")]
            case KnownTrips():
                return [row[0] for row in await db.execute_fetchall("select trip from known")]
