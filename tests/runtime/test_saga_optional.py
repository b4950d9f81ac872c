"""P8, P9: a step that may be refused is a value, and its effect is undone where it is not known."""

import asyncio
from collections.abc import Sequence

import pytest

from actors import Refused
from persistence import Record
from tests.runtime.cast import (
    TOLD,
    Begin,
    Desk,
    Held,
    Note,
    Play,
)
from tests.runtime.playing import PLAY, House, from_every_prefix, hold, house, stands
from tests.runtime.tools import comes, of, quiet, steps_of, types_of


async def test_an_optional_refusal_is_a_value_and_what_was_done_stays() -> None:
    async def story(self: Play, command: Begin) -> Held:
        held = await self.optional(hold(self, "a"))
        assert isinstance(held, Held)
        refused = await self.optional(hold(self, "full"))
        assert isinstance(refused, Refused)
        both = await self.parallel(self.optional(hold(self, "full too")), hold(self, "b"))
        TOLD.append((refused.reason, [type(one).__name__ for one in both]))
        return Held(1)

    async def play(at: House) -> None:
        assert await at.runtime.ask(PLAY, Begin()) == Held(1)

    def check(records: Sequence[Record]) -> None:
        assert stands(records) == {"a": 1, "b": 1}
        assert not of(records, "WasReleased", "service.fenced") or of(records, "saga.refused")
        assert TOLD[-1] == ("full is full", ["Refused", "Held"])

    Play.script = story
    async with house() as at:
        await play(at)
    check(at.journal.records)
    assert not steps_of(at.journal.records, PLAY, "undone")
    await from_every_prefix(at.journal.records, play, check)


async def test_an_optional_refusal_of_unknown_effect_is_undone_before_the_end() -> None:
    """The desk has failed at the first copy, and refuses the second: what the first did is not known."""

    async def play(desk: Desk, note: Note) -> str:
        if note.text == "do" and len(Desk.inbox) == 1:
            raise ConnectionError("it is done, and the line is dead")
        if note.text == "do":
            raise Refused("not twice")
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        TOLD.append(await self.optional(self.ask("do", Desk.at(), Note("do"), undo=Note("undo"))))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await at.passes(3)
        assert await asked == Held(1)
        assert isinstance(TOLD[0], Refused)
    assert [text for _, text in Desk.inbox] == ["do", "do", "undo"]
    assert types_of(at.journal.records, PLAY)[-3:] == ["saga.dropped", "saga.undone", "saga.completed"]


async def test_a_killed_saga_still_knows_that_a_refusal_is_uncertain() -> None:
    """Its second copy is under way when it is killed; the next incarnation sends none, and must undo all the same."""
    lets_go = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        copies = [text for _, text in Desk.inbox].count("do")
        if note.text == "do" and copies == 1:
            raise ConnectionError("it is done, and the line is dead")
        if note.text == "do":
            await lets_go.wait()
            raise Refused("not twice")
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("do", Desk.at(), Note("do"), undo=Note("undo"))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await quiet(at.runtime)
        at.clock.advance(1)
        await comes(lambda: len(Desk.inbox) == 1)
        for _ in range(3):
            at.clock.advance(1)
            await comes(lambda: True)
        await comes(lambda: len(Desk.inbox) == 2)
        await at.runtime.kill(PLAY)
        lets_go.set()
        with pytest.raises(Refused, match="not twice"):
            await asked
    assert [text for _, text in Desk.inbox] == ["do", "do", "undo"]


async def test_a_refusal_is_uncertain_where_another_process_has_sent_it_before() -> None:
    """Whether that one's copy was done nobody knows, for the process has died."""
    story_ends = asyncio.Event()

    async def never(desk: Desk, note: Note) -> str:
        await story_ends.wait()
        return note.text

    async def refuses(desk: Desk, note: Note) -> str:
        if note.text == "do":
            raise Refused("not twice")
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("do", Desk.at(), Note("do"), undo=Note("undo"))
        return Held(1)

    Desk.script, Play.script = never, story
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 1)
        left = list(at.journal.records)
        story_ends.set()
    Desk.script = refuses
    async with house(left, at.clock) as again:
        with pytest.raises(Refused, match="not twice"):
            await again.runtime.result(PLAY)
    assert [text for _, text in Desk.inbox] == ["do", "do", "undo"]
