"""What sagas send to a class goes no faster than its rate: by priority, class by class, undos before all else."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from actors import Address, Failed, Rate, Refused, RetryPolicy
from runtime import BaseInstrument, ManualClock, Runtime
from tests.runtime.cast import SOON
from tests.runtime.flowing import let_pass
from tests.runtime.rating import CAST, Api, Bed, Bulk, Bulks, Child, Mother, Order, Race, Racer, Shop, most_in
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of, steps_of, types_of


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    Api.clock = ManualClock()
    Api.calls.clear()
    Api.script = None
    yield Api.clock
    Api.script = None


def texts() -> list[str]:
    return [text for _, text in Api.calls]


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
