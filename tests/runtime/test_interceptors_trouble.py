"""What goes wrong in interceptors is told as what it means, and they have as much time as their caller."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import (
    Call,
    Failed,
    Interceptor,
    InterceptorMisuse,
    MailboxFull,
    OutcomeUnknown,
    Proceed,
    Refused,
    RuntimeClosed,
)
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Account, Begin, Board, Deposit, Desk, Hold, Lines, Look, Note, Play, Room
from tests.runtime.intercepting import R, Seen, doors, waits
from tests.runtime.tools import HeldJournal, comes, node_of, quiet


async def breaks(call: Call, proceed: Proceed) -> object:
    raise KeyError("role")


async def breaks_behind(call: Call, proceed: Proceed) -> object:
    await proceed(call)
    raise KeyError("role")


async def refuses_behind(call: Call, proceed: Proceed) -> object:
    await proceed(call)
    raise Refused("after all")


async def forgets(call: Call, proceed: Proceed) -> object:
    await proceed(call)
    return None


async def says_none(call: Call, proceed: Proceed) -> object:
    return None


async def does_not_await(call: Call, proceed: Proceed) -> object:
    return proceed(call)


async def loses_the_call(call: Call, proceed: Proceed) -> object:
    request: Any = call.request
    return await proceed(request)


async def is_full(call: Call, proceed: Proceed) -> object:
    raise MailboxFull("too many requests; come back later")


# -- what goes wrong in them --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interceptor", "error", "text", "balance"),
    [
        (breaks, Failed, "interceptor breaks at Deposit for Account/a failed: KeyError: 'role'", 100),
        (breaks_behind, OutcomeUnknown, "interceptor breaks_behind at Deposit for Account/a failed when", 101),
        (refuses_behind, OutcomeUnknown, "Refused: after all", 101),
        (forgets, OutcomeUnknown, "Deposit declares the reply int, but nothing was returned", 101),
        (says_none, Failed, "Deposit declares the reply int, but nothing was returned", 100),
        (does_not_await, InterceptorMisuse, "write return await proceed", 100),
        (loses_the_call, InterceptorMisuse, "write proceed", 100),
        (is_full, MailboxFull, "come back later", 100),
    ],
)
async def test_what_goes_wrong_is_told_as_what_it_means(
    interceptor: Interceptor, error: type[Exception], text: str, balance: int
) -> None:
    async with Runtime("memory:", ALL, interceptors=[Seen(), interceptor, Seen()]) as runtime:
        with pytest.raises(error, match=text.replace("(", r"\(")):
            await runtime.ask(Account.at("a"), Deposit(1))
        assert (await runtime.state_of(Account.at("a"))).amount == balance


async def test_an_error_behind_a_query_is_a_failure_for_nothing_was_done() -> None:
    async with Runtime("memory:", ALL, interceptors=[breaks_behind]) as runtime:
        with pytest.raises(Failed, match="KeyError"):
            await runtime.ask(Board.at(), Lines())


async def test_what_the_actor_raises_comes_through_as_it_is() -> None:
    odd = ValueError("of the author's own")

    async def raises(call: Call, proceed: Proceed) -> object:
        raise odd

    async with Runtime("memory:", ALL, interceptors=[Seen()]) as runtime:
        with pytest.raises(Refused, match="full is full"):
            await runtime.ask(Room.at("full"), Hold("t"))
        with pytest.raises(Failed, match="poison"):
            await runtime.ask(R, Hold("poison"))
        with pytest.raises(ValueError, match="name"):
            await runtime.remind(R, "", Hold("t"), after=timedelta(seconds=1))
    async with Runtime("memory:", ALL, interceptors=[raises]) as runtime:
        with pytest.raises(Failed) as caught:
            await runtime.ask(R, Look())
        assert caught.value.__cause__ is odd


async def test_what_is_translated_is_told_as_the_interceptor_says() -> None:
    async def translates(call: Call, proceed: Proceed) -> object:
        try:
            return await proceed(call)
        except Refused as refusal:
            raise Refused(f"désolé: {refusal.reason}") from refusal

    async with Runtime("memory:", ALL, interceptors=[translates]) as runtime:
        with pytest.raises(Refused, match="désolé: full is full"):
            await runtime.ask(Room.at("full"), Hold("t"))


# -- time ---------------------------------------------------------------------------------------------------------


async def test_a_timeout_covers_the_interceptors() -> None:
    clock, journal = ManualClock(), HeldJournal()
    entered = asyncio.Event()

    async def dawdles(call: Call, proceed: Proceed) -> object:
        entered.set()
        await asyncio.Event().wait()
        return await proceed(call)

    async with Runtime(journal, ALL, clock=clock, interceptors=[dawdles]) as runtime:
        delays = len(node_of(runtime).delays)
        for late in (
            runtime.ask(R, Hold("t"), timeout=5),
            runtime.start(Play.at("p"), Begin(), timeout=5),
            runtime.transact((R, Hold("t")), timeout=5),
        ):
            entered.clear()
            task = asyncio.ensure_future(late)
            await entered.wait()
            clock.advance(6)
            with pytest.raises(Failed, match="in time"):
                await task
        assert len(node_of(runtime).delays) == delays
    assert journal.records == []


async def test_what_has_reached_the_actor_when_time_is_over_is_unknown() -> None:
    clock = ManualClock()
    Desk.script = waits
    async with Runtime("memory:", ALL, clock=clock, interceptors=[Seen()], shutdown_timeout=0.01) as runtime:
        late = asyncio.ensure_future(runtime.ask(Desk.at(), Note("x"), timeout=5))
        await comes(lambda: Desk.inbox)
        clock.advance(6)
        with pytest.raises(OutcomeUnknown, match="no reply came in time"):
            await late


async def test_one_attempt_may_be_given_less_time() -> None:
    clock, times = ManualClock(), list[float | None]()

    async def patient(call: Call, proceed: Proceed) -> object:
        times.append(call.timeout)
        call = call.identified()
        try:
            return await proceed(call.with_(timeout=1))
        except OutcomeUnknown:
            return "gave up"

    Desk.script = waits
    async with Runtime("memory:", ALL, clock=clock, interceptors=[patient], shutdown_timeout=0.01) as runtime:
        late = asyncio.ensure_future(runtime.ask(Desk.at(), Note("x"), timeout=5))
        await comes(lambda: Desk.inbox)
        clock.advance(2)
        assert await late == "gave up"
    assert times == [5]


@pytest.mark.parametrize("door", [0, 1, 2, 4, 5, 6, 7])
async def test_who_is_cancelled_takes_the_interceptors_along(door: int) -> None:
    ended = list[str]()

    async def dawdles(call: Call, proceed: Proceed) -> object:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[dawdles]) as runtime:
        task = asyncio.ensure_future(doors(runtime)[door]())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await quiet(runtime)
        assert ended == ["cancelled"]
    assert journal.records == []


@pytest.mark.parametrize("door", range(8))
async def test_what_an_interceptor_lets_pass_when_all_is_closed_is_told_so(door: int) -> None:
    entered, free = asyncio.Event(), asyncio.Event()

    async def waits(call: Call, proceed: Proceed) -> object:
        entered.set()
        await free.wait()
        return await proceed(call)

    journal = HeldJournal()
    async with Runtime(journal, ALL, interceptors=[waits], shutdown_timeout=0.01) as runtime:
        late = asyncio.ensure_future(doors(runtime)[door]())
        await entered.wait()
    free.set()
    with pytest.raises(RuntimeClosed):
        await asyncio.wait_for(late, 60)
    assert journal.records == []


async def test_after_closing_nothing_is_let_in() -> None:
    async with Runtime("memory:", ALL, interceptors=[Seen()]) as runtime:
        pass
    with pytest.raises(RuntimeClosed):
        await runtime.ask(R, Look())
    with pytest.raises(RuntimeClosed):
        runtime.tell(R, Hold("t"))
