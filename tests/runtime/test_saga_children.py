"""P8, P9: a saga that another one has asked is compensated with it, wherever it is; and what they tell each other."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import Command, Parked, Refused, Saga
from actors.verbs import Compensate
from persistence import Record
from runtime.mailbox import Envelope
from runtime.saga_mail import StepReturn
from tests.runtime.cast import (
    ALL,
    DOWN,
    Account,
    Approve,
    Begin,
    BookTrip,
    Held,
    Hold,
    Play,
    Release,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, House, breaks, from_every_prefix, hold, house, stands
from tests.runtime.tools import node_of, of, quiet, steps_of, types_of

TRIP, TOUR = Trip.at("kid"), Tour.at("kid")
ROOMS = ["x", "y"]


def asks_and_fails(child: Any, *, parallel: bool = False) -> Any:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        if parallel:
            await self.parallel(child(self), hold(self, "full"))
        else:
            await child(self)
        return await hold(self, "full too")  # type: ignore[no-any-return]

    return story


def trip(self: Play) -> Any:
    return self.ask("trip", TRIP, BookTrip(ROOMS))


def kept_trip(self: Play) -> Any:
    return self.ask("trip", TRIP, BookTrip(ROOMS), undo=None)


def tour(self: Play) -> Any:
    return self.ask("tour", TOUR, TakeTour(["x"], "ana"))


def long_tour(self: Play) -> Any:
    return self.ask("tour", TOUR, TakeTour(["x"], "ana", nap=3600))


async def play(at: House) -> None:
    with suppress(Refused):
        await at.runtime.ask(PLAY, Begin())


def nothing_stands(records: Sequence[Record]) -> None:
    assert types_of(records, PLAY)[-1] == "saga.compensated", types_of(records, PLAY)
    assert stands(records) == {}


async def test_one_that_has_completed_is_reopened_and_undone_in_reverse() -> None:
    Play.script = asks_and_fails(trip)
    async with house() as at:
        await play(at)
        with pytest.raises(Refused, match="full too is full"):
            await at.runtime.result(TRIP)
    nothing_stands(at.journal.records)
    assert [r.stream[1] for r in of(at.journal.records, "WasReleased")] == ["y", "x", "a"]
    assert types_of(at.journal.records, TRIP)[-1] == "saga.compensated"
    await from_every_prefix(at.journal.records, play, nothing_stands)


async def test_one_that_runs_is_stopped_where_it_is() -> None:
    """The room is down, so the child is under way when its parent's deadline passes."""
    Play.script = asks_and_fails(trip)
    DOWN.add("y")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Play, "deadline", timedelta(seconds=10))
        async with house() as at:
            asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
            await at.passes(20)
            with pytest.raises(Refused, match="the deadline has passed"):
                await asked
            with pytest.raises(Refused, match="the deadline has passed"):
                await at.runtime.result(TRIP)
    nothing_stands(at.journal.records)
    DOWN.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Play, "deadline", timedelta(seconds=10))
        await from_every_prefix(at.journal.records, play, nothing_stands)


async def test_one_that_was_not_started_yet_never_starts() -> None:
    """P9: its undo comes first, and the start is refused when it comes."""
    Play.script = asks_and_fails(trip, parallel=True)
    async with house() as at:
        at.journal.unreadable = {("Trip", "kid")}
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await quiet(at.runtime)
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="too slow"))
        await at.passes(3)
        at.journal.unreadable = set()
        await at.passes(120, step=10)
        with pytest.raises(Refused):
            await asked
        await told
        with pytest.raises(Refused):
            await at.runtime.ask(TRIP, BookTrip(ROOMS))
    nothing_stands(at.journal.records)


async def test_a_fence_for_a_saga_that_never_began() -> None:
    async with house() as at:
        Play.script = asks_and_fails(trip)
        DOWN.add("a")
        await at.begin()
        # As if the start were still on its way: only the undo has come.
        node = node_of(at.runtime)
        back = StepReturn(node.find, PLAY, "trip", True, "Play/p!trip", 0)
        node.cell(TRIP).put(Envelope(Compensate("Play/p", "given up"), "Play/p!trip", back, undoes="Play/p#trip"))
        await quiet(at.runtime)
        assert types_of(at.journal.records, TRIP) == ["saga.compensating", "saga.compensated"]
        for _ in range(2):
            with pytest.raises(Refused, match="given up"):
                await at.runtime.ask(TRIP, BookTrip(ROOMS))
            await at.runtime.kill(TRIP)
        progress = await at.runtime.progress_of(TRIP)
        assert (progress.status, progress.steps, progress.started) == ("compensated", (), None)
    async with house(at.journal.records, at.clock) as again:
        with pytest.raises(Refused, match="given up"):
            await again.runtime.ask(TRIP, BookTrip(ROOMS))
    assert stands(again.journal.records) == {}


