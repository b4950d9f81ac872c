"""One incarnation of a subscriber: the author's object, what it has taken up, and the tasks that are at work for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio

from actors import RuntimeClosed, Subscriber
from runtime.cells import World
from runtime.deliveries import Deliveries
from runtime.log import log
from runtime.within import within

T = TypeVar("T")

GRACE = 5.0
"""Seconds for which the end of handlers is awaited that were cancelled, and of the author's ``stopped``."""


class Life:
    """One incarnation; its tasks end with it."""

    def __init__(self, world: World, author: Subscriber, deliveries: Deliveries) -> None:
        self.author = author
        self.deliveries = deliveries
        self.tasks: set[asyncio.Task[Any]] = set()
        self.started = False
        self.fatal: Exception | None = None
        """At what the subscriber has to be parked at once."""
        self.last: Exception | None = None
        """At what it has to be parked when all that was taken up before is done."""
        self._world = world
        self._name = type(author).__name__

    async def start(self) -> None:
        """Let the author prepare for work.

        Raises:
            Exception: it could not.
        """
        author, delays = self.author, self._world.delays

        async def start() -> None:
            await within(author.time_limit, delays, self._name, author.started())
            self.started = True  # here, also where nobody waits for it any more

        await self.run(start)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin something that ends with the incarnation."""
        task = self._world.spawn(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run the author's code in a task of its own, and return what comes of it.

        Raises:
            RuntimeClosed: the incarnation was ended before.
            Exception: what it raises.
        """
        results: list[T] = []

        async def run() -> Exception | None:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 (raised below: it is for who waits)
                return error
            return None

        task = self.spawn(run())
        await asyncio.wait([task])
        if task.cancelled():
            raise RuntimeClosed(f"{self._name} was ended before that was done")
        error = task.result()
        if error is not None:
            raise error
        return results[0]

    async def end(self) -> None:
        """Cancel what is under way, and let the author clean up."""
        with anyio.CancelScope(shield=True):
            tasks = list(self.tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE)
            if self.started:
                try:
                    async with asyncio.timeout(GRACE):
                        await self.author.stopped()
                except Exception as error:  # noqa: BLE001 (the author's code may raise anything)
                    log.warning("subscriber failed at its end", subscriber=self._name, error=repr(error))
            self.author.attach(None)
