"""The public API of ``actors`` as its users write it: both type checkers must accept every line.

``assert_type`` holds the inferred replies, so that a reply that turns into ``Any`` is an error too.
This file is only read by the checkers; ``test_typing.py`` runs them.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_never, assert_type
from uuid import UUID

import msgspec

from actors import (
    UNDO_RETRY,
    Actor,
    Address,
    Backoff,
    Call,
    Chosen,
    Command,
    Deadlock,
    Decision,
    Event,
    Fold,
    Group,
    Locked,
    Mailbox,
    Message,
    Meta,
    Parallel,
    Passivation,
    Personal,
    Pool,
    Proceed,
    Query,
    Rate,
    ReadModel,
    Refused,
    Request,
    RestartPolicy,
    RetryPolicy,
    Saga,
    Service,
    ServiceLocked,
    ServiceUnlocked,
    State,
    Statement,
    Step,
    Stopped,
    Subscriber,
    Timer,
    Upcast,
    Verb,
    context,
    current_context,
    planned_time,
    sql,
    upcast,
)
from actors.actor import Context
from runtime import (
    Change,
    Difference,
    HeldLock,
    KeyFile,
    MemoryKeys,
    PendingReminder,
    Position,
    Runtime,
    ScheduledRun,
    ScheduleInfo,
    retrying,
)
from runtime.simulation import ReadModelGiven, SagaPlay, SentStep, ServiceTurn, Stored, given


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str
    seat: int


class SeatReleased(Event, tag="seat-released", aliases=("SeatFreed", "SeatDropped"), revision=2):
    trip: str = msgspec.field(name="of")
    why: str = ""


class SeatPaid(Event, aliases=("SeatBought",), kw_only=True):
    trip: str = ""
    price: int


assert_type(SeatPaid(price=1).price, int)


@upcast("seat-released", 1)
def releases_have_reasons(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "why": ""}


@upcast("SeatsSwapped", 1, into={"SeatHeld": 1, "seat-released": 2})
def a_swap_is_two_events(stored: dict[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "seat-released", {"of": stored["trip"]}
    yield "SeatHeld", stored


assert_type(releases_have_reasons, Upcast)
assert_type(a_swap_is_two_events, Upcast)


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


class Seats(State):
    capacity: int = 2
    held: dict[str, int] = {}


class SeatsLeft(Query["Flight", int]):
    pass


class Holder(Query["Flight", str | None]):
    seat: int


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld | SeatReleased]):
    initial = Seats()
    upcasts = (releases_have_reasons, a_swap_is_two_events)
    restart = RestartPolicy(restarts=2, within=timedelta(seconds=1), backoff=Backoff(jitter=0.0))

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat) -> Decision:
        match command:
            case HoldSeat() if len(state.held) == state.capacity:
                raise Refused(f"flight {self.key} is full")
            case HoldSeat(trip):
                seat = len(state.held) + 1
                decision = command.reply(Held(seat), SeatHeld(trip, seat))
                assert_type(decision.remind("expire", ReleaseSeat(trip), after=timedelta(minutes=10)), Decision)
                again = Charge(trip, 1)
                return decision.remind("charge", again, every=timedelta(1), to=Payments.at("x")).forget("other")
            case ReleaseSeat(trip) if trip not in state.held:
                return command.reply(None)
            case ReleaseSeat(trip):
                assert_type(trip, str)
                return command.reply(None, SeatReleased(trip), SeatReleased(trip, why="twice"))
            case _:
                assert_never(command)

    def answer(self, state: Seats, query: SeatsLeft | Holder) -> int | str | None:
        match query:
            case SeatsLeft():
                return state.capacity - len(state.held)
            case Holder(seat):
                return next((trip for trip, held in state.held.items() if held == seat), None)
            case _:
                assert_never(query)

    def evolve(self, state: Seats, event: SeatHeld | SeatReleased) -> Seats:
        match event:
            case SeatHeld(trip, seat):
                return msgspec.structs.replace(state, held={**state.held, trip: seat})
            case SeatReleased(trip):
                return Seats(state.capacity, {name: seat for name, seat in state.held.items() if name != trip})
            case _:
                assert_never(event)


class Receipt(Message):
    number: str
    amount: int | None = None


class Charge(Command["Payments", Receipt]):
    trip: str
    price: int


class Payments(Actor):
    restart = RestartPolicy(restarts=3)

    async def receive(self, message: Charge) -> Receipt:
        held = await self.ask(Flight.at("LH441"), HoldSeat(message.trip))
        assert_type(held, Held)
        await self.remind("again", Charge(message.trip, 1), at=datetime(2030, 1, 1, tzinfo=UTC))
        await self.forget("other")
        return Receipt(f"{self.message_id}/{self.key}", message.price)


class TripBooked(Event):
    trip: str
    seat: int
    receipt: str


class BookTrip(Command["TripSaga", TripBooked]):
    flight: str
    other: Address["Flight"]
    price: int


class TripSaga(Saga[BookTrip, TripBooked]):
    deadline = timedelta(minutes=5)
    retry = RetryPolicy(Backoff(cap=timedelta(seconds=1)), budget=timedelta(minutes=1))
    undo_retry = UNDO_RETRY
    at_once = 10
    rate = Rate(100, per=timedelta(seconds=1), burst=10)

    @classmethod
    def priority_of(cls, command: BookTrip) -> int:
        return 5 if command.price > 1000 else 0

    async def run(self, command: BookTrip) -> TripBooked:
        hold, release = HoldSeat(self.key), ReleaseSeat(self.key)
        step = self.ask("first", Flight.at(command.flight), hold, undo=release)
        assert_type(step, Step[Held])
        assert_type(await step, Held)

        both = self.parallel(
            self.ask("second", command.other, hold, undo=release),
            self.ask("third", command.other, release),
        )
        assert_type(both, Parallel[tuple[Held, None]])
        held, nothing = await both
        assert_type(held, Held)
        assert_type(nothing, None)

        three = await self.parallel(self.sleep("nap", timedelta(seconds=1)), step, step)
        assert_type(three, tuple[None, Held, Held])
        four = await self.parallel(step, step, step, self.pivot("pay", Payments.at(), Charge(self.key, 1)))
        assert_type(four, tuple[Held, Held, Held, Receipt])
        five = await self.parallel(step, self.sleep("rest", timedelta(1)), step, step, step)
        assert_type(five, tuple[Held, None, Held, Held, Held])
        one = await self.parallel(step)
        assert_type(one, tuple[Held])
        many = await self.parallel(*[self.ask(name, Flight.at(name), hold) for name in ("a", "b")])
        assert_type(many, tuple[Held, ...])

        left = await self.ask("left", Flight.at(command.flight), SeatsLeft(), timeout=timedelta(1))
        assert_type(left, int)
        assert_type(self.ask("who", command.other, Holder(left), retry=RetryPolicy()), Step[str | None])
        assert_type(await self.ask("where", Journey.at("j"), Whereabouts()), str)

        receipt = await self.pivot("charge", Payments.at(), Charge(self.key, command.price))
        assert_type(receipt, Receipt)
        assert_type(self.now(), datetime)
        assert_type(self.uuid(), UUID)
        assert_type(self.random(), float)
        if receipt.amount is None:
            raise Refused("no receipt")
        return TripBooked(self.key, held.seat, receipt.number)


class TripRow(Message):
    trip: str
    seat: int


class TripsOf(Query["Trips", list[TripRow]]):
    customer: str


class SeatOf(Query["Trips", int | None]):
    trip: str


class Trips(ReadModel):
    schema = "create table trips (trip text primary key, seat int)"
    version = 2
    retry = RetryPolicy()

    def project(self, event: TripBooked | SeatReleased, meta: Meta) -> Iterator[Statement]:
        match event:
            case TripBooked(trip, seat):
                yield sql("insert into trips values (?, ?)", trip, seat)
            case SeatReleased(trip):
                yield sql("delete from trips where trip = ? and ? > 0", trip, meta.position)
            case _:
                assert_never(event)

    async def answer(self, db: Any, query: TripsOf | SeatOf) -> list[TripRow] | int | None:
        match query:
            case TripsOf(customer):
                return [TripRow(customer, 1)]
            case SeatOf():
                return None
            case _:
                assert_never(query)


class Ring(Command["Bell", int]):
    times: int


class Bell(Actor):
    """One that isn't async."""

    mailbox = Mailbox(limit=5, overflow="drop", priority={Stopped: 1})
    pool = Pool(2, by=lambda message: message.times)
    passivation = Passivation(idle=None)
    children = Group(strategy="rest_for_one")

    def started(self) -> None:
        self.every(timedelta(seconds=1), Ring(1)).cancel()

    def receive(self, message: Ring | Stopped) -> int | None:
        match message:
            case Ring(times):
                timer = self.after(timedelta(0), Ring(times))
                assert_type(timer, Timer)
                self.tell(Flight.at("LH441"), HoldSeat(self.message_id))
                assert_type(self.spawn(Bell.at("small")), Address[Bell])
                self.watch(Bell.at("small"))
                return times
            case Stopped(address, reason, error):
                assert_type(address, Address[Any])
                assert_type(reason, Literal["finished", "crashed", "parked", "killed"])
                assert_type(error, str)
                return None
            case _:
                assert_never(message)


