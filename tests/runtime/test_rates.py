"""What sagas send to a class goes no faster than its rate: by priority, class by class, undos before all else."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Address, Command, Decision, Event, Failed, Rate, Refused, RetryPolicy, Saga, Service, State
from runtime import BaseInstrument, ManualClock, Runtime
from runtime.priorities import UNDO
from runtime.throttle import Throttle, Waiting
from runtime.timers import Timers
from tests.runtime.cast import ALL, SOON
from tests.runtime.flowing import let_pass
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of, steps_of, types_of


class Call(Command["Api", str]):
    text: str


class Called(Event):
    text: str


class Nothing(State):
    pass


class Api(Service[Nothing, Call, Called]):
    """Notes when it is called."""

    initial = Nothing()
    rate = Rate(2, per=timedelta(seconds=1))
    clock: ClassVar[ManualClock] = ManualClock()
    calls: ClassVar[list[tuple[int, str]]] = []
    script: ClassVar[Callable[[str], str] | None] = None

    def decide(self, state: Nothing, command: Call) -> Decision:
        Api.calls.append((Api.clock.steady(), command.text))
        return command.reply(command.text if Api.script is None else Api.script(command.text), Called(command.text))

    def evolve(self, state: Nothing, event: Called) -> Nothing:
        return state


class Order(Command["Shop", int]):
    calls: list[str]
    priority: int = 0
    fails: bool = False
    undo: bool = True


class Shop(Saga[Order, int]):
    """Makes its calls, all at once, and refuses in the end where it is told to."""

    retry = SOON
    undo_retry = SOON
    deadline = timedelta(minutes=1)
    timeout = timedelta(seconds=2)

    @classmethod
    def priority_of(cls, command: Order) -> int:
        return command.priority

    async def run(self, command: Order) -> int:
        steps = [
            self.ask(name, Api.at(), Call(name), undo=Call(f"undo {name}") if command.undo else None)
            for name in command.calls
        ]
        await self.parallel(*steps)
        if command.fails:
            raise Refused("no")
        return len(steps)


class Bulk(Command["Bulks", int]):
    calls: int


class Bulks(Saga[Bulk, int]):
    """Another class that calls the same."""

    async def run(self, command: Bulk) -> int:
        await self.parallel(*(self.ask(f"{n}", Api.at(), Call(f"bulk {n}")) for n in range(command.calls)))
        return command.calls


class Race(Command["Racer", str]):
    pass


class Racer(Saga[Race, str]):
    """Gives up a call that has not been made in time."""

    async def run(self, command: Race) -> str:
        chosen = await self.select(
            self.ask("call", Api.at(), Call("late"), undo=Call("undo late")),
            self.sleep("patience", timedelta(seconds=3)),
        )
        await self.sleep("rest", timedelta(seconds=60))
        return chosen.name


class Bed(Command["Child | Mother", int]):
    hours: int


class Child(Saga[Bed, int]):
    """Sleeps; it is started no faster than once a second."""

    rate = Rate(1)

    async def run(self, command: Bed) -> int:
        await self.sleep("night", timedelta(hours=command.hours))
        return command.hours


class Mother(Saga[Bed, int]):
    """Brings two to bed."""

    timeout = timedelta(seconds=2)
    retry = SOON

    async def run(self, command: Bed) -> int:
        await self.parallel(*(self.ask(f"{n}", Child.at(f"{n}"), Bed(8)) for n in range(2)))
        return command.hours


CAST: list[type] = [*ALL, Api, Shop, Bulks, Racer, Child, Mother]


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    Api.clock = ManualClock()
    Api.calls.clear()
    Api.script = None
    yield Api.clock
    Api.script = None


def texts() -> list[str]:
    return [text for _, text in Api.calls]


def most_in(times: Sequence[int], span: int) -> int:
    """Return how many of these times lie within any span of so many microseconds, at the most."""
    return max((bisect_left(times, time + span) - number for number, time in enumerate(times)), default=0)


# -- throttles alone ----------------------------------------------------------------------------------------------


def rate_of(burst: int, times: int, millis: int) -> Rate:
    return Rate(burst * times, timedelta(milliseconds=millis), burst)


RATES = st.builds(rate_of, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3000))


def add(throttle: Throttle, priority: int, going: list[Waiting]) -> Waiting:
    """Have something wait that is noted when it may go."""
    waiting = throttle.add(priority, "A", lambda: going.append(waiting))
    return waiting


def send(going: list[Waiting], gone: list[int], clock: ManualClock, random: Random) -> int:
    """Send some of what may go, later than it might have been; return how many were taken back instead."""
    back = 0
    while going and random.random() < 0.8:
        waiting = going.pop(random.randrange(len(going)))
        if random.random() < 0.1:
            waiting.cancel()
            back += 1
        else:
            waiting.sent()
            gone.append(clock.steady())
    return back


def at_once(throttle: Throttle, priority: int, sender: str, then: Callable[[], None]) -> Waiting:
    """Have something wait that is sent as soon as it may go."""

    def go() -> None:
        waiting.sent()
        then()

    waiting = throttle.add(priority, sender, go)
    return waiting


@given(rate=RATES, seed=st.integers(0, 10**6))
def test_no_span_has_more_than_the_rate(rate: Rate, seed: int) -> None:
    random, clock = Random(seed), ManualClock()
    throttle = Throttle(rate, Timers(clock, clock.steady))
    going: list[Waiting] = []
    gone: list[int] = []
    asked = 0
    for _ in range(100):
        for _ in range(random.choice([0, 0, 1, 2, 9])):
            asked += 1
            if throttle.take():
                gone.append(clock.steady())
            else:
                waiting = add(throttle, random.randrange(-9, UNDO + 1), going)
                if random.random() < 0.1:
                    waiting.cancel()
                    waiting.cancel()
                    asked -= 1
        clock.advance(random.choice([0, 0.001, 0.01, random.random()]))
        asked -= send(going, gone, clock, random)
        if random.random() < 0.05:
            clock.step(random.choice([-3600, 3600]))  # wall time has nothing to do with it
    while throttle.waiting or going:
        clock.advance(0.1)
        asked -= send(going, gone, clock, random)
    assert len(gone) == asked
    assert throttle.waiting == 0
    per = rate.per // timedelta(microseconds=1)
    assert most_in(gone, per) <= rate.limit
    assert most_in(gone, per * rate.at_a_moment // rate.limit) <= rate.at_a_moment


def test_a_flood_goes_as_fast_as_the_rate_allows() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(10), Timers(clock, clock.steady))
    gone: list[int] = []
    for _ in range(100):
        at_once(throttle, 0, "A", lambda: gone.append(clock.steady()))
    clock.advance(9)
    assert len(gone) == 100


def test_one_that_is_taken_back_costs_nothing_and_many_are_swept_out() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[int] = []
    assert throttle.take()
    many = [at_once(throttle, -9, "A", lambda: gone.append(0)) for _ in range(1000)]
    at_once(throttle, -9, "A", lambda: gone.append(1))
    for one in many:
        one.cancel()
    assert throttle.waiting == 1
    assert throttle._size < 200  # pyright: ignore[reportPrivateUsage]
    clock.advance(1)
    assert gone == [1]


def test_priorities_classes_and_undos() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[str] = []
    assert throttle.take()
    for number in range(3):
        for priority, sender in ((0, "A"), (0, "A"), (0, "B"), (5, "A"), (UNDO, "A")):
            at_once(throttle, priority, sender, partial(gone.append, f"{priority}{sender}{number}"))
    clock.advance(100)
    assert gone[:6] == ["11A0", "11A1", "11A2", "5A0", "5A1", "5A2"]
    assert [text[1] for text in gone[6:]] == ["A", "B", "A", "B", "A", "B", "A", "A", "A"]


def test_a_low_priority_does_not_wait_for_ever() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[int] = []
    assert throttle.take()
    for priority in [-9] * 5 + [9] * 100:
        at_once(throttle, priority, "A", partial(gone.append, priority))
    clock.advance(50)
    assert [number for number, priority in enumerate(gone, 1) if priority == -9] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"limit": 0}, r"limit >= 1 .*Rate\(100, per=timedelta\(seconds=1\)\)"),
        ({"limit": 1.5}, "limit >= 1"),
        ({"limit": True}, "limit >= 1"),
        ({"limit": 1, "per": timedelta(0)}, "per > 0"),
        ({"limit": 10, "burst": 3}, "whole part of its limit"),
        ({"limit": 10, "burst": 0}, "whole part of its limit"),
        ({"limit": 1_000_000}, "at most 100,000 .* smaller burst="),
    ],
)
def test_a_rate_that_can_not_be_meant(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rate(**values)


# -- sagas --------------------------------------------------------------------------------------------------------


async def test_no_span_has_more_steps_than_the_rate(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails, is undone and is tried again on the way."""
    monkeypatch.setattr(Api, "rate", Rate(6, timedelta(seconds=2), burst=2))
    random = Random(7)

    def call(text: str) -> str:
        if random.random() < 0.2:
            raise ConnectionError("later")
        return text

    Api.script = call
    patient = RetryPolicy(SOON.backoff, budget=timedelta(hours=1))
    monkeypatch.setattr(Shop, "retry", patient)
    monkeypatch.setattr(Shop, "undo_retry", patient)
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        asked = [
            asyncio.create_task(
                runtime.ask(Shop.at(f"{n}"), Order([f"{n}a", f"{n}b"], random.randrange(3), random.random() < 0.3))
            )
            for n in range(30)
        ]
        await let_pass(runtime, clock, 200, 0.07)
        ends = await asyncio.gather(*asked, return_exceptions=True)
    assert len(Api.calls) > 80
    assert all(isinstance(end, (int, Refused)) for end in ends)
    times = [at for at, _ in Api.calls]
    assert most_in(times, 2_000_000) <= 6
    assert most_in(times, 666_667) <= 2


