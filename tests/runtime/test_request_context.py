"""The request context: the block, who sees it and who must not, and what it costs those who have none."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from actors import (
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
    Service,
    State,
    Statement,
    context,
    current_context,
    sql,
)
from actors.request_context import FIRST_USE, MOST_CONTEXT, NO_CONTEXT
from persistence import ERASED
from runtime import Runtime
from runtime.kinds import meta_of
from tests.runtime.cast import ALL, Account, Begin, BookTrip, Deposit, Held, Hold, Play, Room, Trip, WasHeld
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of

R = Room.at("r")
ANA = {"user": "ana"}


def all_of(journal: HeldJournal, texts: Mapping[str, str] | None) -> bool:
    records = [record for record in journal.records if record.type != ERASED]
    return bool(records) and all(meta_of(record).context == texts for record in records)


# -- the block ----------------------------------------------------------------------------------------------------


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


# -- without one --------------------------------------------------------------------------------------------------


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


# -- where it is seen ---------------------------------------------------------------------------------------------


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


# -- who must not look --------------------------------------------------------------------------------------------


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
