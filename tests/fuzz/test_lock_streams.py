"""Streams with locks and of schedules of which one event was altered; ``test_streams`` has it of others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Address
from persistence import Record
from runtime import ManualClock, Runtime, check_journal
from tests.fuzz.forging import (
    ENOUGH,
    SECONDS,
    Forgery,
    all_answered,
    collected,
    forged,
    journal_of,
    nothing_fails_unseen,
    told,
)
from tests.fuzz.mutations import examples
from tests.runtime import locking, scheduling
from tests.runtime.cast import Begin, Play, Room
from tests.runtime.locking import Queued, Tale, Tell, Write
from tests.runtime.tools import HeldJournal, quiet


class Work(NamedTuple):
    """What is written, and what is asked of a journal in which some of it was altered."""

    actors: Sequence[type]
    begin: Callable[[Runtime, ManualClock], Awaitable[None]]
    addresses: Sequence[Address[Any]]
    asks: Callable[[Runtime], list[Awaitable[Any]]]


async def _lock(runtime: Runtime, clock: ManualClock) -> None:
    """One tale is told, one goes back, one waits for its lock, and one for the times to pass."""
    for key, tell in {
        "a": Tell(["p"]),
        "b": Tell(["p", "q"], ends="badly"),
        "c": Tell(["p", "q"], nap=90.0),
        "d": Tell(["q", "p"], nap=90.0),
        "e": Tell(["p"]),
    }.items():
        await runtime.start(Tale.at(key), tell)
        await quiet(runtime)
    clock.advance(1)
    await quiet(runtime)


def _asks_locks(runtime: Runtime) -> list[Awaitable[Any]]:
    return [
        *(runtime.locks(Queued.at(key)) for key in "pq"),
        *(runtime.ask(Queued.at(key), Write("one new", "me"), timeout=SECONDS / 2) for key in "pq"),
        runtime.saga(Tale.at("c")).compensate(by="ana", reason="she wants it", timeout=SECONDS / 2),
        runtime.saga(Tale.at("d")).kill(by="ana", reason="she wants it"),
    ]


async def _schedule(runtime: Runtime, clock: ManualClock) -> None:
    """One queues, one cancels the run before, one is paused, one comes once; some runs are under way."""
    every = timedelta(seconds=20)
    await runtime.schedule("queue", Play, Begin("x"), every=every, overlap="queue", catch_up=3)
    await runtime.schedule("cancel", Play, Begin("y"), every=every * 2, overlap="cancel")
    await runtime.schedule("paused", Play, Begin("z"), every=every)
    await runtime.schedule("once", Play, Begin("o"), at=scheduling.after(10))
    await runtime.pause_schedule("paused")
    for _ in range(8):
        clock.advance(10)
        await quiet(runtime)


def _asks_schedules(runtime: Runtime) -> list[Awaitable[Any]]:
    return [
        runtime.schedules(),
        runtime.resume_schedule("paused"),
        runtime.pause_schedule("queue"),
        runtime.schedule("cancel", Play, Begin("again"), every=timedelta(seconds=30)),
        runtime.unschedule("once"),
    ]


WORKS = {
    "locks": Work(
        locking.ALL, _lock, [Queued.at("p"), Queued.at("q"), *(Tale.at(key) for key in "abcde")], _asks_locks
    ),
    "schedules": Work(
        [Play, Room],
        _schedule,
        [*(Address("runtime.schedules", name) for name in ("queue", "cancel", "paused", "once")), Room.at("r")],
        _asks_schedules,
    ),
}


@pytest.fixture(autouse=True)
def runs_last() -> None:
    scheduling.lasts(50)


@cache
def written(name: str) -> tuple[Record, ...]:
    """Return the journal of a work."""

    async def write() -> list[Record]:
        journal, clock = HeldJournal(), ManualClock()
        async with Runtime(journal, WORKS[name].actors, clock=clock) as runtime:
            await WORKS[name].begin(runtime, clock)
        return journal.records

    return tuple(asyncio.run(write()))


async def run_on(work: Work, records: Sequence[Record]) -> None:
    """Go on with a journal, and ask for everything."""
    clock = ManualClock(records[-1].time + 1)
    async with Runtime(journal_of(records), work.actors, clock=clock, shutdown_timeout=ENOUGH) as runtime:
        for address in work.addresses:
            await told(runtime.progress_of(address))
            await told(runtime.state_of(address))
            await told(collected(runtime.history(address)))
        await all_answered(runtime, clock, work.asks(runtime))


@pytest.mark.parametrize("name", WORKS)
@given(data=st.data())
@examples(25, slow=20)
def test_a_runtime_parks_who_can_not_go_on_and_answers_everybody(
    caplog: pytest.LogCaptureFixture, name: str, data: st.DataObject
) -> None:
    forgery: Forgery = data.draw(forged(written(name)))
    with nothing_fails_unseen(caplog):
        asyncio.run(run_on(WORKS[name], forgery.records))


@pytest.mark.parametrize("name", WORKS)
@given(data=st.data())
@examples(25, slow=5)
def test_a_check_tells_what_would_not_load(name: str, data: st.DataObject) -> None:
    forgery: Forgery = data.draw(forged(written(name)))
    asyncio.run(told(check_journal(journal_of(forgery.records), WORKS[name].actors, ended=True)))
