"""P8, P9: of several steps the first counts, and what the others did is undone; what may be refused; better undos."""

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
    Account,
    Approve,
    Begin,
    BookTrip,
    Deposit,
    Desk,
    Held,
    Hold,
    Note,
    Play,
    Reject,
    Release,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.playing import PLAY, House, from_every_prefix, hold, house, stands
from tests.runtime.tools import comes, of, quiet, steps_of, types_of

TOLD: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


def ends_with(*types: str) -> Any:
    def check(records: Sequence[Record]) -> None:
        found = types_of(records, PLAY)
        assert found[-1] in types, found
        assert sum(one in ("saga.completed", "saga.compensated") for one in found) == 1

    return check


# -- select -------------------------------------------------------------------------------------------------------


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


# -- optional -----------------------------------------------------------------------------------------------------


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


# -- revised undos ------------------------------------------------------------------------------------------------


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
