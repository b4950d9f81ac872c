"""Read models follow where sagas have come to, so that a trip that was taken back is not told as booked."""

from collections.abc import Iterator
from typing import Any

import pytest

from actors import (
    Meta,
    Query,
    ReadModel,
    Refused,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaQueued,
    SagaStarted,
    SagaWasKilled,
    Statement,
    sql,
)
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Held, Play, Trip, TripBooked
from tests.runtime.flowing import Go, Job, Work
from tests.runtime.playing import PLAY
from tests.runtime.tools import quiet


class Ends(Query["Ledger", list[tuple[str, str, str]]]):
    """Every line, in order: the saga's class and key, and what is told of it."""


class Ledger(ReadModel):
    schema = "create table line (actor text, key text, text text)"

    def project(
        self,
        event: TripBooked | SagaQueued | SagaStarted | SagaCompleted | SagaCompensated | SagaParked | SagaWasKilled,
        meta: Meta,
    ) -> Iterator[Statement]:
        match event:
            case SagaCompensated(reason) | SagaWasKilled(reason):
                text = f"{type(event).__name__}: {reason}"
            case SagaQueued(priority):
                text = f"SagaQueued: {priority}"
            case SagaParked(error):
                text = f"SagaParked: {error}"
            case _:
                text = type(event).__name__
        yield sql("insert into line values (?, ?, ?)", meta.actor, meta.key, text)

    async def answer(self, db: Any, query: Ends) -> list[tuple[str, str, str]]:
        async with db.execute("select * from line order by rowid") as rows:
            return [tuple(row) for row in await rows.fetchall()]


async def test_a_trip_that_was_taken_back_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(self: Play, command: Begin) -> Held:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Play, "script", breaks)
    async with Runtime("memory:", [*ALL, Ledger], clock=ManualClock()) as runtime:
        await runtime.ask(Trip.at("a"), BookTrip(["r"]))
        await runtime.saga(Trip.at("a")).compensate(by="ana", reason="she is ill")
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("b"), BookTrip(["full"]))
        await runtime.start(PLAY, Begin())
        await quiet(runtime)
        await runtime.saga(PLAY).kill(by="bob", reason="it is broken")
        lines = await runtime.ask(Ledger.at(), Ends(), consistent=True)
    assert lines == [
        ("Trip", "a", "SagaStarted"),
        ("Trip", "a", "SagaCompleted"),
        ("Trip", "a", "TripBooked"),
        ("Trip", "a", "SagaCompensated: she is ill"),
        ("Trip", "b", "SagaStarted"),
        ("Trip", "b", "SagaCompensated: full is full"),
        ("Play", "p", "SagaStarted"),
        ("Play", "p", "SagaParked: ZeroDivisionError: a bug"),
        ("Play", "p", "SagaWasKilled: it is broken"),
    ]


async def test_one_that_waits_for_its_place_is_told_so() -> None:
    async with Runtime("memory:", [*ALL, Job, Ledger], clock=ManualClock()) as runtime:
        for key, priority in (("a", 0), ("b", 0), ("c", 7)):
            await runtime.start(Job.at(key), Work(priority=priority))
        await runtime.ask(Job.at("a"), Go())
        await runtime.ask(Job.at("b"), Go())
        await quiet(runtime)
        lines = await runtime.ask(Ledger.at(), Ends(), consistent=True)
    assert [text for _, key, text in lines if key == "c"] == ["SagaQueued: 7", "SagaStarted"]
    assert [text for _, key, text in lines if key == "a"] == ["SagaStarted", "SagaCompleted"]
