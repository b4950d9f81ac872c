"""The alarm rings for what is due, however many there are, and keeps few of them in memory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from persistence import AT_ONCE, NEVER, Append, JournalUnusable, MemoryJournal, NewEvent, Sleeper, Stream
from persistence.journal import PAGE
from runtime import ManualClock
from runtime.alarm import AGAIN, KEPT, PATIENCE, RINGING, Alarm
from runtime.timers import Timers

SECOND = 1_000_000


class CountingJournal(MemoryJournal):
    """Counts the pages that are read of those who sleep, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0
        self.broken = False
        self.before_reply: Callable[[], Awaitable[None]] | None = None

    async def sleeping(self, after: Sleeper | None = None, limit: int = PAGE) -> list[Sleeper]:
        self.pages += 1
        if self.broken:
            raise JournalUnusable("disk I/O error")
        page = await super().sleeping(after, limit)
        if self.before_reply is not None:
            await self.before_reply()
        return page


class Watch:
    """A journal, its alarm, and for whom it has rung when. Those who are ``bad`` never answer."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.start = self.clock.now()
        self.journal = CountingJournal()
        self.rung: list[tuple[str, float]] = []
        self.bad: set[str] = set()
        self.absent: set[str] = set()
        self.todo: list[Awaitable[Any]] = []
        self.answers: list[Append] = []
        self.alarm = Alarm(self.journal, Timers(self.clock), self.spawn, self.ring)

    def spawn(self, work: Awaitable[Any]) -> None:
        self.todo.append(work)

    def ring(self, stream: Stream) -> bool:
        self.rung.append((stream[1], (self.clock.now() - self.start) / SECOND))
        if stream[1] not in self.bad and stream[1] not in self.absent:
            self.answers.append(Append(stream, 1, (), 0, None, NEVER))
        return stream[1] not in self.absent

    async def write(self, wakes: dict[str, float | None], *, new: bool = True) -> None:
        """Have these streams wake after so many seconds; None: not at all."""
        batches = [
            (
                Append(
                    ("Bell", key), 0 if new else 1, [NewEvent("Set", b"{}", b"{}")] if new else (), 0, None,
                    NEVER if seconds is None else self.start + round(seconds * SECOND),
                ),
            )
            for key, seconds in wakes.items()
        ]  # fmt: skip
        await self.journal.append(batches)
        self.alarm.note(batches)

    async def settle(self) -> None:
        while self.todo or self.answers:
            answers, self.answers = self.answers, []
            await self.journal.append([(answer,) for answer in answers])
            self.alarm.note([(answer,) for answer in answers])
            while self.todo:
                await self.todo.pop(0)

    async def advance(self, seconds: float, steps: int = 1) -> None:
        await self.settle()
        for _ in range(steps):
            self.clock.advance(seconds / steps)
            await self.settle()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.rung]

    @property
    def known(self) -> int:
        return len(self.alarm._asleep)  # pyright: ignore[reportPrivateUsage]


async def test_it_rings_in_time_and_once() -> None:
    watch = Watch()
    await watch.write({"b": 20, "a": 10, "never": None})
    await watch.alarm.open()
    await watch.write({"c": 15, "now": -5})
    await watch.write({"b": 12}, new=False)
    await watch.advance(100, 100)
    assert watch.rung == [("now", 0), ("a", 10), ("b", 12), ("c", 15)]


async def test_what_is_moved_or_taken_back_does_not_ring_at_its_old_time() -> None:
    watch = Watch()
    await watch.write({"a": 10, "b": 10, "c": 10})
    await watch.alarm.open()
    await watch.write({"a": 30, "b": None}, new=False)
    await watch.advance(20, 20)
    assert watch.names == ["c"]
    await watch.advance(20, 20)
    assert watch.rung[1:] == [("a", 30)]


async def test_unfinished_work_is_none_of_its_business() -> None:
    watch = Watch()
    await watch.alarm.open()
    batch = [(Append(("Trip", "t"), 0, [NewEvent("Set", b"{}", b"{}")], 0, None, AT_ONCE),)]
    await watch.journal.append(batch)
    watch.alarm.note(batch)
    await watch.advance(100)
    assert watch.rung == []


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 5 * KEPT + 7])
@pytest.mark.parametrize("tied", [True, False])
async def test_of_very_many_few_are_in_memory(count: int, tied: bool) -> None:
    watch = Watch()
    await watch.write({f"{n}": 10.0 if tied else 10 + n / 100 for n in range(count)})
    await watch.alarm.open()
    assert watch.journal.pages == 1
    assert watch.known <= PAGE
    await watch.advance(9.9, 10)
    assert watch.journal.pages <= 2
    most = 0
    for _ in range(70):
        await watch.advance(1)
        most = max(most, watch.known)
    assert most <= 2 * KEPT
    assert sorted(watch.names, key=int) == [f"{n}" for n in range(count)]
    if not tied:
        assert watch.names == [f"{n}" for n in range(count)]
        assert all(-1e-6 <= seconds - (10 + int(name) / 100) <= 1 for name, seconds in watch.rung)


async def test_many_that_are_set_while_it_is_open_are_no_burden_either() -> None:
    watch = Watch()
    await watch.alarm.open()
    count = 10 * KEPT
    for first in range(0, count, 100):
        await watch.write({f"{n}": 10 + (count - n) / 100 for n in range(first, first + 100)})
        assert watch.known <= 2 * KEPT
    for _ in range(120):
        await watch.advance(1)
    assert watch.names == [f"{n}" for n in reversed(range(count))]


async def test_one_that_is_moved_again_and_again_takes_no_room() -> None:
    watch = Watch()
    await watch.write({"a": 10})
    await watch.alarm.open()
    for n in range(1_000):
        await watch.write({"a": 1_000 + n}, new=False)
    assert len(watch.alarm._heap) < 100  # pyright: ignore[reportPrivateUsage]
    await watch.advance(2_100, 2_100)
    assert watch.rung == [("a", 1_999)]


@pytest.mark.parametrize("bad", [1, 101, RINGING + 1, 3 * RINGING])
async def test_those_who_do_not_answer_keep_nobody_waiting_for_long(bad: int) -> None:
    """And they are rung for again, until they answer."""
    watch = Watch()
    watch.bad = {f"bad {n}" for n in range(bad)}
    await watch.write({**dict.fromkeys(watch.bad, 10.0), "good": 10, "next": 10.5, "late": 40})
    await watch.alarm.open()
    await watch.advance(60, 600)
    patience = PATIENCE / SECOND
    found = {name: seconds for name, seconds in watch.rung if name not in watch.bad}
    assert found.keys() == {"good", "next", "late"}
    for name, due in {"good": 10, "next": 10.5, "late": 40}.items():
        assert due <= found[name] <= due + patience * (bad // RINGING + 1)
    assert watch.names.count("bad 0") >= 2
    watch.bad = set()
    await watch.advance(2 * AGAIN / SECOND + patience, 60)
    before = len(watch.rung)
    assert await watch.journal.sleeping() == []
    await watch.advance(1_000, 100)
    assert len(watch.rung) == before


async def test_who_is_not_there_is_not_waited_for() -> None:
    watch = Watch()
    watch.absent = {"a"}
    await watch.write({"a": 10, "b": 20})
    await watch.alarm.open()
    await watch.advance(1_000, 1_000)
    assert watch.rung == [("a", 10), ("b", 20)]


async def test_a_journal_that_can_not_be_read_for_a_while() -> None:
    watch = Watch()
    await watch.write({f"{n}": 10 + n / 10 for n in range(PAGE + 10)})
    await watch.alarm.open()
    watch.journal.broken = True
    await watch.advance(70, 70)
    assert len(watch.rung) == PAGE
    await watch.write({"new": 71})
    await watch.advance(2)
    assert watch.names[-1] == "new"
    watch.journal.broken = False
    await watch.advance(2 * AGAIN / SECOND, 60)
    assert len(watch.rung) == PAGE + 11


async def test_opening_says_that_the_journal_can_not_be_read() -> None:
    watch = Watch()
    watch.journal.broken = True
    with pytest.raises(JournalUnusable):
        await watch.alarm.open()


async def test_a_page_that_is_too_old_when_it_comes_moves_nothing_back() -> None:
    watch = Watch()
    await watch.write({"a": 10, "b": 10})

    async def meanwhile() -> None:
        watch.journal.before_reply = None
        await watch.write({"a": 50, "b": None}, new=False)
        await watch.write({"c": 30})

    watch.journal.before_reply = meanwhile
    await watch.alarm.open()
    await watch.advance(100, 100)
    assert watch.rung == [("c", 30), ("a", 50)]


@pytest.mark.parametrize("step", [-3_600, 3_600])
async def test_the_clock_steps(step: int) -> None:
    watch = Watch()
    watch.bad = {"bad"}
    await watch.write({"bad": 5, "soon": 60, "later": 3_700})
    await watch.alarm.open()
    await watch.advance(10, 10)
    watch.clock.step(step)
    await watch.advance(60, 60)
    assert watch.names.count("bad") >= (1 if step < 0 else 2)  # set back, it is not yet time again
    watch.bad = set()
    await watch.advance(7_400, 740)
    times = dict(watch.rung)
    assert times["soon"] == (60 if step < 0 else pytest.approx(3_610, abs=11))
    assert times["later"] == 3_700
    assert watch.names.count("soon") == watch.names.count("later") == 1


async def test_opened_again_it_believes_the_journal_alone() -> None:
    watch = Watch()
    await watch.write({"a": 10})
    await watch.alarm.open()
    lost: Sequence[Any] = [(Append(("Bell", "lost"), 0, (), 0, None, watch.start + 20 * SECOND),)]
    watch.alarm.note(lost)
    await watch.alarm.open()
    await watch.advance(100, 100)
    assert watch.names == ["a"]


async def test_closed_it_rings_no_more() -> None:
    watch = Watch()
    await watch.write({"a": 10})
    await watch.alarm.open()
    watch.alarm.close()
    await watch.write({"b": 5})
    await watch.advance(100, 10)
    assert watch.rung == []
