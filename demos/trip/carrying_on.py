"""Finishes what an earlier process has left unfinished in the journal."""

from actors import Address
from demos.page import Page
from demos.trip.report import Tally
from demos.trip.sagas import TripSaga
from demos.trip.services import Cab, OpenDesk
from runtime import Runtime


async def finish(runtime: Runtime, tally: Tally, page: Page) -> int:
    """Wait for the trips that a runtime has found unfinished and goes on with by itself; return how many."""
    trips = [TripSaga.at(found.key) for found in await runtime.unfinished() if found.actor == TripSaga.__name__]
    if not trips:
        return 0
    if len(trips) == 1:
        page.say(f"This journal holds an unfinished trip, {trips[0].key}. It is finished first.")
    else:
        page.say(f"This journal holds {len(trips):,} unfinished trips. They are finished first.")
    before = tally.booked, tally.compensated, tally.parked
    for trip in trips:
        await _open_desk(runtime, trip)
        await tally.count(runtime.result(trip))
    booked, compensated, parked = (
        now - then for now, then in zip((tally.booked, tally.compensated, tally.parked), before, strict=True)
    )
    page.say(f"Done: {booked:,} booked, {compensated:,} cancelled, {parked:,} parked.")
    return len(trips)


async def _open_desk(runtime: Runtime, trip: Address[TripSaga]) -> None:
    """Open the desk that the trip may be waiting at: whoever closed it is gone."""
    async for entry in runtime.history(trip):
        if entry.type == "saga.started":
            await runtime.ask(Cab.at(entry.event["command"]["cab"]), OpenDesk())
            return
