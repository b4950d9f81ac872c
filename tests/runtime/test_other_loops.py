"""A runtime belongs to the event loop that opened it; who uses it from another one, or another thread, is told so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from actors import Call, Interceptor, OutcomeUnknown, Proceed, WrongLoop
from runtime import Runtime, retrying
from tests.runtime.cast import ALL, Account, Board, BookTrip, Deposit, Desk, Hold, Lines, Note, Room, Trip
from tests.runtime.tools import node_of

T = TypeVar("T")
Use = Callable[[Runtime], Awaitable[object]]
ROOM = Room.at("r")
LATER = timedelta(seconds=60)


async def in_a_thread(work: Callable[[], T]) -> T:
    """Return what a thread of its own returns, which has ended then."""
    with ThreadPoolExecutor(1) as threads:
        return await asyncio.wrap_future(threads.submit(work))


async def elsewhere(use: Callable[[], Awaitable[object]]) -> object:
    """Use a runtime in a thread that has an event loop of its own."""

    async def used() -> object:
        async with asyncio.timeout(60):
            return await use()

    return await in_a_thread(lambda: asyncio.run(used()))


async def all_of(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


USES: dict[str, Use] = {
    "ask": lambda runtime: runtime.ask(ROOM, Hold("a")),
    "ask in time": lambda runtime: runtime.ask(ROOM, Hold("a"), timeout=60),
    "ask a read model": lambda runtime: runtime.ask(Board.at(), Lines(), consistent=True),
    "ask a saga": lambda runtime: runtime.ask(Trip.at("t"), BookTrip(["r"])),
    "start": lambda runtime: runtime.start(Trip.at("t"), BookTrip(["r"])),
    "result": lambda runtime: runtime.result(Trip.at("t")),
    "transact": lambda runtime: runtime.transact((Account.at("a"), Deposit(1)), (Account.at("b"), Deposit(1))),
    "remind": lambda runtime: runtime.remind(ROOM, "later", Hold("a"), after=LATER),
    "forget": lambda runtime: runtime.forget(ROOM, "later"),
    "kill": lambda runtime: runtime.kill(ROOM),
    "delete": lambda runtime: runtime.delete(ROOM),
    "a saga's verb": lambda runtime: runtime.saga(Trip.at("t")).retry(by="me", reason=""),
    "state_of": lambda runtime: runtime.state_of(ROOM),
    "history": lambda runtime: all_of(runtime.history(ROOM)),
    "sagas": lambda runtime: all_of(runtime.sagas()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("intercepted", [False, True])
async def test_from_another_threads_loop(use: Use, intercepted: bool) -> None:
    stand: list[Interceptor] = [retrying()] if intercepted else []
    async with asyncio.timeout(60), Runtime("memory:", ALL, interceptors=stand) as runtime:
        await runtime.ask(Room.at("other"), Hold("x"))
        with pytest.raises(WrongLoop, match=r"asyncio.run_coroutine_threadsafe\(runtime.ask\(...\), loop\).result\(\)"):
            await elsewhere(lambda: use(runtime))
        assert (await runtime.ask(Room.at("another"), Hold("b"))).number == 1
        assert node_of(runtime).promises.open == {}


async def test_whether_it_was_done_is_unknown() -> None:
    """P10; asked again with the same id, at the right place, it is known."""
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(OutcomeUnknown, match="whether Room/r has handled Hold is unknown: the runtime belongs to"):
            await elsewhere(lambda: runtime.ask(ROOM, Hold("a"), id="one"))
        assert (await runtime.ask(ROOM, Hold("a"), id="one")).number == 1


async def test_it_is_not_tried_again() -> None:
    tries: list[Call] = []

    async def count(call: Call, proceed: Proceed) -> object:
        tries.append(call)
        return await proceed(call)

    async with Runtime("memory:", ALL, interceptors=[retrying(), count]) as runtime:
        with pytest.raises(WrongLoop):
            await elsewhere(lambda: runtime.ask(ROOM, Hold("a")))
    assert len(tries) == 1


async def test_from_a_thread_without_a_loop() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(WrongLoop):
            await in_a_thread(lambda: runtime.unpark(ROOM))
        await runtime.ask(ROOM, Hold("a"))
        loop = asyncio.get_running_loop()
        looked = await in_a_thread(lambda: (runtime.stats().active, runtime.position, runtime.parked()))
        assert looked == (1, 1, {}), "these may be looked at from anywhere"

        def properly() -> int:
            return asyncio.run_coroutine_threadsafe(runtime.ask(ROOM, Hold("b")), loop).result().number

        assert await in_a_thread(properly) == 2


def test_from_another_loop_of_the_same_thread() -> None:
    """As with a fixture that opens it once, for tests that have a loop each."""

    async def opened(entered: "asyncio.Future[Runtime]", leave: asyncio.Event) -> None:
        async with Runtime("memory:", ALL) as runtime:
            entered.set_result(runtime)
            await leave.wait()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        loop = one.get_loop()
        entered, leave = loop.create_future(), asyncio.Event()
        task = loop.create_task(opened(entered, leave))
        runtime = loop.run_until_complete(entered)
        with pytest.raises(WrongLoop):
            other.run(runtime.ask(ROOM, Hold("a")))
        held = one.run(runtime.ask(ROOM, Hold("b")))
        assert held.number == 1, "what nobody waits for any more is not begun"
        leave.set()
        loop.run_until_complete(task)


async def never(_: Desk, __: Note) -> str:
    await asyncio.get_running_loop().create_future()
    return ""


async def test_no_timer_is_left_on_another_loop() -> None:
    """One that is set on a loop that ends would never go off, nor would those behind it."""
    Desk.script = never
    async with asyncio.timeout(60), Runtime("memory:", ALL, shutdown_timeout=0) as runtime:
        with pytest.raises(WrongLoop):
            await elsewhere(lambda: runtime.ask(Desk.at(), Note("a"), timeout=0.01))
        with pytest.raises(OutcomeUnknown, match="no reply came in time"):
            await runtime.ask(Desk.at("b"), Note("b"), timeout=0.02)


async def test_nobody_waits_for_room_on_another_loop() -> None:
    """Nobody would wake him there."""
    begun = asyncio.Event()

    async def script(desk: Desk, note: Note) -> str:
        begun.set()
        return await never(desk, note)

    Desk.script = script
    async with asyncio.timeout(60), Runtime("memory:", ALL, shutdown_timeout=0) as runtime:
        await runtime.tell(Desk.at(), Note("a"))
        await begun.wait()
        desk = node_of(runtime).cell(Desk.at())
        while len(desk.mail) < desk.limit:
            await runtime.tell(Desk.at(), Note("b"))
        uses: tuple[Use, ...] = (lambda runtime: runtime.ask(Desk.at(), Note("c")), told)
        for use in uses:
            with pytest.raises(WrongLoop):
                await elsewhere(partial(use, runtime))


async def told(runtime: Runtime) -> None:
    await runtime.tell(Desk.at(), Note("d"))


async def test_where_asyncio_itself_looks_the_runtime_goes_on() -> None:
    """In debug mode the loop refuses what comes from another thread; that must not be the end of all turns."""
    asyncio.get_running_loop().set_debug(True)
    async with asyncio.timeout(60), Runtime("memory:", ALL) as runtime:
        await runtime.ask(ROOM, Hold("a"))
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await in_a_thread(lambda: runtime.tell(ROOM, Hold("b")))
        assert (await runtime.ask(Room.at("other"), Hold("c"))).number == 1
