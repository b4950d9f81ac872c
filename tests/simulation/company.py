"""What the tests of exploring play with: actors whose books can be checked, and scenarios for them."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, assert_never

from actors import (
    Actor,
    Backoff,
    Command,
    Decision,
    Event,
    Message,
    Meta,
    Passivation,
    Query,
    ReadModel,
    Refused,
    RetryPolicy,
    Saga,
    Service,
    State,
    Statement,
    sql,
)
from runtime.simulation import Effects, Invariant, World, always, finally_

SOON = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(minutes=5))


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str
    seat: int


class SeatNoted(Event):
    """Written with each seat that is held, so that half of it shows."""

    trip: str


class SeatReleased(Event):
    trip: str


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


class Seats(State):
    held: dict[str, int] = {}
    count: int = 0


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld | SeatNoted | SeatReleased]):
    """Holds a seat for whoever asks, again and again, so that an effect which comes twice shows."""

    initial = Seats()
    snapshot_every = 3
    passivation = Passivation(timedelta(seconds=20))  # so that it is read back while the trip rests

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat) -> Decision:
        match command:
            case HoldSeat() if self.key.startswith("full"):
                raise Refused(f"{self.key} is full")
            case HoldSeat(trip):
                return command.reply(Held(state.count + 1), SeatHeld(trip, state.count + 1), SeatNoted(trip))
            case ReleaseSeat(trip) if trip not in state.held:
                raise Refused(f"{trip} holds no seat")
            case ReleaseSeat(trip):
                return command.reply(None, SeatReleased(trip))
            case _:
                assert_never(command)

    def evolve(self, state: Seats, event: SeatHeld | SeatNoted | SeatReleased) -> Seats:
        match event:
            case SeatHeld(trip, seat):
                return Seats({**state.held, trip: seat}, state.count + 1)
            case SeatReleased(trip):
                return Seats({name: seat for name, seat in state.held.items() if name != trip}, state.count)
            case SeatNoted():
                return state
            case _:
                assert_never(event)


class SendLetter(Command["Mailer", None]):
    text: str


class Mailer(Actor):
    """Tells the outside world, once for each id."""

    post: ClassVar[Effects] = Effects()

    async def receive(self, message: SendLetter) -> None:
        Mailer.post.do(self.message_id, message.text)


class TripBooked(Event):
    trip: str


class BookTrip(Command["TripSaga", TripBooked]):
    flights: list[str]
    nap: float = 0.0


class TripSaga(Saga[BookTrip, TripBooked]):
    deadline = timedelta(minutes=30)
    retry = SOON
    undo_retry = SOON

    async def run(self, command: BookTrip) -> TripBooked:
        for flight in command.flights:
            await self.ask(flight, Flight.at(flight), HoldSeat(self.key), undo=ReleaseSeat(self.key))
        if command.nap:
            await self.sleep("nap", timedelta(seconds=command.nap))
        await self.pivot("letter", Mailer.at("m"), SendLetter(f"{self.key} is booked"))
        return TripBooked(self.key)


class Lines(Query["Board", list[tuple[int, str]]]):
    """All lines."""


class Board(ReadModel):
    schema = "create table line (position integer primary key, text text not null)"

    def project(self, event: SeatHeld | SeatReleased | TripBooked, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into line values (?, ?)", meta.position, f"{type(event).__name__} {event.trip}")

    async def answer(self, db: Any, query: Lines) -> list[tuple[int, str]]:
        return [tuple(row) for row in await db.execute_fetchall("select * from line order by position")]


ACTORS: list[type] = [Flight, Mailer, TripSaga, Board]


def post() -> Effects:
    """Return an outside world of this run's own."""
    Mailer.post = Effects()
    return Mailer.post


def seats_belong_to_trips(world: World) -> None:
    """Each trip that is booked holds each of its seats, once; no other one holds any."""
    held: Counter[tuple[str, str]] = Counter()
    for record in world.records:
        if record.type in ("SeatHeld", "SeatReleased"):
            (event,) = world.read(record)
            held[event.trip, record.stream[1]] += 1 if record.type == "SeatHeld" else -1
    booked = {address.key for address, story in world.sagas().items() if story.status == "completed"}
    due: Counter[tuple[str, str]] = Counter()
    for trip in booked:
        due.update((trip, flight) for flight in FLIGHTS[trip])
    direct: Counter[tuple[str, str]] = Counter({("direct", "LH1"): held["direct", "LH1"]})
    assert held["direct", "LH1"] <= 1, "a seat was held twice for one command"
    assert +held == +(due + direct), f"held {dict(+held)}, due {dict(+(due + direct))}"


def seats_are_noted(world: World) -> None:
    """No command's events are ever split."""
    for records in (world.records,):
        types = Counter(record.type for record in records)
        assert types["SeatHeld"] == types["SeatNoted"]


def letters_follow_bookings(world: World) -> None:
    """A letter goes out only when what led to it is durable."""
    known = {address.key for address in world.sagas()}
    for text in world.outside.done:
        assert text.split()[0] in known, f"{text!r} went out, and nobody knows why"


def one_letter_each(world: World) -> None:
    booked = sorted(f"{a.key} is booked" for a, story in world.sagas().items() if story.status == "completed")
    assert sorted(world.outside.done) == booked


INVARIANTS: list[Invariant] = [
    always(seats_are_noted),
    always(letters_follow_bookings),
    finally_(seats_belong_to_trips),
    finally_(one_letter_each),
]

FLIGHTS = {"fine": ["LH1", "LH2"], "refused": ["LH1", "LH2", "full"], "started": ["LH1", "LH2"]}


async def books(world: World) -> None:
    """Two trips, of which one is refused; a command of its own; a look at the board."""
    await world.runtime.ask(Flight.at("LH1"), HoldSeat("direct"), id="direct")
    await world.runtime.ask(TripSaga.at("fine"), BookTrip(FLIGHTS["fine"], nap=60.0), id="fine")
    await world.runtime.ask(Flight.at("LH1"), HoldSeat("direct"), id="direct")
    lines = await world.runtime.ask(Board.at(), Lines(), consistent=True)
    assert any("TripBooked fine" in text for _, text in lines)


async def is_refused(world: World) -> None:
    try:
        await world.runtime.ask(TripSaga.at("refused"), BookTrip(FLIGHTS["refused"]), id="refused")
    except Refused:
        return
    raise AssertionError("it was booked")


async def starts(world: World) -> None:
    """Start a trip, and go away."""
    await world.runtime.start(TripSaga.at("started"), BookTrip(FLIGHTS["started"]))


SCENARIOS = [books, is_refused, starts]
