"""The trip across all three companies: booked whole, or not at all."""

from datetime import timedelta

from actors import Backoff, Command, RetryPolicy, Saga
from demos.trip.messages import TripBooked
from demos.trip.services import Cab, Flight, HoldCar, HoldRoom, HoldSeat, Hotel, ReleaseCar, ReleaseRoom, ReleaseSeat


class BookTrip(Command["TripSaga", TripBooked]):
    customer: str
    flight: str
    hotel: str
    cab: str


class TripSaga(Saga[BookTrip, TripBooked]):
    """One trip, by its id: ``TripSaga.at("trip-7")``.

    Each step stands with its undo, named by the trip's id. When a company refuses, what the others have promised is
    taken back, last first. When one fails, it is asked again, with the same id, until it answers or time is up.
    """

    deadline = timedelta(minutes=5)
    retry = RetryPolicy(Backoff(first=timedelta(milliseconds=50), cap=timedelta(seconds=1)))

    async def run(self, command: BookTrip) -> TripBooked:
        """Book the flight, the hotel and the cab, one after the other."""
        trip = self.key
        seat = await self.ask("flight", Flight.at(command.flight), HoldSeat(trip), undo=ReleaseSeat(trip))
        room = await self.ask("hotel", Hotel.at(command.hotel), HoldRoom(trip), undo=ReleaseRoom(trip))
        car = await self.ask("cab", Cab.at(command.cab), HoldCar(trip), undo=ReleaseCar(trip))
        return TripBooked(trip, command.customer, command.flight, seat, command.hotel, room, command.cab, car)
