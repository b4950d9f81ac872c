"""The scene in which somebody fills a cart, and clerks search for what came of it."""

import time

from demos.orders.cart import Cart, CheckOutCart, PutIn, TakeOut
from demos.orders.checkout import Checkout
from demos.orders.search import OrderSearch, SearchOrders
from demos.orders.stage import PRICES, Stage
from demos.watching import seen

JANA = "Jana"


async def a_cart(stage: Stage) -> None:
    """Jana's cart, which she checks out twice."""
    page, runtime = stage.page, stage.runtime
    page.scene("7  A shopping cart")
    page.say(
        "Jana puts a teapot and two cups into her cart, thinks better of the cups, and checks out. Nobody answers for "
        "a moment, so she does it again. An order is begun by a reminder that is written with the cart's own event: "
        "there are both or neither, and once."
    )
    cart, wish = Cart.at(stage.named(JANA)), stage.wish(JANA)
    for product, pieces in (("teapot", 1), ("cup", 2)):
        await runtime.ask(cart, PutIn(stage.named(product), pieces, PRICES[product]))
    await runtime.ask(cart, TakeOut(stage.named("cup")))
    check_out = CheckOutCart(wish.letterbox, wish.carrier)
    orders = [await runtime.ask(cart, check_out) for _ in range(2)]
    for order in orders:
        page.step("→", "", f"she is told: order {stage.plain(order)}")
    saga = Checkout.at(orders[0])
    await seen(runtime, saga, "saga.started")
    await stage.tell_end(saga, JANA)


async def a_search(stage: Stage) -> None:
    """What clerks find."""
    page, runtime = stage.page, stage.runtime
    page.say("Clerks search all orders by any words: of articles, customers, and how they ended.")
    for words in ("samovar shipped", "teapot cancel", "jana"):
        begun = time.perf_counter()
        found = await runtime.ask(OrderSearch.at(), SearchOrders(words), after=runtime.position)
        took = (time.perf_counter() - begun) * 1000
        mine = [one for one in found if stage.run in one.customer]
        page.say(f'"{words}", in {took:.1f} ms:')
        rows = [(str(n), *map(stage.plain, (one.customer, one.articles, one.status))) for n, one in enumerate(mine, 1)]
        page.table(("", "customer", "articles", "status"), rows)
