"""Interceptors stand around what is watched, each answer of it, and around the queries of async plain actors."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest

from actors import (
    Address,
    AskCycle,
    Call,
    Failed,
    InterceptorMisuse,
    Proceed,
    Query,
    Refused,
    RuntimeClosed,
    context,
    current_context,
)
from runtime import Runtime
from tests.runtime.asking import ASKED, Add, Asker, Everything, Mood, Sent, Sum, Tally, Total, Totals
from tests.runtime.tools import HeldJournal, comes, node_of, quiet
from tests.runtime.watchers import Watcher, at_rest, followers, watching

T, TOTALS = Tally.at("t"), Totals.at()
QUERIES: list[tuple[Address[Any], Query[Any, Any]]] = [(T, Sum()), (TOTALS, Total("t"))]
EACH = pytest.mark.parametrize(("address", "query"), QUERIES)


class Gate:
    """An interceptor that lets queries pass, or refuses them."""

    def __init__(self) -> None:
        self.open = True
        self.calls: list[Call] = []
        self.users: list[str | None] = []

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        if not isinstance(call.request, Query):
            return await proceed(call)
        self.calls.append(call)
        self.users.append(call.context.get("user"))
        if not self.open:
            raise Refused("not for you")
        return await proceed(call)


# -- what is watched ----------------------------------------------------------------------------------------------


@EACH
async def test_who_may_not_look_may_not_watch(address: Any, query: Any) -> None:
    gate = Gate()
    gate.open = False
    async with Runtime("memory:", ASKED, interceptors=[gate]) as runtime:
        with pytest.raises(Refused, match="not for you"):
            await anext(runtime.watch(address, query))
        assert followers(runtime) == {}
        assert Totals.asked == []


@EACH
async def test_each_answer_is_looked_at_so_one_who_may_no_more_sees_no_more(address: Any, query: Any) -> None:
    gate = Gate()
    async with (
        Runtime("memory:", ASKED, interceptors=[gate]) as runtime,
        watching(runtime.watch(address, query)) as (w,),
    ):
        await w.sees(0)
        await runtime.ask(T, Add(1))
        await w.sees(1)
        gate.open = False
        await runtime.ask(T, Add(1))
        with pytest.raises(Refused, match="not for you"):
            await asyncio.wait_for(w.task, 60)
        assert w.seen == [0, 1]
        assert {(call.kind, call.address, call.request, call.sender) for call in gate.calls} == {
            ("watch", address, query, None)
        }
        assert followers(runtime) == {}


@EACH
async def test_a_reply_is_replaced_in_each_answer(address: Any, query: Any) -> None:
    async def masks(call: Call, proceed: Proceed) -> object:
        reply = await proceed(call)
        return reply if not isinstance(call.request, Query) or not isinstance(reply, int) else -reply

    async with (
        Runtime("memory:", ASKED, interceptors=[masks]) as runtime,
        watching(runtime.watch(address, query)) as (w,),
    ):
        await w.sees(0)
        for n in (1, 2):
            await runtime.ask(T, Add(1))
            await w.sees(-n)


async def test_a_reply_of_another_type_is_an_error() -> None:
    async def spoils(call: Call, proceed: Proceed) -> object:
        await proceed(call)
        return "many"

    async with Runtime("memory:", ASKED, interceptors=[spoils]) as runtime:
        with pytest.raises(Failed, match="declares the reply int"):
            await anext(runtime.watch(T, Sum()))


async def test_it_is_told_of_what_the_query_has_been_made_into() -> None:
    who = ["u"]

    async def redirects(call: Call, proceed: Proceed) -> object:
        return await proceed(call.with_(request=Total(who[0])) if isinstance(call.request, Total) else call)

    async with Runtime("memory:", ASKED, interceptors=[redirects]) as runtime:
        async with watching(runtime.watch(TOTALS, Total("t"))) as (watcher,):
            await watcher.sees(0)
            await runtime.ask(Tally.at("u"), Add(3))
            await watcher.sees(3)
            who[0] = "v"
            await runtime.ask(Tally.at("v"), Add(5))
            await runtime.ask(Tally.at("u"), Add(1))
            await watcher.sees(5)
            await runtime.ask(Tally.at("v"), Add(1))
            await watcher.sees(6)
            await at_rest(runtime)
            assert {category: list(of) for category, of in followers(runtime).items()} == {"Totals": ["v"]}
        assert followers(runtime) == {}


async def test_a_query_can_be_replaced_by_a_query_only() -> None:
    async def commands(call: Call, proceed: Proceed) -> object:
        return await proceed(call.with_(request=Add(1)))

    async with Runtime("memory:", ASKED, interceptors=[commands]) as runtime:
        with pytest.raises(InterceptorMisuse, match="put a query there"):
            await anext(runtime.watch(T, Sum()))
        Asker.script = partial(asks, address=T, query=Sum())
        asker: Any = Asker.at()
        with pytest.raises(Failed, match="put a query there"):
            await node_of(runtime).ask(asker, Sent())
        assert (await runtime.state_of(T)).added == ()


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_it_goes_on_when_the_journal_was_lost(fate: str) -> None:
    journal, gate = HeldJournal(), Gate()
    async with Runtime(journal, ASKED, interceptors=[gate]) as runtime, watching(runtime.watch(T, Sum())) as (watcher,):
        await watcher.sees(0)
        journal.fail = [fate]
        runtime.tell(T, Add(1))
        await comes(lambda: not journal.fail)
        await quiet(runtime)
        total = await runtime.ask(T, Add(2))
        await watcher.sees(total)


async def test_an_interceptor_that_waits_is_left_by_who_is_cancelled_and_at_the_end_it_is_told_so() -> None:
    entered, free, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def waits(call: Call, proceed: Proceed) -> object:
        entered.set()
        try:
            await free.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return await proceed(call)

    async with Runtime("memory:", ASKED, interceptors=[waits]) as runtime:
        watcher = Watcher(runtime.watch(T, Sum()))
        await entered.wait()
        watcher.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher.task
        assert ended == ["cancelled"]
        assert followers(runtime) == {}
        entered.clear()
        watcher = Watcher(runtime.watch(T, Sum()))
        await entered.wait()
    free.set()
    with pytest.raises(RuntimeClosed):
        await watcher.task


@pytest.mark.parametrize("intercepted", [True, False])
async def test_it_is_asked_in_the_context_in_which_watch_was_called(intercepted: bool) -> None:
    gate, seen = Gate(), set[tuple[type, str | None]]()

    class Rows(Totals):
        async def answer(self, db: Any, query: Total | Everything) -> Any:
            seen.add((type(query), current_context().get("user")))
            return await super().answer(db, query)

    rows: Address[Any] = Rows.at()
    async with Runtime("memory:", [Tally, Rows], interceptors=[gate] if intercepted else []) as runtime:
        with context(user="ana"):
            anas = runtime.watch(rows, Total("t"))
        nobodys = runtime.watch(rows, Everything())
        async with aclosing(anas), aclosing(nobodys):
            with context(user="eve"):
                assert (await anext(anas), await anext(nobodys)) == (0, [])
                assert current_context() == {"user": "eve"}
            await runtime.ask(T, Add(1))
            assert (await anext(anas), await anext(nobodys)) == (1, [("t", 1)])
    assert seen == {(Total, "ana"), (Everything, None)}
    assert set(gate.users) == ({"ana", None} if intercepted else set())


# -- the queries of plain actors ------------------------------------------------------------------------------------


async def asks(self: Asker, address: Any, query: Any) -> Any:
    return await self.ask(address, query, consistent=isinstance(query, Total))


@EACH
async def test_a_plain_actors_queries_are_intercepted(address: Any, query: Any) -> None:
    Asker.script, gate = partial(asks, address=address, query=query), Gate()
    async with Runtime("memory:", ASKED, interceptors=[gate]) as runtime:
        await runtime.ask(T, Add(2))
        with context(user="ana"):
            assert await runtime.ask(Asker.at("a"), Sent()) == 2
        assert [(call.kind, call.address, call.request, call.sender) for call in gate.calls] == [
            ("ask", address, query, Asker.at("a"))
        ]
        assert gate.users == ["ana"]
        gate.open = False
        with pytest.raises(Refused, match="not for you"):
            await runtime.ask(Asker.at("a"), Sent())


async def test_a_query_in_place_of_a_plain_actors_command_is_answered() -> None:
    async def adds(self: Asker) -> int:
        return await self.ask(T, Add(5), id="mine")

    async def looks(call: Call, proceed: Proceed) -> object:
        return await proceed(call.with_(request=Sum()) if isinstance(call.request, Add) and call.sender else call)

    Asker.script = adds
    async with Runtime("memory:", ASKED, interceptors=[looks]) as runtime:
        await runtime.ask(T, Add(2))
        assert await runtime.ask(Asker.at("a"), Sent()) == 2


async def test_a_cycle_of_queries_is_found_behind_interceptors() -> None:
    Asker.script = partial(asks, address=Asker.at("a"), query=Mood())
    async with Runtime("memory:", ASKED, interceptors=[Gate()]) as runtime:
        with pytest.raises(AskCycle):
            await runtime.ask(Asker.at("a"), Sent())


async def test_without_interceptors_queries_and_watchers_go_the_same_way_as_ever() -> None:
    async with Runtime("memory:", ASKED) as runtime:
        with context(user="ana"):
            assert isinstance(node_of(runtime).query_inside, partial)
