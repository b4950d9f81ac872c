"""Who plays in the tests of requests between nodes: a trip whose services may be anywhere."""

from collections.abc import Iterator
from typing import Any, assert_never

from actors import (
    Actor,
    Command,
    Decision,
    Event,
    Message,
    Meta,
    Query,
    ReadModel,
    Refused,
    Saga,
    Service,
    State,
    Statement,
    sql,
)


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str
    seat: int


class SeatReleased(Event):
    trip: str


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


class Taken(Query["Flight", int]):
    pass


class Seats(State):
    capacity: int = 2
    held: dict[str, int] = {}


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld | SeatReleased]):
    initial = Seats()

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat) -> Decision:
        match command:
            case HoldSeat() if len(state.held) == state.capacity:
                raise Refused(f"flight {self.key} is full")
            case HoldSeat(trip):
                seat = len(state.held) + 1
                return command.reply(Held(seat), SeatHeld(trip, seat))
            case ReleaseSeat(trip):
                return command.reply(None, SeatReleased(trip))
            case _:
                assert_never(command)

    def evolve(self, state: Seats, event: SeatHeld | SeatReleased) -> Seats:
        match event:
            case SeatHeld(trip, seat):
                return Seats(state.capacity, {**state.held, trip: seat})
            case SeatReleased(trip):
                return Seats(state.capacity, {other: seat for other, seat in state.held.items() if other != trip})
            case _:
                assert_never(event)

    def answer(self, state: Seats, query: Taken) -> int:
        return len(state.held)


class Charged(Event):
    trip: str


class Charge(Command["Payments", str]):
    trip: str
    price: int


class Payments(Service[State, Charge, Charged]):
    initial = State()

    def decide(self, state: State, command: Charge) -> Decision:
        if command.price > 100:
            raise Refused("the card was declined")
        return command.reply(f"receipt-{command.trip}", Charged(command.trip))

    def evolve(self, state: State, event: Charged) -> State:
        return state


class Confirm(Command["Mailer", None]):
    trip: str


class Mailer(Actor):
    """Sends letters; the test reads them in ``sent``."""

    sent: list[tuple[str, str]] = []

    async def receive(self, message: Confirm) -> None:
        self.sent.append((self.message_id, message.trip))


class Booked(Message):
    seat: int
    receipt: str


class Book(Command["Trip", Booked]):
    flight: str
    price: int = 10
    back: str = ""


class Trip(Saga[Book, Booked]):
    async def run(self, command: Book) -> Booked:
        steps = [self.ask("out", Flight.at(command.flight), HoldSeat(self.key), undo=ReleaseSeat(self.key))]
        if command.back:
            steps.append(self.ask("back", Flight.at(command.back), HoldSeat(self.key), undo=ReleaseSeat(self.key)))
        held = await self.parallel(*steps)
        receipt = await self.pivot("charge", Payments.at("ana"), Charge(self.key, command.price))
        await self.ask("mail", Mailer.at(), Confirm(self.key))
        return Booked(held[0].seat, receipt)


class SeatsOf(Query["Board", list[tuple[str, str]]]):
    pass


class Board(ReadModel):
    schema = "create table seats (flight text, trip text, primary key (flight, trip))"

    def project(self, event: SeatHeld | SeatReleased, meta: Meta) -> Iterator[Statement]:
        if isinstance(event, SeatHeld):
            yield sql("insert into seats values (?, ?)", meta.key, event.trip)
        else:
            yield sql("delete from seats where flight = ? and trip = ?", meta.key, event.trip)

    async def answer(self, db: Any, query: SeatsOf) -> list[tuple[str, str]]:
        async with db.execute("select flight, trip from seats order by 1, 2") as rows:
            return [(flight, trip) for flight, trip in await rows.fetchall()]
