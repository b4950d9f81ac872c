"""A small bank for the tests of the bank demo, and transfers that come to every end."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from actors import Command, NotTaken, Refused
from demos.bank import ACTORS
from demos.bank.account import Account, CloseAccount, OpenAccount
from demos.bank.books import Books, audit
from demos.bank.interest import Interest, PayInterest, pay_monthly
from demos.bank.transfers import Approve, Decline, Transfer, TransferSaga, transfer_at_once
from demos.watching import seen
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from tests.demos.shop import in_time
from tests.runtime.tools import HeldJournal, restart_of

STRONG: dict[str, tuple[str, str, int]] = {
    "paid in": ("cash", "ana", 20_000_00),
    "at once": ("ana", "ben", 30_00),
    "too much": ("ben", "ana", 99_000_00),
    "to nobody": ("ana", "nobody", 1_00),
}
"""Transfers at once: from, to, cents."""
SAGAS: dict[str, Transfer] = {
    "fine": Transfer("ana", "ben", 50_00),
    "poor": Transfer("ben", "ana", 99_000_00),
    "closed": Transfer("ana", "dan", 1_00),
    "large": Transfer("ana", "ben", 11_000_00),
    "declined": Transfer("cash", "ben", 12_000_00),
    "forgotten": Transfer("cash", "ben", 12_000_00, timedelta(hours=1)),
}
WORDS: dict[str, Command[TransferSaga, None]] = {"large": Approve("Olga"), "declined": Decline("Olga", "no")}
MOVED = {"paid in", "at once", "fine", "large"}
BALANCES = {"cash": -20_000_00, "ana": 8_920_00, "ben": 11_080_00, "dan": 0}


async def open_bank(runtime: Runtime) -> None:
    """Open it, once however often it is asked for."""
    await runtime.ask(Account.at("cash"), OpenAccount(None), id="open")
    for name in ("ana", "ben", "dan"):
        await runtime.ask(Account.at(name), OpenAccount(), id="open")
    await runtime.ask(Account.at("dan"), CloseAccount(), id="close")
    await transfer_at_once(runtime, "paid in", *STRONG["paid in"])


async def make(runtime: Runtime, name: str) -> bool:
    """Make a transfer, say the word that is to be said, and return whether money has moved."""
    try:
        if name in STRONG:
            await transfer_at_once(runtime, name, *STRONG[name])
            return True
        saga = TransferSaga.at(name)
        await runtime.start(saga, SAGAS[name])
        if name in WORDS:
            with suppress(NotTaken):  # it has ended
                await runtime.ask(saga, WORDS[name], id=f"word on {name}")
        await runtime.result(saga)
    except Refused:
        return False
    return True


def begin_of(records: list[Record]) -> ManualClock:
    """Return a clock that stands where these records end."""
    clock = ManualClock()
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)
    return clock


async def run_from(records: list[Record], names: Iterable[str], kill: float = 0.0, seed: int = 0) -> HeldJournal:
    """Restart from these records, ask for everything again, check the ends and the books, and return the journal."""
    journal, clock = restart_of(records), begin_of(records)
    chaos = Chaos(seed, kill) if kill else None
    names = list(names)

    async def all_of_it() -> Books:
        await open_bank(runtime)
        moved = await asyncio.gather(*[make(runtime, name) for name in names])
        assert {name for name, done in zip(names, moved, strict=True) if done} == MOVED & set(names)
        return await audit(runtime)

    async with Runtime(journal, ACTORS, clock=clock, chaos=chaos) as runtime:
        assert (await in_time(runtime, clock, audit(runtime))).problems == []  # as the crash has left it
        books = await in_time(runtime, clock, all_of_it())
        assert books.problems == []
        assert (books.transfers, books.open) == (len(MOVED & {*names, "paid in"}), 0)
        assert await runtime.unfinished() == []
        if set(names) >= {*STRONG, *SAGAS}:
            assert {name: (await runtime.state_of(Account.at(name))).cents for name in BALANCES} == BALANCES
    return journal


async def a_month_of_interest(records: list[Record]) -> HeldJournal:
    """Restart from these records, have interest paid on the first of the next month, and check the books."""
    journal, clock = restart_of(records), begin_of(records)
    first = datetime(2001, 10, 1, tzinfo=UTC).timestamp()

    async def all_of_it() -> Books:
        await open_bank(runtime)
        await runtime.ask(Account.at("interest"), OpenAccount(None), id="open")
        await pay_monthly(runtime, PayInterest("interest", "ana", 300))
        clock.step(max(0.0, first - clock.now() / 1e6))
        await seen(runtime, Interest.at("interest ana@2001-10-01T00:00:00Z"), "saga.completed")
        return await audit(runtime)

    async with Runtime(journal, ACTORS, clock=clock) as runtime:
        books = await in_time(runtime, clock, all_of_it())
        assert (books.problems, books.transfers, books.open) == ([], 2, 0)
        assert (await runtime.state_of(Account.at("ana"))).cents == 20_050_00
    return journal
