"""P2, P3, P8: whatever prefix of the journal a crash leaves, the runtime goes on from it and brings all to its end."""

import asyncio
from datetime import timedelta

import pytest

from actors import Refused, RetryPolicy
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.cast import ALL, DOWN, BookTrip, TakeTour, Tour, Trip
from tests.runtime.tools import HeldJournal, as_stored, check_books, quiet, restart_of

TRIPS = {
    "fine": BookTrip(["flight", "hotel", "cab"]),
    "full": BookTrip(["flight", "hotel", "full"]),
    "none": BookTrip(["full"]),
}
TOURS = {
    "at once": TakeTour(["flight", "hotel", "cab"], "ana"),
    "one full": TakeTour(["flight", "full", "cab", "full too"], "ana"),
    "poor": TakeTour(["flight", "hotel"], "ana", nap=30.0),
    "naps": TakeTour(["hotel"], "ana", nap=60.0),
}


async def start_all(runtime: Runtime, clock: ManualClock, names: list[str]) -> None:
    """Begin the sagas, all at once, and let time pass until the last has ended."""
    asked = [
        asyncio.create_task(
            runtime.ask(Trip.at(name), TRIPS[name]) if name in TRIPS else runtime.ask(Tour.at(name), TOURS[name])
        )
        for name in names
    ]
    await end_all(runtime, clock)
    for result in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(result, Refused) or not isinstance(result, BaseException), result


async def end_all(runtime: Runtime, clock: ManualClock) -> None:
    for _ in range(40):
        await quiet(runtime)
        if not await runtime.unfinished():
            return
        clock.advance(10)
    raise AssertionError(f"still unfinished: {await runtime.unfinished()}")


async def run_from(records: list[Record], names: list[str], kill: float = 0.0, seed: int = 0) -> list[Record]:
    """Restart from these records, let all come to its end, ask for everything again, and return the journal."""
    journal, clock = restart_of(records), ManualClock()
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)
    chaos = Chaos(seed, kill) if kill else None
    async with Runtime(journal, ALL, clock=clock, chaos=chaos) as runtime:
        await end_all(runtime, clock)
        await start_all(runtime, clock, names)
    return journal.records


RUNS = [
    ["fine"],
    ["full"],
    ["none"],
    ["at once"],
    ["one full"],
    ["naps"],
    ["fine", "full", "none", "at once", "one full"],
    [*TRIPS, *TOURS],
]


@pytest.mark.parametrize("names", RUNS, ids="+".join)
async def test_every_prefix_is_brought_to_its_end(names: list[str]) -> None:
    first = await run_from([], names)
    check_books(first)
    for crash in range(len(first)):
        again = await run_from(first[:crash], names)
        check_books(again)
        assert as_stored(again[:crash]) == as_stored(first[:crash])


async def test_every_prefix_of_a_recovery_too() -> None:
    """A crash while the runtime recovers from a crash."""
    names = ["full", "one full"]
    first = await run_from([], names)
    second = await run_from(first[: len(first) // 2], names)
    for crash in range(len(first) // 2, len(second)):
        third = await run_from(second[:crash], names)
        check_books(third)
        assert as_stored(third[:crash]) == as_stored(second[:crash])


async def test_every_prefix_where_steps_fail_for_a_while() -> None:
    journal, clock = HeldJournal(), ManualClock()
    DOWN.update(("cab", "hotel"))
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Tour.at("at once"), TOURS["at once"]))
        late = asyncio.create_task(runtime.ask(Trip.at("full"), TRIPS["full"]))
        for _ in range(4):
            await quiet(runtime)
            clock.advance(1)
        DOWN.clear()
        await end_all(runtime, clock)
        await asked
        with pytest.raises(Refused, match="full is full"):
            await late
    check_books(journal.records)
    assert any(record.type == "saga.failed" for record in journal.records)
    for crash in range(len(journal.records)):
        again = await run_from(journal.records[:crash], ["at once", "full"])
        check_books(again)
        assert as_stored(again[:crash]) == as_stored(journal.records[:crash])


async def test_every_prefix_where_the_deadline_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trip, "retry", RetryPolicy(budget=timedelta(hours=1)))
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("hotel")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Trip.at("fine"), TRIPS["fine"]))
        await end_all(runtime, clock)
        with pytest.raises(Refused, match="deadline"):
            await asked
    DOWN.clear()
    check_books(journal.records)
    assert any(record.type == "service.fenced" for record in journal.records)
    for crash in range(len(journal.records)):
        check_books(await run_from(journal.records[:crash], ["fine"]))
