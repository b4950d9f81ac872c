"""A small shop for the tests of the orders demo, and orders that come to every end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import anyio

from actors import Command, NotTaken, Refused
from demos.orders import ACTORS
from demos.orders.books import Books, audit
from demos.orders.carrier import Carrier, OpenCarrier
from demos.orders.checkout import Approve, CheckOut, Checkout, Reject, Sold
from demos.orders.messages import Line
from demos.orders.payments import OpenAccount, Payments
from demos.orders.stock import Stock, Supply
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.tools import HeldJournal, quiet, restart_of

T = TypeVar("T")

TEA: tuple[Line, ...] = (Line("teapot", 1, 30), Line("cup", 2, 5))
SAMOVAR: tuple[Line, ...] = (Line("samovar", 1, 700),)
WORDS: dict[str, Command[Checkout, None]] = {"large": Approve("Olga"), "rejected": Reject("Olga", "no more of them")}
SHIPPED = {"fine", "gift", "large"}
NAMES: tuple[str, ...] = ("fine", "gift", "poor", "large", "rejected", "forgotten", "sold out", "no room")


def wish(name: str, letters: Path) -> CheckOut:
    """Return what is ordered under this name."""
    lines = SAMOVAR if name in ("large", "rejected", "forgotten") else TEA
    if name == "sold out":
        lines = (*TEA, Line("unicorn", 1, 1))
    return CheckOut(
        "ben" if name == "poor" else "ana",
        str(letters),
        lines,
        "Snail" if name == "no room" else "Pony",
        "paper" if name in ("gift", "poor") else None,
        timedelta(hours=1),
    )


async def names_in(folder: Path) -> AsyncIterator[str]:
    """Yield the names of the letters in a letterbox."""
    async for letter in anyio.Path(folder).iterdir():
        yield letter.name


async def open_shop(runtime: Runtime) -> None:
    """Open it, once however often it is asked for."""
    for product in ("teapot", "cup", "samovar", "paper"):
        await runtime.ask(Stock.at(product), Supply(50 if product != "paper" else 1), id="open")
    await runtime.ask(Payments.at("ana"), OpenAccount(9000), id="open")
    await runtime.ask(Payments.at("ben"), OpenAccount(30), id="open")
    await runtime.ask(Carrier.at("Pony"), OpenCarrier(50), id="open")
    await runtime.ask(Carrier.at("Snail"), OpenCarrier(1), id="open")


async def order(runtime: Runtime, name: str, letters: Path) -> Sold | Refused:
    """Order, say the word that is to be said, and wait for the end."""
    checkout = Checkout.at(name)
    await runtime.start(checkout, wish(name, letters))
    if name in WORDS:
        with suppress(NotTaken):  # it has ended
            await runtime.ask(checkout, WORDS[name], id=f"word on {name}")
    try:
        return await runtime.result(checkout)
    except Refused as refused:
        return refused


async def in_time(runtime: Runtime, clock: ManualClock, work: Coroutine[Any, Any, T]) -> T:
    """Let time pass until the work is done; much of it passes while the tables of a read model are asked."""
    task = asyncio.create_task(work)
    for _ in range(50_000):
        await quiet(runtime)
        if task.done():
            return await task
        clock.advance(10)
    raise AssertionError(f"still unfinished: {await runtime.unfinished()}")


def crashes(journal: HeldJournal) -> list[int]:
    """Return how much a crash may have left of a journal: what was handed in as one is durable as one."""
    batches = (batch for group in journal.groups for batch in group)
    return [0, *accumulate(sum(len(append.events) for append in batch) for batch in batches)]


async def run_from(
    records: list[Record], names: list[str], letters: Path, kill: float = 0.0, seed: int = 0
) -> list[Record]:
    """Restart from these records, order everything again, check the ends and the books, and return the journal."""
    journal, clock = restart_of(records), ManualClock()
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)
    chaos = Chaos(seed, kill) if kill else None

    async def all_of_it() -> Books:
        await open_shop(runtime)
        ends = await asyncio.gather(*[order(runtime, name, letters) for name in names])
        assert {name for name, end in zip(names, ends, strict=True) if isinstance(end, Sold)} == SHIPPED & set(names)
        return await audit(runtime)

    async with Runtime(journal, ACTORS, clock=clock, chaos=chaos) as runtime:
        books = await in_time(runtime, clock, all_of_it())
        assert books.problems == []
        assert (books.shipped, books.open) == (len(SHIPPED & set(names)), 0)
        assert await runtime.unfinished() == []
    assert {letter async for letter in names_in(letters)} == {
        f"Checkout%2F{name}%23letter.txt" for name in SHIPPED & set(names)
    }
    return journal.records
