"""Takes many orders at once, and measures: ``python -m demos.orders --orders 2000``."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import NamedTuple

import anyio

from actors import NotTaken
from demos.measuring import IN_FLIGHT, Figures, for_each, insist, measured
from demos.orders import books, carrying_on
from demos.orders.carrier import Carrier, OpenCarrier
from demos.orders.carrying_on import ENDINGS
from demos.orders.checkout import APPROVAL_OVER, Approve, CheckOut, Checkout, Reject, Sold
from demos.orders.messages import Line
from demos.orders.payments import OpenAccount, Payments
from demos.orders.stock import Stock, Supply
from demos.page import Page
from demos.report import Report, Tally, tell_books, tell_figures, tell_tally
from runtime import Runtime

CROWD = 20
"""So many orders come to each product, customer and carrier, more or less: who wants what is chance."""
PIECES, MONEY, ROOM = 35, 6000, 45
"""What there is of each; too little for some."""


class Wish(NamedTuple):
    """An order that somebody wants."""

    order: str
    command: CheckOut
    approved: bool


def crowds(orders: int) -> int:
    """Return how many products, customers and carriers there are for so many orders."""
    return -(-orders // CROWD)


def wishes(orders: int, seed: int, run: str, letterboxes: str) -> Iterator[Wish]:
    """Yield orders; the same ones for the same seed. ``run`` keeps their ids apart from other runs'."""
    chance = Random(seed)
    many = crowds(orders)
    for number in range(1, orders + 1):
        products = chance.sample(range(many + 1), k=chance.randint(1, 2))
        lines = tuple(Line(f"{run}-P{n}", chance.randint(1, 3), chance.randint(1, 250)) for n in products)
        customer, carrier = f"{run}-C{chance.randint(1, many)}", f"{run}-V{chance.randint(1, many)}"
        paper = f"{run}-paper{chance.randint(1, many)}" if chance.random() < 0.3 else None
        command = CheckOut(customer, f"{letterboxes}/{customer}", lines, carrier, paper)
        yield Wish(f"{run}-{number}", command, chance.random() < 0.8)


async def run(runtime: Runtime, orders: int, seed: int, page: Page) -> Report:
    """Finish what is unfinished, take the orders, and check the books."""
    tally = Tally()
    begin = runtime.position
    resumed = await carrying_on.finish(runtime, tally, page)
    prefix = f"run{runtime.position}"  # the journal only grows, so no other run begins here
    await open_shop(runtime, prefix, crowds(orders))
    page.say(
        f"{orders:,} orders are taken, up to {IN_FLIGHT} at a time. Those over {APPROVAL_OVER} euros are approved, or "
        "not, by chance."
    )
    groups = runtime.groups
    with tempfile.TemporaryDirectory(prefix="understudy-") as letterboxes:
        for n in range(1, crowds(orders) + 1):
            await anyio.Path(letterboxes, f"{prefix}-C{n}").mkdir()
        figures = await take(runtime, orders, wishes(orders, seed, prefix, letterboxes), tally)
        letters = [letter async for letter in anyio.Path(letterboxes).glob("*/*.txt")]
    groups = runtime.groups - groups
    audited = await books.audit(runtime)
    report = Report(ENDINGS, tally, resumed, runtime.position - begin, figures.per_second, audited)
    tell(report, figures, groups, len(letters), page)
    tell_books(audited, page)
    return report


async def open_shop(runtime: Runtime, run: str, many: int) -> None:
    """Fill the shelves, open the accounts, and call the carriers."""

    async def open_one(n: int) -> None:
        await insist(lambda: runtime.ask(Stock.at(f"{run}-P{n}"), Supply(PIECES), id="open"))
        if n:
            await insist(lambda: runtime.ask(Stock.at(f"{run}-paper{n}"), Supply(CROWD // 5), id="open"))
            await insist(lambda: runtime.ask(Payments.at(f"{run}-C{n}"), OpenAccount(MONEY), id="open"))
            await insist(lambda: runtime.ask(Carrier.at(f"{run}-V{n}"), OpenCarrier(ROOM), id="open"))

    await for_each(range(many + 1), open_one)


async def take(runtime: Runtime, orders: int, wanted: Iterator[Wish], tally: Tally) -> Figures:
    """Take the orders, so many at a time."""

    async def take_one(wish: Wish) -> None:
        await tally.count(insist(lambda: see_through(runtime, wish)))

    return await measured(wanted, orders, "orders", take_one)


async def see_through(runtime: Runtime, wish: Wish) -> Sold:
    """Take an order, say yes or no where that is needed, and wait for its end."""
    order = Checkout.at(wish.order)
    await runtime.start(order, wish.command)
    if wish.command.euros > APPROVAL_OVER:
        word = Approve("Olga") if wish.approved else Reject("Olga", "the dice say no")
        with suppress(NotTaken):  # it goes back already
            await runtime.ask(order, word, id=f"word on {wish.order}")
    return await runtime.result(order)


def tell(report: Report, figures: Figures, groups: int, letters: int, page: Page) -> None:
    """Write the totals."""
    page.scene("What they came to")
    tell_tally(report, "out of stock, no money, no room, or not approved", page)
    page.figure("letters", f"{letters:,}", "of this run's orders")
    page.figure("events", f"{report.events:,}", f"the orders' own were written in {groups:,} groups")
    tell_figures(ENDINGS.things, figures, page)
