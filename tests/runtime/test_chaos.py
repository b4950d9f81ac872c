"""P3, P4, P8, P10: with every sort of chaos the books hold; and where no program asks for it there is none."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import Backoff, OutcomeUnknown, Refused, RetryPolicy
from demos import orders, trip
from demos.orders import load as orders_load
from demos.page import Page
from demos.trip import load as trip_load
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from runtime.chaos import Rate
from runtime.dispatcher import Dispatcher
from tests.runtime.cast import ALL, Account, BookTrip, Deposit, Hold, Look, Room, Tour, Trip
from tests.runtime.test_order import by_sender
from tests.runtime.test_prefixes import TOURS, TRIPS, start_all
from tests.runtime.tools import HeldJournal, check_books, check_once, comes, content, node_of, of, types_of

SOON = 0.002
"""Seconds: long enough for others to get their turns meanwhile."""
FAST = Backoff(timedelta(seconds=1), cap=timedelta(seconds=1), jitter=0.0)
SORTS: dict[str, dict[str, Any]] = {
    "kill": {"kill": 0.2},
    "delay": {"delay": 0.4},
    "lose": {"lose_replies": 0.3},
    "all": {"kill": 0.1, "delay": 0.2, "lose_replies": 0.2},
    "by class": {"delay": {Room: 0.5, Trip: 0.1}, "lose_replies": {Room: 0.4}},
}


def chaos_of(sort: str, seed: int) -> Chaos:
    return Chaos(seed, longest_delay=SOON, **SORTS[sort])


async def play(chaos: Chaos) -> list[Record]:
    """Let the sagas of the tests' cast run under chaos, and return the journal."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock, chaos=chaos) as runtime:
        await start_all(runtime, clock, [*TRIPS, *TOURS])
    return journal.records


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("seed", range(6))
async def test_the_books_hold(sort: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for saga in (Trip, Tour):
        for policy in ("retry", "undo_retry"):  # chance may lose many replies in a row
            monkeypatch.setattr(saga, policy, RetryPolicy(FAST, budget=timedelta(days=1)))
    chaos = chaos_of(sort, seed)
    records = await play(chaos)
    check_books(records)
    done = {"kill": chaos.kills, "delay": chaos.delays, "lose_replies": chaos.lost_replies}
    for what in done:
        assert (done[what] > 0) == (what in SORTS[sort]), f"{chaos}: {done}"
    assert ("saga.failed" in {record.type for record in records}) == bool(chaos.lost_replies), str(chaos)
    assert "saga.completed" in types_of(records, Trip.at("fine")), str(chaos)
    assert "saga.compensated" in types_of(records, Trip.at("full")), str(chaos)


@pytest.mark.parametrize("sort", SORTS)
async def test_the_books_of_the_trips_hold(sort: str, tmp_path: Path) -> None:
    chaos = Chaos(7, longest_delay=SOON, **dict.fromkeys(SORTS[sort], 0.05))
    async with Runtime(f"sqlite:{tmp_path / 'trips.db'}", trip.ACTORS, chaos=chaos) as runtime:
        report = await trip_load.run(runtime, 100, 7, Page(None))
    assert report.books.problems == [], str(chaos)
    assert (report.tally.done + report.tally.refused, report.tally.parked) == (100, 0), str(chaos)


async def test_the_books_of_the_orders_hold(tmp_path: Path) -> None:
    chaos = Chaos(7, 0.02, delay=0.05, longest_delay=SOON, lose_replies=0.02)
    async with Runtime(f"sqlite:{tmp_path / 'orders.db'}", orders.ACTORS, chaos=chaos) as runtime:
        report = await orders_load.run(runtime, 60, 7, Page(None))
    assert report.books.problems == [], str(chaos)
    assert (report.tally.done + report.tally.refused, report.tally.parked) == (60, 0), str(chaos)


async def test_each_senders_messages_stay_in_order() -> None:
    journal, chaos = HeldJournal(), Chaos(3, 0.05, delay=0.7, longest_delay=SOON)
    async with Runtime(journal, ALL, chaos=chaos) as runtime:

        async def send(sender: int) -> None:
            for number in range(20):
                if number % 4 == sender % 4:
                    await runtime.ask(Room.at("r"), Hold(f"{sender}-{number}"))
                else:
                    await runtime.tell(Room.at("r"), Hold(f"{sender}-{number}"))

        await asyncio.gather(*(send(n) for n in range(5)))
    orders = by_sender([content(record)["trip"] for record in of(journal.records, "WasHeld")])
    assert orders == {f"{n}": list(range(20)) for n in range(5)}, str(chaos)
    assert chaos.delays > 5
    check_once(journal.records)


async def test_one_that_waits_is_overtaken_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    chaos = Chaos(1, delay={Room: 0.999_999})
    later: list[Callable[[], None]] = []

    def call_later(seconds: float, callback: Callable[..., None], *args: Any) -> None:
        assert 0 < seconds <= chaos.longest_delay
        later.append(partial(callback, *args))

    async with Runtime("memory:", ALL, clock=ManualClock(), chaos=chaos) as runtime:
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
        slow = asyncio.create_task(runtime.ask(Room.at("r"), Look()))
        await comes(lambda: later)
        await runtime.tell(Room.at("r"), Look())  # waits with it
        for _ in range(3):
            await runtime.ask(Account.at("a"), Deposit(1))
        assert not slow.done()
        assert not node_of(runtime).idle
        (go_on,) = later
        go_on()
        assert await slow == 0
        monkeypatch.undo()


async def test_closing_waits_for_what_was_let_wait() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL, chaos=Chaos(1, delay=0.999_999, longest_delay=SOON)) as runtime:
        for n in range(20):
            await runtime.tell(Room.at(f"r{n}"), Hold("t"))
    assert len(of(journal.records, "WasHeld")) == 20


