"""P8, P9 between nodes: undos that overtake what they undo, and children that went their own ways."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from actors import Parked, Refused
from runtime.cluster import Fate, Sent
from tests.cluster.plays import NODES, PLAY, asks_for, end_of, open_all
from tests.cluster.village import Nodes, Village, play
from tests.runtime.cast import DOWN, Account, Begin, BookTrip, Held, Play, Room, TakeTour, Tour, Trip
from tests.runtime.playing import hold, stands
from tests.runtime.tools import of, types_of

WHO: Any = {"by": "ana", "reason": "too slow"}
KID = Trip.at("kid")


def held_up(village: Village, request: str, seconds: float) -> Callable[[Sent], Fate]:
    """Let the first copy of a request come so many seconds late, and no other one as long as that is under way."""
    copies: list[int] = []
    until = village.clock.steady() + seconds * 1e6

    def fate(sent: Sent) -> Fate:
        if not asks_for(sent, request) or village.clock.steady() > until:
            return (0.0,)
        copies.append(sent.number)
        return (seconds,) if len(copies) == 1 else ()

    return fate


async def compensated_meanwhile(village: Village, request: str) -> None:
    """Start the play, with a request of its held up, and have the saga go back before that has come."""
    front = village.runtimes["front"]
    village.fate = held_up(village, request, 30)
    asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
    await asyncio.sleep(1)
    await front.saga(PLAY).compensate(**WHO)
    with pytest.raises(Refused, match="too slow"):
        await asked
    assert village.clock.steady() < 10e6
    await asyncio.sleep(90)
    assert end_of(village) == "saga.compensated"


def test_an_undo_that_overtakes_its_step_wins() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        return await hold(self, "b")  # type: ignore[no-any-return]

    async def main(village: Village) -> None:
        Play.script = story
        await open_all(village)
        await compensated_meanwhile(village, "Play/p#b")
        records = village.journals["rooms"].records
        assert stands(records) == {}
        assert types_of(records, Room.at("b")) == ["service.fenced"]

    play(main, NODES)


async def asks_a_trip(self: Play, command: Begin) -> Held:
    await self.ask("trip", KID, BookTrip(["x", "y"]))
    return await hold(self, "full")  # type: ignore[no-any-return]


def test_a_child_whose_undo_overtakes_its_start_never_starts() -> None:
    async def main(village: Village) -> None:
        Play.script = asks_a_trip
        await open_all(village)
        await compensated_meanwhile(village, "Play/p#trip")
        trips = village.journals["trips"].records
        assert types_of(trips, KID) == ["saga.compensating", "saga.compensated"]
        assert stands(village.journals["rooms"].records) == {}
        with pytest.raises(Refused, match="too slow"):
            await village.runtimes["front"].ask(KID, BookTrip(["x", "y"]))

    play(main, NODES)


def test_a_child_whose_node_was_away_until_the_deadline_never_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", timedelta(seconds=10))

    async def main(village: Village) -> None:
        Play.script = asks_a_trip
        await village.start("rooms")
        await village.start("front")
        asked = asyncio.ensure_future(village.runtimes["front"].ask(PLAY, Begin()))
        await asyncio.sleep(20)
        await village.start("trips")
        with pytest.raises(Refused, match="the deadline has passed"):
            await asked
        assert types_of(village.journals["trips"].records, KID) == ["saga.compensating", "saga.compensated"]

    play(main, NODES)


def test_a_child_that_is_parked_on_its_way_back_is_left_to_a_person() -> None:
    async def main(village: Village) -> None:
        Play.script = asks_a_trip
        await open_all(village)
        front, trips = village.runtimes["front"], village.runtimes["trips"]
        DOWN.add("y")
        asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
        await asyncio.sleep(1)
        DOWN.add("x")  # when it is held
        told = asyncio.ensure_future(front.saga(PLAY).compensate(**WHO))
        await asyncio.sleep(900)
        assert (await trips.progress_of(KID)).status == "parked"
        assert (await front.progress_of(PLAY)).status == "compensating"
        assert not of(village.journals["trips"].records, "saga.retried")
        DOWN.clear()
        await trips.saga(KID).retry(by="ana", reason="the rooms are open again")
        with pytest.raises(Refused, match="too slow"):
            await asked
        await told
        assert stands(village.journals["rooms"].records) == {}

    play(main, NODES)


TOURS: Nodes = {"rooms": ([Room], []), "tours": ([Tour, Account], [Room]), "front": ([Play], [Room, Tour])}


def tour(nap: float = 0.0) -> Callable[[Any, Begin], Awaitable[Held]]:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("tour", Tour.at("kid"), TakeTour(["x"], "ana", nap))
        return await hold(self, "full")  # type: ignore[no-any-return]

    return story


def test_a_child_past_its_pivot_stays_and_parks_its_parent() -> None:
    async def main(village: Village) -> None:
        Play.script = tour()
        await open_all(village)
        front = village.runtimes["front"]
        with pytest.raises(Parked, match=r"the undo of step 'tour' was refused \(Tour/kid is past its pivot"):
            await front.ask(PLAY, Begin())
        await front.saga(PLAY).skip("tour", **WHO)
        with pytest.raises(Refused, match="full"):
            await front.result(PLAY)
        assert stands(village.journals["rooms"].records) == {"x": 1}

    play(main, TOURS)


def test_a_child_that_was_killed_parks_its_parent_at_once_and_names_it() -> None:
    async def main(village: Village) -> None:
        Play.script = tour(nap=3600)
        await open_all(village)
        asked = asyncio.ensure_future(village.runtimes["front"].ask(PLAY, Begin()))
        await asyncio.sleep(1)
        await village.runtimes["tours"].saga(Tour.at("kid")).kill(by="ana", reason="a bad tour")
        with pytest.raises(Parked, match="step 'tour' was given up as no retry can help: Tour/kid was ended by ana"):
            await asked

    play(main, TOURS)


def test_a_child_that_is_parked_does_not_park_its_parent() -> None:
    async def main(village: Village) -> None:
        async def story(self: Play, command: Begin) -> Held:
            await self.ask("trip", KID, BookTrip(["x"]))
            return Held(1)

        Play.script = story
        await open_all(village)
        front, trips = village.runtimes["front"], village.runtimes["trips"]
        DOWN.add("x")
        asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
        await asyncio.sleep(200)
        assert (await trips.progress_of(KID)).status == "parked"
        assert (await front.progress_of(PLAY)).status == "running"
        DOWN.clear()
        await trips.saga(KID).retry(by="ana", reason="the rooms are open again")
        assert await asked == Held(1)

    play(main, NODES)
