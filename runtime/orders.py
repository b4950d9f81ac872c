"""Orders: what others want done by a task, between two pieces of its own work."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Orders:
    """Done one after the other, in the task that calls :meth:`obey`."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` has the task look."""
        self._wake = wake
        self._open: deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._closed: Exception | None = None

    def __bool__(self) -> bool:
        return bool(self._open)

    async def give(self, work: Callable[[], Awaitable[T]]) -> T:
        """Have something done, and return what it returns. One that nobody waits for any more is not begun.

        Raises:
            Exception: what it raises, or what :meth:`close` was given.
        """
        if self._closed is not None:
            raise self._closed
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._open.append((work, done))
        self._wake()
        return await done

    async def obey(self) -> None:
        """Do all that is there."""
        while self._open:
            work, done = self._open.popleft()
            if done.done():
                continue
            try:
                result = await work()
            except Exception as error:  # noqa: BLE001 (it is for who has given the order)
                if not done.done():
                    done.set_exception(error)
            except BaseException:
                self._open.appendleft((work, done))  # this incarnation ends; the next one does it
                raise
            else:
                if not done.done():
                    done.set_result(result)

    def refuse(self, error: Exception) -> None:
        """Do nothing of what is there; who waits is told."""
        while self._open:
            _, done = self._open.popleft()
            if not done.done():
                done.set_exception(error)

    def close(self, error: Exception) -> None:
        """Do nothing more; who waits is told."""
        self._closed = error
        self.refuse(error)