async def test_where_nobody_has_to_wait_a_step_goes_at_once(clock: ManualClock) -> None:
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        assert await runtime.ask(Shop.at("s"), Order(["a", "b"])) == 2
        assert runtime.stats().rates["Api"] == 0


async def test_by_priority_and_class_by_class(clock: ManualClock) -> None:
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("first"), Order(["x", "y"]))
        await runtime.start(Bulks.at("b"), Bulk(4))
        await runtime.start(Shop.at("plain"), Order(["p1", "p2", "p3"]))
        await runtime.start(Shop.at("urgent"), Order(["u1", "u2"], 5))
        await quiet(runtime)
        assert runtime.stats().rates["Api"] == 9
        await let_pass(runtime, clock, 6)
        assert runtime.stats().rates["Api"] == 0
    assert texts() == ["x", "y", "u1", "u2", "bulk 0", "p1", "bulk 1", "p2", "bulk 2", "p3", "bulk 3"]


async def test_an_undo_waits_behind_no_step(clock: ManualClock) -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Shop.at("s"), Order(["a", "b"], -9, fails=True)))
        await quiet(runtime)
        await runtime.start(Bulks.at("b"), Bulk(8))
        await quiet(runtime)
        await let_pass(runtime, clock, 10)
        with pytest.raises(Refused):
            await asked
    assert texts()[:2] == ["a", "b"]
    assert set(texts()[2:5]) >= {"undo a", "undo b"}
    assert most_in([at for at, _ in Api.calls], 1_000_000) <= 2


