"""Only so many sagas of a class are under way at once; the others wait, durably, by priority, and none for ever."""

import asyncio
from datetime import timedelta

import pytest

from actors import Failed, Refused, SagaKilled
from persistence import MemoryJournal
from runtime import ManualClock, Runtime, saga_line, saga_lines
from runtime.flow import QueueStats
from runtime.priorities import NEXT
from runtime.saga_cell import SagaCell
from tests.runtime.cast import DOWN
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
    check_order,
    check_places,
    finish,
    job,
    queued,
    start_jobs,
)
from tests.runtime.tools import HeldJournal, check_once, comes, node_of, of, quiet, restart_of, types_of

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


# -- crashes ------------------------------------------------------------------------------------------------------


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
