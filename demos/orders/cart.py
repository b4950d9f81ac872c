"""The shopping cart: filled and emptied as people like, and checked out once."""

from datetime import timedelta
from typing import assert_never

from msgspec.structs import replace

from actors import Command, Decision, Refused, Service, State
from demos.orders.checkout import CheckOut, Checkout
from demos.orders.messages import ArticlePutIn, ArticleTakenOut, CartCheckedOut, Line


class Basket(State):
    lines: dict[str, Line] = {}
    """By product."""
    orders: int = 0
    """How many it has become."""
    order: str = ""
    """The last of them."""


class PutIn(Command["Cart", int]):
    """Put pieces of a product in, to those that are there; answered by how many there are then."""

    product: str
    pieces: int
    euros: int


class TakeOut(Command["Cart", None]):
    """Take all pieces of a product out, if there are any."""

    product: str


class CheckOutCart(Command["Cart", str]):
    """Order what is in the cart; answered by the order's number.

    Asked again, by somebody who has not heard the answer, it is the same order.
    """

    letterbox: str
    carrier: str
    gift_paper: str | None = None


CartCommand = PutIn | TakeOut | CheckOutCart
CartEvent = ArticlePutIn | ArticleTakenOut | CartCheckedOut


class Cart(Service[Basket, CartCommand, CartEvent]):
    """A customer's cart: ``Cart.at("ana")``."""

    initial = Basket()

    def decide(self, state: Basket, command: CartCommand) -> Decision:
        """Order each cart once."""
        match command:
            case PutIn(pieces=pieces) if pieces < 1:
                raise Refused("there is nothing to put into the cart")
            case PutIn(product, pieces, euros):
                there = state.lines[product].pieces if product in state.lines else 0
                return command.reply(there + pieces, ArticlePutIn(product, there + pieces, euros))
            case TakeOut(product):
                return command.reply(None, *([ArticleTakenOut(product)] if product in state.lines else []))
            case CheckOutCart() if not state.lines and state.order:
                return command.reply(state.order)
            case CheckOutCart() if not state.lines:
                raise Refused(f"{self.key}'s cart is empty")
            case CheckOutCart():
                return self._check_out(state, command)
            case _:
                assert_never(command)

    def _check_out(self, state: Basket, command: CheckOutCart) -> Decision:
        """Start the order's saga by a reminder, which is written with the event: there are both or neither."""
        order, lines = f"{self.key}-{state.orders + 1}", tuple(state.lines.values())
        saga = CheckOut(self.key, command.letterbox, lines, command.carrier, command.gift_paper)
        decision = command.reply(order, CartCheckedOut(order, lines))
        return decision.remind(f"begin {order}", saga, after=timedelta(0), to=Checkout.at(order))

    def evolve(self, state: Basket, event: CartEvent) -> Basket:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case ArticlePutIn(product, pieces, euros):
                return replace(state, lines={**state.lines, product: Line(product, pieces, euros)})
            case ArticleTakenOut(product):
                return replace(state, lines={name: line for name, line in state.lines.items() if name != product})
            case CartCheckedOut(order):
                return Basket({}, state.orders + 1, order)
            case _:
                assert_never(event)
