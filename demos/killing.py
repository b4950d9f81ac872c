"""Processes that a story starts and kills."""

import subprocess
import sys
from contextlib import suppress
from typing import NamedTuple

import anyio
import anyio.to_thread

from demos.page import Page

HALF_WAY = "half way"
"""What a process prints when it may be killed."""


def can_be_killed(page: Page, journal: str, file: str) -> bool:
    """Whether a process can die and leave its journal to the next; else say why its scene is left out."""
    if journal != "memory:":
        return True
    page.say(
        "A journal in memory dies with its process, so this scene is left out. It is played where the journal is a "
        f"file: without --journal, or with --journal sqlite:{file}."
    )
    return False


class Killed(NamedTuple):
    """A process, and the signal by which it was killed."""

    process: int
    signal: int


async def wait_for_the_end() -> None:
    """Say that this process may be killed, and wait until it is, or until whoever started it is gone."""
    print(HALF_WAY, flush=True)
    await anyio.to_thread.run_sync(sys.stdin.read)


async def killed_half_way(module: str, *arguments: str) -> Killed:
    """Run a module in a process of its own, and kill that with SIGKILL when it says that it is half way."""
    # A session of its own: Ctrl-C is for this process, which then ends that one.
    process = await anyio.open_process(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        start_new_session=True,
    )
    async with process:
        assert process.stdout is not None
        try:
            await process.stdout.receive()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
    return Killed(process.pid, -(process.returncode or 0))