async def test_one_that_is_past_its_pivot_stays_and_its_parent_parks_and_names_it() -> None:
    Play.script = asks_and_fails(tour)
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(1)
        with pytest.raises(Parked, match=r"the undo of step 'tour' was refused \(Tour/kid is past its pivot"):
            await asked
        assert (await at.runtime.progress_of(TOUR)).status == "completed"
        await at.runtime.saga(PLAY).skip("tour", by="ana", reason="paid back by hand")
        with pytest.raises(Refused, match="full too"):
            await at.runtime.result(PLAY)
    assert stands(at.journal.records) == {"x": 1}


async def test_one_whose_pivot_is_under_way_is_asked_again_until_that_is_known() -> None:
    Play.script = asks_and_fails(tour)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Play, "deadline", timedelta(seconds=10))
        patch.setattr(Account, "decide", breaks)
        async with house() as at:
            asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
            await at.passes(15)
            assert await at.status() == "compensating"
            assert (await at.runtime.progress_of(TOUR)).status == "running"
            patch.undo()
            await at.runtime.ask(Account.at("ana"), Withdraw(95))  # so that the pivot is refused
            await at.passes(60)
            with pytest.raises(Refused, match="the deadline has passed"):
                await asked
    nothing_stands(at.journal.records)
    assert (types_of(at.journal.records, TOUR)[-1], steps_of(at.journal.records, TOUR, "refused")) == (
        "saga.compensated",
        ["pay"],
    )


async def test_one_that_is_parked_goes_back_with_its_parent() -> None:
    Play.script = asks_and_fails(trip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Play, "deadline", timedelta(seconds=90))
        async with house() as at:
            DOWN.add("y")
            asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
            await at.passes(70)
            assert (await at.runtime.progress_of(TRIP)).status == "parked"
            assert await at.status() == "running"
            await at.passes(40)
            with pytest.raises(Refused, match="the deadline has passed"):
                await asked
            assert (await at.runtime.progress_of(TRIP)).status == "compensated"
    nothing_stands(at.journal.records)


async def test_one_that_was_killed_parks_its_parent_at_once_and_names_it() -> None:
    Play.script = asks_and_fails(long_tour)
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await quiet(at.runtime)
        await at.runtime.saga(TOUR).kill(by="ana", reason="a bad tour")
        with pytest.raises(Parked, match="step 'tour' was given up as no retry can help: Tour/kid was ended by ana"):
            await asked
        with pytest.raises(
            Parked, match=r"the undo of step 'tour' was refused \(Tour/kid was ended where it stood by ana"
        ):
            await at.runtime.saga(PLAY).compensate(by="ana", reason="back, then")
        assert types_of(at.journal.records, TOUR)[-1] == "saga.killed"  # what it has done stays


async def test_with_undo_none_it_stays_as_it_is() -> None:
    Play.script = asks_and_fails(kept_trip)
    async with house() as at:
        await play(at)
        assert (await at.runtime.result(TRIP)).rooms == ROOMS
    assert stands(at.journal.records) == {"x": 1, "y": 1}


async def test_one_that_a_person_takes_back_takes_its_parent_with_it() -> None:
    Play.script = asks_and_fails(long_tour)
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await quiet(at.runtime)
        await at.runtime.saga(TOUR).compensate(by="ana", reason="no guide")
        with pytest.raises(Refused, match="no guide"):
            await asked
    nothing_stands(at.journal.records)


class Travel(Command["Travels", Held]):
    kid: str


class Travels(Saga[Travel, Held]):
    """A child with a child of its own."""

    async def run(self, command: Travel) -> Held:
        await self.ask("own", Room.at("own"), Hold(self.key), undo=Release(self.key))
        await self.ask("trip", Trip.at(command.kid), BookTrip(ROOMS))
        return Held(1)


