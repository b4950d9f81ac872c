"""Interest: a saga that a schedule starts on the first of each month, for one account."""

from datetime import timedelta

from actors import Command, ExtraMissing, Saga
from demos.bank.account import Account, InterestOn
from demos.bank.transfers import Transfer, TransferSaga
from runtime import Runtime

INTEREST = "interest"
"""The bank's own account that interest comes from."""
MONTHLY = "0 0 1 * *"
MONTH = timedelta(days=30)
"""What a month is where no cron expression can be read."""


class PayInterest(Command["Interest", int]):
    """Answered by what was paid, in cents."""

    source: str
    account: str
    basis_points: int
    """Hundredths of a percent a year."""


class Interest(Saga[PayInterest, int]):
    """One month's interest of one account; its key is the schedule's name and the month."""

    async def run(self, command: PayInterest) -> int:
        """Ask what is due, and have it transferred, by a saga of its own."""
        due = await self.ask("due", Account.at(command.account), InterestOn(command.basis_points))
        if due:
            await self.ask("transfer", TransferSaga.at(self.key), Transfer(command.source, command.account, due))
        return due


def schedule_of(account: str) -> str:
    """Return the name of an account's schedule."""
    return f"{INTEREST} {account}"


async def pay_monthly(runtime: Runtime, command: PayInterest) -> str:
    """Have interest paid each month from now on; return in words when that is.

    "On the first" is said by a cron expression, which ``understudy[cron]`` can read; without it a month has 30 days.
    """
    name = schedule_of(command.account)
    try:
        await runtime.schedule(name, Interest, command, cron=MONTHLY)
    except ExtraMissing:
        await runtime.schedule(name, Interest, command, every=MONTH)
        return "every 30 days"
    return "on the first of each month"
