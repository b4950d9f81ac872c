"""The simulated event loop keeps asyncio's protocol in virtual time, and says what it can't do."""

import asyncio
import contextvars
import gc
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any
from weakref import WeakSet

import anyio
import pytest

from runtime.simulation.clock import BEGINNING, SimulatedClock
from runtime.simulation.errors import Deadlock, Endless, NoRealIO
from runtime.simulation.loop import SimulatedLoop
from runtime.simulation.schedule import Priorities, Replayed, Schedule, Uniform

SCHEDULES: list[Callable[[], Schedule | None]] = [lambda: None, lambda: Uniform(1), lambda: Priorities(1)]


def run(main: Coroutine[Any, Any, Any], schedule: Schedule | None = None) -> Any:
    loop = SimulatedLoop(schedule=schedule)
    try:
        result = loop.run(main)
        assert not loop.problems, loop.problems
        return result
    finally:
        loop.bury()


@pytest.mark.parametrize("make", SCHEDULES)
def test_what_asyncio_and_anyio_do_with_time(make: Callable[[], Schedule | None]) -> None:
    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            for seconds in (5_000, 1_000, 3_000):
                tasks.start_soon(anyio.sleep, seconds)
        with anyio.move_on_after(100) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(1_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        assert await asyncio.gather(*(asyncio.sleep(1, number) for number in range(3))) == [0, 1, 2]
        return asyncio.get_running_loop().time()

    assert run(main(), make()) == 5_112


def test_a_year_takes_no_time() -> None:
    async def main() -> int:
        for _ in range(365):
            await asyncio.sleep(86_400)
        return round(asyncio.get_running_loop().time())

    assert run(main()) == 365 * 86_400


def test_a_moment_between_two_microseconds_passes() -> None:
    """2.31 + 2 is a little more than 4.31: who is called at 4.31 looks at the clock, and waits for the rest again."""

    async def main() -> float:
        await asyncio.sleep(2.31)
        with anyio.move_on_after(2):
            await anyio.sleep_forever()
        return asyncio.get_running_loop().time()

    assert run(main()) == 4.310_001


def test_timers_are_in_order_and_never_early() -> None:
    seen: list[tuple[int, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(100):
            due = (number * 37 % 11) / 3

            def fire(number: int = number, due: float = due) -> None:
                seen.append((number, loop.time() - due))

            loop.call_at(due, fire)
        await asyncio.sleep(10)

    run(main())
    assert len(seen) == 100
    assert all(late >= 0 for _, late in seen)
    dues = [number * 37 % 11 for number, _ in seen]
    assert dues == sorted(dues)


@pytest.mark.parametrize("seed", range(20))
def test_schedules_mix_tasks_and_keep_the_order_of_callbacks(seed: int) -> None:
    order: list[str] = []
    alone: list[int] = []

    async def worker(name: str) -> None:
        for number in range(3):
            order.append(f"{name}{number}")
            await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(worker(name)) for name in "abc"]
        for number in range(5):
            loop.call_soon(alone.append, number)
        future: asyncio.Future[None] = loop.create_future()
        told: list[int] = []
        for number in range(4):

            def tell(_: object, number: int = number) -> None:
                told.append(number)

            future.add_done_callback(tell)
        future.set_result(None)
        await asyncio.gather(*tasks)
        await asyncio.sleep(1)
        assert told == [0, 1, 2, 3]

    schedule = Uniform(seed)
    run(main(), schedule)
    assert alone == [0, 1, 2, 3, 4]
    for name in "abc":
        assert [one for one in order if one[0] == name] == [f"{name}{number}" for number in range(3)]
    first, order[:] = list(order), []
    alone.clear()
    run(main(), Replayed(schedule.choices))
    assert order == first  # the choices are all that there is to it


def test_different_seeds_give_different_orders() -> None:
    async def worker(order: list[int], number: int) -> None:
        order.append(number)

    async def main() -> tuple[int, ...]:
        order: list[int] = []
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(worker, order, number)
        return tuple(order)

    assert len({run(main(), Uniform(seed)) for seed in range(50)}) > 10
    assert len({run(main(), Priorities(seed)) for seed in range(50)}) > 10


def test_tasks_and_futures_are_hashed_by_their_numbers() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(20)]
        await asyncio.gather(*tasks)
        return [*map(hash, tasks), *(hash(loop.create_future()) for _ in range(20))]

    first = run(main())
    assert len(set(first)) == 40
    assert run(main()) == first


def test_context_variables_go_with_tasks() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    async def main() -> tuple[str, str]:
        name.set("ana")
        inner = asyncio.create_task(asyncio.sleep(0, name.get()))
        bare = asyncio.get_running_loop().create_task(told(), context=contextvars.Context())
        return await inner, await bare

    async def told() -> str:
        return name.get()

    assert run(main()) == ("ana", "nobody")


def test_a_deadlock_says_who_waits() -> None:
    async def waits_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.gather(waits_for_nobody(), asyncio.Event().wait())

    with pytest.raises(Deadlock, match=r"(?s)main: .*gather.*waits_for_nobody.*create_future\(\).*Event\.wait"):
        run(main())


def test_going_round_in_circles_is_noticed() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110 (that is what is tested)
            await asyncio.sleep(0)

    loop = SimulatedLoop(most_steps=1_000)
    with pytest.raises(Endless, match=r"(?s)1,000 steps.*main: .*sleep\(0\)"):
        loop.run(main())
    loop.bury()


async def connects() -> None:
    await asyncio.open_connection("localhost", 1)


async def listens() -> None:
    await asyncio.start_server(lambda _reader, _writer: None, "localhost", 1)


async def watches_a_file() -> None:
    asyncio.get_running_loop().add_reader(0, lambda: None)


async def receives() -> None:
    with socket.socket() as one:
        await asyncio.get_running_loop().sock_recv(one, 1)


REAL: list[Callable[[], Coroutine[Any, Any, Any]]] = [
    connects,
    listens,
    watches_a_file,
    receives,
    lambda: asyncio.to_thread(print),
    lambda: asyncio.create_subprocess_exec("true"),
]


@pytest.mark.parametrize("real", REAL)
def test_there_is_no_real_io(real: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    with pytest.raises(NoRealIO, match=r"there is no real I/O in a simulation.*plain actor.*fake"):
        run(real())


def test_a_thread_of_anyio_is_none_either() -> None:
    with pytest.raises(NoRealIO, match="thread"):
        run(anyio.to_thread.run_sync(threading.get_ident))


def test_the_dead_do_nothing_more() -> None:
    done: list[str] = []

    async def works() -> AsyncGenerator[int]:
        try:
            while True:
                await asyncio.sleep(1)
                yield 1
        finally:
            done.append("cleaned up")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.call_later(10, loop.die)
        try:
            async for _ in works():
                done.append("worked")  # noqa: PERF401 (it never comes to an end)
        finally:
            done.append("ended")

    loop = SimulatedLoop()
    assert loop.run(main()) is None
    assert done == ["worked"] * 9
    loop.bury()
    assert not loop.problems


def test_the_clock_shows_virtual_time_and_its_wall_time_can_be_set() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        clock = SimulatedClock(loop)
        woken: list[int] = []
        clock.call_after(3600, lambda: woken.append(clock.steady()))
        taken_back = clock.call_after(1, lambda: woken.append(-1))
        taken_back.cancel()
        await asyncio.sleep(10)
        assert (clock.now(), clock.steady()) == (BEGINNING + 10_000_000, 10_000_000)
        clock.step(-3600)
        assert (clock.now(), clock.steady()) == (BEGINNING + 10_000_000 - 3_600_000_000, 10_000_000)
        await asyncio.sleep(1)
        assert woken == [10_000_000]  # who goes by wall time has to look again
        await asyncio.sleep(3600)
        assert woken == [10_000_000]

    run(main())


def test_a_process_may_die_while_a_generator_that_nobody_wants_ends() -> None:
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def main() -> None:
        async for _ in numbers():
            break  # what is left of it is closed by a task of the loop's
        await loop.end_here()

    loop = SimulatedLoop()
    try:
        loop.run(main())
    finally:
        loop.bury()
    assert loop.dead
    assert not loop.problems


def test_a_task_that_ended_inside_a_scope_leaves_nothing() -> None:
    """It had begun what was killed then: nobody has come to leave the scope."""

    async def main() -> SimulatedLoop:
        anyio.CancelScope().__enter__()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        return loop

    left = WeakSet([run(main()), run(main())])
    gc.collect()
    assert not left
