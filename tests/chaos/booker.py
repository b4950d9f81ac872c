"""Books trips on a journal and prints each one that was acknowledged; made to be killed.

``python -m tests.chaos.booker JOURNAL FIRST COUNT`` books trips FIRST to FIRST + COUNT - 1, some at a time.
"""

import asyncio
import sys

from actors import Refused
from runtime import Runtime
from tests.runtime.cast import ALL, BookTrip, TakeTour, Tour, Trip

IN_FLIGHT = 8


async def main(path: str, first: int, count: int) -> None:
    numbers = iter(range(first, first + count))
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        print("ready", flush=True)

        async def book() -> None:
            for number in numbers:
                try:
                    if number % 5 == 4:
                        command = TakeTour(
                            ["flight", "hotel", "full" if number % 3 == 0 else "cab"], f"payer {number}", nap=0.001
                        )
                        await runtime.ask(Tour.at(f"{number}"), command)
                    else:
                        rooms = ["flight", "hotel", "full" if number % 3 == 0 else "cab"]
                        await runtime.ask(Trip.at(f"{number}"), BookTrip(rooms))
                    print(f"booked {number}", flush=True)
                except Refused:
                    print(f"refused {number}", flush=True)

        await asyncio.gather(*(book() for _ in range(IN_FLIGHT)))
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
