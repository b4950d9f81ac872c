"""Holds rooms on a journal without end, and prints what was acknowledged; made to be killed, or paused for too long.

``python -m tests.chaos.holder URL``. When its journal has been taken over it says so, tries once more by hand, and
ends.
"""

import asyncio
import os
import sys

from actors import OutcomeUnknown
from persistence import Append, JournalTaken, NewEvent
from persistence.postgres import PostgresJournal
from runtime import Runtime
from tests.runtime.cast import ALL, Hold, Room

IN_FLIGHT = 8


async def main(url: str) -> None:
    journal = PostgresJournal(url)
    async with Runtime(journal, ALL) as runtime:

        async def hold(number: int) -> None:
            while True:
                trip = f"p{os.getpid()}-{number}"
                try:
                    await runtime.ask(Room.at(f"r{number % 5}"), Hold(trip), id=trip)
                except OutcomeUnknown:
                    return
                print(f"held {trip}", flush=True)
                number += IN_FLIGHT

        await asyncio.gather(*(hold(number) for number in range(IN_FLIGHT)))
        print("unknown", flush=True)
        while True:
            try:
                heads = await journal.heads([("Room", "r0")])
                event = NewEvent("WasHeld", b'{"trip":"late"}', b"{}")
                await journal.append([(Append(("Room", "r0"), heads[("Room", "r0")], [event], 1),)])
                print("written", flush=True)
            except JournalTaken:
                print("taken", flush=True)
                return
            except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
                print(f"failed {error!r}", flush=True)
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
