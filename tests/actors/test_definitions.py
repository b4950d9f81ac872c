"""A class that can't work fails where it is written: the error names what was wrong and says what to write."""

import sys
import types
from textwrap import dedent

import pytest

from actors import Actor, Address, Command, DefinitionError, Event, Message, ReadModel, Saga, Service, State
from actors.definition import by_name

AUTHOR = """
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
import msgspec
from actors import *

class Held(Message):
    seat: int
class SeatHeld(Event):
    trip: str
class HoldSeat(Command["Flight", Held]):
    trip: str
class Seats(State):
    capacity: int = 2
"""


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of a user's, with a few classes in it. Its code is a text, for the type checkers would refuse it too."""
    module = types.ModuleType("author")
    monkeypatch.setitem(sys.modules, "author", module)
    exec(AUTHOR, vars(module))
    return module


WRONG = {
    "thawed event": (
        "class Thawed(Event, frozen=False): ...",
        ["Thawed", "frozen", "leave out frozen=False"],
    ),
    "thawed state": (
        "class Thawed(State, frozen=False): ...",
        ["Thawed", "frozen", "leave out frozen=False"],
    ),
    "event without tag": (
        "class Nameless(Event, tag=False): ...",
        ["Nameless", "None", 'tag="Nameless"'],
    ),
    "event with a number as its tag": (
        "class Numbered(Event, tag=7): ...",
        ["Numbered", "7", 'tag="Numbered"'],
    ),
    "tag handed down": (
        """
        class Early(Event, tag="early"): ...
        class Late(Early): ...
        """,
        ["Late", "'early'", "its base Early", 'class Late(Early, tag="...")'],
    ),
    "tag in another field": (
        'class Elsewhere(Event, tag_field="kind"): ...',
        ["Elsewhere", "leave out tag_field="],
    ),
    "event stored as an array": (
        "class Row(Event, array_like=True): ...",
        ["Row", "leave out", "array_like="],
    ),
    "no State": (
        """
        class Bare(msgspec.Struct, frozen=True): ...
        class Flight(Service[Bare, HoldSeat, SeatHeld]):
            initial = Bare()
        """,
        ["Flight", "Bare", "class Name(State): ..."],
    ),
    "dict as a state": (
        """
        class Flight(Service[dict, HoldSeat, SeatHeld]):
            initial = {}
        """,
        ["Flight", "dict", "class Name(State): ..."],
    ),
    "no initial": (
        "class Flight(Service[Seats, HoldSeat, SeatHeld]): ...",
        ["Flight", "initial = Seats(...)"],
    ),
    "initial of another class": (
        """
        class Flight(Service[Seats, HoldSeat, SeatHeld]):
            initial = Held(1)
        """,
        ["Flight", "initial = Seats(...)"],
    ),
    "initial is the class": (
        """
        class Flight(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats
        """,
        ["Flight", "initial = Seats(...)"],
    ),
    "two events with one name": (
        """
        class Booked(Event, tag="SeatHeld"): ...
        class Flight(Service[Seats, HoldSeat, SeatHeld | Booked]):
            initial = Seats()
        """,
        ["Flight", "two events", "'SeatHeld'", "author.SeatHeld", "author.Booked", 'class Booked(Event, tag="...")'],
    ),
    "two commands with one name": (
        """
        class Book(Command["Flight", None], tag="HoldSeat"): ...
        class Flight(Service[Seats, HoldSeat | Book, SeatHeld]):
            initial = Seats()
        """,
        ["Flight", "two commands", "'HoldSeat'", "author.Book"],
    ),
    "event that is none": (
        """
        class Flight(Service[Seats, HoldSeat, SeatHeld | Held]):
            initial = Seats()
        """,
        ["Flight", "author.Held", "as event", "class Name(Event): ..."],
    ),
    "command that is none": (
        """
        class Flight(Service[Seats, SeatHeld, SeatHeld]):
            initial = Seats()
        """,
        ["Flight", "author.SeatHeld", "as command", 'class Name(Command["Actor", Reply]): ...'],
    ),
    "service that takes nothing": (
        "class Flight(Service): ...",
        ["Flight", "what it takes", "class Flight(Service[YourState, Commands, Events])"],
    ),
    "service on an open base": (
        """
        C = TypeVar("C", bound=Command)
        class Base(Service[Seats, C, SeatHeld], Generic[C]):
            initial = Seats()
        class Flight(Base[HoldSeat]): ...
        """,
        ["Flight", "what it takes", "class Flight(Service[YourState, Commands, Events])"],
    ),
    "saga that takes nothing": (
        "class Trip(Saga): ...",
        ["Trip", "what it takes", "class Trip(Saga[Command, Result])"],
    ),
    "saga without a place": (
        """
        class Trip(Saga[HoldSeat, Held]):
            at_once = 0
        """,
        ["Trip", "at_once = 0", "at_once = 10"],
    ),
    "saga with half a place": (
        """
        class Trip(Saga[HoldSeat, Held]):
            at_once = 0.5
        """,
        ["Trip", "at_once = 0.5", "at_once = 10"],
    ),
    "service with a number as its rate": (
        """
        class Flight(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            rate = 100
        """,
        ["Flight", "rate = 100", "rate = Rate(100, per=timedelta(seconds=1))"],
    ),
    "saga with a number as its rate": (
        """
        class Trip(Saga[HoldSeat, Held]):
            rate = 100
        """,
        ["Trip", "rate = Rate(100"],
    ),
    "actor with a number as its rate": (
        """
        class Mailer(Actor):
            rate = 100
            async def receive(self, message: HoldSeat) -> Held: ...
        """,
        ["Mailer", "rate = Rate(100"],
    ),
    "saga started by an event": (
        "class Trip(Saga[SeatHeld, Held]): ...",
        ["Trip", "author.SeatHeld", "as command"],
    ),
    "actor without annotation": (
        """
        class Mailer(Actor):
            async def receive(self, message): ...
        """,
        ["Mailer.receive", "no annotation", "def receive(self, message: A | B)"],
    ),
    "actor that receives an event": (
        """
        class Mailer(Actor):
            async def receive(self, message: HoldSeat | SeatHeld): ...
        """,
        ["Mailer", "author.SeatHeld", 'class Name(Command["Actor", Reply]): ...'],
    ),
    "read model without annotation": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self, event, meta):
                yield sql("")
        """,
        ["Flights.project", "no annotation", "def project(self, event: A | B, meta: Meta)"],
    ),
    "read model without event": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self):
                yield sql("")
        """,
        ["Flights.project", "def project(self, event: A | B, meta: Meta)"],
    ),
    "read model with an unknown name": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self, event: "Nobody", meta: Meta):
                yield sql("")
        """,
        ["Flights.project", "'Nobody'", "def project(self, event: A | B, meta: Meta)"],
    ),
    "read model that follows a command": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self, event: SeatHeld | HoldSeat, meta: Meta):
                yield sql("")
        """,
        ["Flights", "author.HoldSeat", "as event"],
    ),
    "read model without tables": (
        """
        class Flights(ReadModel):
            def project(self, event: SeatHeld, meta: Meta):
                yield sql("")
        """,
        ["Flights", 'schema = "create table ..."'],
    ),
    "read model with something else for tables": (
        """
        class Flights(ReadModel):
            schema = "flights.sql"
        """,
        ["Flights", 'schema = "create table ..."'],
    ),
    "async decide": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            async def decide(self, state, command): ...
        """,
        ["Berth.decide is async", "write def decide", "plain actor"],
    ),
    "async evolve": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            async def evolve(self, state, event): ...
        """,
        ["Berth.evolve is async", "write def evolve"],
    ),
    "decide that yields": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            def decide(self, state, command): yield command.reply(None)
        """,
        ["Berth.decide yields", "write return"],
    ),
    "async project": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            async def project(self, event: SeatHeld, meta: Meta): yield sql("")
        """,
        ["Flights.project is async", "write def project"],
    ),
    "read model that answers at once": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self, event: SeatHeld, meta: Meta): yield sql("")
            def answer(self, db, query): ...
        """,
        ["Flights.answer must be async", "async def answer(self, db, query: A | B)"],
    ),
    "saga that is not async": (
        """
        class Trip(Saga[HoldSeat, None]):
            def run(self, command): ...
        """,
        ["Trip.run must be async", "async def run(self, command)"],
    ),
    "service that can't be made": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            def __init__(self): ...
        """,
        ["Berth.__init__", "their key", "def __init__(self, key: str)", "super().__init__(key)"],
    ),
    "saga that can't be made": (
        """
        class Trip(Saga[HoldSeat, None]):
            def __init__(self, key, bank): ...
        """,
        ["Trip.__init__", "their key", "'bank'"],
    ),
    "plain actor that can't be made": (
        """
        class Mailer(Actor):
            def __init__(self): ...
            def receive(self, message: HoldSeat): ...
        """,
        ["Mailer.__init__", "their key"],
    ),
    "seconds for a deadline": (
        """
        class Trip(Saga[HoldSeat, None]):
            deadline = 5.0
        """,
        ["Trip has deadline = 5.0; write deadline = timedelta(minutes=5), or None"],
    ),
    "a number for a mailbox": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            mailbox = 100
        """,
        ["Berth has mailbox = 100; write mailbox = Mailbox(limit=10_000)"],
    ),
    "a plain actor with seconds for its limit": (
        """
        class Mailer(Actor):
            time_limit = 5
            def receive(self, message: HoldSeat): ...
        """,
        ["Mailer has time_limit = 5; write time_limit = timedelta(seconds=30), or None"],
    ),
    "a read model that retries a number of times": (
        """
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            retry = 3
        """,
        ["Flights has retry = 3; write retry = RetryPolicy("],
    ),
    "a policy for locks that there is not": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld]):
            initial = Seats()
            when_locked = "wait"
        """,
        ["Berth", '"refuse", "queue" or "tell"', "'wait'"],
    ),
    "an event about locks as one's own": (
        """
        class Berth(Service[Seats, HoldSeat, SeatHeld | ServiceLocked]):
            initial = Seats()
        """,
        ["Berth lists ServiceLocked", "let a read model follow it"],
    ),
}


