"""The story that ``python -m demos.bank`` tells: a year, transfers in two ways, then a look back at it all.

Nothing in it is staged. What it says of an account is read from the journal after it has happened.
"""

import shlex
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from demos.bank import carrying_on, looking_back, waiting, ways, year
from demos.bank.carrying_on import ENDINGS
from demos.bank.stage import Stage
from demos.command_line import OpenRuntime
from demos.killing import can_be_killed
from demos.page import Page
from demos.report import Report, Tally
from persistence.postgres_url import without_password
from runtime import ManualClock


async def tell(open_runtime: OpenRuntime, journal: str, page: Page) -> Report:
    """Tell the story on a journal, from its first scene to the books."""
    begun = time.perf_counter()
    begin = await a_year(open_runtime, journal, page)
    async with AsyncExitStack() as running:
        runtime = await running.enter_async_context(open_runtime())
        tally = Tally()
        resumed = await carrying_on.finish(runtime, tally, page)
        stage = Stage(runtime, page, tally, f"-{begin}" if begin else "")
        await stage.open()
        strong = await ways.at_once(stage)
        await ways.refusals(stage)
        await ways.by_saga(stage, strong)
        await waiting.held(stage)
        page.scene("7  A process that is killed while money waits")
        if can_be_killed(page, journal, "bank.db"):
            await running.aclose()  # a journal belongs to one process at a time
            await waiting.half_a_transfer_elsewhere(stage, journal)
            stage.runtime = await running.enter_async_context(open_runtime())
            await waiting.the_other_half(stage)
        await looking_back.audit_trail(stage)
        await looking_back.all_money(stage)
        books = await looking_back.check_books(stage)
        events = stage.runtime.position - begin
        leave(page, journal)
    return Report(ENDINGS, tally, resumed, events, tally.ended / (time.perf_counter() - begun), books)


def introduce(page: Page, journal: str) -> None:
    """Say what it is all about."""
    page.title("Money moves whole or not at all, whatever breaks")
    page.say(
        "A bank keeps accounts. Each is an actor, and what it knows is what has happened to it, written to a journal. "
        "Money moves between two of them: at once, when both decide together, or by a saga, which may take its time."
    )
    page.note(f"The journal of this story: {without_password(journal)}")


async def a_year(open_runtime: OpenRuntime, journal: str, page: Page) -> int:
    """Let a year pass, where nothing was written yet; return the position at which the story begins."""
    async with open_runtime() as runtime:  # by today's time: what is unfinished in it goes on at once
        begin = runtime.position
    introduce(page, journal)
    page.scene("1  A year passes")
    if begin:
        page.say(
            "A year can only pass before anything else has happened, for time doesn't go back in a journal. So this "
            "scene is left out, and the next one. Look with --at at what is in this one."
        )
        return begin
    clock = ManualClock(time.time_ns() // 1000 - round(year.YEAR.total_seconds() * 1e6))
    async with open_runtime(clock=clock) as runtime:
        await year.tell(runtime, clock, page)
        await year.look_back(runtime, clock, page)
    return begin


def leave(page: Page, journal: str) -> None:
    """Say where to look next."""
    page.say(
        "Next: make two thousand transfers while actors are dying, half of them each way, and see what they cost; look "
        "at all accounts as they were half a year ago; or look into this journal."
    )
    page.command("python -m demos.bank --transfers 2000 --kill 0.01")
    if journal != "memory:":
        url, day = shlex.quote(without_password(journal)), datetime.now(UTC) - year.YEAR / 2
        page.command(f"python -m demos.bank --at {day:%Y-%m-%d} --journal {url}")
        page.command(f"python -m persistence tail {url}")
