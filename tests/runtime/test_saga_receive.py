"""P3, P8, P11: messages to a saga under way: taken once, in order, whenever they come."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import CommandIdReused, MailboxFull, NotTaken, Parked, UnknownActor
from persistence import NotEncodable
from runtime.saga_course import INBOX
from tests.runtime.cast import Approve, Begin, Held, Play, Reject, Withdraw
from tests.runtime.playing import PLAY, hold, house, later
from tests.runtime.tools import of, quiet, steps_of, types_of

TAKEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_taken() -> None:
    TAKEN.clear()


async def one(self: Play, command: Begin) -> Held:
    TAKEN.append(await self.receive(Approve))
    return Held(1)


async def naps_first(self: Play, command: Begin) -> Held:
    await self.sleep("nap", timedelta(seconds=100))
    TAKEN.append(await self.receive(Approve))
    TAKEN.append(await self.receive(Approve, name="second"))
    return Held(2)


async def patient(self: Play, command: Begin) -> Held:
    TAKEN.append(await self.receive(Approve, timeout=timedelta(seconds=100)))
    return Held(0 if TAKEN[-1] is None else 1)


async def test_a_message_while_it_is_awaited() -> None:
    Play.script = one
    async with house() as at:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"))
        assert await at.runtime.result(PLAY) == Held(1)
        assert [Approve("ana")] == TAKEN
        assert types_of(at.journal.records, PLAY) == [
            "saga.started",
            "saga.asked",
            "saga.received",
            "saga.answered",
            "saga.completed",
        ]


async def test_messages_before_they_are_awaited_wait_in_their_order() -> None:
    Play.script = naps_first
    async with house() as at:
        await at.begin()
        for name in ("ana", "ben", "cleo"):
            await at.runtime.ask(PLAY, Approve(name))
        assert (await at.runtime.progress_of(PLAY)).messages == 3
        await at.passes(100)
        assert await at.runtime.result(PLAY) == Held(2)
        assert [Approve("ana"), Approve("ben")] == TAKEN
    async with house(at.journal.records) as again:  # the third stays, and changes nothing
        assert await again.runtime.result(PLAY) == Held(2)


async def test_each_class_has_its_own_line() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(seconds=1))
        TAKEN.append(await self.receive(Reject))
        TAKEN.append(await self.receive(Approve))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"))
        await at.runtime.ask(PLAY, Reject("late"))
        await at.passes(1)
        assert [Reject("late"), Approve("ana")] == TAKEN


async def test_several_awaited_at_once_take_one_each() -> None:
    async def story(self: Play, command: Begin) -> Held:
        both = await self.parallel(
            self.receive(Approve, name="first"),
            self.receive(Approve, name="second"),
            self.receive(Reject, timeout=timedelta(seconds=5)),
        )
        TAKEN.extend(both)
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"))
        await at.runtime.ask(PLAY, Approve("ben"))
        await at.passes(5)
        assert [Approve("ana"), Approve("ben"), None] == TAKEN


@pytest.mark.parametrize("comes", [99.0, 100.0, None])
async def test_patience_has_an_end_and_is_never_early(comes: float | None) -> None:
    Play.script = patient
    async with house() as at:
        await at.begin()
        await at.passes(99, step=10)
        assert await at.status() == "running"
        if comes == 99.0:
            await at.runtime.ask(PLAY, Approve())
        elif comes == 100.0:  # its time has come, and the message too, before the saga had a turn
            asked = asyncio.create_task(at.runtime.ask(PLAY, Approve()))
            at.clock.advance(1)
            with suppress(NotTaken):
                await asked
        else:
            await at.passes(1)
        await quiet(at.runtime)
        result = await at.runtime.result(PLAY)
        assert len(TAKEN) == 1
        assert (TAKEN[0] is None) == (result == Held(0))
        assert comes is not None or result == Held(0)
        assert comes != 99.0 or result == Held(1)
        await at.passes(100, step=50)  # neither the time nor a message comes a second time
        assert len(TAKEN) == 1


@pytest.mark.parametrize("seconds", [0, -5])
async def test_no_patience_at_all(seconds: int) -> None:
    async def story(self: Play, command: Begin) -> Held:
        TAKEN.append(await self.receive(Approve, timeout=timedelta(seconds=seconds)))
        await self.sleep("nap", timedelta(seconds=5))
        TAKEN.append(await self.receive(Approve, timeout=timedelta(seconds=seconds), name="again"))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        assert TAKEN == [None]
        await at.runtime.ask(PLAY, Approve("ana"))
        await at.passes(5)
        assert [None, Approve("ana")] == TAKEN


@pytest.mark.parametrize("unsound", ["\ud800", "x" * 3_000])
async def test_an_id_that_can_not_be_stored_goes_back_and_harms_nobody(unsound: str) -> None:
    Play.script = one
    async with house() as at:
        await at.begin()
        before = len(at.journal.records)
        with pytest.raises(NotEncodable, match="a command's id"):
            await at.runtime.ask(PLAY, Approve("ana"), id=unsound)
        assert (await at.status(), len(at.journal.records)) == ("running", before)
        await at.runtime.ask(PLAY, Approve("ben"), id="sound")
        assert await at.runtime.result(PLAY) == Held(1)
        assert [Approve("ben")] == TAKEN


@pytest.mark.parametrize("gone_on", [False, True])
async def test_a_repeat_by_its_id_is_taken_once(gone_on: bool) -> None:
    Play.script = naps_first
    async with house() as at:
        await at.begin()
        for _ in range(3):
            await at.runtime.ask(PLAY, Approve("ana"), id="m1")
        if gone_on:
            await at.passes(100)
        with pytest.raises(CommandIdReused, match=r"another command as a message 'm1'; give this one an id of its own"):
            await at.runtime.ask(PLAY, Approve("ben"), id="m1")
        with pytest.raises(CommandIdReused):
            await at.runtime.ask(PLAY, Reject("ana"), id="m1")
        await at.runtime.ask(PLAY, Approve("ana"), id="m1")
        assert len(of(at.journal.records, "saga.received")) == 1
    async with house(at.journal.records, at.clock) as again:
        await again.runtime.ask(PLAY, Approve("ana"), id="m1")
        await again.passes(0 if gone_on else 100)
        assert TAKEN[-1] == Approve("ana")
        await again.runtime.ask(PLAY, Approve("ben"), id="m2")
        assert await again.runtime.result(PLAY) == Held(2)
        await again.runtime.ask(PLAY, Approve("ben"), id="m2")  # also behind the end it is the first that counts
        with pytest.raises(CommandIdReused):
            await again.runtime.ask(PLAY, Approve("cleo"), id="m2")
        assert len(of(again.journal.records, "saga.received")) == 2


async def test_the_sender_is_told_when_it_is_durable() -> None:
    Play.script = one
    async with house() as at:
        await at.begin()
        at.journal.hold()
        asked = asyncio.create_task(at.runtime.ask(PLAY, Approve()))
        await at.journal.arrived.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not asked.done()
        at.journal.gate.set()
        await asked


async def test_before_the_start_and_behind_the_end() -> None:
    Play.script = one
    async with house() as at:
        with pytest.raises(UnknownActor, match="Play/p was never started, so it takes no Approve"):
            await at.runtime.ask(PLAY, Approve())
        assert not at.journal.records
        await at.begin()
        await at.runtime.ask(PLAY, Approve())
        with pytest.raises(NotTaken, match="Play/p is completed, and takes no Approve any more"):
            await at.runtime.ask(PLAY, Approve())
        await at.runtime.tell(PLAY, Reject())
        await quiet(at.runtime)
        assert [letter.address for letter in at.runtime.dead_letters()] == [PLAY]


async def test_while_it_is_parked_it_takes_them_and_goes_on_with_them() -> None:
    async def story(self: Play, command: Begin) -> Held:
        if not TAKEN:
            TAKEN.append("broken")
            await self.receive(Reject, timeout=timedelta(seconds=1))
            raise ZeroDivisionError
        await self.receive(Reject, timeout=timedelta(seconds=1))
        TAKEN.append(await self.receive(Approve))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        await at.passes(1)
        assert await at.status() == "parked"
        await at.runtime.ask(PLAY, Approve("ana"))
        assert await at.status() == "parked"
        await at.runtime.saga(PLAY).retry(by="ben", reason="mended")
        assert await at.runtime.result(PLAY) == Held(1)
        assert ["broken", Approve("ana")] == TAKEN


async def test_a_parked_saga_that_awaits_one_takes_it_when_it_goes_on() -> None:
    async def story(self: Play, command: Begin) -> Held:
        TAKEN.append(await self.receive(Approve))
        await hold(self, "a")
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
    records = at.journal.records

    async def other(self: Play, command: Begin) -> Held:
        return await hold(self, "a")  # type: ignore[no-any-return]

    Play.script = other
    async with house(records, at.clock) as at:
        with pytest.raises(Parked):
            await at.runtime.result(PLAY)
        await at.runtime.ask(PLAY, Approve("ana"))
        Play.script = story
        await at.runtime.saga(PLAY).retry(by="ben", reason="mended")
        assert await at.runtime.result(PLAY) == Held(1)
        assert [Approve("ana")] == TAKEN
        assert steps_of(at.journal.records, PLAY, "answered") == ["a", "Approve"]


async def test_on_its_way_back_it_takes_none() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "keeps it")
        return await hold(self, "full")  # type: ignore[no-any-return]

    Play.script = story
    async with house() as at:
        await at.begin()
        assert await at.status() == "parked"
        with pytest.raises(NotTaken, match="Play/p is parked, and takes no Approve any more"):
            await at.runtime.ask(PLAY, Approve())


async def test_so_many_may_wait_and_no_more() -> None:
    Play.script = naps_first
    async with house() as at:
        await at.begin()
        for n in range(INBOX):
            await at.runtime.ask(PLAY, Reject(f"{n}"), id=f"{n}")
        with pytest.raises(MailboxFull, match="1,000 messages that it has not taken; send Approve later"):
            await at.runtime.ask(PLAY, Approve())
        await at.runtime.ask(PLAY, Reject("7"), id="7")  # a repeat takes no room
        await at.passes(100)
    assert len(of(at.journal.records, "saga.received")) == INBOX


async def test_what_was_taken_takes_no_room() -> None:
    async def story(self: Play, command: Begin) -> Held:
        for n in range(INBOX + 5):
            await self.receive(Approve, name=f"{n}")
        return Held(INBOX)

    Play.script = story
    async with house() as at:
        await at.begin()
        for n in range(INBOX + 5):
            await at.runtime.ask(PLAY, Approve(f"{n}"))
        assert await at.runtime.result(PLAY) == Held(INBOX)


async def test_to_await_what_nobody_could_send_parks_it() -> None:
    async def story(self: Play, command: Begin) -> Held:
        wrong: Any = Withdraw
        await self.receive(wrong)
        return Held(1)

    Play.script = story
    async with house() as at:
        with pytest.raises(Parked, match="Play awaits Withdraw, which nobody could send it; write receives = Withdraw"):
            await at.runtime.ask(PLAY, Begin())
        anyone: Any = at.runtime
        with pytest.raises(NotTaken, match="Play doesn't take Withdraw"):
            await anyone.ask(PLAY, Withdraw(1))
        with pytest.raises(NotTaken, match="Approve starts nothing at Play/p"):
            await at.runtime.start(PLAY, Approve())


async def test_every_prefix_takes_each_message_once() -> None:
    Play.script = naps_first
    async with house() as at:
        await at.begin()
        await at.runtime.ask(PLAY, Approve("ana"), id="1")
        await at.passes(100)
        await at.runtime.ask(PLAY, Approve("ben"), id="2")
    whole = at.journal.records
    for crash in range(len(whole)):
        TAKEN.clear()
        async with house(whole[:crash], later(whole[:crash])) as again:
            await again.begin()
            await again.runtime.ask(PLAY, Approve("ana"), id="1")
            await again.passes(100, step=20)
            await again.runtime.ask(PLAY, Approve("ben"), id="2")
            assert await again.runtime.result(PLAY) == Held(2)
        if crash < len(whole) - 1:
            assert TAKEN[-2:] == [Approve("ana"), Approve("ben")]
        assert len(of(again.journal.records, "saga.received")) == 2
