"""The process that is killed in the story: it begins a trip that can't end, says so, and waits for its own end.

Started by :mod:`demos.trip.story` as ``python -m demos.trip.doomed JOURNAL TRIP CUSTOMER FLIGHT HOTEL CAB``. The
cab company's desk is closed, so the trip holds a seat and a room, and asks for a car again and again.
"""

import asyncio
import sys

from demos.killing import wait_for_the_end
from demos.trip import ACTORS
from demos.trip.sagas import BookTrip, TripSaga
from demos.watching import seen
from runtime import Runtime


async def begin(journal: str, trip: str, command: BookTrip) -> None:
    """Begin the trip, say when it is half way, and wait."""
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.tell(TripSaga.at(trip), command)
        await seen(runtime, TripSaga.at(trip), "saga.failed")
        await wait_for_the_end()


if __name__ == "__main__":
    asyncio.run(begin(sys.argv[1], sys.argv[2], BookTrip(*sys.argv[3:])))
