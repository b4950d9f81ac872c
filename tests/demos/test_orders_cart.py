"""The shopping cart, the order that comes of it, and the search for orders."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from demos.orders import ACTORS, ON_POSTGRES
from demos.orders.books import audit
from demos.orders.cart import Cart, CheckOutCart, PutIn, TakeOut
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.messages import ArticlePutIn, ArticleTakenOut, CartCheckedOut, Line
from demos.orders.order import Order
from demos.orders.search import OrderFound, OrderSearch, SearchOrders
from demos.watching import seen
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from runtime.simulation import given
from tests.demos.both import both, on
from tests.demos.shop import SAMOVAR, crashes, in_time, open_shop, order
from tests.runtime.tools import HeldJournal, as_stored, of, restart_of

CUPS = ArticlePutIn("cup", 2, 5)
LINES = (Line("cup", 2, 5),)
DONE = CartCheckedOut("ana-1", LINES)


@pytest.mark.parametrize(
    ("command", "history", "reply", "events"),
    [
        (PutIn("cup", 2, 5), (), 2, (CUPS,)),
        (PutIn("cup", 1, 6), (CUPS,), 3, (ArticlePutIn("cup", 3, 6),)),
        (TakeOut("cup"), (CUPS,), None, (ArticleTakenOut("cup"),)),
        (TakeOut("cup"), (), None, ()),
        (CheckOutCart("here", "Pony"), (CUPS,), "ana-1", (DONE,)),
        (CheckOutCart("here", "Pony"), (CUPS, DONE), "ana-1", ()),
        (CheckOutCart("here", "Pony"), (CUPS, DONE, CUPS), "ana-2", (CartCheckedOut("ana-2", LINES),)),
    ],
)
def test_what_is_done(command: Any, history: Any, reply: Any, events: Any) -> None:
    given(Cart, *history, key="ana").when(command).replies(reply).then(*events)


@pytest.mark.parametrize(
    ("command", "history", "why"),
    [
        (PutIn("cup", 0, 5), (), "nothing to put into the cart"),
        (CheckOutCart("here", "Pony"), (), "ana's cart is empty"),
        (CheckOutCart("here", "Pony"), (CUPS, ArticleTakenOut("cup")), "ana's cart is empty"),
    ],
)
def test_what_is_refused(command: Any, history: Any, why: str) -> None:
    given(Cart, *history, key="ana").when(command).refuses(why)


async def run_from(records: list[Record], letters: Path, kill: float = 0.0, seed: int = 0) -> HeldJournal:
    """Restart from these records, fill a cart and check it out, twice each time, and check the books."""
    journal, clock, chaos = restart_of(records), ManualClock(), Chaos(seed, kill) if kill else None
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)

    async def all_of_it() -> None:
        await open_shop(runtime)
        cart, check_out = Cart.at("ana"), CheckOutCart(str(letters), "Pony")
        for n in (1, 2):
            await runtime.ask(cart, PutIn("teapot", n, 30), id=f"teapots {n}")
            await runtime.ask(cart, PutIn("cup", n, 5), id=f"cups {n}")
            await runtime.ask(cart, TakeOut("cup"), id=f"no cups {n}")
            assert await runtime.ask(cart, check_out, id=f"check out {n}") == f"ana-{n}"
        assert await runtime.ask(cart, check_out) == "ana-2"  # by somebody who has no id for it
        for n in (1, 2):
            saga = Checkout.at(f"ana-{n}")
            await seen(runtime, saga, "saga.started")
            await runtime.result(saga)
            assert (await runtime.state_of(Order.at(f"ana-{n}"))).lines == (Line("teapot", n, 30),)
        books = await audit(runtime)
        assert (books.shipped, books.cancelled, books.open, books.problems) == (2, 0, 0, [])

    async with Runtime(journal, ACTORS, clock=clock, chaos=chaos) as runtime:
        assert (await in_time(runtime, clock, audit(runtime))).problems == []
        await in_time(runtime, clock, all_of_it())
    assert len(of(journal.records, "CartCheckedOut")) == 2
    return journal


async def test_every_prefix(tmp_path: Path) -> None:
    first = await run_from([], tmp_path)
    for crash in crashes(first):
        again = await run_from(first.records[:crash], tmp_path)
        assert as_stored(again.records[:crash]) == as_stored(first.records[:crash])


@pytest.mark.parametrize("seed", range(4))
async def test_kills_before_any_message(seed: int, tmp_path: Path) -> None:
    await run_from([], tmp_path, kill=0.2, seed=seed)


async def test_many_clicks_at_once_are_one_order(tmp_path: Path) -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await open_shop(runtime)
        await runtime.ask(Cart.at("ana"), PutIn("teapot", 1, 30))
        check_out = CheckOutCart(str(tmp_path), "Pony")
        told = await asyncio.gather(*[runtime.ask(Cart.at("ana"), check_out) for _ in range(20)])
        assert set(told) == {"ana-1"}
        await seen(runtime, Checkout.at("ana-1"), "saga.started")
        await runtime.result(Checkout.at("ana-1"))
        assert [one.saga.key async for one in runtime.sagas(type=Checkout)] == ["ana-1"]


@both
async def test_orders_are_found_by_article_customer_and_status(database: str, tmp_path: Path) -> None:
    clock = ManualClock()
    async with on(database, ACTORS, ON_POSTGRES, clock) as runtime:

        async def found(words: str, limit: int = 20) -> list[str]:
            rows = await runtime.ask(OrderSearch.at(), SearchOrders(words, limit), consistent=True)
            return [row.order for row in rows]

        async def all_of_it() -> None:
            await open_shop(runtime)
            await runtime.start(Checkout.at("waits"), CheckOut("ben", str(tmp_path), SAMOVAR, "Pony"))
            for name in ("fine", "poor", "large"):
                await order(runtime, name, tmp_path)
            for words, orders in (
                ("teapot", ["poor", "fine"]),
                ("TEA ana", ["fine"]),
                ("ship", ["large", "fine"]),
                ("samovar placed", ["waits"]),
                ("cancelled ben", ["poor"]),
                ("fine", ["fine"]),
                ("", []),
                ('teapot" OR "samovar', []),
            ):
                assert await found(words) == orders, words
            assert await found("tea", 1) == ["poor"]
            assert await runtime.ask(OrderSearch.at(), SearchOrders("large")) == [
                OrderFound("large", "ana", "samovar", "shipped")
            ]

        await in_time(runtime, clock, all_of_it())