@pytest.mark.parametrize(("source", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_definition_says_what_to_write(author: types.ModuleType, source: str, words: list[str]) -> None:
    with pytest.raises(DefinitionError) as caught:
        exec(dedent(source), vars(author))
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_two_tags_of_their_own_may_be_family(author: types.ModuleType) -> None:
    exec(
        'class Early(Event, tag="early"): ...\nclass Late(Early, tag="late"): ...\nclass Later(SeatHeld): ...',
        vars(author),
    )
    assert by_name(Flight, author.Early | author.Late | author.Later | author.SeatHeld, Event).keys() == {
        "early",
        "late",
        "Later",
        "SeatHeld",
    }


def test_a_schema_may_be_any_kind_of_table(author: types.ModuleType) -> None:
    exec('class Words(ReadModel):\n    schema = "CREATE VIRTUAL\\tTABLE words using fts5(word)"', vars(author))


def test_an_event_may_be_named_before_it_is_needed(author: types.ModuleType) -> None:
    exec(
        dedent("""
        from __future__ import annotations
        class Flights(ReadModel):
            schema = "create table flights (trip text)"
            def project(self, event: SeatHeld, meta: Missing) -> Iterator[AlsoMissing]:
                yield sql("")
        """),
        vars(author),
    )
    assert author.Flights.follows == {"SeatHeld": author.SeatHeld}


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None], tag="release-seat"):
    trip: str


