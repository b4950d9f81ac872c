"""Finishes what an earlier process has left unfinished in the journal."""

from contextlib import suppress

from actors import NotTaken
from demos.orders.checkout import Approve, Checkout
from demos.orders.payments import ComeBack, Payments
from demos.orders.report import Tally
from demos.page import Page
from runtime import Runtime

BY = "the next shift"


async def finish(runtime: Runtime, tally: Tally, page: Page) -> int:
    """Bring the orders that are unfinished to their end, and their parcels with them; return how many there were."""
    found = [one.key for one in await runtime.unfinished() if one.actor == Checkout.__name__]
    if not found:
        return 0
    page.say(f"This journal holds {len(found):,} unfinished order{'s' if len(found) > 1 else ''}. They come first.")
    before = tally.shipped, tally.cancelled, tally.parked
    for order in found:
        await help_on(runtime, order)
        await tally.count(runtime.result(Checkout.at(order)))
    shipped, cancelled, parked = (
        now - then for now, then in zip((tally.shipped, tally.cancelled, tally.parked), before, strict=True)
    )
    page.say(f"Done: {shipped:,} shipped, {cancelled:,} cancelled, {parked:,} parked.")
    return len(found)


async def help_on(runtime: Runtime, order: str) -> None:
    """Do what an order may be waiting for: whoever was to do it is gone."""
    checkout = Checkout.at(order)
    async for entry in runtime.history(checkout):
        if entry.type == "saga.started":
            await runtime.ask(Payments.at(entry.event["command"]["customer"]), ComeBack())
            break
    if (await runtime.progress_of(checkout)).status == "parked":
        await runtime.saga(checkout).retry(by=BY, reason="it was parked when we came")
    with suppress(NotTaken):  # it has ended meanwhile, or goes back
        await runtime.ask(checkout, Approve(BY), id=f"approve {checkout}")
