"""What can happen in this application. These events are what the journal keeps, for ever.

Commands and queries stand beside the actor that takes them; events are for everybody.
"""

from actors import Event


class FlightOpened(Event):
    """A flight is for sale."""

    seats: int


class SeatHeld(Event):
    trip: str
    seat: int


class SeatReleased(Event):
    trip: str
    seat: int


class HotelOpened(Event):
    """A hotel takes guests."""

    rooms: int


class RoomHeld(Event):
    trip: str
    room: int


class RoomReleased(Event):
    trip: str
    room: int


class CabsOpened(Event):
    """A cab company drives."""

    cars: int


class CarHeld(Event):
    trip: str
    car: int


class CarReleased(Event):
    trip: str
    car: int


class DeskClosed(Event):
    """Nobody answers the cab company's telephone."""


class DeskOpened(Event):
    """Somebody answers the cab company's telephone again."""


class TripBooked(Event):
    """A trip has all that it needs. It is also what the saga answers to who asked for the trip."""

    trip: str
    customer: str
    flight: str
    seat: int
    hotel: str
    room: int
    cab: str
    car: int