class Seats(State):
    capacity: int = 2


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld]):
    initial = Seats()


class NightFlight(Flight):
    initial = Seats(1)


class Bus(Actor): ...


def test_a_service_knows_its_commands_and_events_by_name() -> None:
    assert Flight.commands == {"HoldSeat": HoldSeat, "release-seat": ReleaseSeat}
    assert Flight.events == {"SeatHeld": SeatHeld}


def test_a_service_may_be_refined() -> None:
    assert NightFlight.commands == Flight.commands
    assert NightFlight.initial.capacity == 1
    assert NightFlight.at("LH441") == Address("NightFlight", "LH441")


class BookTrip(Command["Trip", SeatHeld]):
    flight: str
    other: str = ""


class AskForTrip(Command["Plan", Held]):
    flight: str


class Trip(Saga[BookTrip, SeatHeld]): ...


class Plan(Saga[AskForTrip, Held]): ...


def test_a_saga_knows_its_command_and_its_result() -> None:
    assert Trip.commands == {"BookTrip": BookTrip}
    assert Trip.result is SeatHeld
    assert Trip.events == {"SeatHeld": SeatHeld}
    assert Plan.result is Held
    assert Plan.events == {}


def test_what_is_not_written_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Flight needs a decide"):
        Flight("").decide(Seats(), HoldSeat("t"))
    with pytest.raises(NotImplementedError, match="Flight needs an evolve"):
        Flight("").evolve(Seats(), SeatHeld("t"))
    with pytest.raises(NotImplementedError, match="Trip needs an async run"):
        Trip("").run(BookTrip("t")).send(None)
    with pytest.raises(NotImplementedError, match="Bus needs a receive"):
        Bus("").receive(None).send(None)
    with pytest.raises(NotImplementedError, match="ReadModel needs a project"):
        ReadModel().project(None, None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(NotImplementedError, match="ReadModel needs an async answer"):
        ReadModel().answer(None, None).send(None)


def test_undo_after_the_pivot_is_seen_in_a_straight_line() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Late(Saga[BookTrip, Held]):  # pyright: ignore[reportUnusedClass]
            async def run(self, command: BookTrip) -> Held:
                flight = Flight.at(command.flight)
                held = await self.pivot("charge", flight, HoldSeat(self.key))
                await self.ask("mail", flight, HoldSeat(self.key), undo=ReleaseSeat(self.key))
                return held

    assert "Late: step 'mail' has an undo but comes after the pivot 'charge'" in str(caught.value)
    assert "leave out undo=, or move the step before the pivot" in str(caught.value)


def test_undo_after_the_pivot_is_seen_inside_other_calls() -> None:
    with pytest.raises(DefinitionError, match=r"step 'b' has an undo but comes after the pivot 'a'"):

        class Late(Saga[BookTrip, None]):  # pyright: ignore[reportUnusedClass]
            async def run(self, command: BookTrip) -> None:
                flight, hold = Flight.at(command.flight), HoldSeat(self.key)
                await self.pivot(name="a", to=flight, command=hold)
                await self.parallel(
                    self.ask(undo=ReleaseSeat(self.key), name="b", to=flight, command=hold),
                    self.ask("c", flight, hold),
                )


def test_a_step_that_nobody_awaits_is_seen_wherever_it_stands() -> None:
    with pytest.raises(
        DefinitionError, match=r"Hasty.run has a step that is never taken: self.ask\('hold', ...\)"
    ) as caught:

        class Hasty(Saga[BookTrip, None]):  # pyright: ignore[reportUnusedClass]
            async def run(self, command: BookTrip) -> None:
                if command.flight:
                    self.ask("hold", Flight.at(command.flight), HoldSeat(self.key))

    assert "write await self.ask(...)" in str(caught.value)


def test_a_step_may_be_made_before_it_is_awaited() -> None:
    class Slow(Saga[BookTrip, None]):
        async def run(self, command: BookTrip) -> None:
            flight, hold = Flight.at(command.flight), HoldSeat(self.key)
            steps = [self.ask(name, flight, hold) for name in ("a", "b")]
            last = self.ask("c", flight, hold)
            await self.parallel(*steps)
            self.revise_undo("a", ReleaseSeat(self.key))
            await last

    assert Slow.commands == {"BookTrip": BookTrip}


def test_what_may_never_run_is_left_to_the_runtime() -> None:
    class Branching(Saga[BookTrip, None]):
        async def run(self, command: BookTrip) -> None:
            flight, hold, release = Flight.at(command.flight), HoldSeat(self.key), ReleaseSeat(self.key)
            if command.flight:
                await self.pivot("maybe", flight, hold)
            for name in ("x", "y"):
                await self.pivot(name, flight, hold)
            await self.ask("before", flight, hold, undo=release)
            await self.pivot("charge", flight, hold)
            await self.ask("after", flight, hold)
            await self.ask("explicit", flight, hold, undo=None)
            try:
                await self.ask("hidden", flight, hold, undo=release)
            finally:
                await self.ask("hidden too", flight, hold, undo=release)

    assert Branching.commands == {"BookTrip": BookTrip}


def test_another_object_may_have_a_pivot() -> None:
    class Board:
        def pivot(self, name: str) -> str:
            return name

    class Turning(Saga[BookTrip, None]):
        async def run(self, command: BookTrip) -> None:
            board = Board()
            board.pivot("left")
            await self.ask("hold", Flight.at(), HoldSeat(self.key), undo=ReleaseSeat(self.key))

    assert Turning.commands == {"BookTrip": BookTrip}


def test_a_run_without_source_is_left_to_the_runtime(author: types.ModuleType) -> None:
    exec(
        dedent("""
        class Trip(Saga[HoldSeat, None]):
            async def run(self, command):
                await self.pivot("charge", None, command)
                await self.ask("mail", None, command, undo=command)
        """),
        vars(author),
    )
    assert author.Trip.commands == {"HoldSeat": author.HoldSeat}
