"""Keeps things and sends a letter for each, until it is killed: ``python -m tests.chaos.mailer JOURNAL OUT FIRST``.

Each letter is a line in the file OUT, durable when it is sent. It prints what was acknowledged.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import ClassVar

from actors import Meta, Subscriber
from runtime import Runtime
from tests.chaos.keeper import Keep, Kept, Shelf

SHELVES = 5


class Letters(Subscriber):
    out: ClassVar[Path]

    async def handle(self, event: Kept, meta: Meta) -> None:
        await asyncio.sleep(0)
        with self.out.open("a") as file:
            file.write(f"{self.event_id} {event.thing}\n")
            file.flush()
            os.fsync(file.fileno())
        await asyncio.sleep(0)


async def main(journal: str, out: str, first: int) -> None:
    Letters.out = Path(out)
    async with Runtime(f"sqlite:{journal}", [Shelf, Letters]) as runtime:
        for number in range(first, first + 10_000):
            thing = f"t{number}"
            await runtime.ask(Shelf.at(str(number % SHELVES)), Keep(thing), id=thing)
            print(thing, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
