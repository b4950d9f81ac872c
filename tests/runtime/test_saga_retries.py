"""P8: a saga is told to try again, otherwise maybe, or to take a step as done."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import (
    Command,
    Failed,
    NotTaken,
    Refused,
)
from persistence import NotEncodable, Record
from tests.runtime.cast import (
    DOWN,
    Account,
    Approve,
    Begin,
    Desk,
    Held,
    Hold,
    Look,
    Note,
    Play,
    Release,
    Room,
)
from tests.runtime.playing import PLAY, House, agrees, breaks, hold, house, later, stands
from tests.runtime.telling import WHO, cannot_go_back, parked, sleeps, two_rooms, with_pivot
from tests.runtime.tools import comes, content, of, quiet, steps_of, types_of

pytestmark = pytest.mark.usefixtures("for_hours")


# -- retry --------------------------------------------------------------------------------------------------------


async def test_a_parked_saga_goes_on_with_a_new_budget() -> None:
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        DOWN.add("b")
        await at.runtime.saga(PLAY).retry(**WHO)
        await at.passes(30)
        assert await at.status() == "running"  # not parked by the first failure
        DOWN.clear()
        await at.passes(30)
        assert (await at.runtime.result(PLAY)).number == 1
    (retried,) = of(at.journal.records, "saga.retried")
    assert (content(retried)["by"], content(retried)["reason"]) == ("ana", "the bank was called")
    assert stands(at.journal.records) == {"a": 1, "b": 1}


async def test_one_that_is_under_way_tries_at_once() -> None:
    Play.script = two_rooms
    async with house() as at:
        DOWN.add("b")
        await at.begin()
        await at.passes(20)
        DOWN.clear()
        await at.runtime.saga(PLAY).retry(**WHO)
        assert (await at.runtime.result(PLAY)).number == 1  # without any time passing


async def test_a_retry_gives_a_new_deadline() -> None:
    Play.script = sleeps
    async with house() as at:
        await at.begin()
        before = (await at.runtime.progress_of(PLAY)).deadline
        await at.passes(100, step=10)
        await at.runtime.saga(PLAY).retry(**WHO)
        after = (await at.runtime.progress_of(PLAY)).deadline
        assert before is not None
        assert after == before + timedelta(seconds=100)


async def test_a_deadline_that_has_rung_does_not_count_behind_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", timedelta(seconds=60))
    Play.script = two_rooms
    async with house() as at:
        DOWN.add("b")
        await at.begin()
        await at.passes(59)
        told = asyncio.create_task(at.runtime.saga(PLAY).retry(**WHO))
        await asyncio.sleep(0)  # it is in the control lane, and the deadline comes behind it
        at.clock.advance(1)
        await told
        await quiet(at.runtime)
        assert await at.status() == "running"
        DOWN.clear()
        await at.passes(40)
        assert await at.status() == "completed"


async def test_another_command_for_a_step_that_fails() -> None:
    """What the first one may have done is undone: here it was not, and is fenced."""
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        await at.runtime.saga(PLAY).retry(**WHO, step="b", command=Hold("instead"))
        assert (await at.runtime.result(PLAY)).number == 1
        assert await at.held("b") == ("instead",)
        # The first one comes after all, late.
        with pytest.raises(Refused, match="was undone before it arrived"):
            await at.runtime.ask(Room.at("b"), Hold("p"), id="Play/p#b")
    assert steps_of(at.journal.records, PLAY, "undone") == ["b#1"]
    assert [r.command for r in of(at.journal.records, "WasHeld")] == ["Play/p#a", "Play/p#b#2#"]


@pytest.mark.parametrize("end", ["done", "refused"])
async def test_every_prefix_behind_another_command(end: str) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await hold(self, "b")
        return await hold(self, "full" if end == "refused" else "c")  # type: ignore[no-any-return]

    Play.script = story
    async with house() as at:
        await parked(at)
        await at.runtime.saga(PLAY).retry(**WHO, step="b", command=Hold("instead"), undo=Release("instead"))
        await quiet(at.runtime)
    whole = at.journal.records
    behind = of(whole, "saga.retried")[0].position

    async def play(at: House) -> None:
        with suppress(Refused):
            await at.runtime.result(PLAY)

    def check(records: Sequence[Record]) -> None:
        assert types_of(records, PLAY)[-1] == ("saga.completed" if end == "done" else "saga.compensated")
        assert stands(records) == ({"a": 1, "b": 1, "c": 1} if end == "done" else {})

    for crash in range(behind, len(whole)):
        async with house(whole[:crash], later(whole[:crash])) as again:
            await again.goes_on(asyncio.create_task(play(again)))
        check(again.journal.records)


async def test_a_stale_reply_to_a_command_that_was_replaced_is_not_taken() -> None:
    gate = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        if note.text == "first":
            await gate.wait()
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        said = await self.ask("say", Desk.at("d"), Note("first"), undo=Note("undo"))
        await self.ask("note", Desk.at("other"), Note(said))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        await at.runtime.saga(PLAY).retry(**WHO, step="say", command=Note("second"))
        gate.set()
        assert await at.runtime.result(PLAY) == Held(1)
    # The undo goes first: what it undoes must not stand in the way of what comes instead.
    assert [text for _, text in Desk.inbox] == ["first", "undo", "second", "second"]


async def test_copies_have_ids_that_are_nobody_elses() -> None:
    """A saga with a # in its key, and a step called 2."""

    async def story(self: Play, command: Begin) -> Held:
        return await self.ask("2" if "#" in self.key else "b", Room.at("b"), Hold(self.key), undo=Release(self.key))

    Play.script = story
    async with house() as at:
        await parked(at)
        await at.runtime.ask(Play.at("p#b"), Begin())
        await at.runtime.saga(PLAY).retry(**WHO, step="b", command=Hold("instead"))
        assert (await at.runtime.result(PLAY)).number == 2
        assert await at.held("b") == ("p#b", "instead")


