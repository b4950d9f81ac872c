"""The first age."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, assert_never

from actors import Command, Decision, Event, Meta, Query, ReadModel, Saga, Service, State, Statement, sql


class SeatTaken(Event):
    trip: str
    seat: int


class SeatReleased(Event):
    trip: str


class SeatsSwapped(Event):
    trip: str
    seat: int
    other: str
    other_seat: int


class Noted(Event):
    text: str


class Do(Command["Flight", int]):
    """Let an event happen."""

    event: SeatTaken | SeatReleased | SeatsSwapped | Noted


class Seats(State):
    seats: dict[str, int] = {}


class Flight(Service[Seats, Do, SeatTaken | SeatReleased | SeatsSwapped | Noted]):
    initial = Seats()

    def decide(self, state: Seats, command: Do) -> Decision:
        if command.event == Noted("later"):
            later = Do(Noted("at last"))
            return command.reply(0, command.event).remind("later", later, after=timedelta(hours=1))
        return command.reply(len(state.seats), command.event)

    def evolve(self, state: Seats, event: SeatTaken | SeatReleased | SeatsSwapped | Noted) -> Seats:
        seats = dict(state.seats)
        match event:
            case SeatTaken(trip, seat):
                seats[trip] = seat
            case SeatReleased(trip):
                seats.pop(trip, None)
            case SeatsSwapped(trip, seat, other, other_seat):
                seats |= {trip: seat, other: other_seat}
            case Noted():
                pass
            case _:
                assert_never(event)
        return Seats(seats)


class Booked(Event):
    trip: str


class Begin(Command["Book", Booked]):
    trip: str


class Book(Saga[Begin, Booked]):
    async def run(self, command: Begin) -> Booked:
        taken = SeatTaken(command.trip, 11)
        await self.ask("take", Flight.at("f"), Do(taken), undo=Do(SeatReleased(command.trip)))
        await self.sleep("rest", timedelta(hours=1))
        return Booked(command.trip)


class Rows(Query["Table", list[tuple[Any, ...]]]):
    """All rows."""


class Table(ReadModel):
    schema = "create table seats (position int, event text, trip text, seat text)"

    def project(self, event: SeatTaken | SeatReleased | Booked, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into seats values (?, ?, ?, ?)", meta.position, type(event).__name__, event.trip, "")

    async def answer(self, db: Any, query: Rows) -> list[tuple[Any, ...]]:
        async with db.execute("select * from seats order by rowid") as found:
            return [tuple(row) for row in await found.fetchall()]


ALL: list[type] = [Flight, Book, Table]
