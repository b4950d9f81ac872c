"""The process that is killed in the story: it begins a trip that can't end, says so, and waits for its own end.

Started by :mod:`demos.trip.story` as ``python -m demos.trip.doomed JOURNAL TRIP CUSTOMER FLIGHT HOTEL CAB``. The
cab company's desk is closed, so the trip holds a seat and a room, and asks for a car again and again.
"""

import asyncio
import sys

import anyio.to_thread

from demos.trip import ACTORS
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.watching import seen
from runtime import Runtime

HALF_WAY = "half way"
"""What it prints when seat and room are durable and the car is asked for."""


async def begin(journal: str, trip: str, command: BookTrip) -> None:
    """Begin the trip, say when it is half way, and wait."""
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.tell(TripSaga.at(trip), command)
        await seen(runtime, TripSaga.at(trip), "saga.failed")
        print(HALF_WAY, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)  # ends when whoever started this process is gone


if __name__ == "__main__":
    asyncio.run(begin(sys.argv[1], sys.argv[2], BookTrip(*sys.argv[3:])))
