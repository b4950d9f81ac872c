"""P8: what a person can tell a saga to do: in each status, durable, and with who and why in its story."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import (
    Command,
    Failed,
    NotTaken,
    Parked,
    Refused,
    SagaKilled,
    UnknownActor,
)
from persistence import MemoryJournal, NotEncodable, Record
from runtime import ManualClock, Runtime
from runtime.sagas import SagaControl
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
    Withdraw,
)
from tests.runtime.playing import PLAY, House, agrees, breaks, from_every_prefix, hold, house, later, stands
from tests.runtime.tools import comes, content, of, quiet, steps_of, types_of

WHO: Any = {"by": "ana", "reason": "the bank was called"}


async def two_rooms(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    return await hold(self, "b")  # type: ignore[no-any-return]


async def with_pivot(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.pivot("pay", Account.at("ana"), Withdraw(10))
    await self.ask("tail", Room.at("tail"), Hold(self.key))
    return Held(1)


async def sleeps(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.sleep("nap", timedelta(hours=1))
    return await hold(self, "b")  # type: ignore[no-any-return]


async def cannot_go_back(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await hold(self, "keeps it")
    return await hold(self, "full")  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", timedelta(hours=2))


async def parked(at: House) -> None:
    """Have the saga parked, at a room that was down for a minute."""
    DOWN.add("b")
    await at.begin()
    await at.passes(64)
    assert await at.status() == "parked"
    DOWN.clear()


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
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        await at.passes(86_400, step=8_640)
        await at.runtime.saga(PLAY).skip("b", Held(5), **WHO)
        await at.passes(1)
        assert await at.runtime.result(PLAY) == Held(5)


# -- compensate ---------------------------------------------------------------------------------------------------


async def test_a_running_one_goes_back() -> None:
    Play.script = sleeps
    async with house() as at:
        await at.begin()
        await at.runtime.saga(PLAY).compensate(**WHO)
        with pytest.raises(Refused, match="the bank was called"):
            await at.runtime.result(PLAY)
        await at.runtime.saga(PLAY).compensate(by="ben", reason="too")  # it is: nothing more to do
    assert stands(at.journal.records) == {}
    assert [content(r)["by"] for r in of(at.journal.records, "saga.compensating")] == ["ana"]


async def test_one_that_has_completed_goes_back_from_its_end_and_every_prefix_does() -> None:
    Play.script = two_rooms
    async with house() as at:
        assert (await at.runtime.ask(PLAY, Begin())).number == 1
        await at.runtime.saga(PLAY).compensate(**WHO)
    assert steps_of(at.journal.records, PLAY, "undone") == ["b", "a"]
    whole = at.journal.records

    async def play(at: House) -> None:
        await at.runtime.start(PLAY, Begin())
        with suppress(Refused):
            await at.runtime.result(PLAY)
        await at.runtime.saga(PLAY).compensate(**WHO)
        with pytest.raises(Refused, match="the bank was called"):
            await at.runtime.ask(PLAY, Begin())

    def check(records: Sequence[Record]) -> None:
        assert types_of(records, PLAY)[-1] == "saga.compensated"
        assert types_of(records, PLAY).count("saga.compensating") == 1
        assert stands(records) == {}

    check(whole)
    await from_every_prefix(whole, play, check)


async def test_a_parked_one_goes_back() -> None:
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        await at.runtime.saga(PLAY).compensate(**WHO)
    assert stands(at.journal.records) == {}
    assert steps_of(at.journal.records, PLAY, "undone") == ["b", "a"]


async def test_one_that_was_parked_on_its_way_back_tries_again() -> None:
    Play.script = cannot_go_back
    async with house() as at:
        await at.begin()
        with pytest.raises(Parked, match="keeps it won't release"):
            await at.runtime.saga(PLAY).compensate(**WHO)
    assert types_of(at.journal.records, PLAY).count("saga.parked") == 2


async def test_past_the_pivot_there_is_no_way_back() -> None:
    Play.script = with_pivot
    async with house() as at:
        await at.runtime.ask(PLAY, Begin())
        with pytest.raises(Refused, match="Play/p is past its pivot"):
            await at.runtime.saga(PLAY).compensate(**WHO)
        assert await at.runtime.plan_of(PLAY) == []
        assert await at.runtime.result(PLAY) == Held(1)


async def test_while_the_pivot_is_under_way_nobody_knows() -> None:
    Play.script = with_pivot
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "decide", breaks)
        async with house() as at:
            await at.begin()
            with pytest.raises(Failed, match="the pivot of Play/p is under way; ask again when it is done or refused"):
                await at.runtime.saga(PLAY).compensate(**WHO)
            assert await at.status() == "running"


async def test_compensate_waits_as_long_as_it_is_told() -> None:
    gate = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        await gate.wait() if note.text == "undo" else None
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("say", Desk.at(), Note("do"), undo=Note("undo"))
        await self.sleep("nap", timedelta(hours=1))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.begin()
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(**WHO, timeout=5))
        await comes(lambda: len(Desk.inbox) == 2)
        at.clock.advance(6)
        with pytest.raises(Exception, match="unknown"):
            await told
        gate.set()
        with pytest.raises(Refused, match="the bank was called"):
            await at.runtime.result(PLAY)


# -- kill ---------------------------------------------------------------------------------------------------------


async def test_it_ends_where_it_stands_and_who_waits_is_told() -> None:
    Play.script = sleeps
    async with house() as at:
        asked = asyncio.create_task(at.runtime.ask(PLAY, Begin()))
        await quiet(at.runtime)
        await at.runtime.saga(PLAY).kill(**WHO)
        with pytest.raises(SagaKilled, match="Play/p was ended by ana: the bank was called"):
            await asked
        assert await at.runtime.unfinished() == []
        await at.passes(7200, step=600)  # neither its sleep nor its deadline brings it back
        with pytest.raises(Refused, match="Play/p was ended where it stood by ana: the bank was called"):
            await at.runtime.saga(PLAY).compensate(**WHO)
        progress = await at.runtime.progress_of(PLAY)
        assert (progress.status, progress.reason) == ("killed", "the bank was called")
    assert stands(at.journal.records) == {"a": 1}
    async with house(at.journal.records, at.clock) as again:
        with pytest.raises(SagaKilled):
            await again.runtime.result(PLAY)
        with pytest.raises(SagaKilled):
            await again.runtime.ask(PLAY, Begin())
    assert types_of(again.journal.records, PLAY)[-1] == "saga.killed"


async def test_what_comes_after_the_kill_changes_nothing() -> None:
    gate = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        await gate.wait()
        return note.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("say", Desk.at(), Note("do"), undo=Note("undo"))
        return Held(1)

    Desk.script, Play.script = play, story
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        await at.runtime.saga(PLAY).kill(**WHO)
        gate.set()
        await quiet(at.runtime)
    assert types_of(at.journal.records, PLAY)[-1] == "saga.killed"


# -- in each status -----------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[SagaControl[Any]], Awaitable[None]]] = {
    "retry": lambda saga: saga.retry(**WHO),
    "skip": lambda saga: saga.skip("a", Held(1), **WHO),
    "kill": lambda saga: saga.kill(**WHO),
}


async def take_back(saga: SagaControl[Any]) -> None:
    await saga.compensate(**WHO)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("end", ["completed", "compensated", "killed", "new"])
async def test_one_that_has_ended_or_never_began_takes_no_verb(verb: str, end: str) -> None:
    Play.script = cannot_go_back if end == "killed" else two_rooms
    async with house() as at:
        if end != "new":
            await at.begin()
        if end == "compensated":
            await at.runtime.saga(PLAY).compensate(**WHO)
        if end == "killed":
            await at.runtime.saga(PLAY).kill(**WHO)
        count = len(at.journal.records)
        expected = UnknownActor if end == "new" else NotTaken
        text = f"there is nothing to {verb}"
        with pytest.raises(expected, match=text):
            await VERBS[verb](at.runtime.saga(PLAY))
        assert len(at.journal.records) == count
        if end == "new":
            with pytest.raises(UnknownActor, match="nothing to compensate"):
                await at.runtime.saga(PLAY).compensate(**WHO)


@pytest.mark.parametrize("nobody", [{"by": "", "reason": "x"}, {"by": "ana", "reason": ""}])
async def test_who_and_why_must_be_said(nobody: Any) -> None:
    Play.script = two_rooms
    async with house() as at:
        with pytest.raises(ValueError, match="a verb says who wants it and why"):
            await at.runtime.saga(PLAY).kill(**nobody)
        with pytest.raises(NotTaken, match="Room/r is no saga"):
            at.runtime.saga(Room.at("r"))


async def test_a_verb_is_durable_when_it_returns() -> None:
    Play.script = two_rooms
    async with house() as at:
        await parked(at)
        at.journal.hold()
        told = asyncio.create_task(at.runtime.saga(PLAY).retry(**WHO))
        await at.journal.arrived.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not told.done()
        at.journal.gate.set()
        await told


async def test_a_saga_whose_stream_can_not_be_read_says_so_to_who_tells_it_something() -> None:
    Play.script = sleeps
    async with house() as at:
        await at.begin()
    records = list(at.journal.records)
    records[1] = msgspec.structs.replace(records[1], data=b'{"step":5}')
    alerts: list[Any] = []
    clock, journal = ManualClock(), MemoryJournal(records, [("Play", "p")])
    async with Runtime(journal, [Play, Room], clock=clock, on_alert=alerts.append) as runtime:
        for verb in (*VERBS.values(), take_back):
            told = asyncio.ensure_future(verb(runtime.saga(PLAY)))
            for _ in range(40):
                await asyncio.sleep(0)
                clock.advance(0.5)
                await quiet(runtime)
                if told.done():
                    break
            with pytest.raises(Parked, match=r"saga\.asked"):
                await asyncio.wait_for(told, 5)
        assert {(alert.saga, alert.what) for alert in alerts} == {(PLAY, "parked")}


# -- after a crash of the process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["retry", "kill", "compensate"])
async def test_a_verb_to_a_saga_that_waits_in_the_line_of_suspects(verb: str) -> None:
    """It was under way at two crashes, so it waits for a moment; what a person says comes before that."""
    Play.script = two_rooms
    async with house() as at:
        DOWN.add("b")
        await at.begin()
    records = at.journal.records
    for _ in range(2):
        async with house(records, later(records)) as at:
            await at.passes(0)
        records = at.journal.records
        if "saga.resumed" in types_of(records, PLAY):
            last = max(r.position for r in of(records, "saga.resumed"))
            records = records[:last]
    DOWN.clear()
    async with house(records, later(records)) as at:
        assert "saga.completed" not in types_of(at.journal.records, PLAY)
        told = VERBS.get(verb, take_back)
        await told(at.runtime.saga(PLAY))
        await at.passes(10)
    found = types_of(at.journal.records, PLAY)
    begins, ends = {
        "retry": ("saga.retried", "saga.completed"),
        "kill": ("saga.killed", "saga.killed"),
        "compensate": ("saga.compensating", "saga.compensated"),
    }[verb]
    assert found[-1] == ends
    assert "saga.resumed" not in found[found.index(begins) :]
