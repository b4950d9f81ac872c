"""P8: a saga whose child is parked waits for it, on no budget; and children that are asked behind the pivot."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import Parked, Refused, RetryPolicy
from persistence import Record
from tests.runtime.cast import DOWN, Account, Begin, BookTrip, Desk, Held, Hold, Note, Play, Room, Trip, Withdraw
from tests.runtime.playing import PLAY, House, from_every_prefix, hold, house, stands
from tests.runtime.tools import content, of, quiet, steps_of, types_of

TRIP = Trip.at("kid")
MINUTES = [1, 3, 7, 15, 31, 63, 123, 183]
"""How long after a child was parked its parent asks again."""

pytestmark = pytest.mark.usefixtures("no_deadline")


async def asks(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.ask("trip", TRIP, BookTrip(["x", "y"]))
    return await hold(self, command.line or "b")  # type: ignore[no-any-return]


async def parked(at: House) -> "asyncio.Task[Held]":
    """Have the child parked, and its parent wait."""
    DOWN.add("y")
    asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
    await at.passes(64)
    assert (await at.runtime.progress_of(TRIP)).status == "parked"
    assert await at.status() == "running"
    return asked


def failures(records: list[Record]) -> list[float]:
    """Return when the parent found its child parked, in minutes from the first time."""
    times = [record.time / 6e7 for record in of(records, "saga.failed") if record.stream == ("Play", "p")]
    return [round(time - times[0]) for time in times]


def why(records: list[Record]) -> str:
    """Return why the parent's step failed last."""
    told: str = content([record for record in of(records, "saga.failed") if record.stream == ("Play", "p")][-1])[
        "error"
    ]
    return told


async def test_it_waits_as_long_as_it_takes_and_goes_on_by_itself() -> None:
    Play.script = asks
    async with house() as at:
        asked = await parked(at)
        await at.passes(190 * 60, step=60)
        assert failures(at.journal.records) == [0, *MINUTES]
        assert await at.status() == "running"
        assert why(at.journal.records).startswith("Parked: Trip/kid is parked")
        assert [one.saga async for one in at.runtime.sagas(status="parked")] == [TRIP]
        DOWN.clear()
        await at.runtime.saga(TRIP).retry(by="ana", reason="mended")
        assert (await at.runtime.progress_of(TRIP)).status == "completed"
        await at.passes(3_600, step=60)
        assert await asked == Held(1)
    assert stands(at.journal.records) == {"a": 1, "x": 1, "y": 1, "b": 1}


async def test_who_is_told_to_retry_asks_at_once() -> None:
    Play.script = asks
    async with house() as at:
        asked = await parked(at)
        await at.passes(1_200, step=60)
        DOWN.clear()
        await at.runtime.saga(TRIP).retry(by="ana", reason="mended")
        await at.runtime.saga(PLAY).retry(by="ana", reason="mended")
        assert await asked == Held(1)


async def test_its_budget_begins_anew_behind_it() -> None:
    """The child is under way again, and takes longer than the parent waits for an answer: that is a failure as any."""

    async def in_haste(self: Play, command: Begin) -> Held:
        await self.ask("trip", TRIP, BookTrip(["x", "y"]), timeout=timedelta(seconds=30))
        return Held(1)

    Play.script = in_haste
    async with house() as at:
        DOWN.add("y")
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(32 * 60)
        assert (await at.runtime.progress_of(TRIP)).status == "parked"
        pauses = failures(at.journal.records)
        assert pauses[-1] > 10
        while failures(at.journal.records) == pauses:
            await at.runtime.saga(TRIP).retry(by="ana", reason="let's see")  # it fails, and is not parked
            await at.passes(30)
        assert await at.status() == "running"
        assert why(at.journal.records).startswith("OutcomeUnknown: no reply to step 'trip' in time")
        DOWN.clear()
        await at.passes(60)
        assert await asked == Held(1)


async def test_with_a_policy_that_says_so_it_is_parked_with_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "retry", RetryPolicy(final=(Parked,)))
    Play.script = asks
    async with house() as at:
        DOWN.add("y")
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(64)
        assert await at.status() == "parked"
        with pytest.raises(Parked, match="step 'trip' was given up as no retry can help: Trip/kid is parked"):
            await asked


async def test_for_a_plain_actor_that_is_parked_it_waits_no_longer_than_for_any_other_failure() -> None:
    async def breaks(desk: Desk, note: Note) -> str:
        raise ValueError("out of ink")

    async def notes(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at("d"), Note("x"))
        return Held(1)

    Desk.script, Play.script = breaks, notes
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(70)
        assert [one for one in of(at.journal.records, "saga.failed") if b"Parked: Desk/d is parked" in one.data]
        assert await at.status() == "parked"
        with pytest.raises(Parked, match=r"step 'note' was given up after \d+ failures in 0:01:00"):
            await asked


async def test_its_undo_waits_too_where_the_child_is_parked_on_its_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "undo_retry", RetryPolicy(budget=timedelta(minutes=2)))
    Play.script = asks
    async with house() as at:
        await at.begin()
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(2)
        assert await asked == Held(1)
        DOWN.add("y")
        back = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="rain"))
        await at.passes(64)
        assert (await at.runtime.progress_of(TRIP)).status == "parked"
        await at.passes(1_800, step=60)
        assert await at.status() == "compensating"
        DOWN.clear()
        await at.runtime.saga(TRIP).retry(by="ana", reason="mended")
        await at.passes(3_600, step=60)
        await back
        with pytest.raises(Refused, match="rain"):
            await at.runtime.result(PLAY)
    assert stands(at.journal.records) == {}


async def test_every_prefix_goes_on_when_the_child_is_dealt_with() -> None:
    Play.script = asks

    async def play(at: House) -> None:
        await at.begin()
        for _ in range(4):
            await at.passes(70)
            if (await at.runtime.progress_of(TRIP)).status == "parked":
                DOWN.clear()
                await at.runtime.saga(TRIP).retry(by="ana", reason="mended")
        DOWN.clear()
        await at.passes(1_200, step=60)

    async with house() as at:
        DOWN.add("y")
        await play(at)
    first = at.journal.records
    assert types_of(first, PLAY)[-1] == "saga.completed"

    def check(records: Any) -> None:
        assert types_of(records, PLAY)[-1:] in ([], ["saga.completed"])
        assert set(stands(records).values()) <= {1}

    await from_every_prefix(first, play, check)


async def test_behind_the_pivot_a_child_that_loses_a_race_is_left_as_it_is() -> None:
    """There is only forward: what was asked there has no undo."""

    async def races(self: Play, command: Begin) -> Held:
        await self.pivot("pay", Account.at("ana"), Withdraw(10))
        word = await self.select(
            self.ask("trip", TRIP, BookTrip(["x", "y"])), self.ask("b", Room.at("b"), Hold(self.key))
        )
        assert word.name == "b"
        return Held(1)

    Play.script = races
    DOWN.add("x")
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(2)
        assert await asked == Held(1)
        DOWN.clear()
        await at.passes(10)
        await quiet(at.runtime)
        assert (await at.runtime.result(TRIP)).rooms == ["x", "y"]
    assert steps_of(at.journal.records, PLAY, "undone") == []
    assert types_of(at.journal.records, TRIP)[-2:] == ["saga.completed", "TripBooked"]
