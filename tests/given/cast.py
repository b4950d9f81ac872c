"""Actors that the tests of given, when, then test, right ones and wrong ones."""

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, assert_never

import msgspec

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

MINUTES = timedelta(minutes=10)


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


class Weigh(Command["Flight", float]):
    """Divide by the number of seats that are held."""

    kilos: float


class Ring(Command["Bell", None]):
    text: str


class HolderOf(Query["Flight", str]):
    seat: int


class Shuffle(Query["Flight", int]):
    """Its answer changes what it is shown."""


class Bell(Actor):
    async def receive(self, message: Ring) -> None: ...


class Seats(State):
    capacity: int = 2
    held: dict[str, int] = {}


class Flight(Service[Seats, HoldSeat | ReleaseSeat | Weigh, SeatHeld | SeatReleased]):
    """Seats are held for ten minutes; no trip has seats on two flights."""

    initial = Seats()

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat | Weigh) -> Decision:
        match command:
            case HoldSeat("large"):
                return command.reply(Held(1), SeatHeld("x" * 2_000_000, 1))
            case HoldSeat() if len(state.held) == state.capacity:
                raise Refused(f"flight {self.key} is full")
            case HoldSeat(trip):
                seat = len(state.held) + 1
                decision = command.reply(Held(seat), SeatHeld(trip, seat))
                decision = decision.remind("expire", ReleaseSeat(trip), after=MINUTES)
                decision = decision.remind("call", Ring(trip), after=MINUTES / 2, to=Bell.at("hall"))
                return decision.unless(f"{trip} has a seat elsewhere", SeatHeld, tags=[f"trip:{trip}"])
            case ReleaseSeat(trip) if trip not in state.held:
                return command.reply(None)
            case ReleaseSeat(trip):
                return command.reply(None, SeatReleased(trip)).forget("call")
            case Weigh(kilos):
                return command.reply(kilos / len(state.held))
            case _:
                assert_never(command)

    def answer(self, state: Seats, query: HolderOf | Shuffle) -> str | int:
        match query:
            case HolderOf(seat):
                return next(trip for trip, its in state.held.items() if its == seat)
            case Shuffle():
                state.held.clear()
                return 0

    def lock_of(self, command: HoldSeat | ReleaseSeat | Weigh) -> str | None:
        return None if isinstance(command, Weigh) else command.trip

    def tags(self, event: SeatHeld | SeatReleased) -> Iterable[str]:
        return [f"trip:{event.trip}"] if isinstance(event, SeatHeld) else ()

    def evolve(self, state: Seats, event: SeatHeld | SeatReleased) -> Seats:
        match event:
            case SeatHeld(trip, seat):
                return msgspec.structs.replace(state, held={**state.held, trip: seat})
            case SeatReleased(trip):
                return msgspec.structs.replace(state, held={t: s for t, s in state.held.items() if t != trip})
            case _:
                assert_never(event)


class Patient(Flight):
    """Who needs a lock waits for it."""

    when_locked = "queue"


class Sales(ReadModel):
    schema = "create table sales (flight text primary key, sold integer not null)"

    def project(self, event: SeatHeld | SeatReleased, meta: Meta) -> Iterator[Statement]:
        match event:
            case SeatHeld("nobody"):
                raise LookupError("who is nobody?")
            case SeatHeld("odd"):
                yield sql("insert into nowhere values (?)", 1)
            case SeatHeld("fickle"):
                yield sql("insert into sales values (?, ?)", meta.key, next(_numbers))
            case SeatHeld():
                yield sql("insert into sales values (?, 1) on conflict do update set sold = sold + 1", meta.key)
            case SeatReleased():
                yield sql("update sales set sold = sold - 1 where flight = ?", meta.key)
            case _:
                assert_never(event)

    async def answer(self, db: Any, query: "SoldOn") -> int:
        if query.flight == "greedy":
            await db.execute("delete from sales")
        if query.flight == "loop":
            return sum([row[0] async for row in await db.execute("select sold from sales")])
        async with db.execute("select sold from sales where flight = ?", (query.flight,)) as cursor:
            row = await cursor.fetchone()
        return 0 if row is None else int(row[0])


class SoldOn(Query["Sales", int]):
    flight: str


_numbers = itertools.count()


# -- wrong ones ---------------------------------------------------------------------------------------------------


class Did(Event):
    number: float


class Undid(Event):
    number: float


class Do(Command["Wrong", float]):
    what: str


class Sum(State):
    numbers: list[float] = []


class Wrong(Service[Sum, Do, Did]):
    """Not pure, in the way that the command names."""

    initial = Sum()

    def decide(self, state: Sum, command: Do) -> Decision:
        match command.what:
            case "random":
                return command.reply(0.0, Did(random.random()))
            case "moody":
                if next(_numbers) % 2:
                    raise Refused("not today")
                return command.reply(0.0)
            case "changes":
                state.numbers.append(7.0)
                return command.reply(0.0)
            case "grows":
                return command.reply(0.0, Did(8.0))
            case "dices":
                return command.reply(0.0, Did(9.0))
            case "full":
                return command.reply(0.0, Did(10.0))
            case "nan":
                return command.reply(0.0, Did(float("nan")))
            case "foreign":
                return command.reply(0.0, Undid(1.0))
            case _:
                return command.reply(0.0, Did(1.0))

    def evolve(self, state: Sum, event: Did) -> Sum:
        if event.number == 8.0:
            state.numbers.append(event.number)
            return state
        if event.number == 10.0:
            raise Refused("full")
        return Sum([*state.numbers, random.random() if event.number == 9.0 else event.number])


class Guess(Command["Guesser", int]):
    what: str


class Guesser(Saga[Guess, int]):
    """Not the same when it is run again, in the way that its command names."""

    async def run(self, command: Guess) -> int:
        trip = f"t{next(_numbers)}" if command.what == "command" else self.key
        held = await self.ask("flight", Flight.at("LH441"), HoldSeat(trip), undo=ReleaseSeat(trip))
        _runs.append(self.key)
        if command.what == "refusal" and _runs.count(self.key) > 1:
            raise Refused("enough")
        await self.ask("second", Flight.at("LH442"), HoldSeat(self.key))
        return held.seat


_runs: list[str] = []
