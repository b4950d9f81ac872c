"""Sagas that wait for a place: what they are told by hand, and those that would wait for each other in a circle."""

import asyncio

import pytest

from actors import Failed, Refused, SagaKilled
from persistence import MemoryJournal
from runtime import Runtime
from runtime.flow import QueueStats
from runtime.priorities import NEXT
from tests.runtime.flowing import (
    CAST,
    East,
    Family,
    Go,
    Job,
    Left,
    Raise,
    Right,
    Steer,
    Turn,
    West,
    Work,
    began,
    finish,
    job,
    start_jobs,
)
from tests.runtime.tools import HeldJournal, node_of, of, quiet, restart_of, types_of

# -- verbs --------------------------------------------------------------------------------------------------------


async def test_a_queued_saga_can_be_compensated_and_killed() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        asked = [asyncio.create_task(runtime.ask(job(number), Work(["never"]))) for number in (2, 3)]
        await runtime.start(job(4), Work())
        await quiet(runtime)
        await runtime.saga(job(2)).compensate(by="ana", reason="not needed")
        await runtime.saga(job(3)).kill(by="ana", reason="not wanted")
        with pytest.raises(Refused, match="not needed"):
            await asked[0]
        with pytest.raises(SagaKilled, match="not wanted"):
            await asked[1]
        await quiet(runtime)
        assert runtime.stats().queues["Job"] == QueueStats(1, 2, 2)
        await finish(runtime, 0, 4)
        assert {one.saga.key: one.status async for one in runtime.sagas(type=Job)} == {
            "0": "completed",
            "1": "running",
            "2": "compensated",
            "3": "killed",
            "4": "completed",
        }
    assert types_of(journal.records, job(2)) == ["saga.queued", "saga.compensating", "saga.compensated"]
    assert types_of(journal.records, job(3)) == ["saga.queued", "saga.killed"]
    assert not of(journal.records, "WasHeld")


async def test_retry_has_a_queued_saga_begin_next() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 2)
        for number in range(2, 6):
            await runtime.start(job(number), Work(priority=9))
        await runtime.start(job(6), Work(priority=-9))
        await runtime.saga(job(6)).retry(by="ana", reason="the boss asked")
        assert (await runtime.progress_of(job(6))).priority == NEXT
        assert began(journal.records) == ["0", "1"]
        with pytest.raises(Failed, match="no step"):
            await runtime.saga(job(6)).skip("flight", by="ana", reason="test")
        again = restart_of(journal.records)
        await finish(runtime, 0)
        assert began(journal.records)[2:] == ["6"]
    async with Runtime(again, CAST) as runtime:
        await finish(runtime, 0)
        assert began(again.records)[2:] == ["6"]


async def test_one_that_is_killed_when_it_has_just_got_its_place_gives_it_on() -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        await start_jobs(runtime, 5)
        control = runtime.saga(job(2))
        kills = asyncio.create_task(control.kill(by="ana", reason="test"))
        for key in (0, 1):
            runtime.tell(job(key), Go())
        await kills
        await quiet(runtime)
        assert len(node_of(runtime).flow.lines["Job"].under_way) == 2
        assert [one.saga async for one in runtime.sagas(status="running")] == [job(3), job(4)]


# -- no circle of waiting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("crash", [False, True])
async def test_sagas_of_one_class_that_ask_each_other_do_not_wait_for_each_others_places(crash: bool) -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        families = [asyncio.create_task(runtime.ask(Family.at(name), Raise(3, 2))) for name in "abc"]
        assert await asyncio.gather(*families) == [15, 15, 15]
    assert began(journal.records, "Family")[0] == "a"
    firsts = [key for key in began(journal.records, "Family") if len(key) == 1]
    assert firsts == ["a", "b", "c"]
    for cut in range(1, len(journal.records), 7) if crash else ():
        again = restart_of(journal.records[:cut])
        async with Runtime(again, CAST) as runtime:
            await quiet(runtime)
            assert await runtime.ask(Family.at("c"), Raise(3, 2)) == 15


async def test_sagas_of_two_classes_do_not_wait_in_a_circle_for_places() -> None:
    """a has a west place and asks for an east one, b the other way round; and others wait for both."""
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        first = asyncio.create_task(runtime.ask(West.at("a"), Left("x")))
        second = asyncio.create_task(runtime.ask(East.at("b"), Right("y")))
        await quiet(runtime)
        for number in range(3):
            await runtime.start(West.at(f"{number}"), Left())
            await runtime.start(East.at(f"{number}"), Right())
        await runtime.ask(West.at("a"), Steer())
        await quiet(runtime)
        assert (await runtime.progress_of(East.at("x"))).status == "queued"
        middle = restart_of(journal.records)
        await runtime.ask(East.at("b"), Turn())
        assert await first == await second == 2
        await quiet(runtime)
        assert await runtime.unfinished() == []
    async with Runtime(middle, CAST) as runtime:  # a waits for x, as before; now b asks
        await quiet(runtime)
        await runtime.ask(East.at("b"), Turn())
        assert await runtime.result(West.at("a")) == 2
        await quiet(runtime)
        assert await runtime.unfinished() == []


async def test_one_that_waits_begins_when_a_saga_of_its_class_asks_for_it() -> None:
    async with Runtime(MemoryJournal(), CAST) as runtime:
        busy = asyncio.create_task(runtime.ask(West.at("busy"), Left("x")))
        await quiet(runtime)
        await runtime.start(West.at("later"), Left())  # waits behind it
        other = asyncio.create_task(runtime.ask(East.at("b"), Right("later")))
        await quiet(runtime)
        await runtime.ask(East.at("b"), Turn())
        await quiet(runtime)
        assert not other.done()  # this is no circle: it waits for the place
        await runtime.ask(West.at("busy"), Steer())
        assert await busy == 2
        assert await other == 2