async def test_a_lost_reply_is_unknown_and_asking_again_tells_the_first_one() -> None:
    chaos = Chaos(2, lose_replies=0.5)
    journal, lost = HeldJournal(), list[str]()
    async with Runtime(journal, ALL, chaos=chaos) as runtime:
        for n in range(1, 31):
            while True:
                try:
                    held = await runtime.ask(Room.at("r"), Hold(f"t{n}"), id=f"t{n}")
                except OutcomeUnknown as error:
                    lost.append(str(error))
                else:
                    break
            assert held.number == n, str(chaos)
    assert len(lost) == chaos.lost_replies > 5
    assert set(lost) == {"the reply was lost, by chaos; ask again with the same id"}
    assert len(of(journal.records, "WasHeld")) == 30
    check_once(journal.records)


async def test_a_refusal_is_lost_too() -> None:
    async with Runtime("memory:", ALL, chaos=Chaos(2, lose_replies=0.999_999)) as runtime:
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("full"), Hold("t"), id="one")


async def test_who_could_not_ask_again_gets_each_reply() -> None:
    chaos = Chaos(2, lose_replies=0.999_999)
    async with Runtime("memory:", ALL, chaos=chaos) as runtime:
        assert (await runtime.ask(Room.at("r"), Hold("t"))).number == 1
        with pytest.raises(Refused):
            await runtime.ask(Room.at("full"), Hold("t"))
    assert chaos.lost_replies == 0


@pytest.mark.parametrize("other", [{}, {"delay": 0.3}, {"lose_replies": 0.3}, {"delay": {Room: 0.9}}])
async def test_one_seed_is_one_sequence_whatever_else_is_on(other: dict[str, Any]) -> None:
    def drawn(chaos: Chaos) -> list[bool]:
        found: list[bool] = []
        for _ in range(200):
            if other:
                chaos.delays_by(Room)
                chaos.loses_reply(Room)
            found.append(chaos.strikes())
        return found

    assert drawn(Chaos(5, 0.2, **other)) == [random.random() < 0.2 for random in [Random(5)] for _ in range(200)]


def test_a_delay_is_bounded() -> None:
    chaos = Chaos(5, delay=0.5, longest_delay=0.25)
    delays = [chaos.delays_by(Room) for _ in range(1_000)]
    assert 0.2 < max(delays) <= 0.25
    assert chaos.delays == sum(delay > 0 for delay in delays)


async def test_there_is_none_unless_a_program_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("CHAOS", "UNDERSTUDY_CHAOS", "UNDERSTUDY_KILL"):
        monkeypatch.setenv(name, "0.5")
    async with Runtime("memory:", ALL) as runtime:
        assert type(node_of(runtime).dispatcher) is Dispatcher
    assert caplog.records == []


async def test_it_is_told_in_the_log_when_it_is_on(caplog: pytest.LogCaptureFixture) -> None:
    chaos = Chaos(9, 0.01, delay={Room: 0.5})
    async with Runtime("memory:", ALL, chaos=chaos):
        pass
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "chaos is on" in record.getMessage()
    assert "Chaos(seed=9, kill=0.01, delay={Room: 0.5})" in record.getMessage()


@pytest.mark.parametrize("options", [{"kill": 1.0}, {"kill": -0.1}, {"delay": 1.5}, {"lose_replies": {Room: 2.0}}])
def test_what_is_no_probability(options: dict[str, Rate]) -> None:
    with pytest.raises(ValueError, match=r"is a probability and must be at least 0 and below 1, not"):
        Chaos(**options)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_no_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="longest_delay is in seconds and must be above 0, not"):
        Chaos(longest_delay=seconds)


async def test_a_trip_that_is_asked_for_by_its_own_name_gets_its_reply() -> None:
    """The saga's name is its id; what is lost are the replies of its steps."""
    chaos = Chaos(4, lose_replies={Room: 0.5})
    clock = ManualClock()
    async with Runtime("memory:", ALL, chaos=chaos, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["a", "b", "c"])))
        while not asked.done():
            clock.advance(0.5)
            await asyncio.sleep(0)
        assert (await asked).trip == "t"
    assert chaos.lost_replies > 0
