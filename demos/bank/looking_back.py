"""The last part of the story: what can be learnt from a journal afterwards. And ``--at``: the bank as it was."""

from datetime import datetime

from demos.bank import books
from demos.bank.books import Books
from demos.bank.carrying_on import ENDINGS
from demos.bank.money import euros
from demos.bank.read_models import SumOfAll, Totals
from demos.bank.retelling import in_words
from demos.bank.stage import Stage
from demos.page import Page
from demos.report import Report, Tally, tell_books
from runtime import Runtime

MOST_SHOWN = 30
"""Accounts."""


async def audit_trail(stage: Stage) -> None:
    """Every event of one transfer."""
    page = stage.page
    page.scene("8  All that ever happened to Ana's present for Dan")
    page.say(
        "Every event of everybody who took part, in order. A step and its undo are written down together, before the "
        "step is tried, so that whoever finds this journal knows the way back."
    )
    rows = [
        (str(entry.meta.position), stage.plain(entry.meta.event_id), stage.plain(in_words(entry)))
        for entry in await stage.runtime.trail(stage.transfer("a present"))
    ]
    page.table(("no.", "event", "what happened"), rows)


async def all_money(stage: Stage) -> None:
    """Where all the money is."""
    page = stage.page
    page.scene("9  Where is all the money?")
    page.say(
        "Each move of money has two halves, also where it comes into the bank: from an account of the bank's own. So "
        "all of it together is nothing, always. Another table knows the sums:"
    )
    sums = await stage.runtime.ask(Totals.at(), SumOfAll(), consistent=True)
    page.figure("customers", euros(sums.customers))
    page.figure("the bank's own", euros(sums.own))
    page.figure("under way", euros(sums.under_way))
    page.figure("together", euros(sums.customers + sums.own + sums.under_way))


async def check_books(stage: Stage) -> Books:
    """The books, computed anew from the journal."""
    stage.page.scene("10  Do the books balance?")
    audited = await books.audit(stage.runtime)
    tell_books(audited, stage.page)
    return audited


async def as_it_was(runtime: Runtime, at: datetime, page: Page) -> Report:
    """Tell the balances of all accounts at some time, by replay, and check them."""
    ledger, found = await books.as_of(runtime, lambda meta: meta.time <= at)
    page.scene(f"The bank at {at:%Y-%m-%d %H:%M} UTC")
    balances = sorted(ledger.balances.items())
    rows = [(f"{n:,}", account, f"{euros(one.cents):>13}") for n, (account, one) in enumerate(balances, 1)]
    page.table(("no.", "account", "balance"), rows[:MOST_SHOWN])
    if len(rows) > MOST_SHOWN:
        page.say(f"... and {len(rows) - MOST_SHOWN:,} more")
    tell_books(found, page)
    more = {"balances": {account: one.cents for account, one in balances}}
    return Report(ENDINGS, Tally(), 0, 0, 0.0, found, more)
