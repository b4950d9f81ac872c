"""What the scenes of the story share: the runtime, the paper, the names, and who looks after the shop."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from actors import Address
from demos.orders.carrier import Carrier, OpenCarrier
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.messages import Line
from demos.orders.parcels import Parcels
from demos.orders.payments import OpenAccount, Payments
from demos.orders.retelling import steps
from demos.orders.stock import Stock, Supply
from demos.page import Page
from demos.report import Tally
from runtime import HistoryEntry, Runtime, SagaAlert

PRICES = {"teapot": 30, "cup": 5, "samovar": 700}


class Stage:
    """Where the story is played. The runtime is replaced when its process has to leave the journal to another."""

    def __init__(self, runtime: Runtime, page: Page, tally: Tally, letterboxes: Path) -> None:
        self.runtime = runtime
        self.page = page
        self.tally = tally
        self.letterboxes = letterboxes
        self.alerts: list[SagaAlert] = []
        """What a person was told of."""
        # In a journal that is carried on with, names must not meet those of an earlier story.
        self.run = f"-{runtime.position}" if runtime.position else ""

    def named(self, name: str) -> str:
        """Return a name as it stands in the journal."""
        return f"{name}{self.run}"

    def order(self, customer: str) -> Address[Checkout]:
        """Return the address of a customer's order."""
        return Checkout.at(self.named(customer.lower()))

    def parcels(self, customer: str) -> Address[Parcels]:
        """Return the address of the parcels of a customer's order."""
        return Parcels.at(self.named(customer.lower()))

    def account(self, customer: str) -> Address[Payments]:
        """Return the address of a customer's account."""
        return Payments.at(self.named(customer))

    async def open(self, customers: dict[str, int]) -> None:
        """Fill the shelves, and give the customers money and letterboxes."""
        runtime = self.runtime
        for product, pieces in (("teapot", 20), ("cup", 40), ("samovar", 9), ("paper", 1)):
            await runtime.ask(Stock.at(self.named(product)), Supply(pieces))
        await runtime.ask(Carrier.at(self.named("Pony")), OpenCarrier(50))
        for customer, euros in customers.items():
            await runtime.ask(self.account(customer), OpenAccount(euros))

    def wish(
        self,
        customer: str,
        *lines: tuple[str, int],
        gift: bool = False,
        letterbox: bool = True,
        patience: timedelta = timedelta(days=2),
    ) -> CheckOut:
        """Return what a customer wants."""
        folder = self.letterboxes / self.named(customer)
        if letterbox:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = tuple(Line(self.named(product), pieces, PRICES[product]) for product, pieces in lines)
        paper = self.named("paper") if gift else None
        return CheckOut(self.named(customer), str(folder), wanted, self.named("Pony"), paper, patience)

    async def begin(self, customer: str, wish: CheckOut) -> None:
        """Take an order without waiting for its end."""
        await self.runtime.start(self.order(customer), wish)

    async def end(self, customer: str) -> None:
        """Wait for the end of an order, and tell what has become of it."""
        await self.tell_end(self.order(customer), customer)

    async def tell_end(self, order: Address[Checkout], customer: str) -> None:
        """Wait for the end of an order that was taken in some other way, and tell what has become of it."""
        sold = await self.tally.count(self.runtime.result(order))
        for mark, step, text in steps(await self.history(order)):
            self.page.step(mark, self.plain(step), self.plain(text), width=15)
        if sold is not None:
            self.page.step("→", "", f"{customer}'s order is on its way{', wrapped' if sold.wrapped else ''}")
        else:
            self.page.step("→", "", f"{customer}'s order is cancelled, and has left no trace but its story")

    def plain(self, text: str) -> str:
        """Return a text with names as people use them."""
        return text.replace(self.run, "") if self.run else text

    async def history(self, address: Address[Any]) -> list[HistoryEntry]:
        """Return an actor's history."""
        return [entry async for entry in self.runtime.history(address)]
