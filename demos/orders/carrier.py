"""The carrier, who takes so many parcels."""

from typing import assert_never

from msgspec.structs import replace

from actors import Command, Decision, Message, Refused, Service, State
from demos.orders.messages import CarrierOpened, ParcelBooked, ParcelCancelled


class Parcel(Message):
    order: str
    product: str


class Van(State):
    room: int = 0
    """For so many parcels more."""
    parcels: dict[str, Parcel] = {}
    """By number."""
    numbers: int = 0
    """How many numbers were given."""

    def number_of(self, order: str, product: str) -> str | None:
        """Return the number of the parcel with an order's product."""
        return next((number for number, one in self.parcels.items() if one == Parcel(order, product)), None)


class OpenCarrier(Command["Carrier", None]):
    parcels: int


class BookParcel(Command["Carrier", int]):
    """Answered by the number of the parcel."""

    order: str
    product: str


class CancelParcel(Command["Carrier", None]):
    """Undoes :class:`BookParcel`."""

    order: str
    product: str


CarrierCommand = OpenCarrier | BookParcel | CancelParcel
CarrierEvent = CarrierOpened | ParcelBooked | ParcelCancelled


class Carrier(Service[Van, CarrierCommand, CarrierEvent]):
    """A carrier, by its name: ``Carrier.at("Pony")``."""

    initial = Van()

    def decide(self, state: Van, command: CarrierCommand) -> Decision:
        """Take no more than there is room for."""
        match command:
            case OpenCarrier(parcels):
                return command.reply(None, CarrierOpened(parcels))
            case BookParcel() if not state.room:
                raise Refused(f"carrier {self.key} has no room")
            case BookParcel(order, product):
                number = state.numbers + 1
                return command.reply(number, ParcelBooked(order, product, number))
            case CancelParcel(order, product):
                found = state.number_of(order, product)
                cancelled = [] if found is None else [ParcelCancelled(order, product, int(found))]
                return command.reply(None, *cancelled)
            case _:
                assert_never(command)

    def evolve(self, state: Van, event: CarrierEvent) -> Van:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case CarrierOpened(parcels):
                return replace(state, room=state.room + parcels)
            case ParcelBooked(order, product, number):
                booked = {**state.parcels, str(number): Parcel(order, product)}
                return Van(state.room - 1, booked, number)
            case ParcelCancelled(number=number):
                left = {known: parcel for known, parcel in state.parcels.items() if known != str(number)}
                return replace(state, room=state.room + 1, parcels=left)
            case _:
                assert_never(event)
