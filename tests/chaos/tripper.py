"""Books trips of the demo without end, and prints what became of each; made to be harmed.

``python -m tests.chaos.tripper URL`` begins with what the process before it had under way, by the same ids. Told to end
by SIGTERM it does so in good order.
"""

import asyncio
import sys

from actors import OutcomeUnknown, Refused, RuntimeClosed
from demos.trip import ACTORS
from demos.trip.load import open_sellers, sellers_for, wishes
from demos.trip.read_models import KnownTrips, Trips
from demos.trip.sagas import TripSaga
from runtime import Runtime, stop_on_signals

BLOCK = 60
"""So many trips want what the same sellers have."""
IN_FLIGHT = 20


async def book(runtime: Runtime, block: int) -> None:
    """Book the trips of one block, the same ones whoever asks."""
    await open_sellers(runtime, f"b{block}", sellers_for(BLOCK))
    wanted = wishes(BLOCK, block, f"b{block}")

    async def client() -> None:
        for wish in wanted:
            try:
                booked = await runtime.ask(TripSaga.at(wish.trip), wish.command)
                print(f"booked {wish.trip} {booked.seat} {booked.room} {booked.car}", flush=True)
            except Refused:
                print(f"refused {wish.trip}", flush=True)

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))


async def main(url: str) -> int:
    with stop_on_signals() as stop:
        async with Runtime(url, ACTORS) as runtime:
            known = await runtime.ask(Trips.at(), KnownTrips(), consistent=True)
            block = max((int(trip[1:].partition("-")[0]) for trip in known), default=0)
            try:
                while True:
                    await book(runtime, block)
                    block += 1
            except (OutcomeUnknown, RuntimeClosed) as error:
                print(repr(error), file=sys.stderr)
                return 3
    return stop.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