async def test_a_timeout_begins_when_the_step_is_sent(clock: ManualClock) -> None:
    """The steps wait for up to 9 seconds, and their timeout is 2."""
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Shop.at("s"), Order([f"{n}" for n in range(20)])))
        await let_pass(runtime, clock, 10)
        assert await asked == 20
    assert "saga.failed" not in types_of(journal.records, Shop.at("s"))
    assert len(Api.calls) == 20


async def test_a_step_that_was_sent_still_has_its_timeout(clock: ManualClock) -> None:
    """Two steps that start sagas, which sleep; the second one is sent a second later, and so is late a second later."""
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await runtime.start(Mother.at("m"), Bed(0))
        await let_pass(runtime, clock, 1.9)
        assert types_of(journal.records, Child.at("1"))[0] == "saga.started"
        assert steps_of(journal.records, Mother.at("m"), "failed") == []
        await let_pass(runtime, clock, 0.9)
        assert steps_of(journal.records, Mother.at("m"), "failed") == ["0"]
        await let_pass(runtime, clock, 0.4)
        assert steps_of(journal.records, Mother.at("m"), "failed") == ["0", "1"]


async def test_the_deadline_passes_while_a_step_waits(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Api, "rate", Rate(1, timedelta(seconds=50)))
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Shop.at("s"), Order(["a", "b", "c"], undo=False)))
        await let_pass(runtime, clock, 70, 5)
        with pytest.raises(Refused, match="deadline"):
            await asked
        assert runtime.stats().rates["Api"] == 0
        await let_pass(runtime, clock, 200, 10)
    assert texts() == ["a", "b"]


