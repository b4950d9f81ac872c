"""P8: what people tell a saga to do while its steps are under way on other nodes, or when they have been."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import Refused, SagaKilled
from runtime.cluster import Fate, Sent
from tests.cluster.plays import NODES, PLAY, asks_for, end_of, insist, open_all, whatever_happens
from tests.cluster.village import Village, play
from tests.runtime.cast import DOWN, Begin, BookTrip, Held, Hold, Play, Room, Trip
from tests.runtime.playing import hold, stands
from tests.runtime.telling import two_rooms
from tests.runtime.tools import of, steps_of, types_of

WHO: Any = {"by": "ana", "reason": "no guide"}
KID = Trip.at("kid")


def rooms_of(village: Village) -> dict[str, int]:
    return stands(village.journals["rooms"].records)


def nothing_stands(village: Village) -> None:
    assert end_of(village) == "saga.compensated"
    assert rooms_of(village) == {}


async def far_and_wide(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    _, held = await self.parallel(self.ask("trip", KID, BookTrip(["x", "y"])), hold(self, "b"))
    await self.sleep("nap", timedelta(seconds=30))
    return held  # type: ignore[no-any-return]


async def taken_back(village: Village, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await insist(village, lambda saga: saga.compensate(**WHO, timeout=120))


def test_a_saga_over_nodes_is_taken_back_while_it_is_under_way() -> None:
    def check(village: Village) -> None:
        nothing_stands(village)
        assert steps_of(village.journals["front"].records, PLAY, "undone")[-1] == "a"

    whatever_happens(far_and_wide, check, meanwhile=lambda village: taken_back(village, 10))


def test_a_saga_over_nodes_is_taken_back_when_it_has_completed() -> None:
    def check(village: Village) -> None:
        nothing_stands(village)
        records = village.journals["front"].records
        assert steps_of(records, PLAY, "undone") == ["b", "a"]
        assert len(of(records, "saga.completed")) == 1

    whatever_happens(two_rooms, check, meanwhile=lambda village: taken_back(village, 100))


def test_a_deadline_takes_back_what_is_under_way_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child can't go on, for one of its rooms is down; and all answers of the rooms but the first are lost."""
    monkeypatch.setattr(Play, "deadline", timedelta(seconds=10))

    async def main(village: Village) -> None:
        DOWN.add("y")
        Play.script = far_and_wide
        await open_all(village)
        front, rooms = village.runtimes["front"], village.links["rooms"]
        answers: list[int] = []

        def fate(sent: Sent) -> Fate:
            if sent.sender != rooms or b'"done"' not in sent.data or village.clock.steady() > 30e6:
                return (0.0,)
            answers.append(sent.number)
            return (0.0,) if len(answers) == 1 else ()

        village.fate = fate
        with pytest.raises(Refused, match="the deadline has passed"):
            await front.ask(PLAY, Begin())
        nothing_stands(village)
        assert types_of(village.journals["trips"].records, KID)[-1] == "saga.compensated"
        undone = steps_of(village.journals["front"].records, PLAY, "undone")
        assert (sorted(undone), undone[-1]) == (["a", "b", "trip"], "a")

    play(main, NODES)


def test_another_command_for_a_step_whose_first_one_comes_late() -> None:
    async def main(village: Village) -> None:
        Play.script = two_rooms
        await open_all(village)
        front = village.runtimes["front"]
        village.fate = lambda sent: (30.0,) if asks_for(sent, "Play/p#b") else (0.0,)
        asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
        await asyncio.sleep(1)
        await front.saga(PLAY).retry(**WHO, step="b", command=Hold("instead"))
        assert await asked == Held(1)
        await asyncio.sleep(90)
        assert (await village.runtimes["rooms"].state_of(Room.at("b"))).held == ("instead",)
        assert types_of(village.journals["rooms"].records, Room.at("b")) == ["service.fenced", "WasHeld"]
        assert steps_of(village.journals["front"].records, PLAY, "undone") == ["b#1"]

    play(main, NODES)


def test_a_step_is_skipped_while_its_node_is_away_and_undone_by_whoever_takes_the_saga_back() -> None:
    async def main(village: Village) -> None:
        Play.script = two_rooms
        await open_all(village)
        front = village.runtimes["front"]
        village.fate = lambda sent: () if asks_for(sent, "Play/p#b") else (0.0,)
        asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
        await asyncio.sleep(1)
        await front.saga(PLAY).skip("b", Held(9), **WHO)
        assert await asked == Held(9)
        village.fate = lambda _: (0.0,)
        await asyncio.sleep(90)  # the one that was skipped is sent again, and takes effect after all
        assert rooms_of(village) == {"a": 1, "b": 1}
        await front.saga(PLAY).compensate(**WHO)
        nothing_stands(village)

    play(main, NODES)


def test_a_saga_that_is_killed_leaves_what_was_done_elsewhere() -> None:
    async def main(village: Village) -> None:
        Play.script = far_and_wide
        await open_all(village)
        front = village.runtimes["front"]
        asked = asyncio.ensure_future(front.ask(PLAY, Begin()))
        await asyncio.sleep(10)
        sent = village.network.sent
        await front.saga(PLAY).kill(**WHO)
        with pytest.raises(SagaKilled, match="no guide"):
            await asked
        await asyncio.sleep(90)
        assert rooms_of(village) == {"a": 1, "b": 1, "x": 1, "y": 1}
        assert (end_of(village), village.network.sent) == ("saga.killed", sent)
        assert not of(village.journals["front"].records, "saga.undone")

    play(main, NODES)
