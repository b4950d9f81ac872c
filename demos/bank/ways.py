"""The scenes that move money in both ways, and tell what each costs."""

from collections.abc import Awaitable
from typing import NamedTuple

from actors import Refused
from demos.bank.retelling import in_words
from demos.bank.stage import Stage
from demos.words import how_many


class Cost(NamedTuple):
    """What a transfer took."""

    events: int
    groups: int
    """Writes to disk."""


async def cost_of(stage: Stage, work: Awaitable[object]) -> Cost:
    """Do it, and look what it took."""
    runtime = stage.runtime
    position, groups = runtime.position, runtime.groups
    await work
    return Cost(runtime.position - position, runtime.groups - groups)


async def at_once(stage: Stage) -> Cost:
    """Ana pays Ben, strongly."""
    page = stage.page
    page.scene("3  A transfer at once")
    page.say(
        "Ana pays Ben 120.00 euros. Both accounts decide in the same moment, and what they decide is written together "
        "(runtime.transact). So there are both halves or neither, whatever breaks."
    )
    cost = await cost_of(stage, stage.at_once("rent", "ana", "ben", 120_00))
    halves = [(await stage.history(stage.account(name)))[-1] for name in ("ana", "ben")]
    for half in halves:
        page.step("✓", stage.plain(half.meta.key), f"{stage.plain(in_words(half))}, at position {half.meta.position}")
    again = await cost_of(stage, stage.at_once("rent", "ana", "ben", 120_00))
    page.say(
        f"That left {how_many(cost.events, 'event')} in the journal, side by side, with "
        f"{how_many(cost.groups, 'write')} to disk. Asked for once more, by somebody who has not heard the answer, it "
        f"left {how_many(again.events, 'event')}: the transfer has a name, and happens once."
    )
    return cost


async def refusals(stage: Stage) -> None:
    """Ben pays what he has not, and Ana somebody who is gone."""
    page, position = stage.page, stage.runtime.position
    page.scene("4  Transfers that are refused")
    page.say("Ben wants to pay more than he has, and Ana wants to pay Dan, whose account is closed.")
    for name, source, target, cents in (("a car", "ben", "cleo", 9_000_00), ("a gift", "ana", "dan", 10_00)):
        try:
            await stage.at_once(name, source, target, cents)
        except Refused as refused:
            stage.tally.refused += 1
            page.step("✗", "", stage.plain(str(refused)))
    events = stage.runtime.position - position
    page.say(f"Who said no is named, and both together left {how_many(events, 'event')}: no half of anything.")


async def by_saga(stage: Stage, strong: Cost) -> None:
    """The same again, by saga, and what that costs."""
    page, runtime = stage.page, stage.runtime
    page.scene("5  The same by saga, and what it costs")
    page.say(
        "Ana pays Ben once more, by a saga: it holds the money at her account and announces it at his; then it settles "
        "the one and credits the other. To Dan she can't pay this way either: what was held is released."
    )
    cost = await cost_of(stage, runtime.ask(stage.transfer("power"), stage.wish("ana", "ben", 80_00)))
    await stage.end("power")
    await runtime.start(stage.transfer("a present"), stage.wish("ana", "dan", 10_00))
    await stage.end("a present")
    page.say("What one transfer that works has cost here (how fast they are, a load tells: see below):")
    costs = (("at once", strong), ("by saga", cost))
    rows = [(str(n), way, str(one.events), str(one.groups)) for n, (way, one) in enumerate(costs, 1)]
    page.table(("", "way", "events", "writes to disk"), rows)
    page.say(
        "So why by saga? At once, both accounts must be here and decide now. A saga can wait for days, for a person, "
        "or for somebody who does not answer, and it holds nobody up meanwhile:"
    )
