"""Finishes what an earlier process has left unfinished in the journal."""

from contextlib import suppress

from actors import Address, NotTaken
from demos import carrying_on
from demos.orders.checkout import Approve, Checkout
from demos.orders.payments import ComeBack, Payments
from demos.page import Page
from demos.report import Endings, Tally
from runtime import Runtime

ENDINGS = Endings("orders", "shipped", "cancelled")
BY = "the next shift"


async def finish(runtime: Runtime, tally: Tally, page: Page) -> int:
    """Bring the orders that are unfinished to their end, and their parcels with them; return how many there were."""
    return await carrying_on.finish(runtime, Checkout, ENDINGS, help_on, tally, page)


async def help_on(runtime: Runtime, checkout: Address[Checkout]) -> None:
    """Do what an order may be waiting for: whoever was to do it is gone."""
    command = await carrying_on.begun_with(runtime, checkout)
    await runtime.ask(Payments.at(command["customer"]), ComeBack())
    if (await runtime.progress_of(checkout)).status == "parked":
        await runtime.saga(checkout).retry(by=BY, reason="it was parked when we came")
    with suppress(NotTaken):  # it has ended meanwhile, or goes back
        await runtime.ask(checkout, Approve(BY), id=f"approve {checkout}")
