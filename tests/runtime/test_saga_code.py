"""P8: code that can't be a saga, or was changed under way, is parked and told why; replay hears the same."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest

from actors import (
    Backoff,
    Event,
    JournalMismatch,
    OutcomeUnknown,
    Parked,
    Refused,
    RetryPolicy,
    Saga,
)
from runtime import ManualClock, Runtime
from tests.runtime.cast import (
    ALL,
    Account,
    Begin,
    BookTrip,
    Held,
    Hold,
    Look,
    Play,
    Release,
    Room,
    Trip,
    WasHeld,
    Withdraw,
)
from tests.runtime.playing import PLAY, hold, parked_with
from tests.runtime.tools import (
    HeldJournal,
    node_of,
    of,
    quiet,
    restart_of,
)

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


async def asks_itself(self: Play, command: Begin) -> Held:
    return await self.ask("me", Play.at(self.key), command)


async def undoes_a_saga(self: Play, command: Begin) -> Held:
    await hold(self, "flight")
    await self.ask("trip", Trip.at("kid"), BookTrip(["r"]), undo=BookTrip([]))
    return Held(1)


async def has_a_wrong_undo(self: Play, command: Begin) -> Held:
    anyone: Any = self
    await anyone.ask("wrong", Room.at("a"), Hold("t"), undo=Withdraw(1))
    return Held(1)


async def has_a_name_that_is_no_text(self: Play, command: Begin) -> Held:
    return await self.ask("\ud800", Room.at("a"), Hold("t"))


async def asks_who_is_no_text(self: Play, command: Begin) -> Held:
    return await self.ask("step", Room.at("\ud800"), Hold("t"))


async def asks_who_has_a_long_name(self: Play, command: Begin) -> Held:
    return await self.ask("step", Room.at("x" * 1_025), Hold("t"))


def undone(**how: Any) -> Any:
    async def undone_in_a_way_that_is_no_json(self: Play, command: Begin) -> Held:
        await hold(self, "flight")
        policy = RetryPolicy(**how)
        return await self.ask("step", Room.at("a"), Hold("t"), undo=Release("t"), undo_retry=policy)

    return undone_in_a_way_that_is_no_json


@pytest.mark.parametrize(
    ("story", "text"),
    [
        (sleeps, "which is no step; a saga awaits only self.ask, self.pivot, self.sleep, self.receive, self.parallel"),
        (goes_on, "Play/p went on after the refusal 'full is full'; let Refused pass"),
        (ends_all_the_same, "Play/p went on after the refusal 'full is full'; let Refused pass"),
        (says_it_twice, "two steps called 'same'; give each a name of its own"),
        (loops, "asked for more than 10,000 steps; it seems to loop"),
        (breaks, "ZeroDivisionError: a bug"),
        (returns_rubbish, "the result of Play/p can't be stored"),
        (asks_the_wrong_one, "Account doesn't take Hold"),
        (asks_itself, "step 'me' asks the saga itself, which would wait for ever"),
        (undoes_a_saga, "step 'trip' asks another saga, which can't be undone by a command"),
        (has_a_wrong_undo, "Room doesn't take Withdraw"),
        (has_a_name_that_is_no_text, "NotEncodable: an event of the saga can't be stored: .*surrogates not allowed"),
        (asks_who_is_no_text, "UnknownActor: an actor's key must be text that UTF-8 can hold"),
        (asks_who_has_a_long_name, "UnknownActor: an actor's key has 1,025 characters, the limit is 1,024"),
        (undone(backoff=Backoff(factor=inf)), "the undo_retry of step 'step' can't be stored: JSON has no NaN and no"),
        (undone(final=("\ud800",)), "the undo_retry of step 'step' can't be stored: .*surrogates not allowed"),
        (undone(crashes=2.5), "the undo_retry of step 'step' can't be stored, as it would not read back"),
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


async def test_a_result_that_is_of_another_shape_now_fails_its_askers_and_writes_nothing() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["r"]))

    class Priced(Event, tag="TripBooked"):
        trip: str
        price: int

    class Changed(Saga[BookTrip, Priced]):
        async def run(self, command: BookTrip) -> Priced:
            raise NotImplementedError

    Changed.__name__ = "Trip"
    later = restart_of(journal.records)
    async with Runtime(later, [Room, Changed]) as runtime:
        for _ in range(2):
            with pytest.raises(JournalMismatch, match="Trip/t has ended, but today's code can't read its result"):
                await runtime.ask(Trip.at("t"), BookTrip(["r"]))
            with pytest.raises(JournalMismatch):
                await runtime.result(Trip.at("t"))
            await runtime.kill(Trip.at("t"))
    assert len(later.records) == len(journal.records)


async def test_who_has_given_up_waiting_for_a_saga_takes_no_room() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(minutes=4))
        return Held(1)

    Play.script = story
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.tell(PLAY, Begin())
        asked = asyncio.create_task(runtime.result(PLAY))
        for _ in range(200):
            polled = asyncio.create_task(runtime.result(PLAY, timeout=1))
            await quiet(runtime)
            clock.advance(1.1)
            with pytest.raises(OutcomeUnknown):
                await polled
        cell: Any = node_of(runtime).directory.cell(PLAY)
        assert len(cell._waiters._replies) < 100
        clock.advance(60)
        assert await asked == Held(1)
