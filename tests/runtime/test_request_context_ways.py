"""The request context goes wherever a request leads, into the metadata of every event that comes of it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors import Actor, Command, Decision, Event, Refused, Service, State, context, current_context
from actors.request_context import FIRST_USE
from persistence import BURIED, ERASED, Record
from runtime import ManualClock, Runtime
from runtime.kinds import FENCED, LOCKED, UNLOCKED, meta_of
from runtime.mailbox import Envelope
from runtime.origin import Origin
from tests.runtime.cast import (
    ALL,
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
    Release,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.tools import HeldJournal, comes, node_of, quiet, restart_of

R = Room.at("r")
ANA = {"user": "ana"}


def contexts(records: Sequence[Record]) -> list[tuple[str, Mapping[str, str] | None]]:
    return [(record.type, meta_of(record).context) for record in records]


def all_of(journal: HeldJournal, texts: Mapping[str, str] | None) -> bool:
    records = [record for record in journal.records if record.type != ERASED]
    return bool(records) and all(meta_of(record).context == texts for record in records)


async def test_every_door_takes_it_along() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.receive(Approve)
        await self.sleep("nap", timedelta(days=1))
        return Held(1)

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with context(user="ana"):
            await runtime.ask(R, Hold("a"))
            await runtime.ask(R, Hold("b"), id="mine")
            await runtime.ask(Room.at("other"), Hold("b"), timeout=10)
            await runtime.tell(R, Hold("c"))
            await runtime.transact((Account.at("a"), Withdraw(1)), (Account.at("b"), Deposit(1)))
            await runtime.transact((Account.at("a"), Withdraw(1)), (Account.at("b"), Deposit(1)), id="both")
            await runtime.start(Play.at("p"), Begin())
            await runtime.ask(Play.at("p"), Approve("ana"))
            await runtime.saga(Play.at("p")).kill(by="ana", reason="enough")
            await runtime.remind(R, "later", Hold("d"), after=timedelta(days=1))
            await runtime.forget(R, "later")
            await runtime.delete(Room.at("other"))
        await quiet(runtime)
        assert [entry.meta.context async for entry in runtime.history(R)] == [ANA] * 3
    assert len(journal.records) >= 15
    assert all_of(journal, ANA), contexts(journal.records)


async def test_verbs_are_in_the_context_of_who_says_them_and_what_follows_in_that_of_the_saga() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("room", R, Hold("t"))
        await self.receive(Approve)
        await self.ask("other", Room.at("other"), Hold("t"))
        return Held(1)

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        saga = runtime.saga(Play.at("p"))  # made before any context was used
        with context(user="ana"):
            await runtime.start(Play.at("p"), Begin())
        with context(user="boss"):
            await saga.retry(by="boss", reason="hurry")
            await runtime.ask(Play.at("p"), Approve("boss"))
        await runtime.result(Play.at("p"))
    users = [(kind, (texts or {}).get("user")) for kind, texts in contexts(journal.records)]
    assert ("saga.started", "ana") in users
    assert ("saga.retried", "boss") in users
    assert ("saga.received", "boss") in users
    assert ("saga.completed", "ana") in users
    assert [user for kind, user in users if kind == "WasHeld"] == ["ana", "ana"]


async def test_what_nobody_says_is_nobodys() -> None:
    Play.script = forever
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with context(user="ana"):
            await runtime.start(Play.at("p"), Begin())
        await runtime.saga(Play.at("p")).kill(by="ops", reason="enough")
    assert contexts(journal.records)[-1] == ("saga.killed", None)


async def forever(self: Play, command: Begin) -> Held:
    await self.receive(Approve)
    return Held(1)


async def test_a_saga_its_steps_and_its_undos_keep_it() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with context(user="ana"), pytest.raises(Refused):
            await runtime.ask(Trip.at("t"), BookTrip(["a", "b", "full"]))
        with context(user="ana"):
            await runtime.ask(Tour.at("u"), TakeTour(["a", "b"], "payer"))
    assert {"saga.undone", "WasReleased", "saga.compensated", "Withdrawn"} <= {
        record.type for record in journal.records
    }
    assert all_of(journal, ANA), contexts(journal.records)
    assert {meta_of(record).correlation for record in journal.records} == {"Trip/t", "Tour/u"}


@pytest.mark.parametrize("rooms", [["a", "b"], ["a", "b", "full"]], ids=["forward", "back"])
async def test_a_saga_keeps_it_across_a_crash_at_any_moment(rooms: list[str]) -> None:
    whole = HeldJournal()
    async with Runtime(whole, ALL) as runtime:
        with context(user="ana"):
            await asyncio.wait([asyncio.ensure_future(runtime.ask(Trip.at("t"), BookTrip(rooms)))])
    for length in range(1, len(whole.records)):
        FIRST_USE.begun = False  # another process, in which nobody has used a context
        journal = restart_of(whole.records[:length])
        async with Runtime(journal, ALL) as runtime:
            await asyncio.wait([asyncio.ensure_future(runtime.result(Trip.at("t")))])
        assert journal.records[-1].type in ("saga.compensated", "saga.completed", "TripBooked"), length
        assert all(texts == ANA or kind == "saga.resumed" for kind, texts in contexts(journal.records)), (
            length,
            contexts(journal.records),
        )


async def test_a_saga_that_was_killed_in_memory_keeps_it() -> None:
    Play.script = forever
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with context(user="ana"):
            await runtime.start(Play.at("p"), Begin())
        await runtime.kill(Play.at("p"))
        await runtime.tell(Play.at("p"), Approve())
        await runtime.result(Play.at("p"))
    assert contexts(journal.records)[-1] == ("saga.completed", None)  # of the turn that took the message of nobody


async def test_locks_fences_and_burials_are_in_it_too() -> None:
    async def story(self: Play, command: Begin) -> Held:
        return await self.ask("room", R, Hold("t"), lock=True)

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with context(user="ana"):
            await runtime.ask(Play.at("p"), Begin())
            await quiet(runtime)
            await runtime.delete(Play.at("p"))
        early = Envelope(Release("t"), "undo", None, Origin("Trip/t", ANA), undoes="step")
        node_of(runtime).cell(Room.at("early")).put(early)
        await quiet(runtime)
    types = {record.type for record in journal.records}
    assert {LOCKED, UNLOCKED, FENCED, BURIED} <= types
    assert all_of(journal, ANA), contexts(journal.records)


class Pass(Command["Relay", None]):
    to: str


class Relay(Actor):
    """Works in turns."""

    def receive(self, message: Pass) -> None:
        self.tell(R, Hold(message.to))


async def test_plain_actors_hand_it_on() -> None:
    async def asks(self: Desk, message: Note) -> str:
        assert current_context() == ANA
        await self.ask(R, Hold("asked"))
        self.tell(R, Hold("told"))
        self.tell(Relay.at(), Pass("relayed"))
        with context(tenant="acme"):
            assert current_context() == {"user": "ana", "tenant": "acme"}
            await self.ask(R, Hold("asked in another"))
            self.tell(R, Hold("told in another"))
        return message.text

    Desk.script = asks
    journal = HeldJournal()
    async with Runtime(journal, [*ALL, Relay]) as runtime:
        with context(user="ana"):
            await runtime.ask(Desk.at("d"), Note("n"))
        await quiet(runtime)
        held = {entry.event.trip: dict(entry.meta.context) async for entry in runtime.history(R)}
    both = {"user": "ana", "tenant": "acme"}
    assert held == {
        "asked": ANA,
        "told": ANA,
        "relayed": ANA,
        "asked in another": both,
        "told in another": both,
    }


async def test_an_actor_that_handles_many_messages_mixes_up_none() -> None:
    async def asks(self: Desk, message: Note) -> str:
        await self.ask(R, Hold(message.text))
        return dict(current_context()).get("user", "nobody")

    Desk.script = asks
    async with Runtime("memory:", ALL) as runtime:
        answers: list[Any] = []
        for user in ("ana", "bob"):
            with context(user=user):
                answers.append(asyncio.ensure_future(runtime.ask(Desk.at("d"), Note(user))))
        answers.append(asyncio.ensure_future(runtime.ask(Desk.at("d"), Note("nobody"))))
        assert await asyncio.gather(*answers) == ["ana", "bob", "nobody"]
        held = {entry.event.trip: dict(entry.meta.context) async for entry in runtime.history(R)}
    assert held == {"ana": ANA, "bob": {"user": "bob"}, "nobody": {}}


async def test_a_reminder_keeps_the_context_of_who_has_set_it_also_after_a_crash() -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        with context(user="ana"):
            await runtime.remind(R, "later", Hold("d"), after=timedelta(hours=1))
    clock.advance(3_601)
    for at, crashed in enumerate((True, False)):
        again = restart_of(journal.records, crashed=crashed)
        async with Runtime(again, ALL, clock=clock) as runtime:
            await comes(partial(has, again, b'"type":"WasHeld"'))
            await quiet(runtime)
        assert all_of(again, ANA), (at, contexts(again.records))


def has(journal: HeldJournal, data: bytes) -> bool:
    return any(data in record.data for record in journal.records)


class Rung(Event):
    times: int


class Wind(Command["Alarm", None]):
    pass


class Ring(Command["Alarm", None]):
    pass


class Times(State):
    times: int = 0


class Alarm(Service[Times, Wind | Ring, Rung]):
    initial = Times()
    snapshot_every = 1

    def decide(self, state: Times, command: Wind | Ring) -> Decision:
        if isinstance(command, Wind):
            return command.reply(None, Rung(state.times)).remind("ring", Ring(), every=timedelta(hours=1))
        return command.reply(None, Rung(state.times + 1))

    def evolve(self, state: Times, event: Rung) -> Times:
        return Times(event.times)


async def test_a_services_own_reminder_keeps_it_at_each_of_its_times() -> None:
    clock, journal = ManualClock(), HeldJournal()
    async with Runtime(journal, [Alarm], clock=clock) as runtime:
        with context(user="ana"):
            await runtime.ask(Alarm.at("a"), Wind())
        for times in range(1, 4):
            clock.advance(3_601)
            await comes(partial(has, journal, b'"times":%d' % times))
            await runtime.kill(Alarm.at("a"))  # to be read again, from a snapshot
    assert all_of(journal, ANA), contexts(journal.records)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40), min_size=1, max_size=5))
@example({"self": "null", "type": "\x00", '"': "\\", "": "\u2028"})
@settings(max_examples=40, deadline=None)
def test_any_text_comes_through(texts: dict[str, str]) -> None:
    async def play() -> None:
        journal = HeldJournal()
        async with Runtime(journal, ALL) as runtime:
            with context(**texts):
                assert current_context() == texts
                await runtime.ask(Trip.at("t"), BookTrip(["a"]))
                await runtime.ask(Account.at("a"), Deposit(1), id="once")
                await runtime.remind(R, "later", Hold("d"), after=timedelta(days=1))
        assert all_of(journal, texts)
        async with Runtime(restart_of(journal.records), ALL) as runtime:
            assert [entry.meta.context async for entry in runtime.history(Account.at("a"))] == [texts]

    asyncio.run(play())
