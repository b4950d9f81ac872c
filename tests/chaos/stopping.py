"""A process that books trips until a signal comes; it prints what was acknowledged. See test_signals."""

import asyncio
import sys

from actors import OutcomeUnknown, RuntimeClosed
from runtime import Runtime, stop_on_signals
from tests.runtime.cast import ALL, Hold, Room

IN_FLIGHT = 50


async def book(runtime: Runtime, number: int) -> None:
    try:
        while True:
            trip = f"t{number}"
            await runtime.ask(Room.at(f"r{number % 7}"), Hold(trip), id=trip)
            print(trip, flush=True)
            number += IN_FLIGHT
    except (OutcomeUnknown, RuntimeClosed):
        return  # nothing was promised


async def main(url: str) -> int:
    with stop_on_signals() as stop:
        async with Runtime(url, ALL) as runtime, asyncio.TaskGroup() as tasks:
            for number in range(IN_FLIGHT):
                tasks.create_task(book(runtime, number))
    return stop.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
