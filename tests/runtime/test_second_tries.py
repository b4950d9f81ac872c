"""What is set aside in memory is what the database has, also where several look and take at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

from persistence import Record
from persistence.views import Aside, ParkedRow, SqlStatement
from runtime import Runtime
from runtime.second_tries import SecondTries
from runtime.set_aside import SetAside
from tests.runtime.cast import Hold, Room
from tests.runtime.tools import HeldJournal


class SlowView:
    """A database with two events set aside, that is slow to tell what it has."""

    checkpoint, mark = 2, b""

    def __init__(self) -> None:
        self.rows = [ParkedRow(1, "a", 0, "bad"), ParkedRow(2, "b", 0, "bad")]
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def parked(self) -> list[ParkedRow]:
        rows = list(self.rows)
        self.asked.set()
        await self.gate.wait()
        return rows

    async def apply(self, *_: object, aside: Aside, **__: object) -> None:
        self.rows = [row for row in self.rows if row.position not in aside.taken]


class All:
    """Follows everything."""

    def events(self, record: Record) -> list[Record]:
        return [record]


async def test_what_is_taken_while_the_database_is_read_anew_is_not_set_aside_any_more() -> None:
    journal, view, aside, taken = HeldJournal(), SlowView(), SetAside(), list[int]()
    async with Runtime(journal, [Room]) as runtime:
        for trip in "ab":
            await runtime.ask(Room.at(trip), Hold(trip))

    async def carry_out(record: Record, _: Sequence[Any]) -> Sequence[SqlStatement]:
        taken.append(record.position)
        return []

    following: Any = All()
    database: Any = view
    tries = SecondTries(following, carry_out, journal, database, aside, lambda: 0, asyncio.Lock(), lambda _: None)
    await aside.load(database)
    view.gate.clear()
    view.asked.clear()
    aside.stale = True
    second = asyncio.ensure_future(tries.retry("b"))
    await view.asked.wait()
    first = asyncio.ensure_future(tries.take(view.rows[0]))
    for _ in range(20):
        await asyncio.sleep(0)
    view.gate.set()
    assert (await second, await first) == (1, True)
    assert sorted(taken) == [1, 2]
    assert (aside.count, list(aside), view.rows) == (0, [], [])
