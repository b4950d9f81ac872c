"""What most people write by hand: an asyncio.Queue and a task for each actor, with an async handler."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from benchmarks.measuring import RING, Figures, main, rate

LIMIT = 10_000


class Actor:
    def __init__(self, receive: Callable[[Any], Awaitable[Any]]) -> None:
        self._queue: asyncio.Queue[tuple[Any, asyncio.Future[Any] | None]] = asyncio.Queue(LIMIT)
        self._receive = receive
        self._task = asyncio.create_task(self._run())

    async def tell(self, message: Any) -> None:
        await self._queue.put((message, None))

    async def ask(self, message: Any) -> Any:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._queue.put((message, reply))
        return await reply

    async def _run(self) -> None:
        while True:
            message, reply = await self._queue.get()
            try:
                value = await self._receive(message)
            except Exception as error:  # noqa: BLE001
                if reply is None:
                    print("a message could not be handled:", error)
                elif not reply.done():
                    reply.set_exception(error)
            else:
                if reply is not None and not reply.done():
                    reply.set_result(value)


async def silent(message: Any) -> None:
    pass


async def tell(count: int) -> Figures:
    actor = Actor(silent)
    begun = time.perf_counter()
    for _ in range(count):
        await actor.tell("hello")
    await actor.ask("all handled?")
    return rate(count, begun)


async def ask(count: int, in_flight: int = 1) -> Figures:
    actor = Actor(silent)

    async def client() -> None:
        for _ in range(count // in_flight):
            await actor.ask("hello")

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(in_flight)))
    return rate(count, begun)


async def ring(count: int, size: int = RING, hops: int = 1) -> Figures:
    done = asyncio.Event()
    actors: list[Actor] = []

    async def hop(n: int, message: int) -> None:
        if message:
            await actors[(n + 1) % size].tell(message - 1)
        else:
            done.set()

    actors.extend(Actor(partial(hop, n)) for n in range(size))
    begun = time.perf_counter()
    await actors[0].tell(count * hops)
    await done.wait()
    return rate(count, begun)


if __name__ == "__main__":
    main(
        {
            "tell": tell,
            "ask": ask,
            "ask_100": partial(ask, in_flight=100),
            "ring": ring,
            "ping_pong": partial(ring, size=2, hops=2),
        }
    )
