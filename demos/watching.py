"""Waits for something to turn up in an actor's history."""

from typing import Any

import anyio

from actors import Address
from runtime import HistoryEntry, Runtime

PAUSE = 0.005
"""Seconds between two looks. Nothing in the story depends on it: whoever waits here waits for an event."""


async def seen(runtime: Runtime, address: Address[Any], event: str) -> HistoryEntry:
    """Wait until an event of this type is durable in the actor's history, and return it."""
    while True:
        async for entry in runtime.history(address):
            if entry.type == event:
                return entry
        await anyio.sleep(PAUSE)
