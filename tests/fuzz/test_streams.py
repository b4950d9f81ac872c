"""An event that was altered, and its checksum made right again: who reads it says so, or is parked."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Address
from persistence import Record
from runtime import ManualClock, Runtime, check_journal
from runtime.timeline import diagram, timeline
from tests.fuzz.forging import ENOUGH, Forgery, all_answered, collected, forged, journal_of, nothing_fails_unseen, told
from tests.fuzz.mutations import examples
from tests.runtime.cast import ALL, Hold, Look, Room, Trip
from tests.runtime.reminding import BELL, Bell, Wind, strike
from tests.runtime.tools import HeldJournal, quiet
from tests.runtime.voyage import ACTORS, VOYAGE, Aboard, Sail, Voyage

EVERYBODY: list[type] = list(dict.fromkeys([*ALL, *ACTORS, Bell]))
ROOM, OPEN = Room.at("r"), Voyage.at("open")
ADDRESSES: list[Address[Any]] = [ROOM, BELL, VOYAGE, OPEN, Trip.at("v trip"), Room.at("cabin")]


async def _write() -> list[Record]:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await runtime.ask(ROOM, Hold("t"), id="c1")
        await runtime.ask(BELL, Wind("x", (strike("soon", 5), strike("often", 3, every=7), strike("late", 90_000))))
        await runtime.start(VOYAGE, Sail("full bunk"))
        await quiet(runtime)
        await runtime.ask(VOYAGE, Aboard("ana"), id="aboard")
        for _ in range(60):
            clock.advance(1)
            await quiet(runtime)
        await runtime.start(OPEN, Sail())
        await quiet(runtime)
    return journal.records


@cache
def written() -> tuple[Record, ...]:
    return tuple(asyncio.run(_write()))


async def run_on(records: Sequence[Record]) -> None:
    """Go on with a journal, and ask everybody for everything."""
    clock = ManualClock(records[-1].time + 1)
    async with Runtime(journal_of(records), EVERYBODY, clock=clock, shutdown_timeout=ENOUGH) as runtime:
        for address in ADDRESSES:
            await told(runtime.progress_of(address))
            await told(runtime.plan_of(address))
            await told(runtime.state_of(address))
            await told(collected(runtime.history(address)))
            await told(collected(timeline(journal_of(records), address)))
            await told(diagram(journal_of(records), address))
        await told(collected(runtime.sagas()))
        asked: list[Any] = [
            runtime.ask(ROOM, Look()),
            runtime.ask(ROOM, Hold("t"), id="c1"),
            runtime.ask(BELL, Wind("y")),
            runtime.ask(Room.at("cabin"), Look()),
            runtime.ask(VOYAGE, Aboard("ben")),
            runtime.reminders(BELL),
        ]
        sagas = [asyncio.ensure_future(told(runtime.result(address))) for address in (VOYAGE, OPEN)]
        await all_answered(runtime, clock, asked)
        for one in sagas:
            if one.done():
                one.result()
            one.cancel()


@given(st.deferred(lambda: forged(written())))
@examples(40, slow=20)
def test_a_runtime_parks_who_can_not_go_on_and_answers_everybody(
    caplog: pytest.LogCaptureFixture, forgery: Forgery
) -> None:
    with nothing_fails_unseen(caplog):
        asyncio.run(run_on(forgery.records))


@given(st.deferred(lambda: forged(written())))
@examples(60, slow=5)
def test_a_check_tells_what_would_not_load(forgery: Forgery) -> None:
    asyncio.run(told(check_journal(journal_of(forgery.records), EVERYBODY, ended=True)))
