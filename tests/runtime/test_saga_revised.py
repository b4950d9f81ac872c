"""P8, P9: a step that was done is given a better undo, durable with the reply, and the same at each replay."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import Parked, Refused
from persistence import Record
from tests.runtime.cast import (
    DOWN,
    TOLD,
    Account,
    Begin,
    BookTrip,
    Deposit,
    Held,
    Hold,
    Play,
    Release,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, House, ends_with, from_every_prefix, hold, house, stands
from tests.runtime.tools import of, types_of


async def revises(self: Play, command: Begin) -> Held:
    held = await self.ask("a", Room.at("a"), Hold("first name"))
    self.revise_undo("a", Release(f"nobody {held.number}"))
    self.revise_undo("a", Release("first name"))
    await hold(self, "b")
    left = await self.ask("pay", Account.at("ana"), Withdraw(10), undo=Deposit(0))
    self.revise_undo("pay", Deposit(100 - left))
    return await hold(self, command.line)  # type: ignore[no-any-return]


@pytest.mark.parametrize("line", ["c", "full"])
async def test_every_prefix_with_revised_undos(line: str) -> None:
    async def play(at: House) -> None:
        with suppress(Refused):
            await at.runtime.ask(PLAY, Begin(line))

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.completed" if line == "c" else "saga.compensated")(records)
        assert stands(records) == ({"a": 1, "b": 1, "c": 1} if line == "c" else {})
        assert len(of(records, "saga.undorevised")) == 3
        deposited = [record.data for record in of(records, "Deposited")]
        assert deposited == ([] if line == "c" else [b'{"type":"Deposited","amount":10}'])

    Play.script = revises
    async with house() as at:
        await play(at)
    check(at.journal.records)
    await from_every_prefix(at.journal.records, play, check)


async def test_what_undoes_it_now_is_in_the_plan() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held = await self.ask("a", Room.at("a"), Hold("me"), undo=Release("else"))
        self.revise_undo("a", Release(f"me {held.number}"))
        await self.sleep("nap", timedelta(seconds=50))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        (undo,) = await at.runtime.plan_of(PLAY)
        assert (undo.step, undo.to, undo.command, undo.done) == ("a", Room.at("a"), Release("me 1"), True)


async def not_done(self: Play, command: Begin) -> Held:
    self.revise_undo("a", Release("x"))
    return Held(1)


async def refused_before(self: Play, command: Begin) -> Held:
    await self.optional(hold(self, "full"))
    self.revise_undo("full", Release("x"))
    return Held(1)


async def past_the_pivot(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.pivot("pay", Account.at("ana"), Withdraw(1))
    self.revise_undo("a", Release("x"))
    return Held(1)


async def of_a_sleep(self: Play, command: Begin) -> Held:
    await self.sleep("nap", timedelta(0))
    self.revise_undo("nap", Release("x"))
    return Held(1)


async def of_a_saga(self: Play, command: Begin) -> Held:
    await self.ask("trip", Trip.at("kid"), BookTrip([]))
    self.revise_undo("trip", BookTrip([]))
    return Held(1)


async def of_a_loser(self: Play, command: Begin) -> Held:
    await self.select(hold(self, "a"), self.sleep("nap", timedelta(0)))
    self.revise_undo("a", Release("x"))
    self.revise_undo("nap", Release("x"))
    return Held(1)


async def that_nobody_takes(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    self.revise_undo("a", Withdraw(1))
    return Held(1)


async def of_nothing(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    self.revise_undo("b", Release("x"))
    return Held(1)


@pytest.mark.parametrize(
    ("story", "text"),
    [
        (not_done, "revises the undo of step 'a', which is not done; await the step first"),
        (of_nothing, "revises the undo of step 'b', which is not done"),
        (refused_before, "revises the undo of step 'full', which is not done"),
        (past_the_pivot, "can't revise the undo of step 'a': it is past the pivot"),
        (of_a_sleep, "revises the undo of step 'nap', which is not done"),
        (of_a_saga, "can't revise the undo of step 'trip': a saga that was asked is undone by compensating it"),
        (of_a_loser, "revises the undo of step 'nap', which is not done|the step is given up|'a', which is not done"),
        (that_nobody_takes, "Room doesn't take Withdraw"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_undos_that_can_not_be_revised(story: Any, text: str) -> None:
    Play.script = story
    async with house() as at:
        await at.begin()
        await at.passes(1)
        with pytest.raises(Parked, match=text):
            await at.runtime.result(PLAY)


async def test_a_revision_that_changed_under_way_parks_it() -> None:
    async def before(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        self.revise_undo("a", Release(command.line))
        await self.sleep("nap", timedelta(seconds=50))
        return Held(1)

    async def after(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        self.revise_undo("a", Release("other"))
        await self.sleep("nap", timedelta(seconds=50))
        return Held(1)

    Play.script = before
    async with house() as at:
        await at.begin("p")
    Play.script = after
    async with house(at.journal.records, at.clock) as at:
        await at.passes(50)
        with pytest.raises(Parked, match="it gives step 'a' another undo than the one in its journal"):
            await at.runtime.result(PLAY)
        await at.runtime.saga(PLAY).compensate(by="ana", reason="give it up")
        assert stands(at.journal.records) == {}


async def test_clean_up_code_can_not_revise() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        try:
            return await hold(self, "full")  # type: ignore[no-any-return]
        finally:
            with suppress(Refused):
                await_nothing = self.now()
                TOLD.append(await_nothing)
            if command.line == "late":
                self.revise_undo("a", Release("never"))

    Play.script = story
    DOWN.add("full")
    async with house() as at:
        await at.begin("late")
        await at.runtime.saga(PLAY).compensate(by="ana", reason="enough", timeout=60)
    assert "saga.undorevised" not in types_of(at.journal.records, PLAY)
    assert stands(at.journal.records) == {}
