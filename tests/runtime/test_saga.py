"""P8: a saga ends completed or compensated; what is undone, is undone in reverse and once."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Backoff,
    CommandIdReused,
    NotTaken,
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
    Board,
    BookTrip,
    Desk,
    Held,
    Hold,
    Lines,
    Look,
    Note,
    Play,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, hold, parked_with
from tests.runtime.tools import (
    HeldJournal,
    check_books,
    comes,
    content,
    of,
    quiet,
    restart_of,
    steps_of,
    types_of,
)

# -- ends ---------------------------------------------------------------------------------------------------------


async def test_a_story_that_works() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        booked = await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]), id="order")
        assert (booked.trip, booked.rooms) == ("t", ["flight", "hotel"])
        assert await runtime.unfinished() == []
    assert [(record.stream[0], record.type) for record in journal.records] == [
        ("Trip", "saga.started"),
        ("Trip", "saga.asked"),
        ("Room", "WasHeld"),
        ("Trip", "saga.answered"),
        ("Trip", "saga.asked"),
        ("Room", "WasHeld"),
        ("Trip", "saga.answered"),
        ("Trip", "saga.completed"),
        ("Trip", "TripBooked"),
    ]
    assert journal.records[0].command == "order"
    assert [record.command for record in of(journal.records, "WasHeld")] == ["Trip/t#flight", "Trip/t#hotel"]


async def test_the_undo_is_in_the_journal_before_the_step_has_an_effect() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["flight"]))
    asked, effect = of(journal.records, "saga.asked", "WasHeld")
    assert asked.position < effect.position
    assert content(asked)["command"] == {"type": "Hold", "trip": "t"}
    assert content(asked)["undo"] == {"type": "Release", "trip": "t"}
    assert content(asked)["to"] == ["Room", "flight"]


async def test_a_refusal_undoes_in_reverse() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Refused, match=r"^full hotel is full$"):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "cab", "full hotel", "never"]))
    assert steps_of(journal.records, Trip.at("t"), "asked") == ["flight", "cab", "full hotel"]
    assert steps_of(journal.records, Trip.at("t"), "undone") == ["cab", "flight"]
    assert [record.stream[1] for record in of(journal.records, "WasReleased")] == ["cab", "flight"]
    assert types_of(journal.records, Trip.at("t"))[-1] == "saga.compensated"
    check_books(journal.records)


async def test_the_first_step_refused_leaves_nothing_to_undo() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("t"), BookTrip(["full"]))
    assert types_of(journal.records, Trip.at("t")) == [
        "saga.started",
        "saga.asked",
        "saga.refused",
        "saga.compensating",
        "saga.compensated",
    ]


async def test_parallel_waits_for_the_siblings_and_undoes_in_reverse_order_of_completion() -> None:
    order: list[asyncio.Event] = [asyncio.Event() for _ in range(4)]

    async def play(desk: Desk, note: Note) -> str:
        if note.text.startswith("undo"):
            return note.text
        await order[int(note.text)].wait()
        if note.text == "1":
            raise Refused("not today")
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("first", Desk.at("first"), Note("0"), undo=Note("undo first"))
        await self.parallel(
            *(self.ask(f"s{n}", Desk.at(f"{n}"), Note(f"{n}"), undo=Note(f"undo {n}")) for n in (1, 2, 3))
        )
        raise AssertionError("not reached")

    Desk.script, Play.script = play, story
    journal = HeldJournal()

    def outcome_of(step: str) -> bool:
        return step in steps_of(journal.records, PLAY, "answered") + steps_of(journal.records, PLAY, "refused")

    async with Runtime(journal, ALL) as runtime:
        order[0].set()
        asked = asyncio.create_task(runtime.ask(PLAY, Begin()))
        for number in (3, 1, 2):  # the refusal comes second
            await comes(lambda: len(Desk.inbox) == 4)
            assert not of(journal.records, "saga.compensating")
            order[number].set()
            await comes(partial(outcome_of, f"s{number}"))
        with pytest.raises(Refused, match="not today"):
            await asked
    assert steps_of(journal.records, PLAY, "answered") == ["first", "s3", "s2"]
    assert steps_of(journal.records, PLAY, "undone") == ["s2", "s3", "first"]
    assert [text for _, text in Desk.inbox[4:]] == ["undo 2", "undo 3", "undo first"]


async def test_run_may_refuse_by_itself() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held = await hold(self, "flight")
        raise Refused(f"seat {held.number} is by the window")

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Refused, match=r"^seat 1 is by the window$"):
            await runtime.ask(PLAY, Begin())
        assert (await runtime.state_of(Room.at("flight"))).held == ()


async def test_a_refusal_may_be_caught_to_say_something_better() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held: Held = await hold(self, "flight")
        try:
            await hold(self, "full")
        except Refused as refused:
            raise Refused(f"sorry: {refused.reason}") from refused
        return held

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Refused, match=r"^sorry: full is full$"):
            await runtime.ask(PLAY, Begin())
        assert (await runtime.state_of(Room.at("flight"))).held == ()
    async with Runtime(restart_of(journal.records), ALL) as runtime:
        with pytest.raises(Refused, match=r"^sorry: full is full$"):
            await runtime.result(PLAY)


async def test_a_step_without_an_undo_is_left_as_it_is() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("keep", Room.at("kept"), Hold(self.key))
        await hold(self, "flight")
        held: Held = await hold(self, "full")
        return held

    Play.script = story
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Refused):
            await runtime.ask(PLAY, Begin())
        assert (await runtime.state_of(Room.at("kept"))).held == ("p",)
        assert (await runtime.state_of(Room.at("flight"))).held == ()


async def test_an_event_as_the_result_reaches_the_read_model() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip([]))
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == [(3, "TripBooked t")]


# -- the pivot ----------------------------------------------------------------------------------------------------


async def test_a_refused_pivot_undoes_and_behind_the_pivot_it_goes_forward() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        tours = [asyncio.create_task(runtime.ask(Tour.at(f"{n}"), TakeTour(["a"], "ana"))) for n in range(12)]
        await quiet(runtime)
        clock.advance(1)
        ends = await asyncio.gather(*tours, return_exceptions=True)
        assert sum(isinstance(end, Refused) for end in ends) == 2  # ana had 100
        assert (await runtime.state_of(Account.at("guide"))).amount == 200
    check_books(journal.records)


async def test_past_the_pivot_a_failure_is_retried_and_the_deadline_is_over() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "flight")
        await self.pivot("pay", Account.at("ana"), Withdraw(10))
        return await self.ask("tail", Room.at("tail"), Hold(self.key))

    Play.script = story
    DOWN.add("tail")
    clock, patient = ManualClock(), RetryPolicy(Backoff(timedelta(seconds=30)), budget=timedelta(hours=1))
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Play, "retry", patient)
            asked = asyncio.create_task(runtime.ask(PLAY, Begin()))
            for _ in range(60):  # the deadline is at five minutes
                await quiet(runtime)
                clock.advance(10)
            assert not asked.done()
            DOWN.clear()
            for _ in range(10):
                await quiet(runtime)
                clock.advance(10)
            assert await asked == Held(1)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("undo", "step 'late' has an undo but comes after the pivot 'pay'"),
        ("pivot", "step 'again' is a second pivot but comes after the pivot 'pay'"),
        ("parallel", "the pivot 'pay' must be awaited alone, not in parallel"),
        ("refused", "refused after the pivot, where the saga can only go forward: full is full"),
        ("raised", "refused after the pivot, where the saga can only go forward: changed my mind"),
    ],
)
async def test_rules_of_the_pivot(what: str, text: str) -> None:
    async def story(self: Play, command: Begin) -> Held:
        pivot = self.pivot("pay", Account.at("ana"), Withdraw(10))
        if what == "parallel":
            await self.parallel(pivot, self.sleep("nap", timedelta(1)))
        await pivot
        match what:
            case "undo":
                return await hold(self, "late")  # type: ignore[no-any-return]
            case "pivot":
                await self.pivot("again", Account.at("ana"), Withdraw(10))
            case "refused":
                await self.ask("behind", Room.at("full"), Hold(self.key))
            case _:
                raise Refused("changed my mind")
        return Held(1)

    Play.script = story
    async with Runtime("memory:", ALL) as runtime:
        await parked_with(text, runtime)
        assert (await runtime.state_of(Account.at("ana"))).amount == (100 if what == "parallel" else 90)


# -- asking, again and together -----------------------------------------------------------------------------------


async def test_many_askers_of_one_saga_get_the_one_result(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    command = BookTrip(["flight"])
    async with Runtime(url, ALL) as runtime:
        asked = [runtime.ask(Trip.at("t"), command, id=f"id {n}" if n % 2 else None) for n in range(10)]
        booked = await asyncio.gather(*asked)
        assert all(one == booked[0] for one in booked)
        assert await runtime.ask(Trip.at("t"), command) == booked[0]
        assert await runtime.result(Trip.at("t")) == booked[0]
        assert await runtime.ask(Room.at("flight"), Look()) == 1
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("no"), BookTrip(["full"]))
    async with Runtime(url, ALL) as runtime:
        assert await runtime.ask(Trip.at("t"), command) == booked[0]
        assert await runtime.result(Trip.at("t")) == booked[0]
        for _ in range(2):
            with pytest.raises(Refused, match="full is full"):
                await runtime.ask(Trip.at("no"), BookTrip(["full"]))
        with pytest.raises(CommandIdReused, match="Trip/t was started with another command"):
            await runtime.ask(Trip.at("t"), BookTrip(["hotel"]))
        assert runtime.groups == 0


async def test_another_command_for_a_running_saga_is_an_error() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        first = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["a"], "ana", nap=5)))
        await quiet(runtime)
        with pytest.raises(CommandIdReused, match="a key of its own"):
            await runtime.ask(Tour.at("t"), TakeTour(["b"], "ana", nap=5))
        clock.advance(6)
        assert (await first).left == 90


async def test_result_of_what_is_none() -> None:
    anywhere: Any
    async with Runtime("memory:", ALL) as runtime:
        anywhere = runtime
        with pytest.raises(UnknownActor, match="Trip/never was never started"):
            await runtime.result(Trip.at("never"))
        with pytest.raises(NotTaken, match="Room/r is no saga"):
            await anywhere.result(Room.at("r"))
        assert runtime.position == 0
