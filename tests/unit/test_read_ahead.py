"""Pages that are asked for ahead: which, how many, and what becomes of those that nobody comes for."""

import asyncio
import gc

import pytest

from actors import Address
from benchmarks.journal_works import Count, Look, Tally
from persistence import Append, JournalUnusable, MemoryJournal, NewEvent, Record, Stream
from persistence.journal import PAGE
from runtime import Runtime
from runtime.read_ahead import AHEAD, ReadAhead

LONG, OTHER = ("Tally", "long"), ("Tally", "other")
EVENTS = 6 * PAGE + 7
ALL = 10_000


class Gated(MemoryJournal):
    """A journal that answers as often as it may, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.news = asyncio.Semaphore(0), asyncio.Event()
        self.asked: list[tuple[str, int]] = []
        self.under_way = self.most = 0
        self.error: Exception | None = None

    async def fill(self, stream: Stream, events: int = EVENTS) -> None:
        event = NewEvent("Counted", b'{"type":"Counted","trip":"t"}', b'{"causation":"c","correlation":"c"}')
        await self.write(Append(stream, 0, [event] * events, 0))

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        self.asked.append((stream[1], after))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.news.set()
        try:
            await self.gate.acquire()
            if self.error is not None:
                raise self.error
            return await super().read(stream, after, limit)
        finally:
            self.under_way -= 1
            self.news.set()

    def let(self, reads: int) -> None:
        for _ in range(reads):
            self.gate.release()

    async def until(self, *, asked: int = 0, under_way: int | None = None) -> None:
        while len(self.asked) < asked or under_way not in (None, self.under_way):
            self.news.clear()
            await self.news.wait()


async def a_journal(*streams: Stream) -> Gated:
    journal = Gated()
    for stream in streams:
        await journal.fill(stream)
    return journal


async def test_pages_come_in_order_and_none_is_asked_for_behind_the_end() -> None:
    journal = await a_journal(LONG)
    journal.let(ALL)
    pages, versions = ReadAhead(journal, LONG), list[int]()
    while len(versions) < EVENTS:
        versions += [record.version for record in await pages.page(len(versions), EVENTS)]
        assert journal.under_way <= AHEAD
    assert versions == list(range(1, EVENTS + 1))
    assert journal.asked == [("long", after) for after in range(0, EVENTS, PAGE)]


@pytest.mark.parametrize(("head", "asked"), [(0, 1), (PAGE, 1), (PAGE + 1, 2), (EVENTS, AHEAD + 1)])
async def test_only_so_many_are_asked_for_at_once(head: int, asked: int) -> None:
    journal = await a_journal(LONG)
    pages = ReadAhead(journal, LONG)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(pages.page(0, head))
        await journal.until(asked=asked)
        journal.let(ALL)
        assert len(await first) == PAGE
    assert journal.asked == [("long", n * PAGE) for n in range(asked)]
    pages.drop()


async def test_who_goes_on_from_elsewhere_is_given_what_stands_there() -> None:
    journal = await a_journal(LONG)
    journal.let(ALL)
    pages = ReadAhead(journal, LONG)
    await pages.page(0, EVENTS)
    assert (await pages.page(PAGE + 3, EVENTS))[0].version == PAGE + 4
    pages.drop()


async def test_what_is_dropped_is_no_longer_under_way_and_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    journal = await a_journal(LONG)
    pages = ReadAhead(journal, LONG)
    reading = asyncio.ensure_future(pages.page(0, EVENTS))
    await journal.until(asked=AHEAD + 1)
    journal.error = JournalUnusable("the disk is gone")
    journal.let(ALL)
    with pytest.raises(JournalUnusable):
        await reading
    pages.drop()
    await journal.until(under_way=0)
    del reading
    gc.collect()
    assert not caplog.records


def tally(stream: Stream) -> Address[Tally]:
    return Tally.at(stream[1])


async def test_of_many_none_has_pages_ahead() -> None:
    journal = await a_journal(LONG, OTHER)
    async with Runtime(journal, [Tally]) as runtime:
        asking = asyncio.gather(*(runtime.ask(tally(stream), Look()) for stream in (LONG, OTHER)))
        await journal.until(asked=1)
        journal.let(ALL)
        assert await asking == [EVENTS, EVENTS]
    assert journal.asked[:4] == [("long", 0), ("other", 0), ("long", PAGE), ("other", PAGE)]


async def test_a_kill_in_the_middle_reads_it_anew_and_drops_what_was_asked_for() -> None:
    journal = await a_journal(LONG)
    async with Runtime(journal, [Tally]) as runtime:
        asking = asyncio.ensure_future(runtime.ask(tally(LONG), Look()))
        await journal.until(asked=AHEAD + 1)
        await runtime.kill(tally(LONG))
        journal.let(1)
        await journal.until(asked=2 * (AHEAD + 1), under_way=AHEAD + 1)
        journal.let(ALL)
        assert await asking == EVENTS
        await runtime.ask(tally(LONG), Count("one more"))
        await runtime.kill(tally(LONG))
        assert await runtime.ask(tally(LONG), Look()) == EVENTS + 1
    assert not journal.under_way


async def test_a_runtime_that_closes_in_the_middle_leaves_nothing_behind() -> None:
    journal = await a_journal(LONG, OTHER)
    before = asyncio.all_tasks()
    async with Runtime(journal, [Tally], shutdown_timeout=0) as runtime:
        await runtime.tell(tally(LONG), Count("late"))
        await journal.until(asked=AHEAD + 1)
        await runtime.tell(tally(OTHER), Count("later"))
        journal.let(2)
        await journal.until(asked=AHEAD + 2, under_way=2)  # the first has a page ahead, while the other one is read
        assert journal.asked[-1] == ("other", 0)
    assert not journal.under_way
    assert asyncio.all_tasks() == before
