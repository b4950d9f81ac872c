"""What can be asked of actors of another node, sort by sort, and what must be done where they live."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, assert_never

import pytest

from actors import (
    Actor,
    Address,
    AskCycle,
    Command,
    Decision,
    DefinitionError,
    Elsewhere,
    Event,
    Failed,
    Fold,
    Group,
    Locked,
    Message,
    Meta,
    NetworkUnusable,
    NotTaken,
    OutcomeUnknown,
    Parked,
    Personal,
    Query,
    Refused,
    Saga,
    Service,
    State,
    Stopped,
    Subscriber,
    UnknownActor,
    context,
    current_context,
)
from runtime import ManualClock, MemoryKeys, Runtime
from runtime.cluster import MemoryNetwork
from tests.cluster.cast import Board, Book, Booked, Flight, Held, HoldSeat, Mailer, Payments, Taken, Trip
from tests.extras import need
from tests.runtime.tools import comes, quiet

# -- who plays ----------------------------------------------------------------------------------------------------


class Ring(Command["Bell", str]):
    to: tuple[str, ...]


class Bell(Actor):
    """Rings others, of its class or of the other one, one after the other; who is asked last says who asked."""

    async def receive(self, message: Ring) -> str:
        if not message.to:
            return str(current_context().get("user", "nobody"))
        first, *rest = message.to
        target: Address[Any] = Gong.at(first) if self.key.startswith("bell") else Bell.at(first)
        asked: Any = (RingGong if self.key.startswith("bell") else Ring)(tuple(rest))
        return f"{first} {await self.ask(target, asked)}"


class RingGong(Command["Gong", str]):
    to: tuple[str, ...]


class Gong(Bell):
    async def receive(self, message: RingGong) -> str:  # type: ignore[override]
        return await super().receive(Ring(message.to))


class Breaks(ValueError):
    pass


class Break(Command["Glass", None]):
    pass


class Glass(Actor):
    async def receive(self, message: Break) -> None:
        raise Breaks("it broke")


class BookTwice(Command["Tour", int]):
    flights: tuple[str, str]


class Tour(Saga[BookTwice, int]):
    async def run(self, command: BookTwice) -> int:
        for number, flight in enumerate(command.flights):
            await self.ask(f"trip {number}", Trip.at(f"{self.key}-{number}"), Book(flight))
        return len(command.flights)


class Desk(Event):
    by: str


class Reserve(Command["Room", int]):
    by: str


class Free(Command["Room", None]):
    by: str


class Guests(State):
    count: int = 0


class Room(Service[Guests, Reserve | Free, Desk]):
    initial = Guests()

    def decide(self, state: Guests, command: Reserve | Free) -> Decision:
        match command:
            case Reserve(by):
                return command.reply(state.count + 1, Desk(by))
            case Free(by):
                return command.reply(None, Desk(by))
            case _:
                assert_never(command)

    def evolve(self, state: Guests, event: Desk) -> Guests:
        return Guests(state.count + 1)

    def lock_of(self, command: Any) -> str | None:
        return "room"


class Stay(Command["Guest", int]):
    pass


class Leave(Command["Guest", None]):
    pass


class Guest(Saga[Stay, int]):
    receives = Leave

    async def run(self, command: Stay) -> int:
        number = await self.ask("room", Room.at("1"), Reserve(self.key), undo=Free(self.key), lock=True)
        await self.receive(Leave)
        return number


class HowMany(Query["Totals", int]):
    pass


class Totals(Fold[Guests]):
    initial = Guests()

    def evolve(self, state: Guests, event: Desk, meta: Meta) -> Guests:
        return Guests(state.count + 1)

    def answer(self, state: Guests, query: HowMany) -> int:
        return state.count


class Follower(Subscriber):
    async def handle(self, event: Desk, meta: Meta) -> None:
        pass


class Watch(Command["Watcher", str]):
    pass


class Watcher(Actor):
    async def receive(self, message: Watch | Stopped) -> str:
        for work in (lambda: self.watch(Flight.at("a")), lambda: self.spawn(Bell.at("bell"))):
            try:
                work()
            except (Elsewhere, NotTaken) as error:
                return str(error)
        return "nothing"


class System:
    """Nodes on one network.

    Where the error of a single copy is looked for, who asks has a clock that stands still: on a machine that stumbles
    for half a second a second copy would be sent, whose error says nothing of the first one.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.network = MemoryNetwork()

    async def node(
        self, *actors: type, remote: tuple[type, ...] = (), journal: Any = "memory:", **more: Any
    ) -> Runtime:
        runtime = Runtime(journal, list(actors), remote=remote, network=self.network, **more)
        return await self._stack.enter_async_context(runtime)


