"""Sagas that wait for a place outlive crashes, other limits, a lost journal and the end of the runtime."""

import asyncio

import pytest

from runtime import ManualClock, Runtime, saga_line, saga_lines
from runtime.flow import QueueStats
from tests.runtime.flowing import CAST, Go, Job, Work, began, check_order, check_places, finish, job, start_jobs
from tests.runtime.tools import HeldJournal, check_once, node_of, quiet, restart_of


async def test_after_a_crash_those_under_way_go_first_and_the_queue_is_as_it_was() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        for number, priority in enumerate([0, 2, 0, 2], 2):
            await runtime.start(job(number), Work(priority=priority))
        await quiet(runtime)
    again = restart_of(journal.records)
    async with Runtime(again, CAST) as runtime:
        await quiet(runtime)
        assert began(again.records) == ["0", "1"]
        assert runtime.stats().queues["Job"] == QueueStats(4, 2, 2)
        await runtime.start(job(6), Work())
        await finish(runtime, 0, 1, 3, 5, 2, 4, 6)
    assert began(again.records) == ["0", "1", "3", "5", "2", "4", "6"]
    check_places(again.records, "Job", 2)


async def test_after_a_restart_one_that_comes_stands_between_those_of_higher_and_lower_priority() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        for number, priority in enumerate([0, 6, 3], 2):
            await runtime.start(job(number), Work(priority=priority))
    again = restart_of(journal.records)
    async with Runtime(again, CAST) as runtime:
        for number, priority in enumerate([1, 9, 4], 5):
            await runtime.start(job(number), Work(priority=priority))
        await finish(runtime, 0, 6, 3, 7, 4, 5, 2, 1)
    assert began(again.records) == ["0", "1", "6", "3", "7", "4", "5", "2"]


async def test_more_than_are_kept_in_memory_begin_in_order_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name, value in ((saga_line, "KEPT", 4), (saga_line, "LOW", 1), (saga_line, "PAGE", 3)):
        monkeypatch.setattr(where, name, value)
    monkeypatch.setattr(saga_lines, "SCAN", 3)
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 40, Work(waits=True))
        await runtime.saga(job(30)).kill(by="ana", reason="test")
        await runtime.saga(job(20)).compensate(by="ana", reason="test")
        assert runtime.stats().queues["Job"] == QueueStats(36, 2, 2)
        await finish(runtime, *(number for number in range(15)))
        middle = restart_of(journal.records)
        await start_jobs(runtime, 44)
        await finish(runtime, *(number for number in range(15, 44) if number not in (20, 30)))
        assert runtime.stats().queues["Job"] == QueueStats(0, 0, 2)
    assert began(journal.records) == [f"{number}" for number in range(44) if number not in (20, 30)]
    check_places(journal.records, "Job", 2)
    async with Runtime(middle, CAST) as runtime:
        assert runtime.stats().queues["Job"] == QueueStats(21, 2, 2)
        await finish(runtime, *(number for number in range(15, 40) if number not in (20, 30)))
        assert await runtime.unfinished() == []
    assert began(middle.records) == [f"{number}" for number in range(40) if number not in (20, 30)]


async def test_where_the_limit_is_gone_those_that_waited_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_lines, "LEFT_OVER", 2)
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 9)
        await quiet(runtime)
    monkeypatch.setattr(Job, "at_once", None)
    again = restart_of(journal.records)
    async with Runtime(again, CAST) as runtime:
        await quiet(runtime)
        assert began(again.records) == [f"{number}" for number in range(9)]
        await runtime.start(job(9), Work())
        await finish(runtime, *range(10))
        assert await runtime.unfinished() == []


async def test_where_the_limit_is_new_or_lower_those_under_way_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = HeldJournal()
    monkeypatch.setattr(Job, "at_once", None)
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 4, Work(["flight"]))
        await quiet(runtime)
    monkeypatch.setattr(Job, "at_once", 3)
    again = restart_of(journal.records[:-1])  # one has not come to where it sleeps
    async with Runtime(again, CAST) as runtime:
        await quiet(runtime)
        await finish(runtime, *range(4))
        assert await runtime.unfinished() == []


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_journal_that_is_lost_and_mended(fate: str) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await start_jobs(runtime, 5)
        await quiet(runtime)
        journal.fail = [fate]
        told = asyncio.create_task(runtime.ask(job(0), Go(), id="go 0"))
        with pytest.raises(Exception, match="unknown"):
            await told
        await quiet(runtime)
        await start_jobs(runtime, 6)
        await finish(runtime, *range(6))
        assert await runtime.unfinished() == []
        assert runtime.stats().queues["Job"] == QueueStats(0, 0, 2)
    check_places(journal.records, "Job", 2)
    check_order(journal.records)
    check_once(journal.records)


async def test_while_the_runtime_closes_none_begins_any_more() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 4)
        node_of(runtime).flow.close()  # the first thing that closing does
        await finish(runtime, 0, 1)
    assert began(journal.records) == ["0", "1"]
    again = restart_of(journal.records, crashed=False)
    async with Runtime(again, CAST) as runtime:
        await quiet(runtime)
        assert began(again.records) == ["0", "1", "2", "3"]
