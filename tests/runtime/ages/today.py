"""Today's age."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, assert_never

from actors import Command, Decision, Event, Meta, Query, ReadModel, Saga, Service, State, Statement, sql, upcast
from tests.runtime.ages import first


class SeatHeld(Event, aliases=("SeatTaken",), revision=3):
    trip: str
    seat: str
    row: int


class SeatReleased(Event):
    trip: str
    why: str = ""


@upcast("SeatHeld", 1)
def seats_are_texts(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "seat": str(stored["seat"])}


@upcast("SeatHeld", 2)
def rows_are_apart(stored: dict[str, Any]) -> dict[str, Any]:
    stored["row"], stored["seat"] = int(stored["seat"][0]), stored["seat"][1:]
    return stored


@upcast("SeatsSwapped", 1, into={"SeatReleased": 1, "SeatTaken": 1})
def a_swap_is_four_events(stored: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Say it with events that go through the other upcasts in their turn, under a name of old."""
    for trip in (stored["trip"], stored["other"]):
        yield "SeatReleased", {"trip": trip, "why": "swap"}
    yield "SeatTaken", {"trip": stored["trip"], "seat": stored["seat"]}
    yield "SeatTaken", {"trip": stored["other"], "seat": stored["other_seat"]}


@upcast("Noted", 1, into={})
def notes_are_gone(stored: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return []


class Act(Command["Flight", int], aliases=("Do",)):
    """Let an event happen; as the first age sent it, or as today does."""

    event: first.SeatTaken | first.SeatReleased | first.SeatsSwapped | first.Noted | None = None
    held: SeatHeld | None = None


class Seats(State):
    seats: dict[str, tuple[int, str]] = {}


class Flight(Service[Seats, Act, SeatHeld | SeatReleased]):
    initial = Seats()
    upcasts = (seats_are_texts, rows_are_apart, a_swap_is_four_events, notes_are_gone)

    def decide(self, state: Seats, command: Act) -> Decision:
        if command.held is not None:
            return command.reply(len(state.seats), SeatReleased("nobody"), command.held)
        if isinstance(command.event, first.SeatReleased):
            return command.reply(len(state.seats), SeatReleased(command.event.trip, "undone"))
        return command.reply(len(state.seats))

    def evolve(self, state: Seats, event: SeatHeld | SeatReleased) -> Seats:
        match event:
            case SeatHeld(trip, seat, row):
                return Seats({**state.seats, trip: (row, seat)})
            case SeatReleased():
                return Seats({trip: seat for trip, seat in state.seats.items() if trip != event.trip})
            case _:
                assert_never(event)


class TripBooked(Event, aliases=("Booked",), revision=2):
    trip: str
    price: int


@upcast("TripBooked", 1)
def trips_were_free(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "price": 0}


class Start(Command["Book", TripBooked], aliases=("Begin",)):
    trip: str


class Book(Saga[Start, TripBooked]):
    upcasts = (trips_were_free,)

    async def run(self, command: Start) -> TripBooked:
        taken = first.SeatTaken(command.trip, 11)
        released = first.SeatReleased(command.trip)
        await self.ask("take", Flight.at("f"), Act(taken), undo=Act(released))
        await self.sleep("rest", timedelta(hours=1))
        return TripBooked(command.trip, 7)


class Rows(Query["Table", list[tuple[Any, ...]]]):
    """All rows."""


class Table(ReadModel):
    schema = "create table seats (position int, event text, trip text, seat text)"

    def project(self, event: SeatHeld | SeatReleased | TripBooked, meta: Meta) -> Iterator[Statement]:
        match event:
            case SeatHeld(trip, seat, row):
                more = f"{row}{seat}"
            case SeatReleased(trip, why):
                more = why
            case TripBooked(trip, price):
                more = str(price)
            case _:
                assert_never(event)
        yield sql("insert into seats values (?, ?, ?, ?)", meta.position, type(event).__name__, trip, more)

    async def answer(self, db: Any, query: Rows) -> list[tuple[Any, ...]]:
        async with db.execute("select * from seats order by rowid") as found:
            return [tuple(row) for row in await found.fetchall()]


ALL: list[type] = [Flight, Book, Table]
