"""The numbers of a runtime are right at every moment, also for actors that can't take their turns."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import pytest

from actors import (
    Actor,
    Backoff,
    Command,
    Decision,
    Event,
    Failed,
    Parked,
    Pool,
    Refused,
    RestartPolicy,
    Service,
    State,
)
from runtime import ManualClock, Runtime
from runtime.histogram import Histogram
from runtime.stats import ActorStats, Stats
from tests.runtime.cast import ALL, Board, Desk, Hold, Lines, Look, Note, Odd, Room, TakeTour, Tour
from tests.runtime.tools import HeldJournal, comes, quiet

R = Room.at("r")


class Item(Command["Belt", None]):
    text: str = ""


class Belt(Actor):
    """Works in turns, and does what the test says."""

    restart = RestartPolicy(restarts=1, backoff=Backoff(timedelta(seconds=10), jitter=0.0))
    script: ClassVar[Callable[[Any, Item], None]]

    def receive(self, message: Item) -> None:
        Belt.script(self, message)


class Job(Command["Crew", None]):
    pass


class Crew(Actor):
    pool = Pool(2)

    async def receive(self, message: Job) -> None:
        pass


def of(runtime: Runtime, cls: type) -> ActorStats:
    return runtime.stats().actors[cls.__name__]


def fail(self: Belt, message: Item) -> None:
    if message.text == "fail":
        raise ValueError(message.text)


async def test_what_has_happened_is_counted_by_class() -> None:
    async with Runtime("memory:", [*ALL, Crew]) as runtime:
        await runtime.ask(R, Hold("t"))
        await runtime.ask(Room.at("other"), Look())
        with pytest.raises(Refused):
            await runtime.ask(Room.at("full"), Hold("t"))
        await runtime.tell(Room.at("full"), Hold("t"))
        await runtime.ask(Crew.at(), Job())
        await quiet(runtime)
        stats = runtime.stats()
        room = stats.actors["Room"]
        assert (room.active, room.turns, room.failures, room.mail, room.oldest) == (3, 4, 0, 0, 0.0)
        assert stats.actors["Crew"].active == 1  # the worker, not the way to it
        assert stats.active == 4
        assert stats.dead_letters == 1
        assert stats.actors["Trip"] == ActorStats(0, 0, 0, 0, 0.0, 0, 0, 0, 0)
        assert "Board" not in stats.actors


async def test_stats_can_be_sent_as_json() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(R, Hold("t"))
        stats = runtime.stats()
        assert msgspec.json.decode(msgspec.json.encode(stats), type=Stats) == stats
        with pytest.raises(AttributeError):
            stats.active = 0  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


async def test_crashes_and_restarts_are_counted_and_who_is_parked() -> None:
    clock = ManualClock()
    Belt.script = fail
    async with Runtime("memory:", [*ALL, Belt], clock=clock) as runtime:
        for failures in (1, 2):
            with pytest.raises(Failed):
                await runtime.ask(Belt.at(), Item("fail"))
            assert of(runtime, Belt).failures == failures
            assert of(runtime, Belt).parked == failures - 1
            clock.advance(11)
            await quiet(runtime)
        assert of(runtime, Belt).restarts == 1


async def test_a_saga_that_set_itself_aside_is_parked() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Parked):
            await runtime.ask(Tour.at("t"), TakeTour(["r", "r"], "ann"))  # two steps of one name
        assert of(runtime, Tour).parked == 1


# -- how long the oldest message has waited ---------------------------------------------------------------------------


async def test_mail_that_has_just_come_has_not_waited_however_idle_the_runtime_was() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(R, Look())
        clock.advance(1_000)
        sent = [runtime.tell(R, Look()) for _ in range(3)]
        stats = of(runtime, Room)
        assert (stats.mail, stats.deepest, stats.oldest) == (3, 3, 0.0)
        clock.advance(2)
        assert of(runtime, Room).oldest == 2.0
        for one in sent:
            await one
        await quiet(runtime)
        assert of(runtime, Room).oldest == 0.0


async def test_mail_of_an_actor_that_hangs_grows_old() -> None:
    clock, over = ManualClock(), asyncio.Event()

    async def hangs(self: Desk, message: Note) -> str:
        await over.wait()
        return ""

    Desk.script = hangs
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.tell(Desk.at(), Note("taken"))
        await comes(lambda: of(runtime, Desk).turns == 1)
        clock.advance(100)
        await runtime.tell(Desk.at(), Note("waits"))
        await runtime.tell(Desk.at("other"), Note("taken"))
        await comes(lambda: of(runtime, Desk).turns == 2)
        clock.advance(5)
        await runtime.tell(Desk.at(), Note("waits too"))
        clock.advance(2)
        stats = of(runtime, Desk)
        over.set()
        assert (stats.active, stats.mail, stats.deepest, stats.oldest) == (2, 2, 2, 7.0)
        await quiet(runtime)
        assert of(runtime, Desk).mail == 0


async def test_mail_of_an_actor_that_waits_for_its_restart_grows_old_and_keeps_its_age_when_it_is_back() -> None:
    clock, seen = ManualClock(), list[float]()

    def script(self: Belt, message: Item) -> None:
        fail(self, message)
        seen.append(of(runtime, Belt).oldest)

    Belt.script = script
    async with Runtime("memory:", [Belt], clock=clock) as runtime:
        with pytest.raises(Failed):
            await runtime.ask(Belt.at(), Item("fail"))
        clock.advance(3)
        await runtime.tell(Belt.at(), Item())
        await runtime.tell(Belt.at(), Item())
        clock.advance(4)
        assert of(runtime, Belt).oldest == 4.0
        clock.advance(3.1)
        await quiet(runtime)
    assert seen == [pytest.approx(7.0, abs=0.1), 0.0]


class Counted(Event):
    pass


class Count(Command["Counter", None]):
    pass


class Counter(Service[State, Count, Counted]):
    initial = State()
    script: ClassVar[Callable[[Any], None]]

    def decide(self, state: State, command: Count) -> Decision:
        self.script()
        return command.reply(None, Counted())

    def evolve(self, state: State, event: Counted) -> State:
        return state


async def test_mail_of_a_service_that_is_being_brought_back_keeps_its_age() -> None:
    clock, journal, seen = ManualClock(), HeldJournal(), list[float]()
    async with Runtime(journal, [Counter], clock=clock) as runtime:
        Counter.script = lambda _: seen.append(of(runtime, Counter).oldest)
        journal.hold()
        await runtime.tell(Counter.at(), Count())
        await journal.arrived.wait()
        await runtime.kill(Counter.at())  # its own events are on their way to the disk; it waits for them
        await runtime.tell(Counter.at(), Count())
        await runtime.tell(Counter.at(), Count())
        clock.advance(5)
        assert (of(runtime, Counter).mail, of(runtime, Counter).oldest) == (2, 5.0)
        journal.gate.set()
        await quiet(runtime)
    assert seen == [0.0, 5.0, 0.0]


async def test_a_parked_actor_has_no_mail_that_waits() -> None:
    clock = ManualClock()
    Belt.script = fail
    async with Runtime("memory:", [Belt], clock=clock) as runtime:
        for _ in range(2):
            await runtime.tell(Belt.at(), Item("fail"))
            await quiet(runtime)
            clock.advance(11)
            await quiet(runtime)
        await runtime.tell(Belt.at(), Item())
        clock.advance(5)
        stats = of(runtime, Belt)
        assert (stats.parked, stats.mail, stats.oldest) == (1, 0, 0.0)


@pytest.mark.parametrize("backlog", [1, 10, 500])
async def test_the_oldest_is_never_older_than_told_nor_much_younger(backlog: int) -> None:
    """A mailbox that is never empty: each message sends the next one, and takes 10 ms."""
    clock, waiting, turns = ManualClock(), deque[int](), 20 * backlog + 100
    wrong: list[tuple[float, float]] = []

    def script(self: Belt, message: Item) -> None:
        nonlocal turns
        waiting.popleft()
        turns -= 1
        if turns > 0:
            waiting.append(clock.steady())
            self.tell(Belt.at(), Item())
        clock.advance(0.01)
        true = (clock.steady() - waiting[0]) / 1e6 if waiting else 0.0
        told = of(runtime, Belt).oldest
        # Too old by what it takes to handle all that was there, and by what the cells have at a time.
        if not true <= told + 1e-6 or told > true + 0.01 * (backlog + 2 * 256) + 0.01:
            wrong.append((true, told))

    Belt.script = script
    async with Runtime("memory:", [Belt], clock=clock) as runtime:
        for _ in range(backlog):
            waiting.append(clock.steady())
            await runtime.tell(Belt.at(), Item())
        await quiet(runtime)
    assert not waiting
    assert wrong == []


# -- the journal, read models, timers ---------------------------------------------------------------------------------


async def test_groups_are_counted_by_their_events_and_how_long_they_took() -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.ask(R, Hold("t"))
        journal.hold()
        asked = [asyncio.ensure_future(runtime.ask(R, Hold("t"))) for _ in range(3)]
        await journal.arrived.wait()
        clock.advance(0.25)
        assert runtime.stats().journal.queued == 3
        journal.gate.set()
        await asyncio.gather(*asked)
        stats = runtime.stats().journal
        assert (stats.position, stats.queued, stats.groups) == (4, 0, 2)
        events, seconds = stats.group_events, stats.group_seconds
        assert (events.count, events.total, events.max) == (2, 4.0, 3.0)
        assert dict(zip(events.bounds, events.counts, strict=False))[1.0] == 1
        assert dict(zip(events.bounds, events.counts, strict=False))[4.0] == 1
        assert (seconds.count, seconds.total, seconds.max) == (2, 0.25, 0.25)
        assert dict(zip(seconds.bounds, seconds.counts, strict=False))[0.25] == 1


def test_a_histogram_has_a_bucket_for_every_value_and_no_more_with_more_values() -> None:
    histogram = Histogram(-1, 2)
    for value in (0.0, 0.5, 0.6, 1.0, 3.0, 4.0, 5.0, 1e9):
        histogram.add(value)
    stats = histogram.stats()
    assert stats.bounds == (0.5, 1.0, 2.0, 4.0)
    assert stats.counts == (2, 2, 0, 2, 2)
    assert (stats.count, stats.max) == (8, 1e9)


async def test_a_read_model_says_how_far_it_is_and_that_it_is_parked() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(R, Hold("t"))
        await runtime.ask(Board.at(), Lines(), consistent=True)
        board = runtime.stats().read_models["Board"]
        assert (board.position, board.lag, board.failures, board.parked) == (1, 0, 0, False)
        await runtime.ask(R, Hold("unprintable"))
        await runtime.ask(R, Hold("t"))
        with pytest.raises(Parked):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        board = runtime.stats().read_models["Board"]
        assert (board.position, board.lag, board.failures, board.parked) == (1, 2, 1, True)


async def test_timers_that_run_are_counted_and_those_taken_back_are_not() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(R, Look())  # with somebody in memory there are rounds of passivation
        before = runtime.stats().timers
        asked = asyncio.ensure_future(runtime.ask(Tour.at("t"), TakeTour(["r"], "ann", nap=60.0), timeout=90.0))
        await quiet(runtime)
        assert runtime.stats().timers == before + 3  # nap, alarm, and the patience of the caller
        clock.advance(60)
        await asked
        assert runtime.stats().timers == before


async def test_a_message_that_nobody_waits_for_any_more_is_counted_as_expired() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(R, Look())
        asked = asyncio.ensure_future(runtime.ask(R, Odd("poison")))
        await asyncio.sleep(0)
        asked.cancel()
        await quiet(runtime)
        assert of(runtime, Room).expired == 1
