"""Only so many sagas of a class are under way at once; the others wait, durably, by priority, and none for ever."""

import asyncio
from datetime import timedelta

import pytest

from actors import Refused
from persistence import MemoryJournal
from runtime import ManualClock, Runtime
from runtime.flow import QueueStats
from runtime.saga_cell import SagaCell
from tests.runtime.cast import DOWN
from tests.runtime.flowing import CAST, Go, Job, Work, began, check_order, check_places, finish, job, queued, start_jobs
from tests.runtime.tools import HeldJournal, check_once, comes, node_of, quiet, restart_of, types_of

# -- the limit and the order --------------------------------------------------------------------------------------


async def test_no_more_are_under_way_than_the_class_says() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 6)
        await quiet(runtime)
        assert began(journal.records) == ["0", "1"]
        assert queued(journal.records) == ["2", "3", "4", "5"]
        await finish(runtime, 1)
        assert began(journal.records) == ["0", "1", "2"]
        await finish(runtime, 0, 2, 3, 4, 5)
        assert await runtime.unfinished() == []
    assert began(journal.records) == ["0", "1", "2", "3", "4", "5"]
    check_places(journal.records, "Job", 2)
    check_once(journal.records)


async def test_who_begins_at_once_queues_nowhere() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        assert await runtime.ask(job(0), Work(waits=False)) == "0"
    assert types_of(journal.records, job(0)) == ["saga.started", "saga.completed"]


async def test_they_begin_by_priority_and_then_in_the_order_of_coming() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        for number, priority in enumerate([0, -9, 3, 9, 3, 0], 2):
            await runtime.start(job(number), Work(priority=priority))
        await finish(runtime, *range(2))
        assert began(journal.records)[2:] == ["5", "4"]
        await finish(runtime, 5, 4, 6, 2, 7, 3)
    assert began(journal.records)[2:] == ["5", "4", "6", "2", "7", "3"]
    check_order(journal.records)


async def test_one_that_comes_when_a_place_comes_free_does_not_overtake_those_that_wait() -> None:
    """Also not one whose queueing is not durable yet."""
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        journal.hold()
        second = asyncio.create_task(runtime.start(job(2), Work()))
        await comes(lambda: queued_in(journal, "2"))
        told = asyncio.create_task(runtime.ask(job(0), Go()))
        await comes(lambda: node_of(runtime).flow.lines["Job"].under_way == {"1"})
        third = asyncio.create_task(runtime.start(job(3), Work()))
        await comes(lambda: status_in_memory(runtime, 3) != "new")
        journal.gate.set()
        await asyncio.gather(second, told, third)
        await quiet(runtime)
    assert began(journal.records) == ["0", "1", "2"]
    check_order(journal.records)


def status_in_memory(runtime: Runtime, key: int) -> str:
    cell = node_of(runtime).cell(job(key))
    assert isinstance(cell, SagaCell)
    return cell.story.status


def queued_in(journal: HeldJournal, key: str) -> bool:
    return (("Job", key), "saga.queued") in [(stream, kind) for stream, kind, _ in journal.enqueued]


async def test_no_priority_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """While higher ones come without end, each tenth place is a lower one's."""
    monkeypatch.setattr(Job, "at_once", 1)
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 1)
        await runtime.start(Job.at("low"), Work(priority=-9))
        await runtime.start(Job.at("lower than most"), Work(priority=-1))
        for number in range(1, 41):
            await runtime.start(job(number), Work(priority=5))
        await finish(runtime, 0)
        for _ in range(30):
            (now,) = node_of(runtime).flow.lines["Job"].under_way
            await runtime.ask(Job.at(now), Go())
            await quiet(runtime)
    order = began(journal.records)[1:]
    assert order.index("lower than most") == 9
    assert order.index("low") == 19


# -- those who wait -----------------------------------------------------------------------------------------------


async def test_start_is_told_and_ask_waits() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        await runtime.start(job(2), Work(), timeout=5)  # that it is queued is durable now
        assert queued(journal.records) == ["2"]
        asked = asyncio.create_task(runtime.ask(job(2), Work()))
        result = asyncio.create_task(runtime.result(job(2)))
        await quiet(runtime)
        assert not asked.done()
        assert not result.done()
        await finish(runtime, 0, 2)
        assert await asked == await result == "2"


