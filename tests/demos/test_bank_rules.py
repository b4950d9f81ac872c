"""The rules of accounts, the two ways of a transfer, interest, and the bank's tables, each alone."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import CommandIdReused, Refused
from demos.bank import ACTORS
from demos.bank.account import (
    Account,
    Announce,
    CallOff,
    CloseAccount,
    Credit,
    Deposit,
    Hold,
    InterestOn,
    OpenAccount,
    Release,
    Settle,
    Withdraw,
)
from demos.bank.interest import Interest, PayInterest, pay_monthly, schedule_of
from demos.bank.messages import (
    AccountClosed,
    AccountOpened,
    HoldReleased,
    MoneyDeposited,
    MoneyHeld,
    MoneyWithdrawn,
    TransferAnnounced,
    TransferCalledOff,
)
from demos.bank.money import euros
from demos.bank.read_models import Movement, PendingAt, PendingRow, StatementOf, Statements, SumOfAll, Sums, Totals
from demos.bank.transfers import Transfer, TransferSaga, transfer_at_once
from runtime import ManualClock, Runtime
from runtime.simulation import given
from tests.demos.shop import in_time
from tests.demos.teller import open_bank
from tests.runtime.tools import HeldJournal, quiet, steps_of

OPEN = AccountOpened(0)
RICH = (OPEN, MoneyDeposited("in", "cash", 100))
HELD = (*RICH, MoneyHeld("t", "ben", 60))
SAID = (*RICH, TransferAnnounced("t", "ben", 60))


@pytest.mark.parametrize(
    ("command", "history", "reply", "events"),
    [
        (OpenAccount(), (), None, (OPEN,)),
        (OpenAccount(None), (), None, (AccountOpened(None),)),
        (CloseAccount(), (OPEN,), None, (AccountClosed(),)),
        (Withdraw("t", "ben", 100), RICH, None, (MoneyWithdrawn("t", "ben", 100),)),
        (Withdraw("t", "ben", 130), (AccountOpened(30), RICH[1]), None, (MoneyWithdrawn("t", "ben", 130),)),
        (Withdraw("t", "ben", 9_999), (AccountOpened(None),), None, (MoneyWithdrawn("t", "ben", 9_999),)),
        (Withdraw("u", "ben", 40), HELD, None, (MoneyWithdrawn("u", "ben", 40),)),
        (Deposit("t", "ben", 1), (OPEN,), None, (MoneyDeposited("t", "ben", 1),)),
        (Hold("t", "ben", 60), RICH, None, (HELD[-1],)),
        (Release("t"), HELD, None, (HoldReleased("t"),)),
        (Release("t"), RICH, None, ()),
        (Settle("t"), HELD, None, (MoneyWithdrawn("t", "ben", 60),)),
        (Announce("t", "ben", 60), RICH, None, (SAID[-1],)),
        (CallOff("t"), SAID, None, (TransferCalledOff("t"),)),
        (CallOff("t"), RICH, None, ()),
        (CallOff("t"), (), None, ()),
        (Credit("t"), SAID, None, (MoneyDeposited("t", "ben", 60),)),
        (InterestOn(300), (OPEN, MoneyDeposited("in", "cash", 1_000_00)), 2_50, ()),
        (InterestOn(300), (AccountOpened(100), MoneyWithdrawn("t", "ben", 100)), 0, ()),
    ],
)
def test_what_is_done(command: Any, history: Any, reply: Any, events: Any) -> None:
    given(Account, *history, key="ana").when(command).replies(reply).then(*events)


@pytest.mark.parametrize(
    ("command", "history", "why"),
    [
        (OpenAccount(), (OPEN,), "account ana was opened before"),
        (OpenAccount(), (OPEN, AccountClosed()), "account ana was opened before"),
        (CloseAccount(), RICH, "ana has 1.00 euros, or expects some"),
        (CloseAccount(), (OPEN, TransferAnnounced("t", "ben", 1)), "or expects some"),
        (CloseAccount(), (OPEN, AccountClosed()), "ana is closed"),
        (Withdraw("t", "ben", 101), RICH, "ana has 1.00 euros to spend, not 1.01"),
        (Withdraw("t", "ben", 131), (AccountOpened(30), RICH[1]), "ana has 1.30 euros to spend"),
        (Withdraw("u", "ben", 41), HELD, "ana has 0.40 euros to spend, not 0.41"),
        (Withdraw("t", "ben", 0), RICH, "a cent at the least"),
        (Withdraw("t", "ben", -5), RICH, "a cent at the least, not -0.05 euros"),
        (Withdraw("t", "ana", 5), RICH, "ana can't pay itself"),
        (Hold("u", "ben", 41), HELD, "ana has 0.40 euros to spend, not 0.41"),
        (Deposit("t", "ben", 1), (), "there is no account ana"),
        (Deposit("t", "ben", 1), (OPEN, AccountClosed()), "ana is closed"),
        (Announce("t", "ben", 1), (OPEN, AccountClosed()), "ana is closed"),
        (Settle("t"), RICH, "ana knows of no transfer t"),
        (Settle("t"), (*HELD, HoldReleased("t")), "ana knows of no transfer t"),
        (Credit("t"), (*SAID, MoneyDeposited("t", "ben", 60)), "ana knows of no transfer t"),
        (InterestOn(300), (OPEN, AccountClosed()), "ana is closed"),
    ],
)
def test_what_is_refused(command: Any, history: Any, why: str) -> None:
    given(Account, *history, key="ana").when(command).refuses(why)


def test_amounts_are_written_in_euros() -> None:
    assert [euros(cents) for cents in (0, 5, -5, 123_456, -1_00)] == ["0.00", "0.05", "-0.05", "1,234.56", "-1.00"]


# -- the two ways -------------------------------------------------------------------------------------------------


async def test_at_once_both_or_neither_and_once_for_each_name() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_bank(runtime)
        before = runtime.position
        for target, cents, why in (
            ("ben", 99_000_00, "^Account/ana: ana has"),
            ("dan", 5, "^Account/dan: dan is closed"),
        ):
            with pytest.raises(Refused, match=why):
                await transfer_at_once(runtime, "t", "ana", target, cents)
        assert runtime.position == before
        for _ in range(2):
            await transfer_at_once(runtime, "t", "ana", "ben", 30)
        assert runtime.position == before + 2
        with pytest.raises(CommandIdReused):
            await transfer_at_once(runtime, "t", "ana", "ben", 31)


async def test_by_saga_what_was_done_is_undone_in_reverse() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ACTORS, clock=clock) as runtime:
        await open_bank(runtime)
        await runtime.start(TransferSaga.at("t"), Transfer("ana", "ben", 11_000_00))
        await quiet(runtime)
        account = await runtime.state_of(Account.at("ana"))
        assert (account.cents, account.free) == (20_000_00, 9_000_00)
        clock.advance(2 * 24 * 3600)
        with pytest.raises(Refused, match=r"nobody has approved 11,000\.00 euros in time"):
            await runtime.result(TransferSaga.at("t"))
        assert (await runtime.state_of(Account.at("ana"))).free == 20_000_00
    assert steps_of(journal.records, TransferSaga.at("t"), "undone") == ["announce", "hold"]


# -- the tables ---------------------------------------------------------------------------------------------------


async def test_the_tables() -> None:
    async with Runtime("memory:", ACTORS, clock=ManualClock()) as runtime:
        await open_bank(runtime)
        await runtime.ask(TransferSaga.at("t"), Transfer("ana", "ben", 30))
        await runtime.start(TransferSaga.at("large"), Transfer("ana", "ben", 11_000_00))
        await quiet(runtime)
        day = "2001-09-09"
        assert await runtime.ask(Statements.at(), StatementOf("ana"), consistent=True) == [
            Movement(day, "paid in", "cash", 20_000_00, 20_000_00),
            Movement(day, "t", "ben", -30, 19_999_70),
        ]
        assert await runtime.ask(Statements.at(), StatementOf("ana", last=1)) == [
            Movement(day, "t", "ben", -30, 19_999_70)
        ]
        pending = [await runtime.ask(Statements.at(), PendingAt(name)) for name in ("ana", "ben", "cash")]
        assert pending == [[PendingRow("large", "ben", -11_000_00)], [PendingRow("large", "ana", 11_000_00)], []]
        sums = await runtime.ask(Totals.at(), SumOfAll(), consistent=True)
        assert sums == Sums(20_000_00, -20_000_00, 0)


async def test_money_that_has_left_and_not_come_is_under_way() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        assert await runtime.ask(Totals.at(), SumOfAll(), consistent=True) == Sums(0, 0, 0)
        await open_bank(runtime)
        await runtime.ask(Account.at("ana"), Withdraw("t", "ben", 30))
        assert await runtime.ask(Totals.at(), SumOfAll(), consistent=True) == Sums(19_999_70, -20_000_00, 30)


# -- interest -----------------------------------------------------------------------------------------------------


async def test_interest_is_paid_on_the_first_of_each_month() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ACTORS, clock=clock) as runtime:
        await open_bank(runtime)
        await runtime.ask(Account.at("interest"), OpenAccount(None))
        assert await pay_monthly(runtime, PayInterest("interest", "ana", 300)) == "on the first of each month"
        (schedule,) = await runtime.schedules()
        first = [datetime(2001, 10, 1, tzinfo=UTC), datetime(2001, 11, 1, tzinfo=UTC)]
        assert (schedule.name, list(schedule.upcoming[:2])) == (schedule_of("ana"), first)
        assert (
            await in_time(runtime, clock, runtime.ask(Interest.at("now"), PayInterest("interest", "ana", 300))) == 50_00
        )
        assert (await runtime.state_of(Account.at("ana"))).cents == 20_050_00


async def test_an_account_with_nothing_gets_no_interest_and_a_closed_one_none() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_bank(runtime)
        assert await runtime.ask(Interest.at("a"), PayInterest("cash", "ben", 300)) == 0
        with pytest.raises(Refused, match="dan is closed"):
            await runtime.ask(Interest.at("b"), PayInterest("cash", "dan", 300))
        assert (await runtime.progress_of(TransferSaga.at("b"))).status == "new"


async def test_without_cron_expressions_a_month_has_thirty_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    clock = ManualClock()
    async with Runtime("memory:", ACTORS, clock=clock) as runtime:
        await open_bank(runtime)
        assert await pay_monthly(runtime, PayInterest("cash", "ana", 300)) == "every 30 days"
        (schedule,) = await runtime.schedules()
        assert schedule.upcoming[1] - schedule.upcoming[0] == timedelta(days=30)
