"""Checks that the books balance, by replay of the journal alone: at its end, and at every position on the way.

A transfer at once must have both its halves, side by side. One by saga that was completed must have both, one that was
taken back neither. One that has not ended may hold money, and only behind its pivot may some be under way.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from actors import Meta
from demos.bank.account import Account
from demos.bank.ledger import Entry, Ledger, Move, read_through
from demos.bank.money import euros
from demos.bank.read_models import AllAccounts, SumOfAll, Totals
from demos.bank.transfers import TransferSaga
from runtime import Runtime

Status = Literal["open", "completed", "compensated", "killed"]
ENDS: Mapping[str, Status] = {
    "saga.compensating": "open",  # also behind the end
    "saga.completed": "completed",
    "saga.compensated": "compensated",
    "saga.killed": "killed",
}


class Case(NamedTuple):
    """A transfer by saga: what its own record says."""

    status: Status
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
    """Replay accounts and transfers, and compare them with each other and with the table of sums."""
    end = runtime.position
    ledger, books = await as_of(runtime, lambda meta: meta.position <= end)
    sums = await runtime.ask(Totals.at(), SumOfAll(), consistent=True)
    told, found = (sums.customers, sums.own, sums.under_way), sums_of(ledger)
    if told != found and runtime.position == end:  # nothing has happened meanwhile
        books.problems.append(f"the table of sums says {told}, and the journal {found}")
    return books


async def as_of(runtime: Runtime, known: Callable[[Meta], bool]) -> tuple[Ledger, Books]:
    """Return the ledger and the books by those events that are ``known``: all up to a position, or a time."""
    ledger = read_through([entry async for entry in entries_of(runtime, known)])
    cases = {key: found async for key, found in cases_of(runtime, known)}
    customers, _, _ = sums_of(ledger)
    books = Books(
        accounts=len(ledger.balances),
        customers=customers,
        transfers=sum(move.come > 0 for move in ledger.moves.values()),
        open=sum(one.status == "open" for one in cases.values()),
        positions=ledger.positions,
        problems=[*ledger.problems, *wrong_transfers(ledger.moves, cases), *wrong_promises(ledger, cases)],
    )
    return ledger, books


async def entries_of(runtime: Runtime, known: Callable[[Meta], bool]) -> AsyncIterator[Entry]:
    """Yield the known events of all accounts; not in order."""
    for account in await runtime.ask(Totals.at(), AllAccounts(), consistent=True):
        async for entry in runtime.history(Account.at(account)):
            if entry.type in Account.events and known(entry.meta):
                yield Entry(entry.meta.position, account, entry.event)


async def cases_of(runtime: Runtime, known: Callable[[Meta], bool]) -> AsyncIterator[tuple[str, Case]]:
    """Yield what is known of the transfers by saga, by name."""
    async for saga in runtime.sagas(type=TransferSaga):
        entries = [entry async for entry in runtime.history(saga.saga) if known(entry.meta)]
        if entries:
            ends: list[Status] = [ENDS[entry.type] for entry in entries if entry.type in ENDS]
            settled = any(entry.type == "saga.asked" and entry.event["step"] == "settle" for entry in entries)
            yield saga.saga.key, Case(ends[-1] if ends else "open", settled)


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
        elif one is not None and one.status not in ("open", "completed"):
            yield f"transfer {name} has moved money, and is {one.status}"
        elif one is not None and move.under_way and not (one.status == "open" and one.past_pivot):
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
                if status != "open":
                    yield f"{account} {what} {euros(one.cents)} euros for transfer {transfer}, which is {status}"
