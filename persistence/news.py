"""Waiting for a journal to grow: who waits is woken when something is written, and looks for himself."""

import asyncio
from collections.abc import Callable


class News:
    """Those who wait for news of one journal. It says only that there may be some; who is woken looks again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self.count = 0
        """How often there was news."""

    def tell(self) -> None:
        """Wake everybody."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float, known: int) -> None:
        """Return when there is more news than the ``known``, or after so many seconds."""
        if self.count != known:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=None if seconds == float("inf") else seconds)
        finally:
            self._waiting.discard(future)
            future.cancel()

    async def above(self, after: int, timeout: float, position: Callable[[], int]) -> int:
        """Return ``position()`` when it is above ``after``, or as it is after ``timeout`` seconds."""
        clock = asyncio.get_running_loop().time
        due = clock() + timeout
        while (now := position()) <= after and (left := due - clock()) > 0:
            await self.wait(left, self.count)
        return now
