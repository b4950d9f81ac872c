"""The auditor finds what doesn't balance, and where."""

from collections.abc import Iterator
from typing import Any

import pytest

from actors import Meta, Statement
from demos.bank import ACTORS
from demos.bank.account import Account, AccountEvent, Announce, Deposit, Hold, OpenAccount, Withdraw
from demos.bank.books import Case, audit, wrong_promises, wrong_transfers
from demos.bank.ledger import Entry, at_every_position, read_through
from demos.bank.messages import AccountOpened, MoneyDeposited, MoneyHeld, MoneyWithdrawn, TransferAnnounced
from demos.bank.read_models import Totals
from demos.bank.transfers import Transfer, TransferSaga
from runtime import Runtime
from tests.demos.teller import open_bank

Told = list[tuple[str, AccountEvent]]

OPENED: Told = [("cash", AccountOpened(None)), ("ana", AccountOpened(0)), ("ben", AccountOpened(0))]
PAID_IN: Told = [("cash", MoneyWithdrawn("in", "ana", 100)), ("ana", MoneyDeposited("in", "cash", 100))]
DONE, BACK = Case("completed", True), Case("compensated", False)
SETTLED, WAITS = Case("open", True), Case("open", False)


def found(*events: tuple[str, AccountEvent], **cases: Case) -> list[str]:
    """Return all that is wrong behind an account that has been paid into."""
    entries = [Entry(n, account, event) for n, (account, event) in enumerate([*OPENED, *PAID_IN, *events], 1)]
    ledger = read_through(reversed(entries))  # whatever the order in which they are read
    return [*ledger.problems, *wrong_transfers(ledger.moves, cases), *wrong_promises(ledger, cases)]


LEAVES = ("ana", MoneyWithdrawn("t", "ben", 30))
COMES = ("ben", MoneyDeposited("t", "ana", 30))
HELD = ("ana", MoneyHeld("t", "ben", 30))
SAID = ("ben", TransferAnnounced("t", "ana", 30))
OTHER = ("ana", MoneyHeld("u", "ben", 1))


def test_right_is_right() -> None:
    assert found() == []
    assert found(LEAVES, COMES) == []
    assert found(HELD, SAID, LEAVES, COMES, t=DONE) == []
    assert found(HELD, SAID, LEAVES, t=SETTLED) == []
    assert found(HELD, SAID, t=WAITS) == []
    assert found(t=BACK) == []


@pytest.mark.parametrize(
    ("events", "cases", "wrong"),
    [
        ([LEAVES], {}, ["was to happen at once, and has left at 6 and come at 0"]),
        ([LEAVES, OTHER, COMES], {"u": WAITS}, ["was to happen at once, and has left at 6 and come at 8"]),
        ([COMES], {}, ["at position 6 transfer t comes to ben from nowhere", "all accounts have 0.30 euros together"]),
        ([COMES, LEAVES], {}, ["at position 6 transfer t comes to ben from nowhere"]),
        ([LEAVES, COMES, COMES], {}, ["at position 8 transfer t comes to ben from nowhere"]),
        ([LEAVES, COMES, LEAVES], {}, ["at position 8 transfer t leaves ana once more", "-0.30 euros together"]),
        (
            [LEAVES, ("ben", MoneyDeposited("t", "ana", 31))],
            {"t": DONE},
            [
                "comes as 0.31 euros from ana to ben, and had left as 0.30 from ana to ben",
                "is completed, and its money",
            ],
        ),
        ([LEAVES, ("cash", MoneyDeposited("t", "ana", 30))], {}, ["comes as 0.30 euros from ana to cash"]),
        (
            [("ana", MoneyWithdrawn("t", "ben", 130)), ("ben", MoneyDeposited("t", "ana", 130))],
            {},
            ["ana has spent 0.30"],
        ),
        ([("ana", MoneyHeld("t", "ben", 101))], {"t": WAITS}, ["at position 6 ana has spent 0.01 that it has not"]),
        ([HELD, SAID], {"t": BACK}, ["ana holds 0.30 euros for transfer t, which is comp", "ben expects 0.30 euros"]),
        ([HELD], {}, ["ana holds 0.30 euros for transfer t, which is unknown"]),
        ([LEAVES, COMES], {"t": BACK}, ["transfer t has moved money, and is compensated"]),
        ([LEAVES], {"t": WAITS}, ["transfer t is open, and its money has not come to ben"]),
        ([LEAVES], {"t": DONE}, ["transfer t is completed, and its money has not come to ben"]),
        ([], {"t": DONE}, ["transfer t is completed, and has moved nothing"]),
    ],
)
def test_what_is_wrong_is_found(events: Told, cases: dict[str, Case], wrong: list[str]) -> None:
    problems = found(*events, **cases)
    for part in wrong:
        assert any(part in problem for problem in problems), problems


def test_every_position_is_looked_at() -> None:
    entries = [Entry(n, account, event) for n, (account, event) in enumerate([*OPENED, *PAID_IN, LEAVES, COMES], 1)]
    seen = [
        (sum(one.cents for one in ledger.balances.values()), sum(m.cents for m in ledger.moves.values() if m.under_way))
        for ledger in at_every_position(entries)
    ]
    assert seen == [(0, 0), (0, 0), (0, 0), (-100, 100), (0, 0), (-30, 30), (0, 0)]


async def test_the_journal_is_replayed() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_bank(runtime)
        assert await audit(runtime) == (4, 20_000_00, 1, 0, 7, [])
        await runtime.ask(TransferSaga.at("t"), Transfer("ana", "ben", 30))
        assert await audit(runtime) == (4, 20_000_00, 2, 0, 11, [])
        await runtime.ask(Account.at("ana"), Hold("nobody", "ben", 5))
        await runtime.ask(Account.at("ben"), Announce("nobody", "ana", 5))
        await runtime.ask(Account.at("ana"), Withdraw("half", "ben", 7))
        await runtime.ask(Account.at("eve"), OpenAccount())
        await runtime.ask(Account.at("eve"), Deposit("gift", "santa", 8))
        books = await audit(runtime)
    assert books.problems == [
        "at position 26 transfer gift comes to eve from nowhere",
        "at position 26 all accounts have 0.01 euros together, and 0.07 are under way",
        "transfer half was to happen at once, and has left at 24 and come at 0",
        "ana holds 0.05 euros for transfer nobody, which is unknown",
        "ben expects 0.05 euros for transfer nobody, which is unknown",
    ]


async def test_a_table_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    project = Totals.project

    def forgets(self: Totals, event: Any, meta: Meta) -> Iterator[Statement]:
        return iter(()) if isinstance(event, MoneyDeposited) else project(self, event, meta)

    monkeypatch.setattr(Totals, "project", forgets)
    async with Runtime("memory:", ACTORS) as runtime:
        await open_bank(runtime)
        (problem,) = (await audit(runtime)).problems
    assert problem.startswith("the table of sums says")
