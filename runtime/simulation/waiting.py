"""Who waits for what, for the errors of runs that don't end."""

import asyncio
import linecache
from types import CodeType, FrameType
from typing import Any

MOST = 20
"""So many tasks are named."""


def who_waits(loop: asyncio.AbstractEventLoop) -> str:
    """Return a line for each task that has not ended: its name, and where it is."""
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    lines = [f"  {task.get_name()}: {_place(task)}" for task in tasks[:MOST]]
    if len(tasks) > MOST:
        lines.append(f"  and {len(tasks) - MOST} more")
    return "\n".join(lines)


def _place(task: "asyncio.Task[Any]") -> str:
    """Return where a task is: the innermost lines of its coroutines, the author's own above all."""
    found: list[str] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(found) < MOST:
        frame: FrameType | None = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        code: CodeType | None = getattr(awaited, "cr_code", None) or getattr(awaited, "gi_code", None)
        if frame is None or code is None:
            break
        line = linecache.getline(code.co_filename, frame.f_lineno).strip()
        found.append(f"{code.co_qualname}, line {frame.f_lineno}: {line}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return " > ".join(found[-3:]) if found else "about to begin, or to end"
