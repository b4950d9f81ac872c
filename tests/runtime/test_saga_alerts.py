"""P10: who looks after sagas is told when one needs a person, once, and of nothing that is not durable."""

import asyncio
from datetime import timedelta

import pytest

from actors import (
    OutcomeUnknown,
    Parked,
    RetryPolicy,
)
from actors.policies import Backoff
from runtime import ManualClock, Runtime, SagaAlert
from runtime.saga_alerts import FAILURES
from tests.runtime.cast import (
    ALL,
    DOWN,
    BookTrip,
    Play,
    Trip,
)
from tests.runtime.playing import PLAY, house, later
from tests.runtime.telling import sleeps
from tests.runtime.tools import HeldJournal, quiet


@pytest.mark.parametrize("fate", ["written", "lost"])
async def test_an_alert_is_told_when_that_which_it_tells_is_durable(fate: str) -> None:
    """The turn that parks it is the only one that writes, so there is nothing else that the alert could wait for."""
    journal, clock, told = HeldJournal(), ManualClock(), list[SagaAlert]()
    DOWN.add("hotel")
    async with Runtime(journal, ALL, clock=clock, on_alert=told.append) as runtime:
        await runtime.start(Trip.at("t"), BookTrip(["flight", "hotel"]))
        for _ in range(62):  # pauses of 1, 2, 4, 8, 16 and 32 seconds
            await quiet(runtime)
            clock.advance(1)
        await quiet(runtime)
        journal.hold()
        journal.fail = ["before"] if fate == "lost" else []
        clock.advance(1)
        await journal.arrived.wait()
        assert [event for _, event, _ in journal.enqueued[-2:]] == ["saga.failed", "saga.parked"]
        assert not told
        journal.gate.set()  # what is lost is dropped, so it fails again, and that is written and told
        await quiet(runtime)
        assert [(one.saga, one.what, one.step) for one in told] == [(Trip.at("t"), "parked", "")]
        assert journal.records[-1].type == "saga.parked"


async def test_somebody_is_told_of_a_saga_that_is_parked_when_that_is_durable() -> None:
    alerts: list[SagaAlert] = []
    async with house(on_alert=alerts.append) as at:
        at.journal.hold()
        asked = asyncio.create_task(at.runtime.ask(Trip.at("t"), BookTrip(["keeps", "full"])))
        await at.journal.arrived.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert alerts == []
        at.journal.gate.set()
        with pytest.raises(Parked):
            await asked
        await quiet(at.runtime)
        (alert,) = alerts
        assert (alert.saga, alert.what, alert.step) == (Trip.at("t"), "parked", "")
        assert "keeps won't release t" in alert.error


async def test_what_is_lost_is_not_told() -> None:
    alerts: list[SagaAlert] = []
    async with house(on_alert=alerts.append) as at:
        await at.runtime.ask(Trip.at("other"), BookTrip([]))
        at.journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await at.runtime.ask(Trip.at("t"), BookTrip(["keeps", "full"]))
        await quiet(at.runtime)
        assert alerts == []


async def test_an_undo_that_fails_again_and_again_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def hook(alert: SagaAlert) -> None:
        alerts.append(alert)
        raise ValueError("the hook is broken")

    monkeypatch.setattr(Play, "undo_retry", RetryPolicy(Backoff(timedelta(seconds=1), factor=1.0, jitter=0.0)))
    alerts: list[SagaAlert] = []
    Play.script = sleeps
    async with house(on_alert=hook) as at:
        await at.begin()
        DOWN.add("a")
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="back"))
        await at.passes(FAILURES - 2)
        assert alerts == []
        await at.passes(10)
        (alert,) = alerts
        assert (alert.saga, alert.what, alert.step) == (PLAY, "undo", "a")
        assert "a is down" in alert.error
        DOWN.clear()
        await at.passes(2)
        await told
    assert len(alerts) == 1


async def test_a_parked_one_is_not_told_again_at_a_restart() -> None:
    alerts: list[SagaAlert] = []
    async with house() as at:
        with pytest.raises(Parked):
            await at.runtime.ask(Trip.at("t"), BookTrip(["keeps", "full"]))
    async with house(at.journal.records, later(at.journal.records), on_alert=alerts.append) as again:
        with pytest.raises(Parked):
            await again.runtime.result(Trip.at("t"))
        assert alerts == []
