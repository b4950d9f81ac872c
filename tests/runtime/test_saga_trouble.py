"""P8, P9, P11: failures are retried, deadlines compensate, what can't be undone is parked, and sleep is never early."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import (
    OutcomeUnknown,
    Parked,
    Refused,
    RetryPolicy,
    UnknownActor,
)
from runtime import ManualClock, Runtime
from tests.runtime.cast import (
    ALL,
    DOWN,
    Account,
    Begin,
    BookTrip,
    Deposit,
    Desk,
    Held,
    Hold,
    Note,
    Play,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, hold
from tests.runtime.tools import (
    HeldJournal,
    check_books,
    content,
    of,
    quiet,
    restart_of,
    steps_of,
    types_of,
    until,
)

# -- failures -----------------------------------------------------------------------------------------------------


async def test_a_failure_is_retried_with_the_same_id_and_growing_pauses() -> None:
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("hotel")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"])))
        tries: list[int] = []
        for second in range(16):
            await quiet(runtime)
            tries.append(len(of(journal.records, "saga.failed")))
            if second == 14:
                DOWN.clear()
            clock.advance(1)
        assert tries == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4]  # after 1, 2, 4, 8 seconds
        assert (await asked).trip == "t"
    (effect,) = (record for record in of(journal.records, "WasHeld") if record.stream[1] == "hotel")
    assert effect.command == "Trip/t#hotel"
    failed = of(journal.records, "saga.failed")[0]
    assert "hotel failed at Hold: ConnectionError: hotel is down" in content(failed)["error"]
    check_books(journal.records)


async def test_a_spent_budget_parks_it_and_names_the_last_error() -> None:
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("hotel")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"])))
        for _ in range(63):  # pauses of 1, 2, 4, 8, 16 and 32 seconds
            await quiet(runtime)
            assert not asked.done()
            clock.advance(1)
        with pytest.raises(
            Parked, match=r"Trip/t is parked: .*step 'hotel' was given up after 7 failures .*hotel is down"
        ):
            await asked
        assert (await runtime.state_of(Room.at("flight"))).held == ("t",)
        for second in range(200):
            clock.advance(10)
            await quiet(runtime) if second % 50 == 0 else None
    count = len(journal.records)
    assert journal.records[-1].type == "saga.parked"
    async with Runtime(journal := restart_of(journal.records), ALL, clock=clock) as runtime:
        with pytest.raises(Parked, match="hotel is down"):
            await runtime.result(Trip.at("t"))
        with pytest.raises(Parked, match="hotel is down"):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        assert await runtime.unfinished() == [Trip.at("t")]
    assert len(journal.records) == count


@pytest.mark.parametrize("restart", [False, True])
async def test_the_deadline_compensates_what_was_done_and_what_is_unknown(restart: bool) -> None:
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("hotel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trip, "retry", RetryPolicy(budget=timedelta(hours=1)))
        async with Runtime(journal, ALL, clock=clock) as runtime:
            asked = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel", "cab"])))
            await quiet(runtime)
            if not restart:
                clock.advance(299)
                await quiet(runtime)
                assert not asked.done()
                clock.advance(2)
                with pytest.raises(Refused, match="deadline has passed"):
                    await asked
        if restart:
            with pytest.raises(OutcomeUnknown):
                await asked
            journal = restart_of(journal.records)
            clock.step(301)
        async with Runtime(journal, ALL, clock=clock) as runtime:
            await quiet(runtime)
            clock.advance(1)
            with pytest.raises(Refused, match="deadline has passed"):
                await runtime.result(Trip.at("t"))
            # The step that was given up comes after all, late: refused, so that nothing is held.
            DOWN.clear()
            with pytest.raises(Refused, match="step Trip/t#hotel was undone before it arrived at Room/hotel"):
                await runtime.ask(Room.at("hotel"), Hold("t"), id="Trip/t#hotel")
            assert (await runtime.state_of(Room.at("hotel"))).held == ()
            assert (await runtime.state_of(Room.at("flight"))).held == ()
    assert steps_of(journal.records, Trip.at("t"), "undone") == ["hotel", "flight"]
    check_books(journal.records)


async def test_a_saga_in_time_does_not_hear_of_its_deadline() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["flight"]))
        clock.advance(1_000)
        await quiet(runtime)
        assert (await runtime.result(Trip.at("t"))).trip == "t"


async def test_a_refused_undo_parks_it_and_says_what_still_stands() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Parked, match=r"the undo of step 'keeps it' was refused .*keeps it won't release t"):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "keeps it", "full"]))
        assert (await runtime.state_of(Room.at("keeps it"))).held == ("t",)
    assert types_of(journal.records, Trip.at("t"))[-1] == "saga.parked"


async def test_an_undo_that_fails_is_retried() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["flight", "hotel"], "nobody", nap=5)))
        DOWN.discard("flight")
        journal.gate.set()
        await until(runtime, lambda: len(of(journal.records, "WasHeld")) == 2)
        for n in range(10):
            await runtime.ask(Account.at("nobody"), Withdraw(10), id=f"w{n}")
        DOWN.update(("flight", "hotel"))
        for _ in range(5):
            clock.advance(5)
            await quiet(runtime)
        assert not asked.done()
        DOWN.clear()
        for _ in range(15):
            clock.advance(5)
            await quiet(runtime)
        with pytest.raises(Refused, match="nobody has only 0"):
            await asked
    assert [record.stream[1] for record in of(journal.records, "WasReleased")] == ["hotel", "flight"]
    assert all(content(record)["undo"] for record in of(journal.records, "saga.failed"))


# -- sleeping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "reopen", "awake"])
async def test_sleep_is_durable_and_never_early(how: str) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=100))
        return Held(1)

    Play.script = story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(PLAY, Begin())
        await quiet(runtime)
        clock.advance(60)
        if how == "kill":
            await runtime.kill(PLAY)
        if how != "reopen":
            await quiet(runtime)
            clock.advance(39.9)
            await quiet(runtime)
            assert journal.records[-1].type == "saga.asked"
            clock.advance(0.1)
            assert await runtime.result(PLAY) == Held(1)
            return
    async with Runtime(journal := restart_of(journal.records), ALL, clock=clock) as runtime:
        result = asyncio.create_task(runtime.result(PLAY))
        await quiet(runtime)
        clock.advance(39.9)
        await quiet(runtime)
        assert not result.done()
        clock.advance(0.1)
        assert await result == Held(1)
    assert journal.records[-1].time == ManualClock().now() + 100_000_000


async def test_a_sleep_that_ended_while_nobody_was_there_ends_at_once() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=100))
        return Held(1)

    Play.script = story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(PLAY, Begin())
    clock.step(120)
    async with Runtime(restart_of(journal.records), ALL, clock=clock) as runtime:
        result = asyncio.create_task(runtime.result(PLAY))
        await quiet(runtime)
        clock.advance(0)
        assert await result == Held(1)


# -- what the world does meanwhile ----------------------------------------------------------------------------------


async def test_a_pivot_that_waits_while_its_saga_is_killed_has_one_outcome() -> None:
    """The account is busy in a transaction; no second copy of the pivot may be taken after the first was refused."""
    ana, journal, clock = Account.at("ana"), HeldJournal(), ManualClock()
    journal.unreadable = {("Room", "slow")}
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.ask(ana, Withdraw(100))
        moved = asyncio.create_task(runtime.transact((ana, Withdraw(500)), (Room.at("slow"), Hold("x"))))
        await quiet(runtime)
        tour = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["r"], "ana")))
        await quiet(runtime)
        clock.advance(1)  # the nap
        await quiet(runtime)
        assert steps_of(journal.records, Tour.at("t"), "asked")[-1] == "pay"
        paid_in = asyncio.create_task(runtime.ask(ana, Deposit(50)))
        await quiet(runtime)
        await runtime.kill(Tour.at("t"))
        await quiet(runtime)
        assert not moved.done()
        journal.unreadable.clear()
        clock.advance(10)
        with pytest.raises(Refused, match="ana has only 0"):
            await moved
        with pytest.raises(Refused, match="ana has only 0"):
            await tour
        assert await paid_in == 50
        assert (await runtime.state_of(ana)).amount == 50
        assert (await runtime.state_of(Room.at("r"))).held == ()
    assert types_of(journal.records, Tour.at("t"))[-1] == "saga.compensated"


async def test_a_journal_that_can_not_be_read_for_a_while_parks_no_saga() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        tour = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["r"], "ana", nap=3600)))
        await quiet(runtime)
        journal.unreadable = {("Tour", "t")}
        await runtime.kill(Tour.at("t"))
        for _ in range(30):
            await quiet(runtime)
            clock.advance(10)
        journal.unreadable.clear()
        for _ in range(2):
            await quiet(runtime)
            clock.advance(10)
        await quiet(runtime)
        clock.advance(3600)
        assert (await tour).left == 90
    assert "saga.parked" not in types_of(journal.records, Tour.at("t"))
    check_books(journal.records)


@pytest.mark.parametrize("reason", [5, ValueError("sold out"), "caf\udce9"], ids=["number", "error", "surrogate"])
async def test_whatever_the_reason_of_a_refusal_it_is_undone(reason: Any) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.ask("b", Desk.at(), Note("x"))
        return Held(1)

    async def refuse(desk: Desk, note: Note) -> str:
        raise Refused(reason)

    Play.script, Desk.script = story, refuse
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for _ in range(2):
            with pytest.raises(Refused, match=r"^(5|sold out|caf\?)$"):
                await runtime.ask(PLAY, Begin())
        assert (await runtime.state_of(Room.at("a"))).held == ()
    assert types_of(journal.records, PLAY)[-1] == "saga.compensated"


async def test_a_saga_that_is_started_while_someone_hears_that_it_is_not_lives_on() -> None:
    """Letting go of the one that was never started must not let go of the one that runs."""
    journal, clock = HeldJournal(), ManualClock()
    DOWN.add("r")
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        other = asyncio.create_task(runtime.ask(Room.at("z"), Hold("x")))
        await journal.arrived.wait()
        early = asyncio.create_task(runtime.result(Trip.at("t")))
        for _ in range(20):
            await asyncio.sleep(0)
        await runtime.tell(Trip.at("t"), BookTrip(["r"]))
        for _ in range(20):
            await asyncio.sleep(0)
        await runtime.kill(Trip.at("t"))
        journal.gate.set()
        await other
        await asyncio.wait([early])
        DOWN.clear()
        for _ in range(5):
            await quiet(runtime)
            clock.advance(1)
        await quiet(runtime)
        assert types_of(journal.records, Trip.at("t"))[-2:] == ["saga.completed", "TripBooked"]
        assert await runtime.unfinished() == []
        assert isinstance(early.exception(), UnknownActor)