# -- what works ---------------------------------------------------------------------------------------------------


async def test_a_saga_of_another_node_is_a_step() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Flight, Payments, Mailer, Trip)
        front = await system.node(Tour, remote=(Trip,))
        Mailer.sent.clear()
        assert await front.ask(Tour.at("a"), BookTwice(("LH1", "LH2"))) == 2
        assert [one.saga.key async for one in there.sagas()] == ["a-0", "a-1"]


class Walk(Command["Hike", None]):
    dear: bool = False


class Hike(Saga[Walk, None]):
    async def run(self, command: Walk) -> None:
        await self.ask("room", Room.at("hut"), Reserve(self.key), undo=Free(self.key))
        if command.dear:
            raise Refused("too dear")


class Two(Command["Both", None]):
    dear: bool = False


class Both(Saga[Two, None]):
    async def run(self, command: Two) -> None:
        await self.ask("hike", Hike.at(self.key), Walk())
        if command.dear:
            raise Refused("too dear")


async def test_a_child_that_has_completed_on_another_node_is_undone() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        huts = await system.node(Room)
        hikes = await system.node(Hike, remote=(Room,))
        front = await system.node(Both, remote=(Hike,))
        with pytest.raises(Refused, match="too dear"):
            await front.ask(Both.at("x"), Two(dear=True))
        assert (await hikes.progress_of(Hike.at("x"))).status == "compensated"
        events = [entry.event async for entry in huts.history(Room.at("hut")) if entry.type == "Desk"]
        assert events == [Desk("x"), Desk("x")]


async def test_plain_actors_ask_over_nodes_and_a_circle_is_found() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        bells = await system.node(Bell, remote=(Gong,), clock=ManualClock())
        await system.node(Gong, remote=(Bell,), clock=ManualClock())
        with context(user="ana"):
            assert await bells.ask(Bell.at("bell1"), Ring(("gong1", "bell2"))) == "gong1 bell2 ana"
        with pytest.raises(AskCycle, match="Bell/bell1 -> Gong/gong1 -> Bell/bell1"):
            await bells.ask(Bell.at("bell1"), Ring(("gong1", "bell1")))


async def test_a_failure_comes_with_the_name_of_its_cause() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Glass)
        front = await system.node(remote=(Glass,), clock=ManualClock())
        with pytest.raises(Failed, match="Glass failed at Break: Breaks: it broke") as caught:
            await front.ask(Glass.at(), Break())
        assert [cls.__name__ for cls in type(caught.value.__cause__).__mro__][:2] == ["Breaks", "ValueError"]
        for _ in range(3):
            with pytest.raises((Failed, Parked)):
                await front.ask(Glass.at(), Break())


async def test_locks_are_taken_and_given_back_on_another_node() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Room)
        front = await system.node(Guest, remote=(Room,), clock=ManualClock())
        await front.start(Guest.at("ana"), Stay())
        await comes_true(lambda: there.locks(Room.at("1")))
        (lock,) = await there.locks(Room.at("1"))
        assert (lock.holder, lock.stale) == (Guest.at("ana"), False)
        with pytest.raises(Locked, match="Guest/ana is in the middle") as caught:
            await front.ask(Room.at("1"), Reserve("eve"))
        assert (caught.value.lock, caught.value.holder) == ("room", "Guest/ana")
        await front.tell(Guest.at("ana"), Leave())
        assert await front.result(Guest.at("ana")) == 1
        await comes_true(lambda: _none(there))
        assert await front.ask(Room.at("1"), Reserve("eve")) == 2


