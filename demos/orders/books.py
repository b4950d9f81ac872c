"""Checks that the books balance, by replay of the journal alone: every piece, every euro, every parcel.

What an order that was shipped has taken must be what was ordered, once. An order that was cancelled must have nothing.
One that has not ended (it waits, or is parked) may have reserved things, and only if it is paid have sent some.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from actors import Address
from demos.orders.carrier import Carrier, Van
from demos.orders.cart import Cart
from demos.orders.checkout import Checkout
from demos.orders.messages import AccountOpened, CartCheckedOut, Line
from demos.orders.order import Order, OrderState
from demos.orders.payments import Account, Payments
from demos.orders.read_models import Everybody, Orders
from demos.orders.stock import Shelf, Stock
from runtime import Runtime, SagaProgress


class Case(NamedTuple):
    """One order: what its own record says, and what became of it."""

    order: OrderState
    status: str
    """That of its saga."""
    past_pivot: bool

    @property
    def shipped(self) -> bool:
        """Whether it came to its good end."""
        return self.status == "completed"

    @property
    def open(self) -> bool:
        """Whether it may still come to either end."""
        return self.status in ("running", "compensating", "parked")


NOBODY = Case(OrderState(), "new", past_pivot=False)
Cases = dict[str, Case]
Ordered = Mapping[str, Sequence[Line]]


class Books(NamedTuple):
    """The books, and what is wrong with them."""

    shipped: int
    cancelled: int
    open: int
    euros: int
    """What the shop has earned."""
    pieces: int
    """What has left the shelves, gift paper included."""
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"By replay of the journal, {self.shipped:,} orders were shipped, {self.pieces:,} pieces in all, and have "
            f"brought {self.euros:,} euros, each once. {self.cancelled:,} were cancelled, and have neither pieces, "
            f"parcels nor money. {self.open:,} have not ended."
        )


class Ledgers(NamedTuple):
    """Everybody's state, from the journal."""

    shelves: dict[str, Shelf]
    accounts: dict[str, Account]
    vans: dict[str, Van]
    opened: dict[str, int]
    """What each account was opened with."""


async def audit(runtime: Runtime) -> Books:
    """Replay orders, stock, accounts and carriers, and compare them."""
    ordered = await read_carts(runtime)  # first, for an order may begin while we look
    cases = {one.saga.key: await case(runtime, one) async for one in runtime.sagas(type=Checkout)}
    ledgers = await read(runtime)
    paid = [one for account in ledgers.accounts.values() for one in account.payments.values()]
    return Books(
        shipped=sum(case.shipped for case in cases.values()),
        cancelled=sum(case.status == "compensated" for case in cases.values()),
        open=sum(case.open for case in cases.values()),
        euros=sum(one.euros for one in paid if one.status == "paid out"),
        pieces=sum(sum(shelf.shipped.values()) for shelf in ledgers.shelves.values()),
        problems=[
            *wrong_orders(cases),
            *wrong_shelves(cases, ledgers),
            *wrong_money(cases, ledgers),
            *wrong_parcels(cases, ledgers),
            *wrong_carts(cases, ordered),
        ],
    )


async def case(runtime: Runtime, progress: SagaProgress) -> Case:
    """Return what is known of one order."""
    state = await runtime.state_of(Order.at(progress.saga.key))
    pivot = any(step.name == "capture" and step.status != "refused" for step in progress.steps)
    return Case(state, progress.status, pivot)


async def read(runtime: Runtime) -> Ledgers:
    """Replay everybody who has something."""
    found = Ledgers({}, {}, {}, {})
    for actor, key in await runtime.ask(Orders.at(), Everybody(), consistent=True):
        if actor == "Stock":
            found.shelves[key] = await runtime.state_of(Stock.at(key))
        elif actor == "Carrier":
            found.vans[key] = await runtime.state_of(Carrier.at(key))
        elif actor == "Payments":
            account: Address[Any] = Payments.at(key)
            found.accounts[key] = await runtime.state_of(account)
            events = [entry.event async for entry in runtime.history(account)]
            found.opened[key] = sum(event.euros for event in events if isinstance(event, AccountOpened))
    return found


