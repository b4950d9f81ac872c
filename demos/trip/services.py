"""The three companies that sell parts of a trip: rules in ``decide``, state in ``evolve``, both without any I/O.

A wish that can't be fulfilled is answered by raising ``Refused``: a business "no", and nothing is written. Each
command stands beside the service that takes it, and names the reply that it gets.
"""

from itertools import count
from typing import Self, assert_never

from msgspec.structs import replace

from actors import Command, Decision, Refused, Service, State
from demos.trip.messages import (
    CabsOpened,
    CarHeld,
    CarReleased,
    DeskClosed,
    DeskOpened,
    FlightOpened,
    HotelOpened,
    RoomHeld,
    RoomReleased,
    SeatHeld,
    SeatReleased,
)


class Stock(State):
    """So many numbered things, and which trip holds which of them."""

    capacity: int = 0
    held: dict[str, int] = {}
    """The number that a trip holds, by the trip's id."""

    @property
    def left(self) -> int:
        """How many nobody holds."""
        return self.capacity - len(self.held)

    def check_opening(self, seller: str, capacity: int) -> None:
        """Refuse to open what is open, or what has nothing to sell."""
        if self.capacity:
            raise Refused(f"{seller} is open already")
        if capacity < 1:
            raise Refused(f"{seller} can't open with nothing to sell")

    def lowest_free(self) -> int:
        """Return the number to sell next."""
        taken = set(self.held.values())
        return next(number for number in count(1) if number not in taken)

    def opened(self, capacity: int) -> Self:
        """Return the stock as it is when it has been opened."""
        return replace(self, capacity=capacity)

    def with_held(self, trip: str, number: int) -> Self:
        """Return the stock as it is when the trip holds this number."""
        return replace(self, held={**self.held, trip: number})

    def without(self, trip: str) -> Self:
        """Return the stock as it is when the trip holds nothing."""
        return replace(self, held={other: number for other, number in self.held.items() if other != trip})


# -- flights ------------------------------------------------------------------------------------------------------


class OpenFlight(Command["Flight", None]):
    seats: int


class HoldSeat(Command["Flight", int]):
    """Answered by the number of the seat."""

    trip: str


class ReleaseSeat(Command["Flight", None]):
    trip: str


FlightCommand = OpenFlight | HoldSeat | ReleaseSeat
FlightEvent = FlightOpened | SeatHeld | SeatReleased


class Flight(Service[Stock, FlightCommand, FlightEvent]):
    """A flight, by its number: ``Flight.at("LH441")``."""

    initial = Stock()

    def decide(self, state: Stock, command: FlightCommand) -> Decision:
        """Sell each seat once, and one to a trip."""
        name = f"flight {self.key}"
        match command:
            case OpenFlight(seats):
                state.check_opening(name, seats)
                return command.reply(None, FlightOpened(seats))
            case HoldSeat(trip) if trip in state.held:
                return command.reply(state.held[trip])
            case HoldSeat() if not state.capacity:
                raise Refused(f"{name} is not open for booking")
            case HoldSeat() if not state.left:
                raise Refused(f"{name} is full")
            case HoldSeat(trip):
                seat = state.lowest_free()
                return command.reply(seat, SeatHeld(trip, seat))
            case ReleaseSeat(trip) if trip in state.held:
                return command.reply(None, SeatReleased(trip, state.held[trip]))
            case ReleaseSeat():
                return command.reply(None)
            case _:
                assert_never(command)

    def evolve(self, state: Stock, event: FlightEvent) -> Stock:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case FlightOpened(seats):
                return state.opened(seats)
            case SeatHeld(trip, seat):
                return state.with_held(trip, seat)
            case SeatReleased(trip):
                return state.without(trip)
            case _:
                assert_never(event)


# -- hotels -------------------------------------------------------------------------------------------------------


class OpenHotel(Command["Hotel", None]):
    rooms: int


class HoldRoom(Command["Hotel", int]):
    """Answered by the number of the room."""

    trip: str


class ReleaseRoom(Command["Hotel", None]):
    trip: str