async def _none(there: Runtime) -> bool:
    return not await there.locks(Room.at("1"))


async def comes_true(happened: Callable[[], Awaitable[object]]) -> None:
    for _ in range(10_000):
        if await happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def test_a_saga_is_started_and_told_from_another_node() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Room, Guest)
        front = await system.node(remote=(Room, Guest))
        await front.start(Guest.at("ana"), Stay())
        await front.tell(Guest.at("eve"), Stay())
        asked = asyncio.ensure_future(front.ask(Guest.at("ana"), Stay()))
        await front.ask(Guest.at("ana"), Leave())
        assert await asked == 1
        await comes_true(lambda: _started(there))
        await there.ask(Guest.at("eve"), Leave())
        with pytest.raises(NotTaken, match="starts nothing"):
            await front.start(Room.at("1"), Reserve("x"))


async def _started(there: Runtime) -> bool:
    return (await there.progress_of(Guest.at("eve"))).status == "running"


async def test_a_reminder_comes_to_an_actor_of_another_node() -> None:
    async with AsyncExitStack() as stack:
        system, clock = System(stack), ManualClock()
        there = await system.node(Room)
        front = await system.node(remote=(Room,), clock=clock)
        await front.remind(Room.at("1"), "later", Reserve("ana"), after=timedelta(hours=1))
        assert len(await front.reminders(Room.at("1"))) == 1
        clock.advance(3_601)
        await quiet(front)
        await comes_true(lambda: _count(there))
        await quiet(front)
        assert await front.reminders(Room.at("1")) == []


async def _count(there: Runtime) -> int:
    state: Any = await there.state_of(Room.at("1"))
    return int(state.count)


class Caller(Subscriber):
    """Books a trip of another node for each guest, and asks how many are on the flight."""

    seen: list[int] = []

    async def handle(self, event: Desk, meta: Meta) -> None:
        self.tell(Trip.at(event.by), Book("LH1"))
        self.seen.append(await self.ask(Flight.at("LH1"), Taken()))


async def test_a_subscriber_asks_and_tells_actors_of_another_node() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Flight, Payments, Mailer, Trip)
        front = await system.node(Room, Caller, remote=(Trip, Flight))
        await front.ask(Room.at("1"), Reserve("ana"))
        await front.caught_up(Caller.at())
        assert await there.result(Trip.at("ana")) == Booked(1, "receipt-ana")
        assert len(Caller.seen) == 1


async def test_a_fold_answers_from_another_node() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Room, Totals)
        front = await system.node(remote=(Room, Totals))
        await front.ask(Room.at("1"), Reserve("ana"))
        assert await front.ask(Totals.at(), HowMany(), consistent=True) == 1
        assert await front.ask(Totals.at(), HowMany(), after=there.position) == 1


class Mail(Message):
    to: Personal[str]


class Invited(Event):
    to: Personal[str]


class Invite(Command["Club", Mail]):
    to: Personal[str]


class Members(Query["Club", Mail]):
    pass


class Club(Service[Guests, Invite, Invited]):
    initial = Guests()

    def decide(self, state: Guests, command: Invite) -> Decision:
        return command.reply(Mail(command.to), Invited(command.to))

    def evolve(self, state: Guests, event: Invited) -> Guests:
        return Guests(state.count + 1)

    def answer(self, state: Guests, query: Members) -> Mail:
        return Mail(Personal("ana", "ana@example.org"))


async def test_personal_values_stay_with_who_has_the_keys() -> None:
    need("cryptography")
    async with AsyncExitStack() as stack:
        system = System(stack)
        there = await system.node(Club, keys=MemoryKeys())
        front = await system.node(remote=(Club,), keys=MemoryKeys())
        with pytest.raises(Failed, match="Invite holds personal data, which only the node that has sealed it can open"):
            await front.ask(Club.at(), Invite(Personal("ana", "ana@example.org")))
        assert (await there.state_of(Club.at())).count == 0
        with pytest.raises(OutcomeUnknown, match="Mail holds personal data"):
            await front.ask(Club.at(), Members())


# -- what is done elsewhere ---------------------------------------------------------------------------------------


