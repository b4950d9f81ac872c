"""Processes that die when their journal has so many batches more: each prefix of their work can be left behind."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from persistence import Batch, Journal
from persistence.opening import journal_of

ROOT = Path(__file__).parents[2]
DEADLY = 9
"""What a process ends with that dies so."""


def deadly(url: str, left: int) -> Journal:
    """Return a journal behind whose n-th batch the process dies, without closing it; a group may be cut in two."""
    journal = journal_of(url, "full")
    append = journal.append

    async def append_and_die(batches: Sequence[Batch]) -> int:
        nonlocal left
        position = await append(batches[:left])
        left -= len(batches)
        if left <= 0:
            os._exit(DEADLY)
        return position

    journal.append = append_and_die  # type: ignore[method-assign]
    return journal


async def dies(module: str, *arguments: str) -> None:
    """Run a program until it has died."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, cwd=ROOT)
    assert await process.wait() == DEADLY