class Clerk(Actor):
    async def receive(self, message: Ring) -> None:
        assert_type(await self.ask(Flight.at("LH441"), SeatsLeft()), int)
        assert_type(await self.ask(Trips.at(), SeatOf("trip-7"), consistent=True, timeout=5), int | None)


async def asking(runtime: Runtime) -> None:
    flight = Flight.at("LH441")
    assert_type(await runtime.ask(flight, SeatsLeft()), int)
    assert_type(await runtime.ask(flight, Holder(1), timeout=5, consistent=True), str | None)
    async for left in runtime.watch(flight, SeatsLeft()):
        assert_type(left, int)
    async with aclosing(runtime.watch(Trips.at(), SeatOf("trip-7"), consistent=True)) as seats:
        assert_type(seats, AsyncGenerator[int | None])
    assert_type(await anext(runtime.watch(Journey.at("j"), Whereabouts(), after=7)), str)
    print(await runtime.ask(flight, Lookup()), await runtime.ask(Trips.at(), Lookup()))


class Lookup(Query["Flight | Trips", str]):
    """Two actors that answer the same question."""


async def reminding(runtime: Runtime) -> None:
    await runtime.remind(Flight.at("LH441"), "release", ReleaseSeat("trip-7"), after=timedelta(hours=1))
    await runtime.remind(Payments.at("ana"), "charge", Charge("trip-7", 1), every=timedelta(days=1))
    await runtime.remind(
        TripSaga.at("trip-7"), "go", BookTrip("LH441", Flight.at(), 1), at=datetime(2030, 1, 1, tzinfo=UTC)
    )
    await runtime.forget(Flight.at("LH441"), "release")
    print(await runtime.result(TripSaga.at("trip-7")), str(await runtime.result(TripSaga.at("trip-7"))))
    assert_type(await runtime.result(TripSaga.at("trip-7")), TripBooked)
    assert_type(await runtime.reminders(Flight.at("LH441")), list[PendingReminder])