@pytest.mark.parametrize("end", ["fails", "works"])
async def test_grandchildren(end: str) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.ask("travels", Travels.at("t"), Travel("grandkid"))
        return await hold(self, "full" if end == "fails" else "b")  # type: ignore[no-any-return]

    Play.script = story

    def check(records: Sequence[Record]) -> None:
        if end == "fails":
            nothing_stands(records)
            assert types_of(records, Trip.at("grandkid"))[-1] in ("saga.compensated",)
        else:
            assert types_of(records, PLAY)[-1] == "saga.completed"
            assert stands(records) == {"a": 1, "b": 1, "own": 1, "x": 1, "y": 1}

    everybody = [*ALL, Travels]
    async with house(actors=everybody) as at:
        await play(at)
    check(at.journal.records)
    await from_every_prefix(at.journal.records, play, check, everybody)


# -- messages between sagas ---------------------------------------------------------------------------------------


class Errand(Command["Runner", Held]):
    pass


class Runner(Saga[Errand, Held]):
    """A child that tells its parent, which waits for it, and is not undone by a message that it sends."""

    async def run(self, command: Errand) -> Held:
        await self.ask("tell", PLAY, Approve(self.key))
        return Held(7)


async def test_a_child_tells_its_parent_something_while_that_waits_for_it() -> None:
    told: list[Any] = []

    async def story(self: Play, command: Begin) -> Held:
        held, said = await self.parallel(self.ask("run", Runner.at("r"), Errand()), self.receive(Approve))
        told.append(said)
        return held

    Play.script = story
    async with house(actors=[*ALL, Runner]) as at:
        assert await at.runtime.ask(PLAY, Begin()) == Held(7)
    assert told == [Approve("r")]


async def test_who_sends_a_message_to_a_saga_does_not_undo_that_saga() -> None:
    class Sender(Saga[Errand, Held]):
        async def run(self, command: Errand) -> Held:
            await self.ask("tell", PLAY, Approve())
            raise Refused("changed my mind")

    Sender.__name__ = "Runner"

    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.receive(Approve)
        await self.sleep("nap", timedelta(seconds=60))
        return Held(1)

    Play.script = story
    async with house(actors=[*ALL, Sender]) as at:
        await at.begin()
        with pytest.raises(Refused, match="changed my mind"):
            await at.runtime.ask(Runner.at("r"), Errand())
        assert await at.status() == "running"
        await at.passes(60)
        assert await at.status() == "completed"


async def test_a_message_can_not_be_undone_by_a_command() -> None:
    class Sender(Saga[Errand, Held]):
        async def run(self, command: Errand) -> Held:
            await self.ask("tell", PLAY, Approve(), undo=Approve())
            return Held(1)

    Sender.__name__ = "Runner"
    async with house(actors=[*ALL, Sender]) as at:
        with pytest.raises(Parked, match="step 'tell' sends a message to another saga, which can't be undone"):
            await at.runtime.ask(Runner.at("r"), Errand())


async def test_sagas_that_would_wait_for_each_other_are_still_told() -> None:
    class Circle(Saga[Errand, Held]):
        async def run(self, command: Errand) -> Held:
            return await self.ask("back", PLAY, Begin())

    Circle.__name__ = "Runner"

    async def story(self: Play, command: Begin) -> Held:
        return await self.ask("run", Runner.at("r"), Errand())

    Play.script = story
    async with house(actors=[*ALL, Circle]) as at:
        await at.runtime.start(Runner.at("r"), Errand())
        with pytest.raises(Parked, match=r"AskCycle|each would wait for the next"):
            await at.runtime.result(PLAY)


async def test_a_child_whose_class_is_gone_parks_its_parent() -> None:
    Play.script = asks_and_fails(long_tour)
    async with house() as at:
        await at.begin()
        DOWN.add("x")
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="enough"))
        await quiet(at.runtime)
        told.cancel()
    without = [cls for cls in ALL if cls is not Tour]
    async with house(at.journal.records, at.clock, without) as again:
        await again.passes(2)
        with pytest.raises(Parked, match="there is no actor 'Tour' here"):
            await again.runtime.result(PLAY)
        assert await again.status() == "parked"
    DOWN.clear()
    async with house(again.journal.records, at.clock) as again:
        await again.runtime.saga(PLAY).retry(by="ana", reason="it is back")
        await again.passes(5)
        with pytest.raises(Refused, match="enough"):
            await again.runtime.result(PLAY)
    nothing_stands(again.journal.records)
