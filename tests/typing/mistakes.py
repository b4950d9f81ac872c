"""One deliberate mistake a line: both type checkers must find each, and nothing else.

``test_typing.py`` runs them, and reads the marks.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, assert_never

import msgspec

from actors import (
    Actor,
    Address,
    Call,
    Command,
    Decision,
    Event,
    Fold,
    Message,
    Meta,
    Personal,
    Proceed,
    Query,
    ReadModel,
    Refused,
    Saga,
    Service,
    State,
    Subscriber,
    context,
    sql,
    upcast,
)
from actors.actor import Context
from runtime import Runtime
from runtime.simulation import given


class Held(Message):
    seat: int


class Room(Message):
    number: int


class SeatHeld(Event):
    trip: str


class RoomHeld(Event):
    trip: str


@upcast("RoomHeld", 1)  # mistake: an upcast to several without into=
def to_several(stored: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("RoomHeld", stored)]


@upcast("RoomHeld", 1, into={"RoomHeld": 2})  # mistake: an upcast with into= that gives fields only
def to_one(stored: dict[str, Any]) -> dict[str, Any]:
    return stored


@upcast("RoomHeld", "1")  # mistake: an upcast from a revision that is a text
def from_text(stored: dict[str, Any]) -> dict[str, Any]:
    return stored


def no_upcast(stored: dict[str, Any]) -> dict[str, Any]:
    return stored


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


class HoldRoom(Command["Hotel", Room]):
    trip: str


class ReleaseRoom(Command["Hotel", None]):
    trip: str


class SeatOf(Query["Flights", int | None]):
    trip: str


class RowsOf(Query["Flights", list[Held]]):
    trip: str = msgspec.field(name="of")


class Seats(State):
    capacity: int = 2


class Rooms(State):
    capacity: int = 2


class Thawed(Message, frozen=False):  # mistake: a message that can be changed
    seat: int


class SeatsLeft(Query["Flight", int]): ...


class RoomsLeft(Query["Hotel", int]):
    floor: int = 0


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld]):
    initial = Seats()

    def answer(self, state: Rooms, query: SeatsLeft) -> int:  # mistake: answered from another service's state
        return state.capacity

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat) -> Decision:
        command.trip = "trip-8"  # mistake: a command's field set
        state.capacity = 3  # mistake: a state's field set
        match command:
            case HoldSeat("trip-7"):
                return command.reply(None)  # mistake: no reply where one is promised
            case HoldSeat("trip-8"):
                return command.reply()  # mistake: no reply at all
            case HoldSeat():
                return command.reply(Room(1), SeatHeld("trip-7"))  # mistake: another command's reply
            case ReleaseSeat():
                return command.reply(Held(1))  # mistake: a reply where none is promised

    def evolve(self, state: Seats, event: SeatHeld) -> Seats:
        state.capacity += 1  # mistake: a state changed in place
        return Rooms(state.capacity)  # mistake: another service's state returned


class Hotel(Service[Rooms, HoldRoom | ReleaseRoom, RoomHeld]):
    initial = Seats()  # mistake: another service's state to begin with

    def decide(self, state: Rooms, command: HoldRoom) -> Decision:  # mistake: decide takes too few commands
        if state.capacity == 0:
            return Room(1)  # mistake: a bare reply where a decision is needed
        return command.reply(Room(1), Room(1))  # mistake: an event that is none

    def evolve(self, state: Rooms, event: RoomHeld) -> Seats:  # mistake: evolve promises another state
        return Seats()


def seen(message: Held | Room) -> None:
    match message:
        case Held(1, 2):  # mistake: more fields matched than the message has
            pass
        case _:
            pass


class Hostel(Service[Rooms, HoldRoom | ReleaseRoom, RoomHeld]):
    initial = Rooms()

    def decide(self, state: Seats, command: HoldRoom | ReleaseRoom) -> Decision:  # mistake: decide takes another state
        match command:
            case HoldRoom():
                return command.reply(Room(1), RoomHeld())  # mistake: an event that lacks a field
            case _:
                assert_never(command)  # mistake: a command that is not handled

    def evolve(self, state: Rooms, event: SeatHeld) -> Rooms:  # mistake: evolve takes another event
        return state


class Older(Flight):
    upcasts = (no_upcast,)  # mistake: a bare function as an upcast


class Stateless(Service[Held, HoldRoom, RoomHeld]): ...  # mistake: a state that is no State


class Commandless(Service[Rooms, RoomHeld, RoomHeld]): ...  # mistake: an event in place of a command


class Eventless(Service[Rooms, HoldRoom, Room]): ...  # mistake: a reply in place of an event


class Untyped(Command): ...  # mistake: a command without actor and reply


class TripBooked(Event):
    trip: str
    seat: int


class BookTrip(Command["TripSaga", TripBooked]):
    flight: str


class TripSaga(Saga[BookTrip, TripBooked]):
    async def run(self, command: BookTrip) -> TripBooked:
        flight, hotel = Flight.at(command.flight), Hotel.at()
        hold, release = HoldSeat(self.key), ReleaseSeat(self.key)
        await self.ask("a", hotel, hold)  # mistake: a step sent to the wrong actor
        await self.ask("b", flight, hold, undo=ReleaseRoom(self.key))  # mistake: the undo of another actor
        await self.ask("c", flight, hold, undo=SeatHeld("trip-7"))  # mistake: an event as an undo
        await self.ask("d", Flight, hold)  # mistake: a class in place of an address
        await self.ask("e", Flights.at(), SeatOf("trip-7"))  # mistake: a read model asked by a saga
        await self.pivot("f", flight, HoldRoom(self.key))  # mistake: a pivot sent to the wrong actor
        await self.pivot("g", flight, hold, undo=release)  # mistake: a pivot with an undo
        await self.sleep("h", 60)  # mistake: a sleep of a bare number
        room: Room = await self.ask("i", flight, hold)  # mistake: a step's reply used as another
        seat = (await self.ask("j", flight, hold)).room  # mistake: a field that the reply doesn't have
        one, two = await self.parallel(self.ask("k", flight, hold))  # mistake: more replies than steps
        first, second = self.ask("l", hotel, HoldRoom("x")), self.ask("m", flight, hold)
        held: tuple[Held, Room] = await self.parallel(first, second)  # mistake: replies in the wrong order
        (await self.parallel(first, second))[2]  # mistake: a reply more than steps
        await self.parallel(flight, hold)  # mistake: no steps in parallel
        late = self.ask("p", flight, hold).seat  # mistake: a step that is not awaited
        del room, seat, one, two, held, late
        return Held(1)  # mistake: run returns another result


class Sidetrip(Saga[BookTrip, TripBooked]):
    at_once = "10"  # mistake: a number of places that is text
    rate = 100  # mistake: a rate that is only a number

    @classmethod
    def priority_of(cls, command: BookTrip) -> str:  # mistake: a priority that is text
        return "high"

    async def run(self, command: HoldSeat) -> TripBooked:  # mistake: run takes another command
        return TripBooked(self.key, "1")  # mistake: a field of the wrong type


class Daytrip(Saga[BookTrip, TripBooked]):
    async def run(self, command: BookTrip) -> Held:  # mistake: run promises another result
        return Held(1)


class Flights(ReadModel):
    schema = "create table flights (trip text)"
    version = "2"  # mistake: a version that is no number

    def project(self, event: SeatHeld, meta: Meta) -> Iterator[sql]:  # mistake: rows that are no statements
        meta.position = 1  # mistake: an event's place set
        yield sql("insert into flights values (?)", event)  # mistake: a value that no database holds


class Trips(ReadModel):
    def project(self, event: SeatHeld, meta: int) -> Iterator[Any]:  # mistake: project takes no Meta
        yield "delete from flights"


class Receipts(Subscriber):
    since = "yesterday"  # mistake: a beginning that is none
    at_once = "8"  # mistake: how many at once, as a text

    async def handle(self, event: SeatHeld, meta: int) -> None:  # mistake: handle takes no Meta
        self.tell(Hotel.at(), HoldSeat("trip-7"))  # mistake: a subscriber tells the wrong actor
        print((await self.ask(Flight.at(), HoldSeat("trip-7"))).number)  # mistake: a reply that has no number


async def subscribed(runtime: Runtime) -> None:
    await runtime.ask(Receipts.at(), HoldSeat("trip-7"))  # mistake: a subscriber is asked
    await runtime.caught_up(Flight.at())  # mistake: a service that follows nothing
    await runtime.rebuild(Receipts.at())  # mistake: effects built anew


class Mailer(Actor):
    async def receive(self, message: HoldSeat) -> Held:
        await self.ask(Hotel.at(), message)  # mistake: a plain actor asks the wrong actor
        await self.remind("x", HoldRoom("trip-7"), after=timedelta(1))  # mistake: reminded of another actor's command
        return await self.ask(Flight.at(), ReleaseSeat("trip-7"))  # mistake: a reply passed on as another


class Bell(Actor):
    at_once = "2"  # mistake: a number that is none
    pool = 2  # mistake: a pool that is a number

    async def started(self) -> int:  # mistake: a hook that returns something
        return 1

    def receive(self, message: HoldSeat) -> Held:
        self.tell(Hotel.at(), message)  # mistake: a command told to the wrong actor
        self.tell(Flight.at(), Held(1))  # mistake: a reply told
        self.after(timedelta(1), message)  # mistake: a message to itself that is for another
        self.every(60, message)  # mistake: an interval of a bare number
        self.watch("Flight/LH441")  # mistake: a text watched
        hotel: Address[Hotel] = self.spawn(Flight.at())  # mistake: a child kept as another
        held: Held = self.ask(Flight.at(), message)  # mistake: an actor's ask that is not awaited
        del hotel
        return held


def deciding(command: ReleaseSeat, hold: HoldSeat) -> Decision:
    decision = command.reply(None)
    decision.remind("x", hold, after=60)  # mistake: a time that is a bare number
    decision.remind("x", Held(1), after=timedelta(1))  # mistake: a reminder that is no command
    decision.remind("x", SeatOf("trip-7"), after=timedelta(1))  # mistake: a query sent later
    return decision.remind("x", hold, after=timedelta(1), to=Hotel.at())  # mistake: a reminder to the wrong actor


async def reminding(runtime: Runtime) -> None:
    await runtime.remind(Hotel.at(), "x", HoldSeat("t"), after=timedelta(1))  # mistake: the wrong actor reminded
    await runtime.remind(Flights.at(), "x", SeatOf("t"), after=timedelta(1))  # mistake: a query as a reminder


async def scheduling(runtime: Runtime, book: BookTrip) -> None:
    hour = timedelta(hours=1)
    await runtime.schedule("x", TripSaga, HoldSeat("t"), every=hour)  # mistake: another actor's command scheduled
    await runtime.schedule("x", Flight, HoldSeat("t"), every=hour)  # mistake: a service scheduled
    await runtime.schedule("x", TripSaga.at("t"), book, every=hour)  # mistake: an address scheduled
    await runtime.schedule("x", TripSaga, book, every=3600)  # mistake: an interval that is a bare number
    await runtime.schedule("x", TripSaga, book, at="2030-01-01")  # mistake: a time that is a text
    await runtime.schedule("x", TripSaga, book, every=hour, overlap="both")  # mistake: an unknown overlap policy
    await runtime.schedule("x", TripSaga, book, every=hour, catch_up=hour)  # mistake: a catch-up bound that is a time
    await runtime.schedule(TripSaga, book, every=hour)  # mistake: a schedule without a name
    (await runtime.schedules())[0].paused = True  # mistake: what is told of a schedule changed


async def looking_back(runtime: Runtime) -> None:
    await runtime.diff(TripSaga.at("t"), 1)  # mistake: the states of a saga
    await runtime.diff(Flight.at("LH441"), "yesterday")  # mistake: a moment that is a text
    room: Room = (await runtime.diff(Flight.at("LH441"), 1)).before  # mistake: a state used as another type
    del room


async def outside(runtime: Context, anyone: Address[object]) -> None:
    flight, hold = Flight.at("LH441"), HoldSeat("trip-7")
    await runtime.ask(Hotel.at("Ritz"), hold)  # mistake: command sent to the wrong actor
    await runtime.ask(anyone, hold)  # mistake: command sent to who knows whom
    await runtime.ask(flight, SeatOf("trip-7"))  # mistake: query sent to the wrong actor
    await runtime.ask(flight, SeatHeld("trip-7"))  # mistake: an event asked
    await runtime.ask("Flight/LH441", hold)  # mistake: a text in place of an address
    room: Room = await runtime.ask(flight, hold)  # mistake: reply used as another type
    row: int = await runtime.ask(Flights.at(), SeatOf("trip-7"))  # mistake: reply narrowed
    hex(await runtime.ask(Flights.at(), SeatOf("trip-7")))  # mistake: reply narrowed by a call
    rows: list[Room] = await runtime.ask(Flights.at(), RowsOf("trip-7"))  # mistake: a list of other replies
    wide: list[object] = await runtime.ask(Flights.at(), RowsOf("trip-7"))  # mistake: a list that could take others
    held: Held = runtime.ask(flight, hold)  # mistake: an ask that is not awaited
    (await runtime.ask(Flights.at(), SeatOf("trip-7"))).bit_length()  # mistake: a reply that may be None
    hotel: Address[Hotel] = Flight.at("LH441")  # mistake: an address kept as another's
    flight.key = "LH442"  # mistake: an address changed
    Held(1).seat = 2  # mistake: a message's field set
    SeatHeld("trip-7").trip = "trip-8"  # mistake: an event's field set
    Seats().capacity = 3  # mistake: a state's field set from outside
    Held()  # mistake: a field missing
    RowsOf()  # mistake: a field with another stored name missing
    Held("1")  # mistake: a field of another type
    Held(1, 2)  # mistake: a field too many
    Held(seat=1, row=2)  # mistake: an unknown field
    Flight.at(441)  # mistake: a key that is no text
    print(room, row, rows, wide, held, hotel)


async def narrowed(runtime: Context) -> int:
    return await runtime.ask(Flights.at(), SeatOf("trip-7"))  # mistake: reply narrowed by a return


class Guest(State):
    email: Personal[str]


async def personal(runtime: Runtime, guest: Guest, anything: Personal[object]) -> None:
    Guest("ana@example.org")  # mistake: a plain value in place of a personal one
    Guest(Personal("customer:7", 7))  # mistake: a personal value of another type
    Personal("ana@example.org")  # mistake: a personal value that is nobody's
    Personal(7, "ana@example.org")  # mistake: a subject that is no text
    number: int = guest.email.value  # mistake: a personal value used as another type
    guest.email.upper()  # mistake: a personal value used as if it were open
    guest.email.get().upper()  # mistake: a value that may be forgotten
    guest.email.value = "x"  # mistake: a personal value changed
    narrow: Personal[str] = anything  # mistake: a personal value narrowed
    await runtime.forget_subject(guest.email)  # mistake: a value forgotten in place of its subject
    Runtime("memory:", [Flight], keys="trips.keys")  # mistake: keys that are only a path
    print(number, narrow)


class Berth(Flight):
    when_locked = "wait"  # mistake: a policy that there is not

    def lock_of(self, command: HoldRoom) -> str | None:  # mistake: lock_of takes another actor's command
        return command.trip


class LockedTrip(Saga[BookTrip, TripBooked]):
    async def run(self, command: BookTrip) -> TripBooked:
        await self.ask("a", Flight.at(), HoldSeat(self.key), lock="seat")  # mistake: the saga names the lock
        await self.sleep("b", timedelta(1), lock=True)  # mistake: a sleep that takes a lock
        raise Refused("full")


async def locked(runtime: Runtime) -> None:
    await runtime.locks(TripSaga.at("t"))  # mistake: the locks of a saga
    await runtime.unlock(Flight.at("LH441"), "seat")  # mistake: a lock removed without a reason
    number: str = await runtime.unlock(Flight.at("LH441"), "seat", reason="stale")  # mistake: a count used as a text
    del number


class GoOn(Command["Journey", None]):
    by: str


class Asks(Command["Journey", int]):
    by: str


class Whereabouts(Query["Journey", str]): ...


class Travel(Command["Journey", Held]):
    flight: str


class Journey(Saga[Travel, Held]):
    receives = GoOn

    async def run(self, command: Travel) -> Held:
        step = self.ask("seat", Flight.at(), HoldSeat(self.key))
        held: Held = await self.optional(step)  # mistake: a refusal that is a value passed over
        go: GoOn = await self.receive(GoOn, timeout=timedelta(1))  # mistake: a message that may not come
        await self.receive(GoOn("ana"))  # mistake: a message in place of its class
        await self.receive(Asks)  # mistake: a message that wants a reply
        await self.select(step, self.parallel(step))  # mistake: several at once in a select
        chosen = await self.select(step, self.receive(GoOn))
        print(chosen.reply.seat)  # mistake: a reply used before it is known whose it is
        await self.sleep_until("dawn", timedelta(1))  # mistake: a duration in place of a time
        await self.optional(self.parallel(step))  # mistake: several that may be refused
        self.revise_undo("seat", "ReleaseSeat")  # mistake: an undo that is no command
        await self.ask("b", Flight.at(), HoldSeat(self.key), timeout=5)  # mistake: seconds in place of a duration
        print(go)
        return held


class Asking(Saga[Travel, Held]):
    async def run(self, command: Travel) -> Held:
        await self.ask("a", Flight.at(), RoomsLeft())  # mistake: a saga's query sent to the wrong actor
        await self.ask("b", Flight.at(), SeatsLeft(), undo=ReleaseSeat(self.key))  # mistake: a query undone
        await self.ask("c", Flight.at(), SeatsLeft(), lock=True)  # mistake: a query that takes a lock
        await self.pivot("d", Flight.at(), SeatsLeft())  # mistake: a query as the pivot
        text: str = await self.ask("e", Flight.at(), SeatsLeft())  # mistake: a step's answer of another type
        raise Refused(text)


class Porter(Actor):
    async def receive(self, message: HoldSeat) -> None:
        await self.ask(Hotel.at(), SeatsLeft())  # mistake: a plain actor's query sent to the wrong actor
        self.tell(Flight.at(), SeatsLeft())  # mistake: a query told by a plain actor
        text: str = await self.ask(Flight.at(), SeatsLeft())  # mistake: a plain actor's answer of another type
        del text


async def asks(runtime: Runtime) -> None:
    await runtime.ask(Hotel.at("Ritz"), SeatsLeft())  # mistake: a service's query sent to another service
    await runtime.ask(Flights.at(), SeatsLeft())  # mistake: a service's query sent to a read model
    text: str = await runtime.ask(Flight.at("LH441"), SeatsLeft())  # mistake: an answer used as another type
    runtime.tell(Flight.at("LH441"), SeatsLeft())  # mistake: a query told
    await runtime.transact((Flight.at("LH441"), SeatsLeft()))  # mistake: a query in a transaction
    runtime.watch(Hotel.at("Ritz"), SeatsLeft())  # mistake: another service's query watched
    runtime.watch(Flight.at("LH441"), HoldSeat("t"))  # mistake: a command watched
    await runtime.watch(Flight.at("LH441"), SeatsLeft())  # mistake: a watch awaited
    async for name in runtime.watch(Flight.at("LH441"), SeatsLeft()):
        name.upper()  # mistake: what is watched used as another type
    RoomsLeft(floor="1")  # mistake: a query's field of another type
    del text


async def travels(runtime: Runtime) -> None:
    await runtime.start(Journey.at("j"), HoldSeat("j"))  # mistake: a saga started by another actor's command
    number: int = await runtime.ask(Journey.at("j"), Whereabouts())  # mistake: a query's reply of another type
    await runtime.ask(Flight.at(), Whereabouts())  # mistake: a saga's query sent to another actor
    await runtime.saga(Journey.at("j")).kill(by="ana")  # mistake: a verb without a reason
    await runtime.result(Flight.at())  # mistake: the result of what is no saga
    runtime.sagas(status="asleep")  # mistake: a status that there is not
    print(number)


def tested() -> None:
    turn = given(Flight, SeatHeld("t")).when(HoldSeat("u"))
    given(Flight, HoldSeat("t"))  # mistake: a command in place of an event that has happened
    given(Flight).when(HoldRoom("t"))  # mistake: another service's command in a test
    given(Flight, "LH441")  # mistake: a service's key without key=
    turn.replies(Room(1))  # mistake: a reply of another command
    turn.when(BookTrip("t"))  # mistake: a saga's command sent to a service
    turn.then(Held(1))  # mistake: a reply in place of an event
    turn.reminds("a", ReleaseRoom("t"), after=timedelta(1), to=Flight.at())  # mistake: a reminder that nobody takes
    turn.fails("full")  # mistake: a text in place of an error
    given(Journey, "j").when(HoldSeat("t"))  # mistake: a saga begun by another actor's command
    journey = given(Journey, "j").when(Travel("LH441"))
    journey.sends("seat", Flight.at(), HoldRoom("t"))  # mistake: a step that its service doesn't take
    journey.sends("seat", Flight.at(), HoldSeat("t")).undo(ReleaseRoom("t"))  # mistake: an undo of another service
    journey.undoes_by("seat", Flight.at(), ReleaseRoom("t"))  # mistake: an undo expected of another service
    journey.receives(HoldSeat("t"))  # mistake: a message of another actor's
    journey.asks(Whereabouts()).answers(1)  # mistake: an answer of another type
    journey.ends_with(Room(1))  # mistake: another result than the saga's
    journey.refuses("seat", Refused("full"))  # mistake: an error in place of the reason
    journey.fails("seat", "down")  # mistake: a reason in place of an error
    given(Flights).asks(SeatOf("t")).answers("1A")  # mistake: an answer of another type than the query's
    given(Flights).events(SeatHeld("t"))  # mistake: events without whose they are
    given(Mailer)  # mistake: a plain actor, which needs a loop


async def no_proceed(call: Call) -> object:
    return call


def not_async(call: Call, proceed: Proceed) -> None: ...


async def intercepts(call: Call, proceed: Proceed) -> Held:
    with context(user=7):  # mistake: a context that holds a number
        call.with_(request="hold")  # mistake: a request that is a text
        print(call.request.trip)  # mistake: a field before the class is known
        return await proceed(call)  # mistake: a reply of which the type is not known


Runtime("memory:", [], interceptors=[no_proceed])  # mistake: an interceptor that can't go on
Runtime("memory:", [], interceptors=[not_async])  # mistake: an interceptor that returns at once


class Guarded(Service[Seats, HoldSeat, SeatHeld]):
    interceptors = [3]  # mistake: an interceptor that is none


class CountOf(Query["Counts", int]):
    pass


class Counts(Fold[Seats]):
    initial = Seats()

    def answer(self, state: Seats, query: CountOf) -> int:
        return 1


async def asks_a_fold(runtime: Runtime) -> None:
    text: str = await runtime.ask(Counts.at(), CountOf())  # mistake: a fold's reply of another type
    await runtime.ask(Flight.at(), CountOf())  # mistake: a fold's query sent to another actor
    del text


class Numbered(Fold[int]):  # mistake: a fold whose state is no State
    pass
