"""The process that is killed in the story: it takes an order that needs approval, says so, and waits for its own end.

Started by :mod:`demos.orders.trouble` as ``python -m demos.orders.doomed JOURNAL ORDER CUSTOMER LETTERBOX PRODUCT
CARRIER``.
"""

import asyncio
import sys

from demos.killing import wait_for_the_end
from demos.orders import ACTORS
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.messages import Line
from demos.orders.stage import PRICES
from runtime import Runtime


async def begin(journal: str, order: str, command: CheckOut) -> None:
    """Take the order, say when it waits, and wait."""
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.start(Checkout.at(order), command)
        async for progress in runtime.saga(Checkout.at(order)).follow():
            if any(step.status == "waiting" for step in progress.steps):
                break
        await wait_for_the_end()


if __name__ == "__main__":
    journal, order, customer, letterbox, product, carrier = sys.argv[1:]
    line = Line(product, 1, PRICES["samovar"])
    asyncio.run(begin(journal, order, CheckOut(customer, letterbox, (line,), carrier)))
