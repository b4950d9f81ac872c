"""The scenes in which something breaks that no "no" explains, and a person has a say."""

import os

from actors import Parked, Refused
from demos.killing import killed_half_way
from demos.orders.checkout import Approve, WhereIs
from demos.orders.payments import ComeBack, GoDown
from demos.orders.stage import Stage


async def a_payment_service_that_is_down(stage: Stage) -> None:
    """Finn's order and Gina's, which are parked, and what Olga does about them."""
    page, runtime = stage.page, stage.runtime
    page.scene("4  A payment service that is down for too long")
    page.say(
        "When Finn's order and Gina's come to be paid, nobody answers. That is not a no, so nothing is cancelled: it "
        "is tried again and again, with the same id, so that nobody pays twice. When a second has passed (in earnest "
        "it would be ten minutes) the orders are set aside, and Olga, who looks after the shop, is told."
    )
    for customer in ("Finn", "Gina"):
        await runtime.ask(stage.account(customer), GoDown())
        await stage.begin(customer, stage.wish(customer, ("teapot", 1)))
    for customer in ("Finn", "Gina"):
        await parked(stage, customer)
    for alert in sorted(stage.alerts, key=lambda alert: alert.saga.key):
        page.step("!", "", f"Olga is told: {stage.plain(alert.saga.key)} is {alert.what}")
    where = await runtime.ask(stage.order("Finn"), WhereIs())
    page.say(f'Finn asks where his order is. "{where.capitalize()}." Then somebody answers again, and Olga is glad.')
    await runtime.ask(stage.account("Finn"), ComeBack())
    await runtime.saga(stage.order("Finn")).retry(by="Olga", reason="the payment service is back")
    await stage.end("Finn")

    page.say(
        "Gina does not want to wait. What became of her payment is unknown, so going back would undo that too. Olga "
        "looks at what would be sent:"
    )
    for undo in await runtime.plan_of(stage.order("Gina")):
        command = "compensate" if undo.command is None else type(undo.command).__name__
        page.step("?", "", f"{command:<11}{stage.plain(str(undo.to))}{'' if undo.done else '   (outcome unknown)'}")
    page.say("She has it done:")
    await runtime.saga(stage.order("Gina")).compensate(by="Olga", reason="the customer did not want to wait")
    await stage.end("Gina")


async def a_letter_that_nobody_can_deliver(stage: Stage) -> None:
    """Hugo's order, which is past its pivot when it is parked."""
    page, runtime = stage.page, stage.runtime
    page.scene("5  A letter that nobody can deliver")
    page.say(
        "Hugo has paid, his teapot is packed, and he has no letterbox. No retry can help, so the order is set aside at "
        "once. It can't be cancelled any more:"
    )
    await stage.begin("Hugo", stage.wish("Hugo", ("teapot", 1), letterbox=False))
    await parked(stage, "Hugo")
    hugo = runtime.saga(stage.order("Hugo"))
    try:
        await hugo.compensate(by="Olga", reason="the letter is lost")
    except Refused as refused:
        page.step("✗", "", stage.plain(str(refused)))
    page.say("So Olga rings him up, and has the letter count as delivered.")
    await hugo.skip("letter", False, by="Olga", reason="told him on the phone")
    await stage.end("Hugo")


async def parked(stage: Stage, customer: str) -> None:
    """Wait until an order is set aside."""
    try:
        await stage.runtime.result(stage.order(customer))
    except Parked:
        return
    raise AssertionError(f"{customer}'s order was to be parked")


async def half_an_order_elsewhere(stage: Stage, journal: str) -> None:
    """Begin Iris's order in a process of its own, and kill that when the order waits."""
    page, wish = stage.page, stage.wish("Iris", ("samovar", 1))
    page.say(
        "Iris's order is taken by another process. When it waits for approval, that process is killed with SIGKILL, "
        "which nobody can catch."
    )
    line = wish.lines[0]
    arguments = [journal, stage.order("Iris").key, wish.customer, wish.letterbox, line.product, wish.carrier]
    killed = await killed_half_way("demos.orders.doomed", *arguments)
    page.step("✓", "", f"process {killed.process} has reserved a samovar for Iris, and waits")
    page.step("✗", "", f"process {killed.process} is killed by signal {killed.signal}")


async def the_other_half(stage: Stage) -> None:
    """Approve Iris's order, which the journal has kept."""
    page, runtime, iris = stage.page, stage.runtime, stage.order("Iris")
    page.step("→", "", f"process {os.getpid()} opens the journal, and takes the approval")
    await runtime.ask(iris, Approve("Olga"), id=f"approve {iris}")
    await stage.end("Iris")
