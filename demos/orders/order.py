"""The order itself: what was ordered, and whether it was shipped or cancelled."""

from typing import Literal, assert_never

from msgspec.structs import replace

from actors import Command, Decision, Refused, Service, State
from demos.orders.messages import Line, OrderCancelled, OrderPlaced, OrderShipped


class OrderState(State):
    status: Literal["new", "placed", "cancelled", "shipped"] = "new"
    customer: str = ""
    lines: tuple[Line, ...] = ()
    euros: int = 0


class Place(Command["Order", None]):
    customer: str
    lines: tuple[Line, ...]


class Cancel(Command["Order", None]):
    """Undoes :class:`Place`."""


class MarkShipped(Command["Order", None]):
    receipt: str
    parcels: tuple[int, ...]


OrderCommand = Place | Cancel | MarkShipped
OrderEvent = OrderPlaced | OrderCancelled | OrderShipped


class Order(Service[OrderState, OrderCommand, OrderEvent]):
    """An order, by its number: ``Order.at("7")``."""

    initial = OrderState()

    def decide(self, state: OrderState, command: OrderCommand) -> Decision:
        """Place an order that makes sense, and ship or cancel it, not both."""
        match command:
            case Place() if state.status != "new":
                raise Refused(f"order {self.key} was placed before")
            case Place(_, lines) if not lines or any(line.pieces < 1 or line.euros < 0 for line in lines):
                raise Refused("an order needs products, and at least one piece of each")
            case Place(_, lines) if len({line.product for line in lines}) < len(lines):
                raise Refused("an order names each product once")
            case Place(customer, lines):
                euros = sum(line.pieces * line.euros for line in lines)
                return command.reply(None, OrderPlaced(customer, lines, euros))
            case Cancel() if state.status == "shipped":
                raise Refused(f"order {self.key} was shipped")
            case Cancel():
                return command.reply(None, *([OrderCancelled()] if state.status == "placed" else []))
            case MarkShipped(receipt, parcels):
                return command.reply(None, OrderShipped(receipt, parcels))
            case _:
                assert_never(command)

    def evolve(self, state: OrderState, event: OrderEvent) -> OrderState:
        """Return the next state; the one that was given stays as it is."""
        match event:
            case OrderPlaced(customer, lines, euros):
                return OrderState("placed", customer, lines, euros)
            case OrderCancelled():
                return replace(state, status="cancelled")
            case OrderShipped():
                return replace(state, status="shipped")
            case _:
                assert_never(event)
