"""Checks that the books balance, by replay of the journal alone: at its end, and at every position on the way.

A transfer at once must have both its halves, side by side. One by saga that was completed must have both, one that was
taken back neither. One that has not ended may hold money, and only behind its pivot may some be under way.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from demos.bank.account import Account
from demos.bank.ledger import Entry, Ledger, Move, read_through
from demos.bank.money import euros
from demos.bank.read_models import AllAccounts, SumOfAll, Totals
from demos.bank.transfers import TransferSaga
from runtime import Runtime, SagaProgress

OPEN = ("running", "compensating", "parked")


class Case(NamedTuple):
    """A transfer by saga: what its own record says."""

    status: str
    past_pivot: bool


class Books(NamedTuple):
    """The books, and what is wrong with them."""

    accounts: int
    customers: int
    """What customers have, in cents."""
    transfers: int
    """How many have moved money."""
    open: int
    """How many by saga have not ended."""
    positions: int
    """At how many positions of the journal debits and credits were compared."""
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"By replay of the journal, {self.transfers:,} transfers have moved money between {self.accounts:,} "
            f"accounts, each once, and in both or in neither. Customers have {euros(self.customers)} euros, which is "
            f"what has come from the bank's own accounts. Debits and credits were compared at {self.positions:,} "
            f"positions of the journal, and are equal at each. {self.open:,} transfers have not ended."
        )


async def audit(runtime: Runtime) -> Books:
    """Replay accounts and transfers, and compare them with each other and with the tables."""
    end = runtime.position
    entries = [entry async for entry in entries_of(runtime) if entry.position <= end]
    ledger = read_through(entries)
    cases = {one.saga.key: case(one) async for one in runtime.sagas(type=TransferSaga)}
    sums = await runtime.ask(Totals.at(), SumOfAll(), consistent=True)
    found = sums_of(ledger)
    problems = [*ledger.problems, *wrong_transfers(ledger.moves, cases), *wrong_promises(ledger, cases)]
    if not any(one.status in OPEN for one in cases.values()) and (sums.customers, sums.own, sums.under_way) != found:
        problems.append(f"the table of totals says {sums}, and the journal {found}")
    return Books(
        accounts=len(ledger.balances),
        customers=found[0],
        transfers=sum(move.come > 0 for move in ledger.moves.values()),
        open=sum(one.status in OPEN for one in cases.values()),
        positions=ledger.positions,
        problems=problems,
    )


async def entries_of(runtime: Runtime, until: datetime | None = None) -> AsyncIterator[Entry]:
    """Yield all events of all accounts, up to a time; not in order."""
    for account in await runtime.ask(Totals.at(), AllAccounts(), consistent=True):
        async for entry in runtime.history(Account.at(account)):
            if entry.type in Account.events and (until is None or entry.meta.time <= until):
                yield Entry(entry.meta.position, account, entry.event)


def case(progress: SagaProgress) -> Case:
    """Return what is known of a transfer by saga."""
    return Case(progress.status, any(step.name == "settle" for step in progress.steps))


def sums_of(ledger: Ledger) -> tuple[int, int, int]:
    """Return what customers have, what the bank has, and what is under way; in cents."""
    own = sum(one.cents for one in ledger.balances.values() if one.overdraft is None)
    customers = sum(one.cents for one in ledger.balances.values() if one.overdraft is not None)
    return customers, own, sum(move.cents for move in ledger.moves.values() if move.under_way)


def wrong_transfers(moves: Mapping[str, Move], cases: Mapping[str, Case]) -> Iterator[str]:
    """Find transfers of which there is one half, or what should not have been."""
    for name, move in moves.items():
        one = cases.get(name)
        if one is None and move.come != move.left + 1:
            yield f"transfer {name} was to happen at once, and has left at {move.left} and come at {move.come}"
        elif one is not None and one.status not in ("completed", *OPEN):
            yield f"transfer {name} has moved money, and is {one.status}"
        elif one is not None and move.under_way and not (one.status in OPEN and one.past_pivot):
            yield f"transfer {name} is {one.status}, and its money has not come to {move.target}"
    for name, one in cases.items():
        if one.status == "completed" and name not in moves:
            yield f"transfer {name} is completed, and has moved nothing"


def wrong_promises(ledger: Ledger, cases: Mapping[str, Case]) -> Iterator[str]:
    """Find money that is held for nobody, or announced by nobody."""
    for account, balance in ledger.balances.items():
        for what, pending in (("holds", balance.held), ("expects", balance.announced)):
            for transfer, one in pending.items():
                status = cases[transfer].status if transfer in cases else "unknown"
                if status not in OPEN:
                    yield f"{account} {what} {euros(one.cents)} euros for transfer {transfer}, which is {status}"
