"""Who looks after sagas is told of nothing that is not durable."""

import pytest

from runtime import ManualClock, Runtime, SagaAlert
from tests.runtime.cast import ALL, DOWN, BookTrip, Trip
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
