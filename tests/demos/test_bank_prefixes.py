"""Whatever is left of a journal, and whoever is killed, the bank's books balance, and each transfer is made once."""

import asyncio

import pytest

from demos.bank import ACTORS
from demos.bank.books import audit
from demos.bank.read_models import SumOfAll, Sums, Totals
from runtime import Chaos, ManualClock, Runtime
from tests.demos.shop import crashes, in_time
from tests.demos.teller import SAGAS, STRONG, a_month_of_interest, begin_of, make, open_bank, run_from
from tests.runtime.tools import HeldJournal, as_stored, restart_of

ALL = [*STRONG, *SAGAS]


@pytest.mark.parametrize("name", ALL)
async def test_every_prefix_of_one_transfer(name: str) -> None:
    first = await run_from([], [name])
    for crash in crashes(first):
        again = await run_from(first.records[:crash], [name])
        assert as_stored(again.records[:crash]) == as_stored(first.records[:crash])


async def test_every_prefix_of_all_transfers_at_once() -> None:
    first = await run_from([], ALL)
    for crash in crashes(first)[::2]:
        again = await run_from(first.records[:crash], ALL)
        assert as_stored(again.records[:crash]) == as_stored(first.records[:crash])


async def test_every_prefix_of_a_month_of_interest() -> None:
    first = await a_month_of_interest([])
    for crash in crashes(first):
        await a_month_of_interest(first.records[:crash])


@pytest.mark.parametrize("seed", range(6))
async def test_kills_before_any_message(seed: int) -> None:
    first = await run_from([], ALL, kill=0.2, seed=seed)
    ends = crashes(first)
    await run_from(first.records[: ends[len(ends) * seed // 6]], ALL, kill=0.2, seed=seed + 100)


async def test_no_prefix_has_half_of_a_transfer_at_once() -> None:
    """The journal's groups, as they are handed to the disk, never part the two halves."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ACTORS, clock=clock) as runtime:

        async def some() -> None:
            await open_bank(runtime)
            await asyncio.gather(*[make(runtime, name) for name in ALL])

        await in_time(runtime, clock, some())
    batches = (batch for group in journal.groups for batch in group)
    written = [[event.type for append in batch for event in append.events] for batch in batches]
    halves = [types for types in written if "MoneyWithdrawn" in types and "MoneyDeposited" in types]
    assert halves == [["MoneyWithdrawn", "MoneyDeposited"]] * 2


async def test_money_is_never_nowhere_for_who_reads_meanwhile() -> None:
    """The table of sums is read and the books are audited, again and again, while money moves and actors die."""
    clock = ManualClock()
    seen: list[Sums] = []
    async with Runtime(restart_of([]), ACTORS, clock=clock, chaos=Chaos(3, 0.1)) as runtime:
        done = asyncio.Event()

        async def look() -> None:
            over = False
            while not over:
                over = done.is_set()  # and once more then, so that it has seen the beginning and the end at least
                consistent = over or len(seen) % 2 == 0
                seen.append(await runtime.ask(Totals.at(), SumOfAll(), consistent=consistent))
                assert (await audit(runtime)).problems == []

        async def work() -> None:
            await open_bank(runtime)
            await asyncio.gather(*[make(runtime, name) for name in ALL])
            done.set()

        async def both() -> None:
            await asyncio.gather(look(), work())

        await in_time(runtime, clock, both())
        assert (await in_time(runtime, clock, audit(runtime))).problems == []
    assert len({sums.customers for sums in seen}) > 1
    assert {sums.customers + sums.own + sums.under_way for sums in seen} == {0}


async def test_money_between_two_accounts_is_shown_as_under_way() -> None:
    """Whatever has been written by the time somebody looks, the table of sums has all the money."""
    first = await run_from([], ["fine"])
    under_way: list[int] = []
    for crash in crashes(first):
        journal = restart_of(first.records[:crash])
        journal.hold()  # what follows is not written while we look
        async with Runtime(journal, ACTORS, clock=begin_of(journal.records)) as runtime:
            sums = await runtime.ask(Totals.at(), SumOfAll(), consistent=True)
            journal.gate.set()
        assert sums.customers + sums.own + sums.under_way == 0
        under_way.append(sums.under_way)
    assert set(under_way) == {0, 50_00}
