"""Finishes what an earlier process has left unfinished in the journal."""

from actors import Address
from demos import carrying_on
from demos.page import Page
from demos.report import Endings, Tally
from demos.trip.sagas import TripSaga
from demos.trip.services import Cab, OpenDesk
from runtime import Runtime

ENDINGS = Endings("trips", "booked", "compensated")


async def finish(runtime: Runtime, tally: Tally, page: Page) -> int:
    """Bring the trips that are unfinished to their end; return how many there were."""
    return await carrying_on.finish(runtime, TripSaga, ENDINGS, open_desk, tally, page)


async def open_desk(runtime: Runtime, trip: Address[TripSaga]) -> None:
    """Open the desk that the trip may be waiting at: whoever closed it is gone."""
    command = await carrying_on.begun_with(runtime, trip)
    await runtime.ask(Cab.at(command["cab"]), OpenDesk())
