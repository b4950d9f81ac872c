"""What the scenes of the story share: the runtime, the paper, and the names."""

from typing import Any

from actors import Address
from demos.page import Page
from demos.report import Tally
from demos.trip.retelling import steps
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel
from runtime import HistoryEntry, Runtime


class Stage:
    """Where the story is played. The runtime is replaced when its process has to leave the journal to another."""

    def __init__(self, runtime: Runtime, page: Page, tally: Tally, outbox: str) -> None:
        self.runtime = runtime
        self.page = page
        self.tally = tally
        self.outbox = outbox
        # In a journal that is carried on with, names must not meet those of an earlier story.
        self._run = f"-{runtime.position}" if runtime.position else ""

    def named(self, name: str) -> str:
        """Return a name as it stands in the journal."""
        return f"{name}{self._run}"

    @property
    def flight(self) -> Address[Flight]:
        """The flight that everybody wants."""
        return Flight.at(self.named("LH441"))

    def hotel(self, name: str) -> Address[Hotel]:
        """Return the address of a hotel."""
        return Hotel.at(self.named(name))

    def cab(self, name: str) -> Address[Cab]:
        """Return the address of a cab company."""
        return Cab.at(self.named(name))

    def trip(self, customer: str) -> Address[TripSaga]:
        """Return the address of a customer's trip."""
        return TripSaga.at(self.named(customer.lower()))

    def wish(self, customer: str, hotel: str = "Aurora", cab: str = "Rossio", flight: str = "LH441") -> BookTrip:
        """Return what a customer wants."""
        return BookTrip(self.named(customer), self.named(flight), self.named(hotel), self.named(cab))

    async def book(self, customer: str, hotel: str = "Aurora", cab: str = "Rossio") -> None:
        """Book a trip and tell what becomes of it."""
        await self.begin(customer, hotel, cab)
        await self.end(customer)

    async def begin(self, customer: str, hotel: str = "Aurora", cab: str = "Rossio") -> None:
        """Begin a trip without waiting for its end."""
        await self.runtime.tell(self.trip(customer), self.wish(customer, hotel, cab))

    async def end(self, customer: str) -> None:
        """Wait for the end of a trip, and tell what has become of it."""
        trip = self.trip(customer)
        booked = await self.tally.count(self.runtime.result(trip))
        for line in steps(await self.history(trip)):
            self.page.step(*line)
        self.page.step(
            "→", "", f"{customer}'s trip is booked" if booked else f"{customer}'s trip is off, and holds nothing"
        )

    async def history(self, address: Address[Any]) -> list[HistoryEntry]:
        """Return an actor's history."""
        return [entry async for entry in self.runtime.history(address)]