async def test_where_they_have_come_to_can_be_seen() -> None:
    clock = ManualClock()
    async with Runtime(MemoryJournal(), CAST, clock=clock) as runtime:
        await start_jobs(runtime, 2)
        clock.advance(60)
        await runtime.start(job(2), Work(priority=4))
        await runtime.start(job(3), Work())
        progress = await runtime.progress_of(job(2))
        assert (progress.status, progress.priority, progress.started) == ("queued", 4, None)
        assert progress.queued is not None
        assert (await runtime.progress_of(job(0))).queued is None
        assert [one.saga async for one in runtime.sagas(status="queued")] == [job(2), job(3)]
        assert [one.saga async for one in runtime.sagas(since=progress.queued)] == [job(2), job(3)]
        assert await runtime.unfinished() == [job(0), job(1), job(2), job(3)]
        assert runtime.stats().queues["Job"] == QueueStats(queued=2, under_way=2, at_once=2)
        assert runtime.stats().queues["Family"] == QueueStats(queued=0, under_way=0, at_once=1)
        assert await runtime.plan_of(job(2)) == []
        clock.advance(60)
        await finish(runtime, 0)
        progress = await runtime.progress_of(job(2))
        assert progress.started is not None
        assert progress.queued is not None
        assert progress.started - progress.queued == timedelta(seconds=60)


async def test_those_for_whom_nobody_waits_are_not_in_memory() -> None:
    async with Runtime(MemoryJournal(), CAST) as runtime:
        await start_jobs(runtime, 50)
        await quiet(runtime)
        assert runtime.stats().actors["Job"].active == 2


async def test_a_start_is_the_same_however_often_it_comes() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 3)
        await start_jobs(runtime, 3)
        await finish(runtime, 0, 1, 2)
        await start_jobs(runtime, 3)
    assert types_of(journal.records, job(2)) == [
        "saga.queued",
        "saga.started",
        "saga.asked",
        "saga.received",
        "saga.answered",
        "saga.completed",
    ]


async def test_the_deadline_counts_from_the_beginning() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await start_jobs(runtime, 2, Work(nap=280))
        waiting = asyncio.create_task(runtime.ask(job(2), Work()))
        for _ in range(29):
            await quiet(runtime)
            clock.advance(10)
        await finish(runtime, 0, 1)
        for _ in range(29):
            await quiet(runtime)
            clock.advance(10)
        await quiet(runtime)
        assert (await runtime.progress_of(job(2))).status == "running"
        clock.advance(20)
        with pytest.raises(Refused, match="deadline"):
            await waiting


async def test_a_message_waits_with_the_saga() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 3)
        await runtime.ask(job(2), Go())
        await quiet(runtime)
        assert (await runtime.progress_of(job(2))).messages == 1
        await finish(runtime, 0)
        assert await runtime.result(job(2)) == "2"


# -- who has a place ----------------------------------------------------------------------------------------------


async def test_one_that_sleeps_has_its_place_also_after_a_restart() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await start_jobs(runtime, 3, Work(nap=86_400, waits=False))
        await quiet(runtime)
        clock.advance(100)
    again = restart_of(journal.records, crashed=False)
    clock.step(0)
    async with Runtime(again, CAST, clock=clock) as runtime:
        await quiet(runtime)
        assert began(again.records) == ["0", "1"]
        clock.advance(86_400)
        await quiet(runtime)
        assert began(again.records) == ["0", "1", "2"]
    check_places(again.records, "Job", 2)


async def test_one_that_goes_back_has_its_place_until_it_has() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await start_jobs(runtime, 2, Work(["flight"]))
        await runtime.start(job(2), Work())
        await quiet(runtime)
        DOWN.add("flight")
        back = asyncio.create_task(runtime.saga(job(0)).compensate(by="ana", reason="test"))
        await quiet(runtime)
        assert began(journal.records) == ["0", "1"]
        DOWN.clear()
        clock.advance(2)
        await back
        await quiet(runtime)
        assert began(journal.records) == ["0", "1", "2"]


async def test_one_that_is_parked_leaves_its_place_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2, Work(["keeps"]))
        await runtime.start(job(2), Work(waits=False))
        with pytest.raises(Exception, match="stands"):  # the undo is refused
            await runtime.saga(job(0)).compensate(by="ana", reason="test", timeout=5)
        await quiet(runtime)
        assert await runtime.result(job(2)) == "2"
        assert runtime.stats().queues["Job"].under_way == 1
        await runtime.start(job(3), Work())
        await runtime.start(job(4), Work())
        await runtime.saga(job(0)).skip("keeps", by="ana", reason="by hand")  # it goes on, place or not
        await quiet(runtime)
        assert (await runtime.progress_of(job(0))).status == "compensated"
        assert began(journal.records) == ["0", "1", "2", "3"]
    check_places(journal.records, "Job", 2)


async def test_a_killed_cell_keeps_its_place() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 4)
        for _ in range(3):
            await runtime.kill(job(0))
            await runtime.kill(job(2))
            await quiet(runtime)
        assert began(journal.records) == ["0", "1"]
        await finish(runtime, 0, 1, 2, 3)
    check_places(journal.records, "Job", 2)
