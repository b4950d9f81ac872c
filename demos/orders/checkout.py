"""The way of an order through the shop: paid and shipped, or cancelled, and then as if it had never been."""

from datetime import timedelta

from actors import Backoff, Command, Message, Query, Refused, RetryPolicy, Saga, Step
from demos.orders.messages import Line
from demos.orders.order import Cancel, MarkShipped, Order, Place
from demos.orders.parcels import BookParcels, Parcels
from demos.orders.payments import Capture, Pay, Payments, Refund, TakeBack
from demos.orders.postman import Deliver, NoLetterbox, Postman
from demos.orders.stock import Release, Reserve, Ship, Stock

APPROVAL_OVER = 500
"""Orders of more euros than that need somebody's approval."""


class Sold(Message):
    """What the saga answers to who asked for it."""

    receipt: str
    parcels: tuple[int, ...]
    wrapped: bool


class CheckOut(Command["Checkout", Sold]):
    customer: str
    letterbox: str
    lines: tuple[Line, ...]
    carrier: str
    gift_paper: str | None = None
    """The product to wrap it in, if it is a gift."""
    patience: timedelta = timedelta(days=2)
    """How long it waits for an approval."""

    @property
    def euros(self) -> int:
        """What it costs."""
        return sum(line.pieces * line.euros for line in self.lines)


class Approve(Command["Checkout", None]):
    by: str


class Reject(Command["Checkout", None]):
    by: str
    why: str


class WhereIs(Query["Checkout", str]):
    """Where is my order?"""


class Checkout(Saga[CheckOut, Sold]):
    """One order, by its number: ``Checkout.at("7")``.

    Up to ``capture`` each step stands with its undo. If one is refused, all that was done is undone, last first. Behind
    it the money is the shop's, and there is only forward.
    """

    receives = Approve | Reject
    deadline = timedelta(days=7)
    timeout = timedelta(seconds=30)
    retry = RetryPolicy(Backoff(first=timedelta(milliseconds=50), cap=timedelta(seconds=1)), final=(NoLetterbox,))
    payment_retry = RetryPolicy(retry.backoff, budget=timedelta(seconds=1))
    """A second is not long for a payment service that is down. It is for who reads the story, and waits for it."""
    where = "it is new"

    async def run(self, command: CheckOut) -> Sold:
        """Reserve, approve, pay, ship; in this order."""
        order, account = self.key, Payments.at(command.customer)
        self.where = "we look whether we have it"
        await self.ask("order", Order.at(order), Place(command.customer, command.lines), undo=Cancel())
        await self.parallel(*[self._reserve(line.product, line.pieces) for line in command.lines])
        wrapped = await self._wrap(command.gift_paper)
        if command.euros > APPROVAL_OVER:
            self.where = "it waits for approval"
            await self._approval(command)
        self.where = "we look for a carrier"
        products = tuple(line.product for line in command.lines)
        parcels = await self.ask("parcels", Parcels.at(order), BookParcels(command.carrier, products))

        self.where = "it is being paid"
        pay, undo = Pay(order, command.euros), TakeBack(order)
        receipt = await self.ask(
            "payment", account, pay, undo=undo, timeout=timedelta(seconds=5), retry=self.payment_retry
        )
        self.revise_undo("payment", Refund(receipt.number))  # from here on there is a receipt to go by
        await self.pivot("capture", account, Capture(receipt.number), timeout=timedelta(seconds=5))

        self.where = "it is paid, and being packed"
        taken = (*products, command.gift_paper) if wrapped and command.gift_paper else products
        await self.parallel(*[self.ask(f"ship {product}", Stock.at(product), Ship(order)) for product in taken])
        await self.ask("shipped", Order.at(order), MarkShipped(receipt.number, parcels))
        self.where = "it is on its way"
        letter = f"Dear {command.customer},\n\nyour order {order} is on its way.\n"
        await self.ask("letter", Postman.at(command.letterbox), Deliver(letter))
        return Sold(receipt.number, parcels, wrapped)

    def answer(self, query: WhereIs) -> str:  # noqa: ARG002 (there is but one question)
        """Say where the order is."""
        return self.where

    def _reserve(self, product: str, pieces: int) -> Step[None]:
        return self.ask(f"stock {product}", Stock.at(product), Reserve(self.key, pieces), undo=Release(self.key))

    async def _wrap(self, paper: str | None) -> bool:
        """Reserve gift paper, if it is wanted; no paper is no reason not to sell."""
        if paper is None:
            return False
        return not isinstance(await self.optional(self._reserve(paper, 1)), Refused)

    async def _approval(self, command: CheckOut) -> None:
        """Wait for somebody's word."""
        word = await self.select(self.receive(Approve, timeout=command.patience), self.receive(Reject))
        match word.reply:
            case Approve():
                return
            case Reject(by, why):
                raise Refused(f"{by} says no: {why}")
            case None:
                raise Refused("nobody has approved it in time")