async def test_what_can_not_be_done_from_here_says_where() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Flight, Payments, Mailer, Trip, Board, Bell)
        front = await system.node(Room, Watcher, remote=(Flight, Trip, Board, Bell))
        flight, trip, board = Flight.at("a"), Trip.at("t"), Board.at()
        works: list[Callable[[], Awaitable[object]]] = [
            lambda: front.transact((flight, HoldSeat("x"))),
            lambda: front.state_of(flight),
            lambda: front.diff(flight, 1, 2),
            lambda: anext(aiter(front.history(flight))),
            lambda: front.trail(trip),
            lambda: front.progress_of(trip),
            lambda: front.plan_of(trip),
            lambda: front.result(trip),
            lambda: front.kill(flight),
            lambda: front.locks(flight),
            lambda: front.delete(flight),
            lambda: front.caught_up(board),
            lambda: front.parked_events(board),
            lambda: anext(aiter(front.watch(board, None))),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            lambda: front.schedule("n", Trip, Book("a"), every=timedelta(hours=1)),
        ]
        for work in works:
            with pytest.raises(Elsewhere, match="lives on another node, where this must be done"):
                await work()
        with pytest.raises(Elsewhere):
            front.unpark(flight)
        wrong: Any = Reserve("x")
        with pytest.raises(NotTaken, match="Flight doesn't take Reserve, only HoldSeat, ReleaseSeat"):
            await front.ask(Flight.at("a"), wrong)
        assert "lives on another node" in await front.ask(Watcher.at(), Watch())


async def test_a_group_has_actors_of_its_own_node() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        with pytest.raises(UnknownActor, match="there is no actor 'Bell' here"):
            await system.node(remote=(Bell,), groups=[Group((Bell.at("bell"),))])


async def test_a_class_that_is_nowhere_is_named() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Flight)
        front = await system.node(remote=(Room,))
        with pytest.raises(UnknownActor, match="there is no actor 'Flight' here, only Room"):
            await front.ask(Flight.at("a"), HoldSeat("x"))


async def test_a_class_has_one_place() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        with pytest.raises(DefinitionError, match="two classes Flight"):
            await system.node(Flight, remote=(Flight,))
        with pytest.raises(DefinitionError, match="Follower takes no requests"):
            await system.node(remote=(Follower,))
        with pytest.raises(ValueError, match="remote= names Flight, Room, and no way leads there"):
            Runtime("memory:", [], remote=[Flight, Room])


async def test_two_journals_with_one_class_are_refused() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Flight, Room)
        with pytest.raises(NetworkUnusable, match="another node serves Room from another journal"):
            await system.node(Payments, Room)
        assert system.network.names == system.network.names[:1]
        await system.node(Payments)


async def test_a_trip_over_nodes_that_are_observed() -> None:
    from runtime import BaseInstrument

    class Counting(BaseInstrument):
        def __init__(self) -> None:
            self.told: list[str] = []

        def sent(self, address: Address[Any], message: str) -> None:
            self.told.append(message)

    seen = Counting()
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Flight, Payments, Mailer, instruments=[Counting()])
        front = await system.node(Trip, remote=(Flight, Payments, Mailer), instruments=[seen])
        Mailer.sent.clear()
        assert await front.ask(Trip.at("t"), Book("a")) == Booked(1, "receipt-t")
        assert {"HoldSeat", "Charge", "Confirm"} <= set(seen.told)
        assert "Trip" in front.stats().actors
        assert "Flight" not in front.stats().actors


async def test_cells_of_others_leave_when_nothing_is_under_way() -> None:
    async with AsyncExitStack() as stack:
        system = System(stack)
        await system.node(Flight)
        front = await system.node(remote=(Flight,))
        held = await asyncio.gather(*(front.ask(Flight.at(str(n)), HoldSeat("t")) for n in range(50)))
        assert held == [Held(1)] * 50
        node: Any = front._node  # pyright: ignore[reportPrivateUsage]
        await comes(lambda: not [cell for cell in node.directory if cell.kind.name == "Flight"])
        assert await front.ask(Flight.at("1"), Taken()) == 1
