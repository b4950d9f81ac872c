"""Builds a read model in partitions, and prints how far it is; made to be killed.

``python -m tests.chaos.builder JOURNAL VIEWS`` prints ``done`` when it has caught up.
"""

import asyncio
import sys

from runtime import Runtime
from tests.runtime.cast import Room
from tests.runtime.partitioning import Ledger
from tests.runtime.tools import node_of


async def main(journal: str, views: str) -> None:
    async with Runtime(f"sqlite:{journal}", [Room, Ledger], views=views) as runtime:
        projector = node_of(runtime).projectors["Ledger"]
        print("ready", flush=True)
        projector.on_advance = lambda: print(projector.position, flush=True)
        await runtime.caught_up(Ledger.at())
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