async def scheduling(runtime: Runtime) -> None:
    book = BookTrip("LH441", Flight.at(), 1)
    await runtime.schedule("nightly", TripSaga, book, cron="0 3 * * *", timezone="Europe/Berlin", overlap="queue")
    await runtime.schedule("hourly", TripSaga, book, every=timedelta(hours=1), at=datetime(2030, 1, 1, tzinfo=UTC))
    await runtime.schedule("once", TripSaga, book, at=datetime(2030, 1, 1, tzinfo=UTC), catch_up=0)
    await runtime.pause_schedule("nightly")
    await runtime.resume_schedule("nightly")
    await runtime.unschedule("nightly")
    (nightly,) = await runtime.schedules()
    assert_type(nightly, ScheduleInfo)
    assert_type(nightly.upcoming, tuple[datetime, ...])
    assert_type(nightly.overlap, Literal["skip", "allow", "queue", "cancel"])
    assert_type(nightly.runs[0], ScheduledRun)
    assert_type(nightly.runs[0].outcome, Literal["started", "waiting", "skipped", "missed"])
    assert_type(planned_time("nightly@2026-11-28T03:00:00Z"), datetime)


async def looking_back(runtime: Runtime) -> None:
    yesterday = datetime(2030, 1, 1, tzinfo=UTC)
    assert_type(await runtime.state_of(Flight.at("LH441"), at=yesterday), Seats)
    found = await runtime.diff(Flight.at("LH441"), yesterday, Position(17))
    assert_type(found, Difference[Seats])
    assert_type(found.after.held, dict[str, int])
    assert_type((await runtime.diff(Flight.at("LH441"), 3)).changes, tuple[Change, ...])


