"""The parcels of an order, as a saga of its own: all of them go with the carrier, or none."""

from actors import Command, Saga
from demos.orders.carrier import BookParcel, CancelParcel, Carrier


class BookParcels(Command["Parcels", tuple[int, ...]]):
    """Answered by the numbers of the parcels."""

    carrier: str
    products: tuple[str, ...]


class Parcels(Saga[BookParcels, tuple[int, ...]]):
    """The parcels of one order, by its number: ``Parcels.at("7")``.

    The checkout asks for them in one step. If the checkout goes back, this saga does too, though it has completed.
    """

    async def run(self, command: BookParcels) -> tuple[int, ...]:
        """Book one parcel for each product, all at once."""
        carrier = Carrier.at(command.carrier)
        return await self.parallel(
            *[
                self.ask(product, carrier, BookParcel(self.key, product), undo=CancelParcel(self.key, product))
                for product in command.products
            ]
        )
