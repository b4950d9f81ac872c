"""The story that ``python -m demos.orders`` tells: orders and what befalls them, then a look back at it all.

Nothing in it is staged. What it says of an order is read from the journal after it has happened.
"""

import shlex
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import anyio

from demos.command_line import OpenRuntime
from demos.killing import can_be_killed
from demos.orders import carrying_on, looking_back, shopping, trouble
from demos.orders.carrying_on import ENDINGS
from demos.orders.checkout import APPROVAL_OVER, Approve, Reject, WhereIs
from demos.orders.stage import Stage
from demos.page import Page
from demos.report import Report, Tally
from demos.words import folder_beside, how_many
from persistence.postgres_url import without_password
from runtime import SagaAlert

CUSTOMERS = {
    **dict.fromkeys(("Ana", "Finn", "Gina", "Hugo", "Jana"), 100),
    **dict.fromkeys(("Cleo", "Dan", "Eve"), 900),
    "Ben": 30,
}
IRIS = {"Iris": 900}


async def tell(open_runtime: OpenRuntime, journal: str, page: Page) -> Report:
    """Tell the story on a journal, from its first scene to the books."""
    begun = time.perf_counter()
    alerts: list[SagaAlert] = []
    async with AsyncExitStack() as running:
        runtime = await running.enter_async_context(open_runtime(alerts.append))
        introduce(page, journal)
        begin, tally = runtime.position, Tally()
        resumed = await carrying_on.finish(runtime, tally, page)
        alerts.clear()
        stage = Stage(runtime, page, tally, folder_beside(journal, "letters"))
        stage.alerts = alerts
        await stage.open({**CUSTOMERS, **IRIS})
        await an_order_that_works(stage)
        await a_payment_that_is_refused(stage)
        await orders_that_need_approval(stage)
        await trouble.a_payment_service_that_is_down(stage)
        await trouble.a_letter_that_nobody_can_deliver(stage)
        page.scene("6  A process that is killed while an order waits")
        if can_be_killed(page, journal, "orders.db"):
            await running.aclose()  # a journal belongs to one process at a time
            await trouble.half_an_order_elsewhere(stage, journal)
            stage.runtime = await running.enter_async_context(open_runtime(alerts.append))
            await trouble.the_other_half(stage)
        await shopping.a_cart(stage)
        await looking_back.customers(stage)
        await shopping.a_search(stage)
        await looking_back.a_way_back(stage)
        books = await looking_back.check_books(stage)
        events = stage.runtime.position - begin
        leave(page, journal)
    return Report(ENDINGS, tally, resumed, events, tally.ended / (time.perf_counter() - begun), books)


def introduce(page: Page, journal: str) -> None:
    """Say what it is all about."""
    page.title("An order is shipped or cancelled, whatever breaks")
    page.say(
        "A shop sells teapots. An order is placed, its pieces are reserved, somebody approves it if it is large, a "
        "carrier books its parcels, and the payment service takes the money. Each of them may say no. Then a saga goes "
        "back: it undoes what was done, last first, and cancels the order."
    )
    page.say(
        "When the shop has been paid, there is no way back. What is left (to pack it, and to write a letter) is tried "
        "until it works, or until a person says what to do."
    )
    page.note(f"The journal of this story: {without_password(journal)}")


async def an_order_that_works(stage: Stage) -> None:
    """Ana's order, a gift."""
    page, runtime = stage.page, stage.runtime
    page.scene("1  An order that works")
    page.say("Ana wants a teapot and two cups, wrapped in gift paper, of which there is one sheet.")
    position = runtime.position
    await stage.begin("Ana", stage.wish("Ana", ("teapot", 1), ("cup", 2), gift=True))
    await stage.end("Ana")
    letters = [one async for one in anyio.Path(stage.letterboxes / stage.named("Ana")).iterdir()]
    page.say(
        f"It left {runtime.position - position} events in the journal, and "
        f"{how_many(len(letters), 'letter')} in Ana's letterbox. Should the postman be asked again after "
        "a crash, he finds the letter by its id, and brings no second one."
    )


async def a_payment_that_is_refused(stage: Stage) -> None:
    """Ben's order, which goes back."""
    page = stage.page
    page.scene("2  A payment that is refused")
    page.say(
        "Ben wants the same, and has 30 euros. There is no gift paper any more; that is a pity, and no reason not to "
        "sell. But when the payment is refused, all that was done is undone, last first. The parcels are a saga of "
        "their own, which had completed: it goes back too."
    )
    await stage.begin("Ben", stage.wish("Ben", ("teapot", 1), ("cup", 2), gift=True))
    await stage.end("Ben")


async def orders_that_need_approval(stage: Stage) -> None:
    """Cleo's order, which is approved, Dan's, which is not, and Eve's, of which nobody thinks."""
    page, runtime = stage.page, stage.runtime
    page.scene("3  Orders that need approval")
    page.say(
        f"Cleo, Dan and Eve each want a samovar, for 700 euros. Over {APPROVAL_OVER} euros, somebody must approve. "
        "While their orders wait they take no part of the memory: the journal knows when to wake them."
    )
    patience = {"Cleo": timedelta(days=2), "Dan": timedelta(days=2), "Eve": timedelta(seconds=0.5)}
    for customer, days in patience.items():
        await stage.begin(customer, stage.wish(customer, ("samovar", 1), patience=days))
    await seen_waiting(stage, "Cleo")
    page.say(f'Cleo asks where her order is. "{(await runtime.ask(stage.order("Cleo"), WhereIs())).capitalize()}."')
    await runtime.ask(stage.order("Cleo"), Approve("Olga"), id=f"approve {stage.order('Cleo')}")
    page.say("Cleo:")
    await stage.end("Cleo")
    await runtime.ask(stage.order("Dan"), Reject("Olga", "too many samovars this week"))
    page.say("Dan:")
    await stage.end("Dan")
    page.say("Eve's was to wait for half a second, so that you need not:")
    await stage.end("Eve")


async def seen_waiting(stage: Stage, customer: str) -> None:
    """Wait until an order waits for approval."""
    async for progress in stage.runtime.saga(stage.order(customer)).follow():
        if any(step.name == "Approve" for step in progress.steps):
            return


def leave(page: Page, journal: str) -> None:
    """Say where to look next."""
    page.say("Next: take two thousand orders at the same time while actors are dying, or look into this journal.")
    page.command("python -m demos.orders --orders 2000 --kill 0.01")
    if journal.startswith("sqlite:"):
        path = shlex.quote(journal)
        page.command(f"python -m persistence tail {path}")