HotelCommand = OpenHotel | HoldRoom | ReleaseRoom
HotelEvent = HotelOpened | RoomHeld | RoomReleased


class Hotel(Service[Stock, HotelCommand, HotelEvent]):
    """A hotel, by its name: ``Hotel.at("Miramar")``."""

    initial = Stock()

    def decide(self, state: Stock, command: HotelCommand) -> Decision:
        """Sell each room once, and one to a trip."""
        name = f"hotel {self.key}"
        match command:
            case OpenHotel(rooms):
                state.check_opening(name, rooms)
                return command.reply(None, HotelOpened(rooms))
            case HoldRoom(trip) if trip in state.held:
                return command.reply(state.held[trip])
            case HoldRoom() if not state.capacity:
                raise Refused(f"{name} is not open for booking")
            case HoldRoom() if not state.left:
                raise Refused(f"{name} is full")
            case HoldRoom(trip):
                room = state.lowest_free()
                return command.reply(room, RoomHeld(trip, room))
            case ReleaseRoom(trip) if trip in state.held:
                return command.reply(None, RoomReleased(trip, state.held[trip]))
            case ReleaseRoom():
                return command.reply(None)
            case _:
                assert_never(command)

    def evolve(self, state: Stock, event: HotelEvent) -> Stock:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case HotelOpened(rooms):
                return state.opened(rooms)
            case RoomHeld(trip, room):
                return state.with_held(trip, room)
            case RoomReleased(trip):
                return state.without(trip)
            case _:
                assert_never(event)


# -- cabs ---------------------------------------------------------------------------------------------------------


class OpenCab(Command["Cab", None]):
    cars: int


class CloseDesk(Command["Cab", None]): ...


class OpenDesk(Command["Cab", None]): ...


class HoldCar(Command["Cab", int]):
    """Answered by the number of the car."""

    trip: str


class ReleaseCar(Command["Cab", None]):
    trip: str


class DeskUnreachable(Exception):
    """Nobody answers. No "no", so not ``Refused``: Understudy takes it for a failure, and a saga tries again."""


class CabStock(Stock):
    """A cab company's cars, and whether its desk answers."""

    desk_open: bool = True


CabCommand = OpenCab | CloseDesk | OpenDesk | HoldCar | ReleaseCar
CabEvent = CabsOpened | DeskClosed | DeskOpened | CarHeld | CarReleased


class Cab(Service[CabStock, CabCommand, CabEvent]):
    """A cab company, by its name: ``Cab.at("Rossio")``."""

    initial = CabStock()

    def decide(self, state: CabStock, command: CabCommand) -> Decision:
        """Hire out each car once, and one to a trip, while the desk is open."""
        name = f"cab company {self.key}"
        match command:
            case OpenCab(cars):
                state.check_opening(name, cars)
                return command.reply(None, CabsOpened(cars))
            case CloseDesk():
                return command.reply(None, *([DeskClosed()] if state.desk_open else []))
            case OpenDesk():
                return command.reply(None, *([] if state.desk_open else [DeskOpened()]))
            case HoldCar() if not state.desk_open:
                raise DeskUnreachable("nobody answers at the desk")
            case HoldCar(trip) if trip in state.held:
                return command.reply(state.held[trip])
            case HoldCar() if not state.capacity:
                raise Refused(f"{name} is not open for booking")
            case HoldCar() if not state.left:
                raise Refused(f"{name} has no car left")
            case HoldCar(trip):
                car = state.lowest_free()
                return command.reply(car, CarHeld(trip, car))
            case ReleaseCar(trip) if trip in state.held:
                return command.reply(None, CarReleased(trip, state.held[trip]))
            case ReleaseCar():
                return command.reply(None)
            case _:
                assert_never(command)

    def evolve(self, state: CabStock, event: CabEvent) -> CabStock:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case CabsOpened(cars):
                return state.opened(cars)
            case DeskClosed():
                return replace(state, desk_open=False)
            case DeskOpened():
                return replace(state, desk_open=True)
            case CarHeld(trip, car):
                return state.with_held(trip, car)
            case CarReleased(trip):
                return state.without(trip)
            case _:
                assert_never(event)
