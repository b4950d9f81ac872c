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
    SagaStarted,
    SagaWasKilled,
    Statement,
    sql,
)
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Held, Play, Trip, TripBooked
from tests.runtime.playing import PLAY
from tests.runtime.tools import quiet


class Ends(Query["Ledger", list[tuple[str, str, str]]]):
    """Every line, in order: the saga's class and key, and what is told of it."""


class Ledger(ReadModel):
    schema = "create table line (actor text, key text, text text)"

    def project(
        self,
        event: TripBooked | SagaStarted | SagaCompleted | SagaCompensated | SagaParked | SagaWasKilled,
        meta: Meta,
    ) -> Iterator[Statement]:
        match event:
            case SagaCompensated(reason) | SagaWasKilled(reason):
                text = f"{type(event).__name__}: {reason}"
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
