"""The actors that the tests of the runtime play with, and what they tell the tests."""

from collections.abc import Awaitable, Callable, Iterator
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
    Query,
    ReadModel,
    Refused,
    RestartPolicy,
    RetryPolicy,
    Saga,
    Service,
    State,
    Statement,
    sql,
)

DOWN: set[str] = set()
"""Keys of rooms that fail at whatever they are asked, until they are taken out again."""


class Held(Message):
    number: int


class WasHeld(Event):
    trip: str


class WasReleased(Event):
    trip: str


class Hold(Command["Room", Held]):
    trip: str


class Release(Command["Room", None]):
    trip: str


class Look(Command["Room", int]):
    """How many are held? Changes nothing."""


class Odd(Command["Room", None]):
    """Decided in a way that can't work; ``how`` says in which."""

    how: str


class Weight(Event):
    grams: Any


class Taken(State):
    held: tuple[str, ...] = ()
    count: int = 0


class Room(Service[Taken, Hold | Release | Look | Odd, WasHeld | WasReleased | Weight]):
    """Holds as often as it is asked, so that an effect that came twice shows; one called full... refuses."""

    initial = Taken()
    restart = RestartPolicy(restarts=0)

    def decide(self, state: Taken, command: Hold | Release | Look | Odd) -> Decision:
        if self.key in DOWN:
            raise ConnectionError(f"{self.key} is down")
        match command:
            case Hold() if self.key.startswith("full"):
                raise Refused(f"{self.key} is full")
            case Hold(trip):
                return command.reply(Held(state.count + 1), WasHeld(trip))
            case Release(trip) if trip not in state.held or self.key.startswith("keeps"):
                raise Refused(f"{self.key} won't release {trip}")
            case Release(trip):
                return command.reply(None, WasReleased(trip))
            case Look():
                return command.reply(len(state.held))
            case Odd("not a decision"):
                return None  # type: ignore[return-value] # pyright: ignore[reportReturnType]
            case Odd("second can't be stored"):
                return command.reply(None, WasHeld("odd"), Weight(float("nan")))
            case Odd():
                return command.reply(None, WasHeld("odd"), WasHeld("poison"))
            case _:
                assert_never(command)

    def evolve(self, state: Taken, event: WasHeld | WasReleased | Weight) -> Taken:
        match event:
            case WasHeld("poison"):
                raise ValueError("poison")
            case WasHeld(trip):
                return Taken((*state.held, trip), state.count + 1)
            case WasReleased(trip):
                held = list(state.held)
                held.remove(trip)
                return Taken(tuple(held), state.count)
            case Weight():
                return state
            case _:
                assert_never(event)


class Withdrawn(Event):
    amount: int


class Deposited(Event):
    amount: int


class Withdraw(Command["Account", int]):
    amount: int


class Deposit(Command["Account", int]):
    amount: int


class Balance(State):
    amount: int = 100


class Account(Service[Balance, Withdraw | Deposit, Withdrawn | Deposited]):
    """Holds 100 at first and never goes below 0; the reply is the new balance."""

    initial = Balance()

    def decide(self, state: Balance, command: Withdraw | Deposit) -> Decision:
        match command:
            case Withdraw(amount) if amount > state.amount:
                raise Refused(f"{self.key} has only {state.amount}")
            case Withdraw(amount):
                return command.reply(state.amount - amount, Withdrawn(amount))
            case Deposit(amount):
                return command.reply(state.amount + amount, Deposited(amount))
            case _:
                assert_never(command)

    def evolve(self, state: Balance, event: Withdrawn | Deposited) -> Balance:
        return Balance(state.amount + (event.amount if isinstance(event, Deposited) else -event.amount))


class TripBooked(Event):
    trip: str
    rooms: list[str]


class BookTrip(Command["Trip", TripBooked]):
    rooms: list[str]


