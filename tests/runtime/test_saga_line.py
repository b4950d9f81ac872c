"""A line against a journal that is read while it changes: each is begun once, in order, and none is forgotten."""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from persistence import JournalError, MemoryJournal, Sleeper
from persistence.journal import PAGE
from runtime import ManualClock, saga_line
from runtime.saga_line import Line
from runtime.saga_places import FIRST_WAKE, LAST_WAKE, priority_at, wake_of
from runtime.timers import Timers


class Queue(MemoryJournal):
    """Only what a line reads: who waits, durably; a page is as old as the test wants it to be."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.queued: dict[str, tuple[int, int]] = {}
        """Priority and number, by key."""
        self.broken = 0

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        assert after is not None
        if self.broken:
            self.broken -= 1
            raise JournalError("not now")
        others = [Sleeper(wake_of("Job", 0), 10**6, ("Other", "x")), Sleeper(LAST_WAKE + 5, 1, ("Job", "sleeps"))]
        ours = [Sleeper(wake_of("Job", level), number, ("Job", key)) for key, (level, number) in self.queued.items()]
        page = sorted([*ours, *others], key=lambda one: (one.wake, one.number))
        page = [one for one in page if (one.wake, one.number) > (after.wake, after.number)][:limit]
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)
        return page


@pytest.mark.parametrize("seed", range(60))
async def test_each_is_begun_once_whatever_happens_while_the_journal_is_read(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEPT", 3), ("LOW", 1), ("PAGE", 2)):
        monkeypatch.setattr(saga_line, name, value)
    random, clock = Random(seed), ManualClock()
    journal, tasks = Queue(random), set[asyncio.Task[Any]]()
    begun: list[str] = []
    ending: list[str] = []
    priority: dict[str, int] = {}
    gone: set[str] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def begin(key: str) -> None:
        assert key not in begun, f"{key} has begun already"
        begun.append(key)
        ending.append(key)

    line = Line("Job", 2, journal, Timers(clock, clock.steady), spawn, begin)
    line.open()
    often = random.choice([0.3, 0.5, 0.8])
    for number in range(300):
        if number < 250 and random.random() < often:
            key = f"{number}"
            level = priority[key] = random.choice([0, 0, 0, 5])
            line.coming()
            journal.queued[key] = (level, number)  # it can be read a moment before the line is told
            for _ in range(random.choice([0, 0, 0, 1, 4, 8])):
                await asyncio.sleep(0)
            line.moved(key, None, level, True)
        if ending and random.random() < 0.6:
            key = ending.pop(random.randrange(len(ending)))
            if random.random() < 0.5:  # that it has begun is durable before it ends, or after
                line.leave(key)
            del journal.queued[key]
            line.moved(key, priority[key], None, True)
            line.leave(key)
        if random.random() < 0.1 and (killed := [key for key in journal.queued if key not in begun]):
            key = random.choice(killed)
            gone.add(key)
            del journal.queued[key]
            line.moved(key, priority[key], None, True)
        if random.random() < 0.05:
            journal.broken = 1
        assert len(line.under_way) <= 2
        await asyncio.sleep(0)
    for _ in range(400):
        clock.advance(1)
        for _ in range(5):
            await asyncio.sleep(0)
        while ending:
            key = ending.pop()
            del journal.queued[key]
            line.moved(key, priority[key], None, True)
            line.leave(key)
    assert set(begun) == set(priority) - gone
    assert line.waiting == 0
    assert not line.under_way
    assert not tasks
    normal = [int(key) for key in begun if priority[key] == 0]
    assert normal == sorted(normal)


def test_places_in_the_journal_are_in_order_and_behind_all_times() -> None:
    for actor in ("Job", "Trip", "x" * 500, "é"):
        wakes = [wake_of(actor, priority) for priority in range(10, -10, -1)]
        assert wakes == sorted(wakes)
        assert [priority_at(wake) for wake in wakes] == list(range(10, -10, -1))
        assert FIRST_WAKE <= wakes[0] < wakes[-1] < LAST_WAKE < 2**63 - 2
    assert priority_at(0) is None
    assert priority_at(2**63 - 2) is None
    assert priority_at(FIRST_WAKE - 1) is None
    assert priority_at(LAST_WAKE) is None


class Slow(MemoryJournal):
    """What the test says is there, when it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.queued: list[str] = []
        self.gate = asyncio.Event()

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        page = [Sleeper(wake_of("Job", 0), int(key), ("Job", key)) for key in self.queued]
        await self.gate.wait()
        return page


class Stand:
    """A line with one place and room for one in memory: 1 has just begun, 2 is being read."""

    def __init__(self) -> None:
        self.journal, clock = Slow(), ManualClock()
        self.begun: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.line = Line("Job", 1, self.journal, Timers(clock, clock.steady), self.spawn, self.begun.append)
        self.line.open()
        self.line.take("0")
        for key in ("1", "2"):
            self.come(key)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def come(self, key: str) -> None:
        self.line.coming()
        self.line.moved(key, None, 0, True)

    def end(self, key: str) -> None:
        """End one that has begun; that it has begun is durable."""
        if key != "0":
            self.line.moved(key, 0, None, True)
        self.line.leave(key)

    async def read(self) -> None:
        """Let the journal be read, to its end."""
        self.journal.gate.set()
        await asyncio.gather(*self.tasks)
        self.journal.gate.clear()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> type[Stand]:
    monkeypatch.setattr(saga_line, "KEPT", 1)
    monkeypatch.setattr(saga_line, "LOW", 1)
    return Stand


async def test_one_that_comes_while_the_last_ones_are_read_is_not_forgotten(stand: type[Stand]) -> None:
    now = stand()
    now.journal.queued = ["1", "2"]
    now.end("0")
    await asyncio.sleep(0)  # the page is as old as this
    now.come("3")
    await now.read()
    now.end("1")
    now.journal.queued = ["3"]
    now.end("2")
    await now.read()
    assert now.begun == ["1", "2", "3"]
    assert now.line.waiting == 0


async def test_one_that_is_read_before_the_line_is_told_begins_once(stand: type[Stand]) -> None:
    now = stand()
    now.journal.queued = ["1", "2", "3"]
    now.line.coming()  # 3 has queued, and is durable, and the line is not told yet
    now.end("0")
    await asyncio.sleep(0)
    await now.read()
    now.end("1")
    now.end("2")
    assert now.begun == ["1", "2", "3"]
    now.line.moved("3", None, 0, True)
    now.end("3")
    assert now.begun == ["1", "2", "3"]
    assert now.line.waiting == 0
