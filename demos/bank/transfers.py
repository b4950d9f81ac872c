"""Two ways to move money from one account to another: at once, and by a saga.

At once, both accounts decide in the same moment, and what they decide is written together: nobody ever sees one half.
That takes two events, and both accounts must be here and have time. A saga needs neither: it may wait for a person, for
days, and it holds the money meanwhile, where everybody can see it. That takes many more events.
"""

from datetime import timedelta

from actors import Address, Backoff, Command, Refused, RetryPolicy, Saga
from demos.bank.account import Account, Announce, CallOff, Credit, Deposit, Hold, Release, Settle, Withdraw
from demos.bank.money import euros
from runtime import Runtime

APPROVAL_OVER = 10_000_00
"""By saga, more than so many cents need somebody's approval."""


async def transfer_at_once(runtime: Runtime, transfer: str, source: str, target: str, cents: int) -> None:
    """Move money, strongly: both accounts or neither, once for this name of a transfer however often it is called.

    Raises:
        Refused: one of the accounts said no, and is named.
        OutcomeUnknown: it may or may not have been moved; ask again.
    """
    await runtime.transact(
        (Account.at(source), Withdraw(transfer, target, cents)),
        (Account.at(target), Deposit(transfer, source, cents)),
        id=f"transfer {transfer}",
    )


class Transfer(Command["TransferSaga", None]):
    source: str
    target: str
    cents: int
    patience: timedelta = timedelta(days=2)
    """How long it waits for an approval."""


class Approve(Command["TransferSaga", None]):
    by: str


class Decline(Command["TransferSaga", None]):
    by: str
    why: str


class TransferSaga(Saga[Transfer, None]):
    """One transfer, by its name: ``TransferSaga.at("rent")``.

    Until ``settle`` nothing has moved: the money is held at the one account, and announced at the other, which can't
    refuse it any more. Behind it the money is on its way, and there is only forward.
    """

    receives = Approve | Decline
    deadline = timedelta(days=7)
    timeout = timedelta(seconds=30)
    retry = RetryPolicy(Backoff(first=timedelta(milliseconds=50), cap=timedelta(seconds=1)))

    async def run(self, command: Transfer) -> None:
        """Hold, announce, settle, credit."""
        name, cents = self.key, command.cents
        source: Address[Account] = Account.at(command.source)
        target: Address[Account] = Account.at(command.target)
        await self.ask("hold", source, Hold(name, command.target, cents), undo=Release(name))
        await self.ask("announce", target, Announce(name, command.source, cents), undo=CallOff(name))
        if cents > APPROVAL_OVER:
            await self._approval(command)
        await self.pivot("settle", source, Settle(name))
        await self.ask("credit", target, Credit(name))

    async def _approval(self, command: Transfer) -> None:
        word = await self.select(self.receive(Approve, timeout=command.patience), self.receive(Decline))
        match word.reply:
            case Approve():
                return
            case Decline(by, why):
                raise Refused(f"{by} says no: {why}")
            case None:
                raise Refused(f"nobody has approved {euros(command.cents)} euros in time")
