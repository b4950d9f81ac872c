"""The auditor: walks through all movements of money in the order of the journal, and looks at every position.

What has left one account and has not come to the other is under way. Debits equal credits where nothing is; so at every
position, what all accounts have and what is under way must be zero together, and money may be under way only as part
of a transfer that is known.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from demos.bank.account import Account, AccountEvent, Balance
from demos.bank.messages import MoneyDeposited, MoneyWithdrawn
from demos.bank.money import euros


class Entry(NamedTuple):
    """One event of an account, and where it stands in the journal."""

    position: int
    account: str
    event: AccountEvent


class Move(NamedTuple):
    """A transfer, as its two movements tell it."""

    source: str
    target: str
    cents: int
    left: int
    """The position at which it has left; 0: it has not."""
    come: int
    """The position at which it has come; 0: it has not."""

    @property
    def under_way(self) -> bool:
        """Whether it is neither here nor there."""
        return self.left > 0 and not self.come


class Ledger:
    """All accounts, as they are at one position."""

    def __init__(self) -> None:
        self.balances: dict[str, Balance] = {}
        self.moves: dict[str, Move] = {}
        self.problems: list[str] = []
        self.positions = 0
        """How many were looked at."""
        self._under_way = 0
        self._total = 0

    def take(self, entry: Entry) -> None:
        """Come to the next position, and look at it."""
        position, account, event = entry
        service, before = Account(account), self.balances.get(account, Account.initial)
        after = self.balances[account] = service.evolve(before, event)
        self._total += after.cents - before.cents
        match event:
            case MoneyWithdrawn(transfer, to, cents):
                self._left(position, transfer, Move(account, to, cents, position, 0))
            case MoneyDeposited(transfer, source, cents):
                self._come(position, transfer, Move(source, account, cents, 0, position))
            case _:
                pass
        self.positions += 1
        if self._total + self._under_way:
            self.problems.append(
                f"at position {position} all accounts have {euros(self._total)} euros together, and "
                f"{euros(self._under_way)} are under way"
            )
        if after.overdraft is not None and after.free < 0:
            self.problems.append(f"at position {position} {account} has spent {euros(-after.free)} that it has not")

    def _left(self, position: int, transfer: str, move: Move) -> None:
        if transfer in self.moves:
            self.problems.append(f"at position {position} transfer {transfer} leaves {move.source} once more")
            return
        self.moves[transfer] = move
        self._under_way += move.cents

    def _come(self, position: int, transfer: str, move: Move) -> None:
        known = self.moves.get(transfer)
        if known is None or known.come:
            self.problems.append(f"at position {position} transfer {transfer} comes to {move.target} from nowhere")
        elif known[:3] != move[:3]:
            self.problems.append(
                f"at position {position} transfer {transfer} comes as {euros(move.cents)} euros from {move.source} to "
                f"{move.target}, and had left as {euros(known.cents)} from {known.source} to {known.target}"
            )
        else:
            self.moves[transfer] = known._replace(come=position)
            self._under_way -= move.cents


def at_every_position(entries: Iterable[Entry]) -> Iterator[Ledger]:
    """Yield the ledger at each position; it is the same one, a step further each time."""
    ledger = Ledger()
    for entry in sorted(entries, key=lambda entry: entry.position):
        ledger.take(entry)
        yield ledger


def read_through(entries: Iterable[Entry]) -> Ledger:
    """Return the ledger at the last position."""
    ledger = Ledger()
    for ledger in at_every_position(entries):  # noqa: B007 (only the last one is wanted)
        pass
    return ledger