SOON = RetryPolicy(Backoff(timedelta(seconds=1), jitter=0.0), budget=timedelta(seconds=60))


class Trip(Saga[BookTrip, TripBooked]):
    """One room after the other."""

    deadline = timedelta(minutes=5)
    retry = SOON
    undo_retry = SOON

    async def run(self, command: BookTrip) -> TripBooked:
        for room in command.rooms:
            await self.ask(room, Room.at(room), Hold(self.key), undo=Release(self.key))
        return TripBooked(self.key, command.rooms)


class Toured(Message):
    numbers: tuple[int, ...]
    left: int


class TakeTour(Command["Tour", Toured]):
    rooms: list[str]
    payer: str
    nap: float = 0.0


class Tour(Saga[TakeTour, Toured]):
    """All rooms at once, a nap, a pivot, and a step behind it."""

    retry = SOON
    undo_retry = SOON

    async def run(self, command: TakeTour) -> Toured:
        held = await self.parallel(
            *(self.ask(room, Room.at(room), Hold(self.key), undo=Release(self.key)) for room in command.rooms)
        )
        await self.sleep("nap", timedelta(seconds=command.nap))
        left = await self.pivot("pay", Account.at(command.payer), Withdraw(10))
        await self.ask("tip", Account.at("guide"), Deposit(10))
        return Toured(tuple(one.number for one in held), left)


class Lines(Query["Board", list[tuple[int, str]]]):
    """Every line of the board, in order."""


class Board(ReadModel):
    """A line for each event, by its position: a gap or a repeat shows."""

    schema = "create table line (position integer primary key, text text not null)"
    retry = RetryPolicy(budget=timedelta(0))
    parked_limit = 0

    def project(self, event: TripBooked | WasHeld | WasReleased, meta: Meta) -> Iterator[Statement]:
        if event.trip == "unprintable":
            raise ValueError("can't print it")
        yield sql("insert into line values (?, ?)", meta.position, f"{type(event).__name__} {event.trip}")

    async def answer(self, db: Any, query: Lines) -> list[tuple[int, str]]:
        async with db.execute("select * from line order by position") as rows:
            return [tuple(row) for row in await rows.fetchall()]


class Note(Command["Desk", str]):
    text: str


class Desk(Actor):
    """A plain actor that notes what comes, and then does what the test says."""

    restart = RestartPolicy(restarts=1, backoff=Backoff(timedelta(seconds=1), jitter=0.0))
    inbox: ClassVar[list[tuple[str, str]]] = []
    """Message ids and texts, as they came."""
    script: ClassVar[Callable[[Any, Note], Awaitable[str]] | None] = None

    async def receive(self, message: Note) -> str:
        Desk.inbox.append((self.message_id, message.text))
        return await Desk.script(self, message) if Desk.script is not None else message.text.upper()


class Begin(Command["Play", Held]):
    line: str = ""


class Approve(Command["Play", None]):
    by: str = ""


class Reject(Command["Play", None]):
    why: str = ""


class Where(Query["Play", str]):
    """Where are you?"""


class Play(Saga[Begin, Held]):
    """A saga whose story the test writes; the story may say in ``scene`` where it is."""

    deadline = timedelta(minutes=5)
    retry = SOON
    undo_retry = SOON
    receives = Approve | Reject
    script: ClassVar[Callable[[Any, Begin], Awaitable[Held]] | None] = None
    scene = "at the door"

    async def run(self, command: Begin) -> Held:
        assert Play.script is not None
        return await Play.script(self, command)

    def answer(self, query: Where) -> str:
        return self.scene


ALL: list[type] = [Room, Account, Trip, Tour, Board, Desk, Play]


TOLD: list[Any] = []
"""What a saga's code has seen, for tests to look at."""


def clear_the_stage() -> None:
    """Forget what an earlier test has set up."""
    TOLD.clear()
    DOWN.clear()
    Desk.inbox.clear()
    Desk.script = None
    Play.script = None
