"""How read models and subscribers get on: lag in events and seconds, rate, errors, and slow code named in the log."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Meta, Query, ReadModel, RetryPolicy, Statement, Subscriber, sql
from runtime import ManualClock, Runtime
from runtime.progress import SLOT, SLOTS, WINDOW, Meter, Progress
from tests.runtime.cast import Room, WasHeld
from tests.runtime.subscribing import in_time, tell
from tests.runtime.tools import HeldJournal, comes, node_of, restart_of

# -- the meter ----------------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_last_minute() -> None:
    now = 0
    meter = Meter(lambda: now)
    assert meter.rate() == 0
    meter.add(50)
    assert meter.rate() == 10  # as if in one slot: a moment is no measure
    now = 30_000_000
    meter.add(100)
    assert meter.rate() == 5
    now = 59_000_000
    assert meter.rate() == pytest.approx(150 / 59)
    now = 80_000_000
    assert meter.rate() == pytest.approx(100 / (80 - 25))  # the first 50 are older than the window
    now = 10 * WINDOW * 1_000_000
    assert meter.rate() == 0
    meter.add(1)
    assert meter.rate() > 0


def test_the_meter_keeps_what_it_counts_in_any_rhythm() -> None:
    for pause in (1, SLOT // 3, SLOT, SLOT + 1, SLOT * SLOTS - 1, SLOT * SLOTS, 7 * SLOT * SLOTS):
        now = 0
        meter, times = Meter(lambda: now), list[int]()  # noqa: B023 (it is meant to see the time)
        for _ in range(100):
            now += pause
            meter.add(1)
            times.append(now)
            begin = max((now // SLOT - SLOTS + 1) * SLOT, 0)
            there = sum(time >= begin for time in times)
            assert meter.rate() == pytest.approx(there * 1e6 / max(now - begin, SLOT))


def test_the_age_is_that_of_the_oldest_that_is_known() -> None:
    progress = Progress(lambda: 0, lambda: 10_000_000)
    assert progress.age() == 0.0
    progress.done(1, 2_000_000)
    assert progress.age() == 8.0  # the next one is no older than this
    assert progress.age(waiting=5_000_000) == 5.0
    progress.took(6_000_000)
    assert progress.age(waiting=7_000_000) == 4.0
    progress.took(11_000_000)
    assert progress.age() == 0.0  # a clock that was set back makes no negative age


# -- read models --------------------------------------------------------------------------------------------------


class Kept(Query["Slow", int]):
    pass


class Slow(ReadModel):
    """Takes as long as the test says."""

    schema = "create table slow (trip text)"
    retry = RetryPolicy(budget=timedelta(0))
    takes: ClassVar[Callable[[str], None]]

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        type(self).takes(event.trip)
        yield sql("insert into slow values (?)", event.trip)

    async def answer(self, db: Any, query: Kept) -> int:
        async with db.execute("select count(*) from slow") as rows:
            return int((await rows.fetchone())[0])


def no_time(trip: str) -> None: ...


async def test_a_read_model_says_how_late_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "takes", no_time, raising=False)
    clock = ManualClock()
    async with Runtime("memory:", [Room, Slow], clock=clock) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Slow.at())
        clock.advance(100)
        stats = runtime.stats().read_models["Slow"]
        assert (stats.lag, stats.lag_seconds, stats.last_error) == (0, 0.0, None)
        assert stats.rate == pytest.approx(0)
        view, apply = node_of(runtime).projectors["Slow"].view, node_of(runtime).projectors["Slow"].view.apply
        gate = asyncio.Event()

        async def held(*args: Any, **how: Any) -> None:
            await gate.wait()
            await apply(*args, **how)

        monkeypatch.setattr(view, "apply", held)
        await tell(runtime, "a2")
        clock.advance(7)
        await tell(runtime, "a3")
        clock.advance(5)
        stats = runtime.stats().read_models["Slow"]
        assert (stats.lag, stats.lag_seconds) == (2, 12.0)
        gate.set()
        await runtime.caught_up(Slow.at())
        stats = runtime.stats().read_models["Slow"]
        assert (stats.lag, stats.lag_seconds) == (0, 0.0)
        assert stats.rate > 0


async def test_one_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(trip: str) -> None:
        raise ValueError(f"{trip} is bad")

    monkeypatch.setattr(Slow, "takes", fails, raising=False)
    async with Runtime("memory:", [Room, Slow], clock=ManualClock()) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Slow.at())
        stats = runtime.stats().read_models["Slow"]
        assert (stats.last_error, stats.failures, stats.set_aside) == ("ValueError: a1 is bad", 1, 1)


async def test_one_that_is_parked_grows_older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "parked_limit", 0)

    def fails(trip: str) -> None:
        raise ValueError(trip)

    monkeypatch.setattr(Slow, "takes", fails, raising=False)
    clock = ManualClock()
    async with Runtime("memory:", [Room, Slow], clock=clock) as runtime:
        await tell(runtime, "a1")
        await comes(runtime.parked)
        clock.advance(60)
        assert runtime.stats().read_models["Slow"].lag_seconds == 60.0


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "slow turn" in record.getMessage()]


async def test_a_projection_that_blocks_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    clock = ManualClock()

    def takes(trip: str) -> None:
        clock.advance(0.5 if trip == "a2" else 0.04)

    monkeypatch.setattr(Slow, "takes", takes, raising=False)
    journal = HeldJournal()
    async with Runtime(journal, [Room]) as runtime:
        await tell(runtime, *(f"a{n}" for n in range(5)))
    async with Runtime(restart_of(journal.records), [Room, Slow], clock=clock) as runtime:
        await runtime.caught_up(Slow.at())
        (line,) = told(caplog)
        assert "message='5 events up to WasHeld at position 5'" in line
        assert "seconds=0.66" in line
        caplog.clear()
        await tell(runtime, "b1")
        await runtime.caught_up(Slow.at())
        assert told(caplog) == []
        clock.advance(60)
        await tell(runtime, "a2")
        await runtime.caught_up(Slow.at())
    (line,) = told(caplog)
    assert "actor='Slow'" in line
    assert "message='WasHeld at position 7'" in line
    assert "seconds=0.5" in line


async def test_a_handler_that_blocks_is_named_and_one_that_waits_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = ManualClock()
    done = list[str]()

    class Blocks(Subscriber):
        since = "beginning"
        time_limit = None

        async def handle(self, event: WasHeld, meta: Meta) -> None:
            if event.trip == "a1":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            else:
                clock.advance(0.3)
            done.append(event.trip)

    async with Runtime("memory:", [Room, Blocks], clock=clock) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Blocks.at())
        assert told(caplog) == []
        await tell(runtime, "a2")
        await in_time(clock, lambda: done == ["a1", "a2"])
    (line,) = told(caplog)
    assert "actor='Blocks'" in line
