"""The tasks of a node: asyncio's own, for a task group's cost six times as much and wait for those that resist."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

from runtime.log import log


class Tasks:
    """Tasks that are under way, made and used on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        # Not the context of whoever sent the message: an actor must not see a sender's context variables.
        self._context = contextvars.Context()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        """Run something as a task; in the context variables of who wants it, where these are given."""
        task = self._loop.create_task(work, context=self._context.copy() if context is None else context)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", error=repr(error))
        if not self._tasks:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def none(self) -> None:
        """Wait until no task is under way."""
        while self._tasks:
            future = self._loop.create_future()
            self._waiting.append(future)
            await future

    async def close(self, grace: float) -> None:
        """Cancel all, and wait for them for so many seconds; one that resists is named, and left behind."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for task in [task for task in self._tasks if not task.done()]:  # ends of others have begun meanwhile
            log.error("a task resists its end, and was left behind", task=repr(task))
