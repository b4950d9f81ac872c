"""P8, P9: of several steps the first counts, and what the others did is undone."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import Chosen, Parked, Refused, RestartPolicy
from persistence import Record
from tests.runtime.cast import (
    DOWN,
    TOLD,
    Account,
    Approve,
    Begin,
    BookTrip,
    Desk,
    Held,
    Note,
    Play,
    Reject,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, House, ends_with, from_every_prefix, hold, house, stands
from tests.runtime.tools import comes, of, quiet, steps_of, types_of


async def test_the_first_that_is_done_counts_and_the_others_are_undone_before_the_end() -> None:
    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(hold(self, "a"), hold(self, "b"), self.sleep("patience", timedelta(seconds=60)))
        TOLD.append(chosen)
        return Held(1)

    Play.script = story
    DOWN.add("a")
    async with house() as at:
        assert await at.runtime.ask(PLAY, Begin()) == Held(1)
        assert [Chosen("b", Held(1))] == TOLD
        DOWN.clear()
        await at.passes(5)
    # "a" has failed once, so what became of it is unknown: its undo is sent, and fences it
    assert steps_of(at.journal.records, PLAY, "dropped") == ["a", "patience"]
    assert steps_of(at.journal.records, PLAY, "undone") == ["a"]
    assert types_of(at.journal.records, PLAY)[-1] == "saga.completed"
    assert stands(at.journal.records) == {"b": 1}


async def race(self: Play, command: Begin) -> Held:
    chosen = await self.select(hold(self, "a"), hold(self, "b"), hold(self, "c"))
    TOLD.append(chosen.name)
    last: Held = await hold(self, command.line or "last")
    return last


async def play_race(at: House) -> None:
    with suppress(Refused):
        await at.runtime.ask(PLAY, Begin(), timeout=3600)


async def test_every_prefix_of_a_race_has_one_winner() -> None:
    Play.script = race

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.completed")(records)
        winner = TOLD[-1]
        assert stands(records) == {winner: 1, "last": 1}

    async with house() as at:
        await play_race(at)
    check(at.journal.records)
    await from_every_prefix(at.journal.records, play_race, check)


async def test_every_prefix_of_a_race_that_goes_back_leaves_nothing() -> None:
    Play.script = race

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.compensated")(records)
        assert stands(records) == {}

    async def play(at: House) -> None:
        with pytest.raises(Refused, match="full up is full"):
            await at.runtime.ask(PLAY, Begin("full up"))

    async with house() as at:
        await play(at)
    check(at.journal.records)
    await from_every_prefix(at.journal.records, play, check)


async def test_a_loser_that_comes_late_is_fenced_or_undone() -> None:
    """The desk hangs with the first copy in its hands; its undo comes behind."""
    lets_go = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        if note.text == "slow":
            await lets_go.wait()
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(
            self.ask("slow", Desk.at("slow"), Note("slow"), undo=Note("undo slow")), hold(self, "quick")
        )
        assert chosen.name == "quick"
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await comes(lambda: steps_of(at.journal.records, PLAY, "dropped") == ["slow"])
        assert not asked.done()
        assert "saga.completed" not in types_of(at.journal.records, PLAY)  # not before the loser is undone
        lets_go.set()
        assert await asked == Held(1)
    assert [text for _, text in Desk.inbox] == ["slow", "undo slow"]
    assert types_of(at.journal.records, PLAY)[-2:] == ["saga.undone", "saga.completed"]


async def test_a_loser_whose_undo_fails_is_undone_until_it_works_while_the_story_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Desk, "restart", RestartPolicy(restarts=1_000))
    broken = True

    async def play(desk: Desk, note: Note) -> str:
        if broken:
            raise ConnectionError("no line")
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.select(
            self.ask("a", Desk.at("a"), Note("do"), undo=Note("undo")), self.sleep("patience", timedelta(seconds=2))
        )
        await hold(self, "b")
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.begin()
        await at.passes(7)
        assert stands(at.journal.records) == {"b": 1}
        assert await at.status() == "running"
        steps = {step.name: step for step in (await at.runtime.progress_of(PLAY)).steps}
        assert (steps["a"].status, steps["a"].failures > 1) == ("to be undone", True)
        assert steps["patience"].status == "done"
        broken = False
        await at.passes(20)
        assert await at.runtime.result(PLAY) == Held(1)
    assert [text for _, text in Desk.inbox][-1] == "undo"
    assert steps_of(at.journal.records, PLAY, "undone") == ["a"]


async def test_a_loser_that_can_not_be_undone_parks_it() -> None:
    async def play(desk: Desk, note: Note) -> str:
        if note.text == "undo":
            raise Refused("it is gone")
        await asyncio.Event().wait() if note.text == "hang" else None
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.select(self.ask("a", Desk.at("a"), Note("hang"), undo=Note("undo")), hold(self, "b"))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house(shutdown_timeout=0.1) as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: ("saga.asked") in types_of(at.journal.records, PLAY) and Desk.inbox)
        await at.runtime.kill(Desk.at("a"))
        Desk.script = None
        await asyncio.sleep(0)

        async def refuses(desk: Desk, note: Note) -> str:
            if note.text == "undo":
                raise Refused("it is gone")
            return note.text

        Desk.script = refuses
        with pytest.raises(Parked, match=r"the undo of step 'a' was refused \(it is gone\), so what it"):
            await at.runtime.result(PLAY)
        assert stands(at.journal.records) == {"b": 1}
        await at.runtime.saga(PLAY).skip("a", by="ana", reason="done by hand")
        assert await at.runtime.result(PLAY) == Held(1)


async def test_one_that_is_refused_is_out_of_the_race() -> None:
    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(hold(self, "full"), hold(self, "b"))
        TOLD.append(chosen)
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.runtime.ask(PLAY, Begin())
    assert [Chosen("b", Held(1))] == TOLD
    assert not of(at.journal.records, "saga.dropped")


async def test_when_all_are_refused_the_last_refusal_counts() -> None:
    async def story(self: Play, command: Begin) -> Held:
        first: Held = await hold(self, "first")
        await self.select(hold(self, "full one"), hold(self, "full two"))
        return first

    async def play(at: House) -> None:
        with pytest.raises(Refused, match=r"full (one|two) is full") as refused:
            await at.runtime.ask(PLAY, Begin())
        assert refused.value.reason == f"{steps_of(at.journal.records, PLAY, 'refused')[-1]} is full"

    Play.script = story
    async with house() as at:
        await play(at)
    await from_every_prefix(at.journal.records, play, lambda records: ends_with("saga.compensated")(records))


async def test_an_optional_refusal_wins_as_a_value() -> None:
    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(self.optional(hold(self, "full")), self.receive(Approve))
        TOLD.append((chosen.name, str(chosen.reply)))
        return Held(1)

    Play.script = story
    async with house() as at:
        assert await at.runtime.ask(PLAY, Begin()) == Held(1)
    assert TOLD == [("full", "full is full")]


async def test_a_message_in_the_inbox_wins_at_once_and_the_rest_never_begins() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=5))
        chosen = await self.select(self.receive(Approve), hold(self, "a"), self.receive(Reject))
        TOLD.append(chosen)
        return await hold(self, "b")  # type: ignore[no-any-return]

    async def play(at: House) -> None:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"), id="1")
        await at.passes(5)
        await at.runtime.result(PLAY)

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.completed")(records)
        assert stands(records) == {"b": 1}

    Play.script = story
    async with house() as at:
        await play(at)
    assert [Chosen("Approve", Approve("ana"))] == TOLD
    assert "a" not in steps_of(at.journal.records, PLAY, "asked")
    await from_every_prefix(at.journal.records, play, check)


@pytest.mark.parametrize("answer", [Approve("ana"), Reject("no"), None])
async def test_approval_rejection_or_nobody_in_time(answer: Any) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        chosen = await self.select(
            self.receive(Approve), self.receive(Reject), self.sleep("patience", timedelta(seconds=60))
        )
        match chosen:
            case Chosen(_, Approve(by)):
                TOLD.append(by)
                return Held(1)
            case Chosen(_, Reject(why)):
                raise Refused(why)
            case _:
                raise Refused("nobody answered")

    async def play(at: House) -> None:
        await at.begin()
        if answer is not None:
            with suppress(Exception):
                await at.runtime.ask(PLAY, answer, id="1")
        else:
            await at.passes(60, step=15)
        with suppress(Refused):
            await at.runtime.result(PLAY)

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.completed" if isinstance(answer, Approve) else "saga.compensated")(records)
        assert stands(records) == ({"a": 1} if isinstance(answer, Approve) else {})

    Play.script = story
    async with house() as at:
        await play(at)
    check(at.journal.records)
    await from_every_prefix(at.journal.records, play, check)


async def test_a_message_and_the_end_of_patience_at_once_have_one_winner() -> None:
    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(self.receive(Approve), self.sleep("patience", timedelta(seconds=5)))
        await self.receive(Reject)
        TOLD.append(chosen.name)
        return Held(1)

    Play.script = story
    for first in ("time", "message"):
        TOLD.clear()
        async with house() as at:
            await at.begin()
            if first == "time":
                at.clock.advance(5)
                await at.runtime.ask(PLAY, Approve())
            else:
                sent = asyncio.create_task(at.runtime.ask(PLAY, Approve()))
                await comes(lambda at=at: of(at.journal.records, "saga.received"))  # type: ignore[misc]
                at.clock.advance(5)
                await sent
            await quiet(at.runtime)
            await at.runtime.ask(PLAY, Reject())
            assert await at.runtime.result(PLAY) == Held(1)
        assert set(TOLD) == {"patience" if first == "time" else "Approve"}


async def test_a_saga_that_lost_is_compensated() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.select(self.ask("trip", Trip.at("kid"), BookTrip(["x", "y"])), hold(self, "b"))
        return Held(1)

    async def play(at: House) -> None:
        await at.runtime.ask(PLAY, Begin())

    def check(records: Sequence[Record]) -> None:
        ends_with("saga.completed")(records)
        assert stands(records) in ({"b": 1}, {"x": 1, "y": 1})

    Play.script = story
    async with house() as at:
        await play(at)
    assert stands(at.journal.records) == {"b": 1}
    await from_every_prefix(at.journal.records, play, check)


async def test_a_pivot_in_a_select_is_an_error() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.select(self.pivot("pay", Account.at("ana"), Withdraw(1)), self.sleep("nap", timedelta(seconds=1)))
        return Held(1)

    Play.script = story
    async with house() as at:
        with pytest.raises(Parked, match="the pivot 'pay' must be awaited alone, not in parallel or in a select"):
            await at.runtime.ask(PLAY, Begin())


async def test_of_two_that_were_done_while_it_was_parked_the_first_counts() -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def play(desk: Desk, note: Note) -> str:
        if note.text in gates:
            await gates[note.text].wait()
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        chosen = await self.select(
            self.ask("a", Desk.at("a"), Note("a"), undo=Note("undo a")),
            self.ask("b", Desk.at("b"), Note("b"), undo=Note("undo b")),
        )
        TOLD.append(chosen.name)
        return Held(1)

    async def other(self: Play, command: Begin) -> Held:
        raise ZeroDivisionError

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 2)
        Play.script = other
        await at.runtime.saga(PLAY).retry(by="ana", reason="to have it parked")
        assert await at.status() == "parked"
        for name in ("b", "a"):
            gates[name].set()
            await comes(lambda name=name: name in steps_of(at.journal.records, PLAY, "answered"))  # type: ignore[misc]
        Play.script = story
        await at.runtime.saga(PLAY).retry(by="ana", reason="mended")
        assert await at.runtime.result(PLAY) == Held(1)
    assert TOLD == ["b"]
    assert [text for _, text in Desk.inbox] == ["a", "b", "undo a"]