async def outside(runtime: Context) -> None:
    assert_type(Flight.at("LH441"), Address[Flight])
    assert_type(Flight.at("LH441").key, str)
    assert_type(await runtime.ask(Flight.at("LH441"), HoldSeat("trip-7")), Held)
    assert_type(await runtime.ask(TripSaga.at("trip-7"), BookTrip("LH441", Flight.at("LH2"), 3)), TripBooked)
    assert_type(await runtime.ask(Trips.at(), TripsOf("ana")), list[TripRow])
    assert_type(await runtime.ask(Trips.at(), SeatOf("trip-7")), int | None)
    assert_type(await runtime.ask(Flight.at(), Lookup()), str)
    assert_type(await runtime.ask(Trips.at(), Lookup()), str)

    # An annotation that says the same, or something wider, is right.
    held: Held = await runtime.ask(Flight.at("LH441"), HoldSeat("trip-7"))
    message: Message = await runtime.ask(Flight.at("LH441"), HoldSeat(trip="trip-7"))
    anything: object = await runtime.ask(Flight.at("LH441"), HoldSeat(trip="trip-7"))
    seat: int | str | None = await runtime.ask(Trips.at(), SeatOf("trip-7"))
    await runtime.ask(Flight.at("LH441"), ReleaseSeat("trip-7"))
    print(held, message, anything, seat, await runtime.ask(Trips.at(), TripsOf("ana")))


class Guest(State):
    email: Personal[str]
    stays: Personal[list[int]] | None = None


class GuestOf(Query["Trips", Personal[str] | None]):
    trip: str


async def personal(runtime: Runtime, guest: Guest) -> None:
    assert_type(guest.email.value, str)
    assert_type(guest.email.get(), str | None)
    assert_type(guest.email.get("nobody"), str)
    assert_type(guest.email.get(0), str | int)
    assert_type(guest.email.subject, str)
    assert_type(guest.email.forgotten, bool)
    assert_type(Personal("customer:7", 1), Personal[int])
    assert_type(guest.stays.value if guest.stays else None, list[int] | None)
    assert_type(await runtime.ask(Trips.at(), GuestOf("trip-7")), Personal[str] | None)
    wider: Personal[object] = guest.email
    print(wider, Guest(Personal("customer:7", "ana@example.org"), stays=Personal("customer:7", [1])))
    await runtime.forget_subject("customer:7")
    Runtime("memory:", [Flight], keys=MemoryKeys())
    Runtime("memory:", [Flight], keys=KeyFile("trips.keys", master=bytes(32)))


class Berth(Flight):
    when_locked = "queue"

    def lock_of(self, command: HoldSeat | ReleaseSeat) -> str | None:
        return None if isinstance(command, ReleaseSeat) else f"seat of {command.trip}"

    def decide(self, state: Seats, command: HoldSeat | ReleaseSeat) -> Decision:
        assert_type(self.locked_by.get("seat"), tuple[Address[Any], ...] | None)
        return super().decide(state, command)


