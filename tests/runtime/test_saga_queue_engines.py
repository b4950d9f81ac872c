"""Queues of sagas on journals that are kept: in order over restarts and crashes, and read a page at a time."""

import asyncio
from typing import Any

import pytest

from runtime import Runtime, saga_line, saga_lines
from runtime.flow import QueueStats
from tests.runtime.cast import Room
from tests.runtime.dying import dies
from tests.runtime.flowing import (
    CAST,
    JOBS,
    Go,
    Work,
    began,
    check_order,
    check_places,
    do_all,
    finish,
    job,
    queued,
    start_jobs,
)
from tests.runtime.tools import check_once, of, quiet, stored


async def test_by_priority_after_a_restart(url: str) -> None:
    async with Runtime(url, CAST) as runtime:
        await start_jobs(runtime, 2)
        for number in range(2, 30):
            await runtime.start(job(number), Work(["flight"], priority=number % 3))
    async with Runtime(url, CAST) as runtime:
        assert runtime.stats().queues["Job"] == QueueStats(28, 2, 2)
        for number in range(30):
            runtime.tell(job(number), Go())
        await asyncio.gather(*(runtime.result(job(number)) for number in range(30)))
        held: list[Any] = [record.event async for record in runtime.history(Room.at("flight"))]
    order = [int(event.trip) for event in held]
    by_priority = sorted(range(2, 30), key=lambda number: (-(number % 3), number))
    lowest = [number for number in order if number % 3 == 0]
    assert lowest == [number for number in by_priority if number % 3 == 0]
    assert len(order) == 28


async def test_more_than_are_kept_in_memory(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name, value in ((saga_line, "KEPT", 4), (saga_line, "LOW", 1), (saga_line, "PAGE", 3)):
        monkeypatch.setattr(where, name, value)
    monkeypatch.setattr(saga_lines, "SCAN", 3)
    async with Runtime(url, CAST) as runtime:
        await start_jobs(runtime, 30)
        await runtime.saga(job(20)).kill(by="ana", reason="test")
        await finish(runtime, *range(10))
    async with Runtime(url, CAST) as runtime:
        await quiet(runtime)
        assert runtime.stats().queues["Job"] == QueueStats(17, 2, 2)
        await finish(runtime, *(number for number in range(10, 30) if number != 20))
        assert await runtime.unfinished() == []
    records = await stored(url)
    assert began(records) == [f"{number}" for number in range(30) if number != 20]
    check_places(records, "Job", 2)


@pytest.mark.parametrize("batches", [(5, 30), (40, 45)])
async def test_each_begins_once_where_process_after_process_has_died(batches: tuple[int, ...], url: str) -> None:
    for number in batches:
        await dies("tests.runtime.flowing", url, f"{number}")
    await do_all(url)
    records = await stored(url)
    assert sorted(began(records), key=int) == [f"{number}" for number in range(JOBS)]
    assert len(queued(records)) >= JOBS - 2
    assert len(of(records, "saga.completed")) == JOBS
    check_places(records, "Job", 2)
    check_order(records)
    check_once(records)
