"""The stock of a product: how many pieces lie on its shelf, and which orders have reserved some of them."""

from typing import assert_never

from msgspec.structs import replace

from actors import Command, Decision, Refused, Service, State
from demos.orders.messages import PiecesReleased, PiecesReserved, PiecesShipped, PiecesSupplied


class Shelf(State):
    pieces: int = 0
    """All that lie there, those that are reserved included."""
    reserved: dict[str, int] = {}
    """Pieces by order."""
    shipped: dict[str, int] = {}
    """Pieces by order."""

    @property
    def free(self) -> int:
        """How many nobody has reserved."""
        return self.pieces - sum(self.reserved.values())

    def without(self, order: str) -> dict[str, int]:
        """Return what is reserved for others."""
        return {other: pieces for other, pieces in self.reserved.items() if other != order}


class Supply(Command["Stock", None]):
    pieces: int


class Reserve(Command["Stock", None]):
    order: str
    pieces: int


class Release(Command["Stock", None]):
    """Undoes :class:`Reserve`."""

    order: str


class Ship(Command["Stock", int]):
    """What was reserved leaves the shelf; answered by the number of pieces."""

    order: str


StockCommand = Supply | Reserve | Release | Ship
StockEvent = PiecesSupplied | PiecesReserved | PiecesReleased | PiecesShipped


class Stock(Service[Shelf, StockCommand, StockEvent]):
    """The stock of one product: ``Stock.at("teapot")``."""

    initial = Shelf()

    def decide(self, state: Shelf, command: StockCommand) -> Decision:
        """Promise each piece once."""
        match command:
            case Supply(pieces) if pieces < 1:
                raise Refused("there is nothing to put on the shelf")
            case Supply(pieces):
                return command.reply(None, PiecesSupplied(pieces))
            case Reserve(_, pieces) if pieces > state.free:
                raise Refused(f"only {state.free} of {self.key} left" if state.free else f"no {self.key} left")
            case Reserve(order, pieces):
                return command.reply(None, PiecesReserved(order, pieces))
            case Release(order) if order in state.reserved:
                return command.reply(None, PiecesReleased(order, state.reserved[order]))
            case Release():
                return command.reply(None)
            case Ship(order) if order in state.reserved:
                return command.reply(state.reserved[order], PiecesShipped(order, state.reserved[order]))
            case Ship(order):
                raise Refused(f"no {self.key} is reserved for order {order}")
            case _:
                assert_never(command)

    def evolve(self, state: Shelf, event: StockEvent) -> Shelf:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case PiecesSupplied(pieces):
                return replace(state, pieces=state.pieces + pieces)
            case PiecesReserved(order, pieces):
                return replace(state, reserved={**state.reserved, order: pieces})
            case PiecesReleased(order):
                return replace(state, reserved=state.without(order))
            case PiecesShipped(order, pieces):
                return Shelf(state.pieces - pieces, state.without(order), {**state.shipped, order: pieces})
            case _:
                assert_never(event)