async def test_another_undo() -> None:
    Play.script = cannot_go_back
    async with house() as at:
        await at.begin()
        assert await at.status() == "parked"
        with pytest.raises(Failed, match="Play/p has no step 'none'"):
            await at.runtime.saga(PLAY).retry(**WHO, step="none", undo=Release("x"))
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        await at.runtime.saga(PLAY).retry(**WHO, step="a", undo=Release("nobody"))
        await quiet(at.runtime)
        assert [one.command for one in await at.runtime.plan_of(PLAY)][-1] == Release("nobody")


async def test_no_other_undo_for_one_that_may_have_taken_effect() -> None:
    Play.script = sleeps
    async with house() as at:
        await at.begin()
        DOWN.add("a")
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(**WHO))
        await at.passes(2)
        with pytest.raises(Failed, match="the undo of step 'a' of Play/p was sent before and may have taken effect"):
            await at.runtime.saga(PLAY).retry(**WHO, step="a", undo=Release("x"))
        DOWN.clear()
        await at.passes(5)
        await told
    assert stands(at.journal.records) == {}


async def test_another_undo_for_one_that_was_refused() -> None:
    Play.script = cannot_go_back
    async with house() as at:
        await at.begin()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Room, "decide", agrees)  # whatever it is
            await at.runtime.saga(PLAY).retry(**WHO, step="keeps it", undo=Release("else"))
            with pytest.raises(Refused, match="full is full"):
                await at.runtime.result(PLAY)
    assert steps_of(at.journal.records, PLAY, "undone") == ["keeps it", "a"]


class Peek(Command["Room", int]):
    """Nobody takes it."""


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ({"command": Hold("x")}, "has many steps; say which one is to be retried in another way: step="),
        ({"step": "c", "command": Hold("x")}, "Play/p has no step 'c'; it has a, b"),
        ({"step": "a", "command": Hold("x")}, "step 'a' of Play/p is not under way, so it can't have another command"),
        ({"step": "b", "command": Look()}, "Look has another reply than Hold, which the code of Play/p waits for"),
        ({"step": "b", "command": Peek()}, "Room doesn't take Peek"),
        ({"step": "b", "undo": Peek()}, "Room doesn't take Peek"),
    ],
)
async def test_retries_that_can_not_be(verb: dict[str, Any], text: str) -> None:
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        count = len(at.journal.records)
        with pytest.raises((Failed, NotTaken), match=text):
            await at.runtime.saga(PLAY).retry(**WHO, **verb)
        assert len(at.journal.records) == count
        assert await at.status() == "parked"