async def read_carts(runtime: Runtime) -> Ordered:
    """Return what carts say that was ordered, by order; but not that whose saga is still to be started."""
    found: dict[str, Sequence[Line]] = {}
    for actor, key in await runtime.ask(Orders.at(), Everybody(), consistent=True):
        if actor == "Cart":
            about_to_begin = {reminder.to.key for reminder in await runtime.reminders(Cart.at(key))}
            events = [entry.event async for entry in runtime.history(Cart.at(key))]
            checked_out = (event for event in events if isinstance(event, CartCheckedOut))
            found.update({event.order: event.lines for event in checked_out if event.order not in about_to_begin})
    return found


def wrong_orders(cases: Cases) -> Iterator[str]:
    """Find orders whose own record doesn't say what became of them."""
    for number, one in cases.items():
        right = ("shipped",) if one.shipped else ("cancelled", "new") if one.status == "compensated" else None
        if right is not None and one.order.status not in right:
            yield f"order {number} is {one.order.status}, and its checkout is {one.status}"


def wrong_shelves(cases: Cases, ledgers: Ledgers) -> Iterator[str]:
    """Find pieces that are reserved or were shipped for nobody, and orders that did not get theirs."""
    for product, shelf in ledgers.shelves.items():
        if shelf.free < 0:
            yield f"{product}: more pieces are reserved than there are"
        for number, pieces in shelf.reserved.items():
            if not cases.get(number, NOBODY).open:
                yield f"{product}: {pieces} reserved for order {number}, which is {cases.get(number, NOBODY).status}"
        for number, pieces in shelf.shipped.items():
            one = cases.get(number, NOBODY)
            if not one.shipped and not (one.open and one.past_pivot):
                yield f"{product}: {pieces} shipped for order {number}, which is {one.status}"
    for number, one in cases.items():
        for line in one.order.lines if one.shipped else ():
            shelf = ledgers.shelves.get(line.product, Shelf())
            if shelf.shipped.get(number, 0) != line.pieces:
                yield f"order {number} got {shelf.shipped.get(number, 0)} of {line.product}, not {line.pieces}"


def wrong_money(cases: Cases, ledgers: Ledgers) -> Iterator[str]:
    """Find money that was kept or paid out for nobody, taken twice, or lost."""
    paid: Counter[str] = Counter()
    for customer, account in ledgers.accounts.items():
        gone = 0
        for receipt, payment in account.payments.items():
            one = cases.get(payment.order, NOBODY)
            gone += payment.euros if payment.status != "given back" else 0
            if payment.status == "kept" and not one.open:
                yield f"receipt {receipt} is kept for order {payment.order}, which is {one.status}"
            elif payment.status == "paid out":
                paid[payment.order] += payment.euros
        if account.euros + gone != ledgers.opened[customer]:
            yield f"{customer} had {ledgers.opened[customer]} euros; {account.euros} are left, and {gone} were paid"
    for number in {*cases, *paid}:
        one = cases.get(number, NOBODY)
        due = one.order.euros if one.shipped or (one.open and one.past_pivot and paid[number]) else 0
        if paid[number] != due:
            yield f"order {number}, which is {one.status}, has brought {paid[number]} euros, not {due}"


def wrong_parcels(cases: Cases, ledgers: Ledgers) -> Iterator[str]:
    """Find parcels that nobody sends, and orders that go without."""
    sent: dict[str, list[str]] = {}
    for parcel in (parcel for van in ledgers.vans.values() for parcel in van.parcels.values()):
        sent.setdefault(parcel.order, []).append(parcel.product)
    for number in {*cases, *sent}:
        one, products = cases.get(number, NOBODY), sorted(sent.get(number, []))
        due = sorted(line.product for line in one.order.lines) if one.shipped else []
        if products != due and not one.open:
            yield f"order {number}, which is {one.status}, has parcels with {products}, not with {due}"


def wrong_carts(cases: Cases, ordered: Ordered) -> Iterator[str]:
    """Find carts that were checked out, and no order came of them, or another one."""
    for number, lines in ordered.items():
        one = cases.get(number, NOBODY)
        if number not in cases:
            yield f"a cart was checked out as order {number}, which was never begun"
        elif one.order.lines and list(one.order.lines) != list(lines):
            yield f"a cart was checked out as order {number}, and something else was ordered"