class LockedTrip(Saga[BookTrip, TripBooked]):
    async def run(self, command: BookTrip) -> TripBooked:
        hold, release = HoldSeat(self.key), ReleaseSeat(self.key)
        step = self.ask("first", Berth.at(command.flight), hold, undo=release, lock=True)
        assert_type(step, Step[Held])
        assert_type(await self.pivot("pivot", Berth.at(command.flight), hold, lock=True), Held)
        raise Refused("full")


class Locks(ReadModel):
    schema = "create table locks (lock text)"

    def project(self, event: ServiceLocked | ServiceUnlocked, meta: Meta) -> Iterator[Statement]:
        assert_type(event.holder, Address[Any])
        yield sql("insert into locks values (?)", f"{event.lock} {event.holder} {meta.key}")


class Receipts(Subscriber):
    since = datetime(2026, 1, 1, tzinfo=UTC)
    at_once = 4
    retry = RetryPolicy(final=(ValueError,))
    time_limit = None
    categories = ("Flight",)

    async def started(self) -> None:
        self.sent = 0

    async def handle(self, event: TripBooked | SeatReleased, meta: Meta) -> None:
        assert_type(self.event_id, str)
        match event:
            case TripBooked(trip):
                assert_type(await self.ask(Flight.at("LH441"), HoldSeat(trip), timeout=1.0), Held)
            case SeatReleased(trip):
                self.tell(Flight.at("LH441"), ReleaseSeat(trip), id=meta.event_id)
            case _:
                assert_never(event)

    def key(self, event: TripBooked | SeatReleased, meta: Meta) -> str:
        return event.trip


async def subscribed(runtime: Runtime) -> None:
    await runtime.caught_up(Receipts.at(), timeout=1.0)
    await runtime.caught_up(Trips.at())
    assert_type(await runtime.retry_parked(Receipts.at()), int)
    assert_type(await runtime.skip_parked(Receipts.at(), "trip-7", reason="wrong address", by="ana"), int)
    assert_type((await runtime.parked_events(Receipts.at()))[0].key, str)
    assert_type(runtime.stats().subscribers["Receipts"].lag_seconds, float)
    assert_type(runtime.stats().read_models["Trips"].last_error, str | None)
    await runtime.kill(Receipts.at())


async def locked(runtime: Runtime) -> None:
    assert_type(await runtime.locks(Berth.at("LH441")), list[HeldLock])
    assert_type(await runtime.unlock(Berth.at("LH441"), "seat", reason="stale", by="ana"), int)
    try:
        await runtime.ask(Berth.at("LH441"), HoldSeat("trip-7"))
    except Deadlock as deadlock:
        assert_type(deadlock.holder, str)
    except Locked as refused:
        assert_type(refused.lock, str)


class GoOn(Command["Journey", None]):
    by: str


class GiveUp(Command["Journey", None]):
    why: str


class Whereabouts(Query["Journey", str]): ...


class Travel(Command["Journey", Held]):
    flight: str


class Journey(Saga[Travel, Held]):
    timeout = timedelta(seconds=30)
    receives = GoOn | GiveUp
    version = 2

    async def run(self, command: Travel) -> Held:
        hold, release = HoldSeat(self.key), ReleaseSeat(self.key)
        seat = self.ask("seat", Flight.at(command.flight), hold, undo=release, timeout=timedelta(seconds=1))
        perhaps = self.optional(seat)
        assert_type(perhaps, Step[Held | Refused])
        assert_type(await perhaps, Held | Refused)
        self.revise_undo("seat", ReleaseSeat("another"))
        assert_type(await self.receive(GoOn), GoOn)
        assert_type(await self.receive(GiveUp, name="soon", timeout=timedelta(seconds=5)), GiveUp | None)
        assert_type(await self.sleep_until("dawn", datetime(2030, 1, 1, tzinfo=UTC)), None)
        chosen = await self.select(self.receive(GoOn, name="go"), self.receive(GiveUp), seat)
        assert_type(chosen, Chosen[GoOn | GiveUp | Held])
        assert_type(chosen.name, str)
        match chosen.reply:
            case GoOn(by):
                assert_type(by, str)
            case GiveUp(why):
                raise Refused(why)
            case Held() as held:
                return held
        first = await self.select(*[self.ask(name, Flight.at(name), hold, undo=release) for name in ("a", "b")])
        assert_type(first, Chosen[Held])
        return first.reply

    def answer(self, query: Whereabouts) -> str:
        return self.key


