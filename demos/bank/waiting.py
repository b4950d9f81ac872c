"""The scenes in which money waits for a person's word."""

import os

from actors import Refused
from demos.bank.account import Hold
from demos.bank.money import euros
from demos.bank.read_models import PendingAt, Statements
from demos.bank.stage import Stage
from demos.bank.transfers import APPROVAL_OVER, Approve, Decline
from demos.killing import killed_half_way


async def held(stage: Stage) -> None:
    """Cleo's transfer, which waits, is looked at from both ends, and is declined."""
    page, runtime = stage.page, stage.runtime
    page.scene("6  Money that waits")
    page.say(
        f"Cleo pays Ben 20,000.00 euros. Over {euros(APPROVAL_OVER)} somebody must approve. Meanwhile the money is not "
        "nowhere, and not twice anywhere: both ends show it as what it is."
    )
    await runtime.start(stage.transfer("a boat"), stage.wish("cleo", "ben", 20_000_00))
    await seen_waiting(stage, "a boat")
    rows: list[tuple[str, ...]] = []
    for n, name in enumerate(("cleo", "ben"), 1):
        state = await runtime.state_of(stage.account(name))
        pending = await runtime.ask(Statements.at(), PendingAt(stage.named(name)), consistent=True)
        text = ", ".join(f"{euros(row.cents)} ({stage.plain(row.other)})" for row in pending)
        rows.append((str(n), name, euros(state.cents), euros(state.free), text))
    page.table(("", "account", "balance", "to spend", "pending"), rows)
    page.say("Cleo wants to spend it all the same:")
    try:
        await runtime.ask(stage.account("cleo"), Hold(stage.named("a house"), stage.named("ana"), 40_000_00))
    except Refused as refused:
        page.step("✗", "", stage.plain(str(refused)))
    page.say("Then Olga, who looks after large transfers, says no:")
    await runtime.ask(stage.transfer("a boat"), Decline("Olga", "this is no boat"))
    await stage.end("a boat")


async def half_a_transfer_elsewhere(stage: Stage, journal: str) -> None:
    """Begin Eve's transfer in a process of its own, and kill that when the transfer waits."""
    page = stage.page
    page.say(
        "Eve's transfer is begun by another process. When it waits for approval, that process is killed with SIGKILL, "
        "which nobody can catch."
    )
    wish = stage.wish("eve", "ana", 15_000_00)
    arguments = [journal, stage.transfer("a piano").key, wish.source, wish.target, str(wish.cents)]
    killed = await killed_half_way("demos.bank.doomed", *arguments)
    page.step("✓", "", f"process {killed.process} has held Eve's money, and waits")
    page.step("✗", "", f"process {killed.process} is killed by signal {killed.signal}")


async def the_other_half(stage: Stage) -> None:
    """Approve Eve's transfer, which the journal has kept."""
    page, runtime, piano = stage.page, stage.runtime, stage.transfer("a piano")
    state = await runtime.state_of(stage.account("eve"))
    page.step("→", "", f"process {os.getpid()} opens the journal; {euros(state.cents - state.free)} euros are held")
    await runtime.ask(piano, Approve("Olga"), id=f"approve {piano}")
    await stage.end("a piano")


async def seen_waiting(stage: Stage, name: str) -> None:
    """Wait until a transfer waits for approval."""
    async for progress in stage.runtime.saga(stage.transfer(name)).follow():
        if any(step.status == "waiting" for step in progress.steps):
            return