async def test_a_step_that_is_given_up_is_not_sent(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Api, "rate", Rate(1, timedelta(seconds=10)))
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a"]))
        asked = asyncio.create_task(runtime.ask(Racer.at("r"), Race()))
        await let_pass(runtime, clock, 80, 1)
        assert await asked == "patience"
    assert texts() == ["a"]
    assert types_of(journal.records, Api.at()) == ["Called", "service.fenced"]  # the undo came all the same


@pytest.mark.parametrize("end", ["kill", "compensate"])
async def test_a_saga_that_is_ended_sends_nothing_more(end: str, clock: ManualClock) -> None:
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d"], undo=False))
        await runtime.start(Shop.at("other"), Order(["e"]))
        control = runtime.saga(Shop.at("s"))
        if end == "kill":
            await control.kill(by="ana", reason="test")
        else:
            await control.compensate(by="ana", reason="test")
        assert runtime.stats().rates["Api"] == 1
        await let_pass(runtime, clock, 5)
    assert texts() == ["a", "b", "e"]


async def test_on_the_way_back_nothing_goes_that_was_held_back(clock: ManualClock) -> None:
    """Also while an undo fails, so that the saga has long not ended when the rate would let a step go."""
    journal = HeldJournal()

    def call(text: str) -> str:
        if text.startswith("undo"):
            raise ConnectionError("not now")
        return text

    Api.script = call
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d"]))
        back = asyncio.create_task(runtime.saga(Shop.at("s")).compensate(by="ana", reason="test"))
        await let_pass(runtime, clock, 10)
        assert (await runtime.progress_of(Shop.at("s"))).status == "compensating"
        Api.script = None
        await let_pass(runtime, clock, 60)
        await back
    assert {text for text in texts() if not text.startswith("undo")} == {"a", "b"}


async def test_a_parked_saga_sends_nothing_and_goes_on_when_told(clock: ManualClock) -> None:
    def call(text: str) -> str:
        if text == "a":
            raise ConnectionError("never")
        return text

    Api.script = call
    journal = HeldJournal()
    policy = RetryPolicy(budget=timedelta(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shop, "retry", policy)
        async with Runtime(journal, CAST, clock=clock) as runtime:
            await runtime.start(Shop.at("s"), Order(["a", "b", "c"]))
            await quiet(runtime)
            assert (await runtime.progress_of(Shop.at("s"))).status == "parked"
            await let_pass(runtime, clock, 5)
            assert texts() == ["a", "b"]
            Api.script = None
            await runtime.saga(Shop.at("s")).retry(by="ana", reason="test")
            await let_pass(runtime, clock, 5)
            assert (await runtime.progress_of(Shop.at("s"))).status == "completed"
    assert sorted(texts()) == ["a", "a", "b", "c"]


async def test_a_cell_that_is_killed_sends_no_second_copy(clock: ManualClock) -> None:
    """And the timeouts of what it holds back do not begin by that."""
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Shop.at("s"), Order([f"{n}" for n in range(20)])))
        for _ in range(3):
            await let_pass(runtime, clock, 0.3)
            await runtime.kill(Shop.at("s"))
        await let_pass(runtime, clock, 10)
        assert await asked == 20
    assert sorted(texts(), key=int) == [f"{n}" for n in range(20)]
    assert "saga.failed" not in types_of(journal.records, Shop.at("s"))


