"""Those who watch queries, as the tests do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from runtime import Runtime
from tests.runtime.tools import comes, node_of


class Watcher:
    """Reads what it is told, as it comes; by its ``gate`` it can be held back."""

    def __init__(self, answers: AsyncGenerator[Any]) -> None:
        self.seen: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.task = asyncio.ensure_future(self._read(answers))

    async def _read(self, answers: AsyncGenerator[Any]) -> None:
        async with aclosing(answers):
            async for answer in answers:
                self.seen.append(answer)
                await self.gate.wait()

    async def sees(self, answer: Any) -> None:
        """Wait until it has seen this last."""
        await asyncio.wait_for(self._sees(answer), 60)

    async def _sees(self, answer: Any) -> None:
        while not self.seen or self.seen[-1] != answer:
            if self.task.done():
                await self.task
                raise AssertionError(f"it has ended, with {self.seen}")
            await asyncio.sleep(0)


@asynccontextmanager
async def watching(*answers: AsyncGenerator[Any]) -> AsyncGenerator[list[Watcher]]:
    watchers = [Watcher(one) for one in answers]
    try:
        yield watchers
    finally:
        for watcher in watchers:
            watcher.task.cancel()
        await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)


def followers(runtime: Runtime) -> dict[str, Any]:
    return node_of(runtime).news._followers  # pyright: ignore[reportPrivateUsage]


async def at_rest(runtime: Runtime) -> None:
    """Wait until all who watch have seen what there is, and wait for news."""

    def waiting() -> bool:
        events = [event for of_category in followers(runtime).values() for one in of_category.values() for event in one]
        return all(event._waiters and not event.is_set() for event in events)

    await comes(waiting)


async def some_turns(turns: int = 200) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
