"""What can happen in this shop. These events are what the journal keeps, for ever.

Commands and queries stand beside the actor that takes them; events are for everybody. Money is in whole euros.
"""

from actors import Event, Message


class Line(Message):
    """One line of an order."""

    product: str
    pieces: int
    euros: int
    """For one piece."""


# -- orders -------------------------------------------------------------------------------------------------------


class OrderPlaced(Event):
    customer: str
    lines: tuple[Line, ...]
    euros: int


class OrderCancelled(Event):
    pass


class OrderShipped(Event):
    receipt: str
    parcels: tuple[int, ...]


# -- carts --------------------------------------------------------------------------------------------------------


class ArticlePutIn(Event):
    """A cart holds so many pieces of a product from now on."""

    product: str
    pieces: int
    euros: int
    """For one piece."""


class ArticleTakenOut(Event):
    product: str


class CartCheckedOut(Event):
    """It is an order now, and the cart is empty."""

    order: str
    lines: tuple[Line, ...]


# -- stock --------------------------------------------------------------------------------------------------------


class PiecesSupplied(Event):
    """More pieces lie on the shelf."""

    pieces: int


class PiecesReserved(Event):
    order: str
    pieces: int


class PiecesReleased(Event):
    order: str
    pieces: int


class PiecesShipped(Event):
    """They have left the shelf."""

    order: str
    pieces: int


# -- payments -----------------------------------------------------------------------------------------------------


class AccountOpened(Event):
    euros: int


class MoneyTaken(Event):
    """The payment service has taken a customer's money, and keeps it for an order."""

    order: str
    receipt: str
    euros: int


class MoneyGivenBack(Event):
    order: str
    receipt: str
    euros: int


class MoneyPaidOut(Event):
    """The money is the shop's."""

    order: str
    receipt: str
    euros: int


class PaymentsDown(Event):
    """Nobody answers at the payment service."""


class PaymentsUp(Event):
    """Somebody answers again."""


# -- carriers -----------------------------------------------------------------------------------------------------


class CarrierOpened(Event):
    parcels: int
    """How many it takes."""


class ParcelBooked(Event):
    order: str
    product: str
    number: int


class ParcelCancelled(Event):
    order: str
    product: str
    number: int
