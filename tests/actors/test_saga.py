"""Sagas outside of a runtime: ``run`` is a plain coroutine that can be driven by hand."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import UNSET

from actors import (
    Address,
    Command,
    Event,
    Message,
    Parallel,
    Refused,
    Saga,
    SagaMisuse,
    Select,
    Service,
    State,
    Step,
)


class Held(Message):
    seat: int


class SeatHeld(Event):
    trip: str


class HoldSeat(Command["Flight", Held]):
    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


class Seats(State): ...


class Flight(Service[Seats, HoldSeat | ReleaseSeat, SeatHeld]):
    initial = Seats()


class BookTrip(Command["Trip", Held]):
    flight: str


class Trip(Saga[BookTrip, Held]):
    async def run(self, command: BookTrip) -> Held:
        flight = Flight.at(command.flight)
        first = await self.ask("first", flight, HoldSeat(self.key), undo=ReleaseSeat(self.key))
        second, nothing = await self.parallel(
            self.ask("second", flight, HoldSeat(self.key)),
            self.sleep("nap", timedelta(seconds=5)),
        )
        assert nothing is None
        last = await self.pivot("last", flight, HoldSeat(self.key))
        return Held(first.seat + second.seat + last.seat)


def resume(story: Coroutine[Any, Any, Any], reply: object = None) -> tuple[Step[Any], ...]:
    """Hand the story the reply to what it waits for, and return the steps it waits for then."""
    awaited: Step[Any] | Parallel[Any] | Select[Any] = story.send(reply)
    return (awaited,) if isinstance(awaited, Step) else awaited.steps


def parts(step: Step[Any]) -> tuple[object, ...]:
    return step.kind, step.name, step.target, step.command, step.undo, step.duration


def test_a_story_is_a_row_of_steps_and_replies() -> None:
    flight, hold = Flight.at("LH441"), HoldSeat("trip-7")
    story = Trip("trip-7").run(BookTrip("LH441"))

    (first,) = resume(story)
    assert parts(first) == ("ask", "first", flight, hold, ReleaseSeat("trip-7"), None)

    second, nap = resume(story, Held(1))
    assert parts(second) == ("ask", "second", flight, hold, UNSET, None)
    assert parts(nap) == ("sleep", "nap", None, None, UNSET, timedelta(seconds=5))

    (last,) = resume(story, (Held(10), None))
    assert parts(last) == ("pivot", "last", flight, hold, UNSET, None)

    with pytest.raises(StopIteration) as end:
        resume(story, Held(100))
    assert end.value.value == Held(111)


def test_an_error_is_raised_where_the_step_is_awaited() -> None:
    seen: list[str] = []

    class Careful(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            try:
                return await self.ask("first", Flight.at(), HoldSeat(self.key))
            except Refused as refused:
                seen.append(refused.reason)
                raise

    story = Careful("trip-7").run(BookTrip("LH441"))
    resume(story)
    with pytest.raises(Refused, match="full"):
        story.throw(Refused("full"))
    assert seen == ["full"]


def test_no_step_is_taken_until_it_is_awaited() -> None:
    class Lazy(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            early = self.ask("early", Flight.at(), HoldSeat(self.key))
            await self.sleep("nap", timedelta(seconds=1))
            return await early

    story = Lazy("trip-7").run(BookTrip("LH441"))
    assert [step.name for step in resume(story)] == ["nap"]
    assert [step.name for step in resume(story, None)] == ["early"]
    story.close()


def test_nothing_in_parallel_needs_no_waiting() -> None:
    class Idle(Saga[BookTrip, Held]):
        async def run(self, command: BookTrip) -> Held:
            names: list[str] = []
            replies = await self.parallel(*[self.ask(name, Flight.at(), HoldSeat(self.key)) for name in names])
            return Held(len(replies))

    with pytest.raises(StopIteration) as end:
        resume(Idle("trip-7").run(BookTrip("LH441")))
    assert end.value.value == Held(0)


@pytest.mark.parametrize("name", ["", "#", "a#1", "!", "a!"])
def test_a_step_has_a_name_that_ids_can_be_made_of(name: str) -> None:
    saga, flight, hold = Trip("trip-7"), Flight.at(), HoldSeat("trip-7")
    for make in (
        lambda: saga.ask(name, flight, hold),
        lambda: saga.pivot(name, flight, hold),
        lambda: saga.sleep(name, timedelta(seconds=1)),
    ):
        with pytest.raises(SagaMisuse, match="use a name without # and !"):
            make()


@pytest.mark.parametrize("name", [" ", "/", "flight of LH441", "café", "\n"])
def test_any_other_name_will_do(name: str) -> None:
    assert Trip("trip-7").ask(name, Flight.at(), HoldSeat("trip-7")).name == name


def test_a_step_says_what_it_can_not_be_made_of() -> None:
    saga, flight, hold = Trip("trip-7"), Flight.at(), HoldSeat("trip-7")
    a_number, a_function, a_list = (
        cast("Any", 5.0),
        cast("Any", lambda: hold),
        cast("Any", [saga.ask("a", flight, hold)]),
    )
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: saga.sleep("nap", a_number),
            r"step 'nap' needs a length of time, timedelta\(seconds=5\) say, not a float",
        ),
        (lambda: saga.ask("a", flight, hold, timeout=a_number), "step 'a' needs a length of time"),
        (
            lambda: saga.ask("a", flight, hold, undo=a_function),
            "step 'a' is undone by a function, but an undo is a command",
        ),
        (lambda: saga.ask("a", flight, hold, undo=cast("Any", HoldSeat)), "step 'a' is undone by the class HoldSeat"),
        (lambda: saga.parallel(a_list), r"parallel takes steps, not a list.*self.parallel\(\*steps\)"),
        (lambda: saga.select(a_list), r"select takes steps, not a list.*self.select\(\*steps\)"),
    ]
    for make, text in wrong:
        with pytest.raises(SagaMisuse, match=text):
            make()


def test_the_time_is_that_of_the_story() -> None:
    saga = Trip("trip-7")
    with pytest.raises(SagaMisuse, match=r"Trip.now\(\) is only there while run\(\) is being run"):
        saga.now()
    saga.at_time(1_777_638_600_123_457)  # microseconds since 1970, as the journal holds them
    assert saga.now() == datetime(2026, 5, 1, 12, 30, 0, 123_457, tzinfo=UTC)


def draw(saga: Trip) -> list[object]:
    return [saga.uuid(), saga.random(), saga.uuid(), saga.random()]


def test_each_replay_draws_the_same() -> None:
    assert draw(Trip("trip-7")) == draw(Trip("trip-7"))


def test_it_never_draws_the_same_twice() -> None:
    class Other(Trip): ...

    drawn = [value for saga in (Trip("trip-7"), Trip("trip-8"), Other("trip-7")) for value in draw(saga)]
    assert len(set(drawn)) == len(drawn)


def test_what_is_drawn_stays_the_same_across_releases() -> None:
    # Written down: the ids of stories that are under way hang on it.
    saga = Trip("trip-7")
    assert saga.uuid() == UUID("8516121c-0855-559d-8e9e-80a2c8827016")
    assert 0 <= saga.random() < 1


def test_a_saga_has_an_address() -> None:
    assert Trip.at("trip-7") == Address("Trip", "trip-7")
