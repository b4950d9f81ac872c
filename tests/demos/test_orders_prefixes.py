"""Whatever is left of a journal, and whoever is killed, the books balance, and one letter goes out."""

import asyncio
from pathlib import Path

import pytest

from actors import Parked
from demos.orders import ACTORS, carrying_on
from demos.orders.books import Books, audit
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.payments import ComeBack, GoDown, Payments
from demos.page import Page
from demos.report import Tally
from persistence import Record
from runtime import ManualClock, Runtime
from tests.demos.shop import NAMES, TEA, in_time, open_shop, run_from
from tests.runtime.tools import HeldJournal, as_stored, of, quiet, restart_of


@pytest.mark.parametrize("name", NAMES)
async def test_every_prefix_of_one_order(name: str, tmp_path: Path) -> None:
    first = await run_from([], [name], tmp_path)
    for crash in range(len(first)):
        again = await run_from(first[:crash], [name], tmp_path)
        assert as_stored(again[:crash]) == as_stored(first[:crash])


async def test_prefixes_of_all_orders_at_once(tmp_path: Path) -> None:
    names = list(NAMES)
    first = await run_from([], names, tmp_path)
    for crash in range(0, len(first), 9):
        again = await run_from(first[:crash], names, tmp_path)
        assert as_stored(again[:crash]) == as_stored(first[:crash])


@pytest.mark.parametrize("seed", range(6))
async def test_kills_before_any_message(seed: int, tmp_path: Path) -> None:
    records = await run_from([], list(NAMES), tmp_path, kill=0.2, seed=seed)
    await run_from(records[: len(records) * seed // 6], list(NAMES), tmp_path, kill=0.2, seed=seed + 100)


async def play_with_verbs(journal: HeldJournal, letters: Path) -> None:
    """Three orders that are parked: one is retried, one is compensated, and of one a step is skipped."""
    clock = ManualClock()
    finn, gina, hugo = (Checkout.at(name) for name in ("finn", "gina", "hugo"))

    async def story() -> None:
        await open_shop(runtime)
        await runtime.ask(Payments.at("ana"), GoDown())
        for checkout in (finn, gina):
            await runtime.start(checkout, CheckOut("ana", str(letters), TEA, "Pony"))
        for checkout in (finn, gina):
            with pytest.raises(Parked, match="step 'payment' was given up"):
                await runtime.result(checkout)
        await runtime.saga(gina).compensate(by="Olga", reason="a test")
        await runtime.ask(Payments.at("ana"), ComeBack())
        await runtime.saga(finn).retry(by="Olga", reason="a test")
        await runtime.result(finn)
        await runtime.start(hugo, CheckOut("ana", str(letters / "nowhere"), TEA, "Pony"))
        with pytest.raises(Parked, match="step 'letter' was given up as no retry can help"):
            await runtime.result(hugo)
        await runtime.saga(hugo).skip("letter", False, by="Olga", reason="a test")
        assert (await runtime.result(hugo)).wrapped is False
        books = await audit(runtime)
        assert (books.shipped, books.cancelled, books.open, books.problems) == (2, 1, 0, [])

    async with Runtime(journal, ACTORS, clock=clock) as runtime:
        await in_time(runtime, clock, story())


async def test_money_whose_receipt_nobody_knows_is_given_back(tmp_path: Path) -> None:
    """The process dies behind the payment, and the next one can't reach the payment service when it is to go back."""
    first = await run_from([], ["fine"], tmp_path)
    taken = next(number for number, record in enumerate(first, 1) if record.type == "MoneyTaken")
    journal, clock = restart_of(first[:taken]), ManualClock()
    journal.unreadable = {("Payments", "ana")}

    async def story() -> Books:
        going_back = asyncio.create_task(runtime.saga(Checkout.at("fine")).compensate(by="Olga", reason="a test"))
        await quiet(runtime)
        assert not going_back.done()
        journal.unreadable.clear()
        await going_back
        return await audit(runtime)

    async with Runtime(journal, ACTORS, clock=clock) as runtime:
        books = await in_time(runtime, clock, story())
    assert (books.cancelled, books.problems) == (1, [])
    (back,) = of(journal.records, "MoneyGivenBack")
    assert back.command == "Checkout/fine!payment"


async def next_shift(records: list[Record]) -> Books:
    """Open a journal, help on whoever is unfinished, and check the books."""
    clock, tally = ManualClock(), Tally()
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)

    async def work() -> Books:
        await open_shop(runtime)
        assert (await audit(runtime)).problems == []
        await carrying_on.finish(runtime, tally, Page(None))
        books = await audit(runtime)
        assert books.problems == []
        assert books.open == tally.parked
        return books

    async with Runtime(restart_of(records), ACTORS, clock=clock) as runtime:
        return await in_time(runtime, clock, work())


async def test_every_prefix_where_people_have_had_a_say(tmp_path: Path) -> None:
    journal = HeldJournal()
    await play_with_verbs(journal, tmp_path)
    assert {record.type for record in journal.records} >= {"saga.parked", "saga.retried", "saga.skipped"}
    found = [await next_shift(journal.records[:crash]) for crash in range(len(journal.records) + 1)]
    types = [record.type for record in journal.records]
    for crash, books in enumerate(found):
        assert books.cancelled == ("saga.compensating" in types[:crash])  # Gina's, once that is said
        begun = any(record.stream == ("Checkout", "hugo") for record in journal.records[:crash])
        assert books.open == (begun and "saga.skipped" not in types[:crash])  # Hugo's, whose letter nobody can deliver
    assert (found[0].shipped, found[-1].shipped) == (0, 2)
