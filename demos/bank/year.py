"""The first part of the story: a year passes, on a clock that is moved by hand, and is looked back upon."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio

from demos.bank.account import Account, OpenAccount
from demos.bank.interest import INTEREST, Interest, PayInterest, pay_monthly, schedule_of
from demos.bank.money import euros
from demos.bank.read_models import StatementOf, Statements
from demos.bank.stage import CASH
from demos.bank.transfers import transfer_at_once
from demos.page import Page
from demos.words import how_many
from runtime import ManualClock, Runtime

SAVER, RATE = "ana's savings", 300
"""Who saves, and at how many hundredths of a percent a year."""
YEAR, HOUR = timedelta(days=365), timedelta(hours=1)
LOOK = 10.0
"""Seconds after which a runtime looks at its clock again at the latest, to see whether somebody has set it."""
TICK = 0.001
"""Seconds between two ticks of the clock while it goes by itself; each counts for ten times as long."""


def deeds(begin: datetime) -> Iterator[tuple[datetime, str, int]]:
    """Yield what the saver does in a year: puts something by each month, and spends some of it in between."""
    for month in range(12):
        day = begin + timedelta(days=14 + month * 30)
        yield day, f"saved {day:%Y-%m}", 250_00
        if month == 6:
            yield day + timedelta(days=10), f"holiday {day:%Y}", -900_00


@asynccontextmanager
async def ticking(clock: ManualClock) -> AsyncGenerator[None]:
    """Let the clock go on, slowly, so that what waits for a moment comes to it."""

    async def tick() -> None:
        while True:
            clock.advance(10 * TICK)
            await anyio.sleep(TICK)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield
        tasks.cancel_scope.cancel()


def move_to(clock: ManualClock, time: datetime) -> None:
    """Set the hands forward, and let happen what has become due."""
    seconds = time.timestamp() - clock.now() / 1e6
    if seconds > LOOK:
        clock.step(seconds - LOOK)
    clock.advance(max(0.0, time.timestamp() - clock.now() / 1e6))


async def live(runtime: Runtime, clock: ManualClock) -> str:
    """Let a year pass; return when interest was paid, in words."""
    begin = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    for own in (CASH, INTEREST):
        await runtime.ask(Account.at(own), OpenAccount(None), id="open")
    await runtime.ask(Account.at(SAVER), OpenAccount())
    await transfer_at_once(runtime, "opening", CASH, SAVER, 1_000_00)
    when = await pay_monthly(runtime, PayInterest(INTEREST, SAVER, RATE))
    for time, what, cents in deeds(begin):
        await interest_until(runtime, clock, time)
        move_to(clock, time)
        source, target = (CASH, SAVER) if cents > 0 else (SAVER, CASH)
        await transfer_at_once(runtime, what, source, target, abs(cents))
    await interest_until(runtime, clock, begin + YEAR - HOUR)
    move_to(clock, begin + YEAR - HOUR)
    return when


async def interest_until(runtime: Runtime, clock: ManualClock, end: datetime) -> None:
    """Come to each time at which interest is paid, and see it paid."""
    while True:
        (found,) = [one for one in await runtime.schedules() if one.name == schedule_of(SAVER)]
        planned = found.upcoming[0]
        if planned > end:
            return
        move_to(clock, planned)
        while not found.runs or found.runs[-1].planned < planned:
            await anyio.sleep(TICK)
            (found,) = [one for one in await runtime.schedules() if one.name == schedule_of(SAVER)]
        saga = found.runs[-1].saga
        assert saga is not None
        await runtime.result(Interest.at(saga.key))


async def tell(runtime: Runtime, clock: ManualClock, page: Page) -> None:
    """Let the year pass, and tell of it."""
    page.say(
        f"An account's balance stands nowhere: it is the sum of all that has happened to it. Ana opens a savings "
        f"account a year ago (the clock of this scene is moved by hand), with 1,000.00 euros, and puts by 250.00 each "
        f"month. A schedule pays her {RATE / 100:.0f} % of interest a year."
    )
    async with ticking(clock):
        when = await live(runtime, clock)
        statement = await runtime.ask(Statements.at(), StatementOf(SAVER), consistent=True)
    page.say(f"It paid {when}. Her statement is a table that is filled from the events:")
    head = ("no.", "day", "from or to", "amount", "balance")
    rows = [
        (str(n), row.day, row.other, f"{euros(row.cents):>9}", f"{euros(row.balance):>9}")
        for n, row in enumerate(statement, 1)
    ]
    page.table(head, rows)


async def look_back(runtime: Runtime, clock: ManualClock, page: Page) -> None:
    """Tell the balance at some days of that year, by replay."""
    page.scene("2  What did she have then?")
    now = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    events = len([entry async for entry in runtime.history(Account.at(SAVER))])
    page.say(
        f"Who wants to know what was in the account on some day replays its {how_many(events, 'event')} up to there. "
        "That is as good on any day as it was on the day itself, and needs no table:"
    )
    days = [now - timedelta(days=days) for days in (360, 300, 200, 100, 1)]
    rows: list[tuple[str, str, str]] = []
    for n, day in enumerate(days, 1):
        state = await runtime.state_of(Account.at(SAVER), at=day)
        rows.append((str(n), f"{day:%Y-%m-%d}", f"{euros(state.cents):>9}"))
    page.table(("", "day", "balance by replay"), rows)
