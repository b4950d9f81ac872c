"""P8, P9, P11: a saga ends completed, compensated or visibly parked; what is undone, is undone in reverse and once."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Backoff,
    CommandIdReused,
    NotTaken,
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
    Board,
    BookTrip,
    Desk,
    Held,
    Hold,
    Lines,
    Look,
    Note,
    Play,
    Release,
    Room,
    TakeTour,
    Tour,
    Trip,
    WasHeld,
    Withdraw,
)
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
    until,
)

PLAY = Play.at("p")


def hold(self: Play, name: str, room: str | None = None) -> Any:
    return self.ask(name, Room.at(room or name), Hold(self.key), undo=Release(self.key))


async def parked_with(text: str, runtime: Runtime) -> None:
    """Check that the saga is parked, that its askers are told why, and that the others go on."""
    with pytest.raises(Parked, match=text):
        await runtime.ask(PLAY, Begin())
    with pytest.raises(Parked, match=text):
        await runtime.result(PLAY)
    assert await runtime.unfinished() == [PLAY]
    assert (await runtime.ask(Trip.at("other"), BookTrip(["elsewhere"]))).trip == "other"


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
        with pytest.raises(Parked, match=r"Trip/t is parked: .*step 'hotel' failed 7 times, last: .*hotel is down"):
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


# -- code that can't be a saga ------------------------------------------------------------------------------------


async def sleeps(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await asyncio.sleep(1)
    return Held(1)


async def goes_on(self: Play, command: Begin) -> Held:
    try:
        await hold(self, "full")
    except Refused:
        await hold(self, "flight")
    return Held(1)


async def ends_all_the_same(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    with suppress(Refused):
        await hold(self, "full")
    return Held(1)


async def says_it_twice(self: Play, command: Begin) -> Held:
    await hold(self, "same", "a")
    await hold(self, "same", "b")
    return Held(1)


async def loops(self: Play, command: Begin) -> Held:
    number = 0
    while True:
        number += 1
        await self.ask(f"{number}", Room.at("r"), Look())


async def breaks(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    raise ZeroDivisionError("a bug")


async def returns_rubbish(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    rubbish: Any = "not a Held"
    return rubbish  # type: ignore[no-any-return]


async def asks_the_wrong_one(self: Play, command: Begin) -> Held:
    anyone: Any = self
    await hold(self, "flight")
    await anyone.ask("wrong", Account.at("a"), Hold("t"))
    return Held(1)


async def has_a_wrong_undo(self: Play, command: Begin) -> Held:
    anyone: Any = self
    await anyone.ask("wrong", Room.at("a"), Hold("t"), undo=Withdraw(1))
    return Held(1)


@pytest.mark.parametrize(
    ("story", "text"),
    [
        (sleeps, "which is no step; a saga awaits only self.ask, self.pivot, self.sleep and self.parallel"),
        (goes_on, "Play/p went on after the refusal 'full is full'; let Refused pass"),
        (ends_all_the_same, "Play/p went on after the refusal 'full is full'; let Refused pass"),
        (says_it_twice, "two steps called 'same'; give each a name of its own"),
        (loops, "asked for more than 10,000 steps; it seems to loop"),
        (breaks, "ZeroDivisionError: a bug"),
        (returns_rubbish, "the result of Play/p can't be stored"),
        (asks_the_wrong_one, "Account doesn't take Hold"),
        (has_a_wrong_undo, "Room doesn't take Withdraw"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_code_that_can_not_be_a_saga_is_parked_and_told_why(story: Any, text: str) -> None:
    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await parked_with(text, runtime)
    async with Runtime(restart_of(journal.records), ALL) as runtime:
        with pytest.raises(Parked, match=text):
            await runtime.result(PLAY)


async def test_code_that_was_changed_under_way_is_parked_with_both_sides() -> None:
    async def before(self: Play, command: Begin) -> Held:
        await hold(self, "flight")
        await self.sleep("nap", timedelta(seconds=10))
        return Held(1)

    async def other_room(self: Play, command: Begin) -> Held:
        return await hold(self, "flight", "another")  # type: ignore[no-any-return]

    async def other_kind(self: Play, command: Begin) -> Held:
        await self.sleep("flight", timedelta(seconds=1))
        return Held(1)

    async def shorter(self: Play, command: Begin) -> Held:
        await hold(self, "flight")
        return Held(1)

    Play.script = before
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(PLAY, Begin())
    for story, sides in (
        (other_room, ("Room/flight", "Room/another")),
        (other_kind, ("ask Room/flight", "sleep")),
        (shorter, (r"\['flight', 'nap'\]", r"without \['nap'\]")),
    ):
        Play.script = story
        async with Runtime(restart_of(journal.records), ALL, clock=clock) as runtime:
            with pytest.raises(Parked, match=".*".join(("changed under way", *sides))):
                await runtime.result(PLAY)
            assert (await runtime.ask(Trip.at("other"), BookTrip(["elsewhere"]))).trip == "other"


async def test_an_inserted_step_is_no_change_to_what_was_done() -> None:
    """Outcomes are matched by name, not by position."""

    async def before(self: Play, command: Begin) -> Held:
        await hold(self, "flight")
        await self.sleep("nap", timedelta(seconds=10))
        return Held(1)

    async def after(self: Play, command: Begin) -> Held:
        await hold(self, "new")
        return await before(self, command)

    Play.script = before
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(PLAY, Begin())
    Play.script = after
    clock.step(10)
    async with Runtime(restart_of(journal.records), ALL, clock=clock) as runtime:
        result = asyncio.create_task(runtime.result(PLAY))
        await quiet(runtime)
        clock.advance(1)
        assert await result == Held(1)
        assert (await runtime.state_of(Room.at("flight"))).held == ("p",)
        assert (await runtime.state_of(Room.at("new"))).held == ("p",)


async def test_now_uuid_and_random_are_the_same_at_every_replay() -> None:
    heard: list[tuple[object, ...]] = []

    async def story(self: Play, command: Begin) -> Held:
        told: list[object] = [self.now(), self.uuid(), self.random()]
        await self.sleep("nap", timedelta(seconds=10))
        told += [self.now(), self.uuid(), self.random()]
        await self.parallel(hold(self, "flight"), hold(self, "hotel"), self.sleep("doze", timedelta(seconds=10)))
        told += [self.now(), self.uuid(), self.random()]
        await self.sleep("rest", timedelta(seconds=10))
        heard.append((*told, self.now(), self.uuid(), self.random()))
        return Held(1)

    Play.script = story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(PLAY, Begin()))
        for _ in range(40):
            await quiet(runtime)
            clock.advance(1)
        await asked
    whole = journal.records
    start = ManualClock().now() / 1e6
    assert heard[0][0] == datetime.fromtimestamp(start, UTC)
    assert heard[0][3] == datetime.fromtimestamp(start + 10, UTC)
    for crash in range(1, len(whole)):
        clock = ManualClock(whole[crash - 1].time + 7_000_000)
        async with Runtime(restart_of(whole[:crash]), ALL, clock=clock) as runtime:
            result = asyncio.create_task(runtime.result(PLAY))
            while not result.done():
                await quiet(runtime)
                clock.advance(10)
            await result
        first, last = heard[0], heard[-1]
        # What was said before the crash, and every id and number, is the same.
        known = [record.type for record in whole[:crash]].count("saga.answered")
        assert [value for value in last if not isinstance(value, datetime)] == [
            value for value in first if not isinstance(value, datetime)
        ]
        assert last[0] == first[0]
        assert known < 1 or last[3] == first[3]


async def test_a_saga_asks_a_saga() -> None:
    async def story(self: Play, command: Begin) -> Held:
        booked = await self.ask("trip", Trip.at(self.key), BookTrip(["flight", "hotel"]))
        return Held(len(booked.rooms))

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(PLAY, Begin()) == Held(2)
    whole = journal.records
    for crash in range(1, len(whole)):
        async with Runtime(again := restart_of(whole[:crash]), ALL) as runtime:
            assert await runtime.ask(PLAY, Begin()) == Held(2)
        assert len(of(again.records, WasHeld.__name__)) == 2
