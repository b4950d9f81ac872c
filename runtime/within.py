"""Time limits on the author's code, by the runtime's own clock."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from runtime.log import log
from runtime.timers import Timer, Timers

T = TypeVar("T")

RESISTS = 10.0
"""Seconds after which work that was cancelled and goes on is cancelled again, and named in the log."""


async def within(limit: timedelta | None, timers: Timers, name: str, work: Awaitable[T]) -> T:
    """Run something for so long as it may take; ``name`` is whose it is. Called in a task of its own.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    if limit is None:
        return await work
    task = asyncio.current_task()
    assert task is not None
    cancelled = 0
    timer: Timer

    def too_long() -> None:
        nonlocal timer, cancelled
        if cancelled:
            log.warning("work resists its time limit", name=name)
        cancelled += 1
        task.cancel()
        timer = timers.after(RESISTS, too_long)

    timer = timers.after(limit.total_seconds(), too_long)
    overdue = TimeoutError(f"it took longer than {limit}, the time_limit of {name}")
    try:
        result = await work
    except BaseException as error:
        if not cancelled or (_forgiven(task, cancelled) and isinstance(error, asyncio.CancelledError)):
            raise
        raise overdue from error
    else:
        if not cancelled:
            return result
        _forgiven(task, cancelled)
        raise overdue
    finally:
        timer.cancel()


def _forgiven(task: "asyncio.Task[object]", cancelled: int) -> bool:
    """Take our own cancellations back; return whether somebody else has cancelled the task too."""
    for _ in range(cancelled):
        task.uncancel()
    return task.cancelling() > 0
