"""What the scenes of the story share: the runtime, the paper, and the names."""

from typing import Any

from actors import Address
from demos.bank.account import Account, CloseAccount, OpenAccount
from demos.bank.retelling import steps
from demos.bank.transfers import Transfer, TransferSaga, transfer_at_once
from demos.page import Page
from demos.report import Tally
from runtime import HistoryEntry, Runtime

CASH = "cash"
"""The bank's own account that money comes from which is paid in over the counter."""
CUSTOMERS = {"ana": 1_000_00, "ben": 100_00, "cleo": 50_000_00, "eve": 30_000_00}


class Stage:
    """Where the story is played. The runtime is replaced when its process has to leave the journal to another."""

    def __init__(self, runtime: Runtime, page: Page, tally: Tally, run: str) -> None:
        self.runtime = runtime
        self.page = page
        self.tally = tally
        self._run = run
        """In a journal that is carried on with, names must not meet those of an earlier story."""

    def named(self, name: str) -> str:
        """Return a name as it stands in the journal."""
        return f"{name}{self._run}"

    def plain(self, text: str) -> str:
        """Return a text with names as people use them."""
        return text.replace(self._run, "") if self._run else text

    def account(self, name: str) -> Address[Account]:
        """Return the address of an account."""
        return Account.at(self.named(name))

    def transfer(self, name: str) -> Address[TransferSaga]:
        """Return the address of a transfer by saga."""
        return TransferSaga.at(self.named(name))

    async def open(self) -> None:
        """Open the customers' accounts, and pay in what they have; Dan's is closed again."""
        await self.runtime.ask(self.account(CASH), OpenAccount(None), id="open")
        for customer, cents in CUSTOMERS.items():
            await self.runtime.ask(self.account(customer), OpenAccount())
            await self.at_once(f"paid in by {customer}", CASH, customer, cents)
        await self.runtime.ask(self.account("dan"), OpenAccount())
        await self.runtime.ask(self.account("dan"), CloseAccount())

    async def at_once(self, name: str, source: str, target: str, cents: int) -> None:
        """Transfer money at once."""
        source, target = self.named(source), self.named(target)
        await transfer_at_once(self.runtime, self.named(name), source, target, cents)

    def wish(self, source: str, target: str, cents: int) -> Transfer:
        """Return what is asked of a saga."""
        return Transfer(self.named(source), self.named(target), cents)

    async def end(self, name: str) -> None:
        """Wait for the end of a transfer by saga, and tell what has become of it."""
        transfer = self.transfer(name)
        before = self.tally.done
        await self.tally.count(self.runtime.result(transfer))
        for mark, step, text in steps(await self.history(transfer)):
            self.page.step(mark, step, self.plain(text), width=10)
        done = self.tally.done > before
        self.page.step("→", "", f"{name}: {'the money has moved' if done else 'nothing has moved'}")

    async def history(self, address: Address[Any]) -> list[HistoryEntry]:
        """Return an actor's history."""
        return [entry async for entry in self.runtime.history(address)]
