"""P8: a saga is told to go back or to end; verbs in each status, durable, and with who and why in its story."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from actors import (
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
    Begin,
    Desk,
    Held,
    Note,
    Play,
    Room,
)
from tests.runtime.playing import PLAY, House, breaks, from_every_prefix, house, later, stands
from tests.runtime.telling import WHO, cannot_go_back, parked, sleeps, two_rooms, with_pivot
from tests.runtime.tools import comes, content, of, quiet, steps_of, types_of

pytestmark = pytest.mark.usefixtures("for_hours")


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


@pytest.mark.parametrize("story", [two_rooms, sleeps])
async def test_one_that_has_completed_stays_so_where_that_was_said(story: Any) -> None:
    Play.script = story
    async with house() as at:
        await at.begin()
        back = at.runtime.saga(PLAY).compensate(**WHO, unless_completed=True)
        if story is two_rooms:
            with pytest.raises(NotTaken, match="Play/p is completed, and is to stay so"):
                await back
            assert await at.runtime.result(PLAY) == Held(1)
        else:
            await back
            await at.runtime.saga(PLAY).compensate(**WHO, unless_completed=True)  # it has, already
            assert await at.status() == "compensated"
        assert stands(at.journal.records) == ({"a": 1, "b": 1} if story is two_rooms else {})


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


async def test_a_kill_sends_nothing_more() -> None:
    Play.script = two_rooms
    async with house() as at:
        DOWN.add("b")
        await at.begin()
        DOWN.clear()
        await at.runtime.saga(PLAY).kill(**WHO)
        await at.passes(5)
    assert stands(at.journal.records) == {"a": 1}


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


@pytest.mark.parametrize("unsound", [{"by": "\ud800", "reason": "x"}, {"by": "ana", "reason": "\ud800"}])
async def test_what_can_not_be_stored_of_who_and_why_is_said_and_harms_nobody(unsound: Any) -> None:
    Play.script = sleeps
    async with house() as at:
        await at.begin()
        saga = at.runtime.saga(PLAY)
        for verb in (saga.retry, saga.compensate, saga.kill, partial(saga.skip, "nap")):
            with pytest.raises(NotEncodable, match="must be text that UTF-8 can hold"):
                await verb(**unsound)
        assert await at.status() == "running"


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
                await asyncio.wait_for(told, 60)
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
    async with house(records, later(records)) as at:
        assert "saga.completed" not in types_of(at.journal.records, PLAY)
        told = VERBS.get(verb, take_back)
        await told(at.runtime.saga(PLAY))
        await at.passes(2)  # its turn in the line would come now, though it is under way already
        DOWN.clear()
        await at.passes(10)
    found = types_of(at.journal.records, PLAY)
    begins, ends = {
        "retry": ("saga.retried", "saga.completed"),
        "kill": ("saga.killed", "saga.killed"),
        "compensate": ("saga.compensating", "saga.compensated"),
    }[verb]
    assert found[-1] == ends
    assert "saga.resumed" not in found[found.index(begins) :]