async def test_after_a_crash_at_any_event_all_is_sent(clock: ManualClock) -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d", "e"]))
        await let_pass(runtime, clock, 5)
    for cut in range(1, len(journal.records)):
        again, Api.clock = restart_of(journal.records[:cut]), ManualClock()
        Api.calls.clear()
        async with Runtime(again, CAST, clock=Api.clock) as runtime:
            await let_pass(runtime, Api.clock, 5)
            assert await runtime.result(Shop.at("s")) == 5
        assert most_in([at for at, _ in Api.calls], 1_000_000) <= 2


async def test_a_journal_that_is_lost_while_steps_wait(clock: ManualClock) -> None:
    journal = HeldJournal()
    async with Runtime(journal, CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d"]))
        await let_pass(runtime, clock, 0.5)
        journal.fail = ["before"]
        with pytest.raises(Exception, match="unknown"):
            await runtime.start(Shop.at("other"), Order(["e"]))
        await let_pass(runtime, clock, 5)
        assert await runtime.result(Shop.at("s")) == 4
        assert node_of(runtime).flow.waiting()["Api"] == 0
    assert most_in([at for at, _ in Api.calls], 1_000_000) <= 2


async def test_while_the_runtime_closes_nothing_more_is_sent(clock: ManualClock) -> None:
    async with Runtime(HeldJournal(), CAST, clock=clock) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d"]))
        await quiet(runtime)
        node_of(runtime).flow.close()
        await let_pass(runtime, clock, 5)
    assert texts() == ["a", "b"]


class Quiet(BaseInstrument):
    """Makes a runtime be observed."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def saga_ended(self, address: Address[Any], end: str, seconds: float, /) -> None:
        self.ended.append(f"{address} {end} {seconds:.0f}")


async def test_sagas_that_are_observed_wait_too(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "at_once", 1)
    tape = Quiet()
    async with Runtime(HeldJournal(), CAST, clock=clock, instruments=[tape]) as runtime:
        await runtime.start(Shop.at("s"), Order(["a", "b", "c", "d"]))
        await runtime.start(Shop.at("t"), Order(["e"]))
        await runtime.start(Shop.at("u"), Order(["f"]))
        clock.step(3)
        await runtime.saga(Shop.at("u")).kill(by="ana", reason="test")
        await let_pass(runtime, clock, 5)
        assert await runtime.result(Shop.at("t")) == 1
    assert texts() == ["a", "b", "c", "d", "e"]
    assert tape.ended == ["Shop/u killed 3", "Shop/s completed 4", "Shop/t completed 1"]


class Wrong(Shop):
    """Its priority can't be meant."""

    at_once = 1


@pytest.mark.parametrize("priority", [10, -10, True, 1.5, "high"])
async def test_a_priority_that_can_not_be_meant(
    priority: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(command: Order) -> Any:
        return priority

    monkeypatch.setattr(Wrong, "priority_of", wrong)
    journal = HeldJournal()
    async with Runtime(journal, [*CAST, Wrong], clock=clock) as runtime:
        with pytest.raises(Failed, match="whole number from -9 to 9"):
            await runtime.ask(Wrong.at("w"), Order(["a"]))
    assert journal.records == []
