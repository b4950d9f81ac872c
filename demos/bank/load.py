"""Makes many transfers, half at once and half by saga, and measures: ``python -m demos.bank --transfers 2000``."""

from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from demos.bank import books, carrying_on
from demos.bank.account import Account, OpenAccount
from demos.bank.carrying_on import ENDINGS
from demos.bank.stage import CASH
from demos.bank.transfers import Transfer, TransferSaga, transfer_at_once
from demos.measuring import IN_FLIGHT, Figures, for_each, insist, measured
from demos.page import Page
from demos.report import Report, Tally, tell_books, tell_tally
from runtime import Runtime

CROWD = 10
"""So many transfers come to each account, more or less: who pays whom is chance."""
MONEY, MOST = 300_00, 150_00
"""What an account has, and the largest transfer; some will not have enough."""


class Wish(NamedTuple):
    """A transfer that somebody wants."""

    transfer: str
    command: Transfer


class Way(NamedTuple):
    """What the transfers of one way came to."""

    name: str
    tally: Tally
    figures: Figures
    groups: int
    """Commits of the journal."""
    events: int

    def each(self, number: int) -> float:
        """Return how many that is for each transfer."""
        return number / max(1, len(self.figures.latencies))

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs to read."""
        return {
            "done": self.tally.done,
            "refused": self.tally.refused,
            "per_second": round(self.figures.per_second, 1),
            "commits_per_transfer": round(self.each(self.groups), 4),
            "events_per_transfer": round(self.each(self.events), 1),
        }


def accounts_for(transfers: int) -> int:
    """Return how many accounts there are for so many transfers."""
    return max(2, -(-transfers // CROWD))


def wishes(transfers: int, accounts: int, seed: int, run: str) -> Iterator[Wish]:
    """Yield transfers; the same ones for the same seed. ``run`` keeps their names apart from other runs'."""
    chance = Random(seed)
    for number in range(1, transfers + 1):
        source, target = chance.sample(range(1, accounts + 1), k=2)
        yield Wish(f"{run}-{number}", Transfer(f"{run}-{source}", f"{run}-{target}", chance.randint(1, MOST)))


async def run(runtime: Runtime, transfers: int, seed: int, page: Page) -> Report:
    """Finish what is unfinished, make the transfers, and check the books."""
    tally, begin = Tally(), runtime.position
    resumed = await carrying_on.finish(runtime, tally, page)
    prefix = f"run{runtime.position}"  # the journal only grows, so no other run begins here
    accounts, half = accounts_for(transfers), transfers // 2
    page.say(
        f"{transfers:,} transfers are made between {accounts:,} accounts, up to {IN_FLIGHT} at a time: first half of "
        "them at once, both accounts together, then the other half by saga."
    )

    async def at_once(wish: Wish) -> None:
        command = wish.command
        await transfer_at_once(runtime, wish.transfer, command.source, command.target, command.cents)

    async def by_saga(wish: Wish) -> None:
        await runtime.ask(TransferSaga.at(wish.transfer), wish.command)

    ways: list[Way] = []
    for name, number, work in (("at once", transfers - half, at_once), ("by saga", half, by_saga)):
        bank = f"{prefix}-{name.replace(' ', '-')}"
        await open_accounts(runtime, bank, accounts)
        ways.append(await make(runtime, name, list(wishes(number, accounts, seed, bank)), work))
    audited = await books.audit(runtime)
    for way in ways:
        tally.add(way.tally)
    seconds = sum(way.figures.seconds for way in ways)
    more = {way.name.replace(" ", "_"): way.as_json() for way in ways}
    report = Report(ENDINGS, tally, resumed, runtime.position - begin, transfers / seconds, audited, more)
    tell(report, ways, page)
    tell_books(audited, page)
    return report


async def open_accounts(runtime: Runtime, bank: str, accounts: int) -> None:
    """Open the accounts of one way, and pay in what they have."""
    await runtime.ask(Account.at(f"{bank}-{CASH}"), OpenAccount(None), id="open")

    async def open_one(number: int) -> None:
        name = f"{bank}-{number}"
        await insist(lambda: runtime.ask(Account.at(name), OpenAccount(), id="open"))
        await insist(lambda: transfer_at_once(runtime, f"{name}-paid-in", f"{bank}-{CASH}", name, MONEY))

    await for_each(range(1, accounts + 1), open_one)


async def make(runtime: Runtime, name: str, wanted: list[Wish], work: Callable[[Wish], Awaitable[None]]) -> Way:
    """Make transfers in one way; the transfer's name makes sure that each is made once."""
    tally, groups, position = Tally(), runtime.groups, runtime.position

    async def one(wish: Wish) -> None:
        await tally.count(insist(lambda: work(wish)))

    figures = await measured(wanted, len(wanted), f"transfers {name}", one)
    return Way(name, tally, figures, runtime.groups - groups, runtime.position - position)


def tell(report: Report, ways: list[Way], page: Page) -> None:
    """Write the totals, and what each way costs."""
    page.scene("What they came to")
    tell_tally(report, "there was not enough in the account", page)
    page.figure("events", f"{report.events:,}")
    if not all(way.figures.latencies for way in ways):
        return
    page.say("What each way costs:")
    head = ("", "way", "a second", "p50 ms", "p99 ms", "commits each", "events each")
    page.table(head, [(str(n), *_row(way)) for n, way in enumerate(ways, 1)])


def _row(way: Way) -> tuple[str, ...]:
    figures = way.figures
    times = (f"{figures.percentile(percent) * 1000:,.1f}" for percent in (50, 99))
    return way.name, f"{figures.per_second:,.0f}", *times, f"{way.each(way.groups):.3f}", f"{way.each(way.events):.1f}"
