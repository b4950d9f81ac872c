"""The request context goes wherever a request leads, into the metadata of every event that comes of it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors import (
    Actor,
    ActorMisuse,
    Call,
    Command,
    Decision,
    Event,
    Failed,
    Meta,
    Parked,
    Proceed,
    Query,
    ReadModel,
    Refused,
    Service,
    State,
    Statement,
    context,
    current_context,
    sql,
)
from actors.request_context import FIRST_USE, MOST_CONTEXT, NO_CONTEXT
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
    WasHeld,
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


# -- the block --------------------------------------------------------------------------------------------------


def test_blocks_nest_and_merge_and_end() -> None:
    assert current_context() is NO_CONTEXT
    with context(user="ana", tenant="acme") as outer:
        assert current_context() == outer == {"user": "ana", "tenant": "acme"}
        with context(user="bob", role="staff"):
            assert current_context() == {"user": "bob", "tenant": "acme", "role": "staff"}
        with pytest.raises(ZeroDivisionError), context(user="eve"):
            raise ZeroDivisionError
        assert current_context() == outer
    assert current_context() is NO_CONTEXT


def test_what_is_current_can_not_be_changed() -> None:
    with context(user="ana"):
        texts: Any = current_context()
        with pytest.raises(TypeError):
            texts["user"] = "eve"


async def test_tasks_have_the_context_in_which_they_were_started() -> None:
    async def look() -> Mapping[str, str]:
        await asyncio.sleep(0)
        return current_context()

    with context(user="ana"):
        task = asyncio.ensure_future(look())
    assert await task == ANA
    assert await look() == {}


@pytest.mark.parametrize(
    ("texts", "error", "why"),
    [
        ({}, ValueError, "needs texts"),
        ({"user": 7}, TypeError, "user is a int"),
        ({"user": "\ud800"}, ValueError, "no text"),
        ({"user": "x" * MOST_CONTEXT}, ValueError, "may have 1,024 bytes"),
    ],
)
def test_what_can_not_be_a_context_is_none(texts: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        context(**texts)


def test_all_blocks_together_are_bounded() -> None:
    half = "x" * (MOST_CONTEXT // 2)
    with context(a=half), pytest.raises(ValueError, match="may have 1,024 bytes"), context(b=half):
        pass
    assert not current_context()
    with context(a="x" * (MOST_CONTEXT - 8)):
        assert len(msgspec.json.encode(dict(current_context()))) == MOST_CONTEXT


def test_a_block_is_entered_once() -> None:
    block = context(user="ana")
    with block, pytest.raises(RuntimeError, match="entered once"), block:
        pass


# -- without one ------------------------------------------------------------------------------------------------


async def test_without_one_nothing_is_stored_and_requests_go_the_same_way_as_ever() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert is_plain(runtime)
        await runtime.ask(Trip.at("t"), BookTrip(["a"]))
        assert is_plain(runtime)
        assert not any(b"context" in record.meta for record in journal.records)
        with context(user="ana"):
            assert not is_plain(runtime)
    async with Runtime("memory:", ALL) as runtime:
        assert not is_plain(runtime)


def is_plain(runtime: Runtime) -> bool:
    """Whether requests go to the node at once."""
    return runtime._plain is node_of(runtime)  # pyright: ignore[reportPrivateUsage]


async def test_a_runtime_that_has_closed_is_told_no_more() -> None:
    told = FIRST_USE._told  # pyright: ignore[reportPrivateUsage]
    before = len(told)
    async with Runtime("memory:", ALL):
        assert len(told) == before + 1
    assert len(told) == before


async def test_metadata_of_older_journals_still_reads() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(R, Hold("t"))
        (entry,) = [entry async for entry in runtime.history(R)]
        assert entry.meta.context == {}
    assert journal.records[0].meta.startswith(b'{"causation":"')


# -- where it goes ----------------------------------------------------------------------------------------------


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


# -- where it is seen -------------------------------------------------------------------------------------------


class All(Query["Ledger", list[tuple[str, str]]]):
    pass


class Mine(Query["Ledger", list[tuple[str, str]]]):
    pass


class Ledger(ReadModel):
    schema = "create table line (trip text, user text)"

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into line values (?, ?)", event.trip, meta.context.get("user", "nobody"))

    async def answer(self, db: Any, query: All | Mine) -> list[tuple[str, str]]:
        user = current_context().get("user", "%") if isinstance(query, Mine) else "%"
        async with db.execute("select * from line where user like ? order by rowid", (user,)) as rows:
            return [tuple(row) for row in await rows.fetchall()]


async def test_read_models_see_who_it_was_and_their_answers_may_depend_on_who_asks() -> None:
    async with Runtime("memory:", [Room, Ledger]) as runtime:
        with context(user="ana"):
            await runtime.ask(R, Hold("a"))
        await runtime.ask(R, Hold("b"))
        assert await runtime.ask(Ledger.at(), All(), consistent=True) == [("a", "ana"), ("b", "nobody")]
        with context(user="ana"):
            assert await runtime.ask(Ledger.at(), Mine(), consistent=True) == [("a", "ana")]


async def test_interceptors_see_it_and_can_add_to_it() -> None:
    users: list[str | None] = []

    async def adds(call: Call, proceed: Proceed) -> object:
        users.append(call.context.get("user"))
        with context(tenant="acme"):
            return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[adds]) as runtime:
        with context(user="ana"):
            await runtime.ask(R, Hold("a"))
            await runtime.tell(R, Hold("b"))
            await runtime.transact((Account.at("a"), Deposit(1)))
        await quiet(runtime)
    assert users == ["ana"] * 3
    assert all_of(journal, {"user": "ana", "tenant": "acme"})


# -- who must not look ------------------------------------------------------------------------------------------


class Peek(Command["Peeking", str]):
    how: str


class Peeked(Event):
    pass


class Peeking(Service[State, Peek, Peeked]):
    initial = State()

    def decide(self, state: State, command: Peek) -> Decision:
        if command.how == "look":
            return command.reply(str(dict(current_context())))
        with context(user="eve"):
            return command.reply("")

    def evolve(self, state: State, event: Peeked) -> State:
        return state


@pytest.mark.parametrize("how", ["look", "set"])
async def test_a_decision_can_not_depend_on_it(how: str) -> None:
    async with Runtime("memory:", [Peeking]) as runtime:
        with context(user="ana"), pytest.raises(Failed) as caught:
            await runtime.ask(Peeking.at("p"), Peek(how))
    assert isinstance(caught.value.__cause__, ActorMisuse)


@pytest.mark.parametrize("again", [False, True])
async def test_a_sagas_story_can_not_either_not_even_when_it_is_brought_back(again: bool) -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("room", R, Hold("t"))
        return Held(len(current_context()))

    Play.script = story
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Parked, match="request context"):
            await runtime.ask(Play.at("p"), Begin())
    if again:
        answered = next(n for n, record in enumerate(journal.records, 1) if record.type == "saga.answered")
        with context(user="ops"):
            async with Runtime(restart_of(journal.records[:answered], crashed=False), ALL) as runtime:
                with pytest.raises(Parked, match="request context"):
                    await runtime.result(Play.at("p"))


async def test_who_opens_a_runtime_lends_it_no_context() -> None:
    whole = HeldJournal()
    async with Runtime(whole, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))
    journal = restart_of(whole.records[:3])
    with context(user="ops"):
        async with Runtime(journal, ALL) as runtime:
            assert current_context() == {"user": "ops"}
            await runtime.result(Trip.at("t"))
    assert all_of(journal, None)