async def travels(runtime: Runtime) -> None:
    journey = Journey.at("j")
    assert_type(await runtime.start(journey, Travel("LH441")), None)
    assert_type(await runtime.ask(journey, GoOn("ana")), None)
    assert_type(await runtime.ask(journey, Whereabouts()), str)
    assert_type(await runtime.result(journey), Held)
    await runtime.saga(journey).skip("seat", Held(1), by="ana", reason="she has it in writing")
    await runtime.saga(journey).retry(step="seat", command=HoldSeat("j"), by="ana", reason="another name")
    async for progress in runtime.sagas(status="parked", type=Journey):
        assert_type(progress.saga, Address[Any])


def tested() -> None:
    turn = given(Flight, SeatHeld("t", 1), Stored("SeatFreed", {"of": "t"}), key="LH441").when(HoldSeat("u"))
    assert_type(turn, ServiceTurn[Flight, Held])
    assert_type(turn.then(SeatHeld("u", 2)).replies(Held(2)), ServiceTurn[Flight, Held])
    assert_type(turn.when(ReleaseSeat("u")), ServiceTurn[Flight, None])
    turn.reminds("expire", ReleaseSeat("u"), after=timedelta(minutes=10)).refuses("full").fails(ValueError)
    journey = given(Journey, "j").when(Travel("LH441"))
    assert_type(journey, SagaPlay[Journey, Held])
    assert_type(journey.sends("seat", Flight.at(), HoldSeat("j")), SentStep[Flight])
    journey.sends("seat", Flight.at(), HoldSeat("j")).undo(ReleaseSeat("j"))
    journey.replies("seat", Held(1)).receives(GoOn("ana")).asks(Whereabouts()).answers("j").waits_for("seat", GoOn)
    journey.ends_with(Held(1))
    table = (
        given(Trips)
        .events(Flight.at("LH441"), SeatHeld("t", 1))
        .then("select 1", (1,))
        .asks(TripsOf("ana"))
        .answers([])
    )
    assert_type(table, ReadModelGiven[Trips])


async def only_held(call: Call, proceed: Proceed) -> object:
    assert_type(call.request, Request[Any, Any] | Verb)
    assert_type(call.context, Mapping[str, str])
    assert_type(call.sender, Address[Any] | None)
    if isinstance(call.request, HoldSeat):
        assert_type(call.request.trip, str)
        call = call.with_(request=HoldSeat("another"), timeout=1.5)
    assert_type(call.identified(), Call)
    reply = await proceed(call)
    assert_type(reply, object)
    return reply


class Within:
    async def __call__(self, call: Call, proceed: Proceed) -> object:
        with context(tenant="acme") as texts:
            assert_type(texts, Mapping[str, str])
            assert_type(current_context(), Mapping[str, str])
            return await proceed(call)


class Guarded(Actor):
    interceptors = [only_held, Within()]

    async def receive(self, message: Any) -> None: ...


Runtime("memory:", [Guarded], interceptors=[only_held, Within(), retrying()])


class HowMany(Query["Totals", int]):
    pass


class Totals(Fold[Seats]):
    initial = Seats()
    tags = ("vip",)

    def evolve(self, state: Seats, event: SeatHeld | SeatReleased, meta: Meta) -> Seats:
        return state

    def answer(self, state: Seats, query: HowMany) -> int:
        return len(state.held)


async def asks_a_fold(runtime: Runtime) -> None:
    assert_type(await runtime.ask(Totals.at(), HowMany(), consistent=True), int)
    await runtime.rebuild(Totals.at())
    async with aclosing(runtime.watch(Totals.at(), HowMany())) as counts:
        async for count in counts:
            assert_type(count, int)