# -- skip ---------------------------------------------------------------------------------------------------------


async def test_a_step_is_taken_as_done_and_is_undone_when_it_goes_back() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held: Held = await hold(self, "b")
        await self.ask("tell", Desk.at(), Note(f"{held.number}"))
        return await hold(self, "full")  # type: ignore[no-any-return]

    Play.script = story
    async with house() as at:
        await parked(at)
        with pytest.raises(NotEncodable, match="the reply to step 'b' can't be stored"):
            await at.runtime.saga(PLAY).skip("b", "not a Held", **WHO)
        await at.runtime.saga(PLAY).skip("b", Held(77), **WHO)
        with pytest.raises(Refused, match="full is full"):
            await at.runtime.result(PLAY)
    assert [text for _, text in Desk.inbox] == ["77"]
    assert steps_of(at.journal.records, PLAY, "undone") == ["b"]
    (skipped,) = of(at.journal.records, "saga.skipped")
    assert (content(skipped)["by"], content(skipped)["reason"]) == ("ana", "the bank was called")


async def test_an_undo_is_taken_as_done() -> None:
    Play.script = cannot_go_back
    async with house() as at:
        await at.begin()
        assert await at.status() == "parked"
        with pytest.raises(Failed, match="step 'full' of Play/p need not be undone; there is nothing to skip"):
            await at.runtime.saga(PLAY).skip("full", **WHO)
        await at.runtime.saga(PLAY).skip("keeps it", **WHO)
        with pytest.raises(Refused, match="full is full"):
            await at.runtime.result(PLAY)
        assert stands(at.journal.records) == {"keeps it": 1}
    assert steps_of(at.journal.records, PLAY, "undone") == ["a"]


async def test_a_sleep_and_a_wait_with_patience_are_skipped_but_not_one_without() -> None:
    told: list[Any] = []

    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(hours=1))
        told.append(await self.receive(Approve, timeout=timedelta(hours=1)))
        await self.receive(Approve, name="for ever")
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        control = at.runtime.saga(PLAY)
        await control.skip("nap", **WHO)
        with pytest.raises(Failed, match="step 'nap' of Play/p has its outcome already; there is nothing to skip"):
            await control.skip("nap", **WHO)
        await control.skip("Approve", **WHO)
        assert told == [None]
        with pytest.raises(Failed, match="step 'for ever' of Play/p waits for Approve; send it one"):
            await control.skip("for ever", **WHO)
        await at.runtime.ask(PLAY, Approve())
        assert await at.runtime.result(PLAY) == Held(1)


async def test_skipping_the_pivot_is_past_the_pivot() -> None:
    DOWN.add("tail")
    Play.script = with_pivot
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "decide", breaks)
        async with house() as at:
            await at.begin()
            await at.passes(64)
            await at.runtime.saga(PLAY).skip("pay", 90, **WHO)
            await quiet(at.runtime)
            with pytest.raises(Refused, match="Play/p is past its pivot, so it can't be compensated"):
                await at.runtime.saga(PLAY).compensate(**WHO)
            DOWN.clear()
            await at.passes(40)
            assert await at.runtime.result(PLAY) == Held(1)


async def test_a_skip_gives_a_new_deadline_so_that_it_does_not_go_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was parked for a day before somebody came."""
    monkeypatch.setattr(Play, "deadline", timedelta(minutes=5))

    async def story(self: Play, command: Begin) -> Held:
        held: Held = await two_rooms(self, command)
        await self.sleep("nap", timedelta(seconds=5))
        return held

    Play.script = story
    async with house() as at:
        await parked(at)
        await at.passes(86_400, step=8_640)
        await at.runtime.saga(PLAY).skip("b", Held(5), **WHO)
        await at.passes(5)
        assert await at.runtime.result(PLAY) == Held(5)
