"""Puts events into words. Everything that the story says of an order comes from the journal, by way of here."""

from collections.abc import Iterable, Iterator
from typing import Any

from actors import Address
from demos.orders.messages import (
    AccountOpened,
    ArticlePutIn,
    ArticleTakenOut,
    CarrierOpened,
    CartCheckedOut,
    MoneyGivenBack,
    MoneyPaidOut,
    MoneyTaken,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    ParcelBooked,
    ParcelCancelled,
    PaymentsDown,
    PaymentsUp,
    PiecesReleased,
    PiecesReserved,
    PiecesShipped,
    PiecesSupplied,
)
from demos.page import StepLine
from runtime import HistoryEntry

DONE = {
    "order": "placed",
    "parcels": "booked with the carrier",
    "payment": "the money is taken, and kept for the order",
    "capture": "the money is the shop's; from here on there is only forward",
    "shipped": "noted",
    "letter": "delivered",
}
UNDONE = {
    "order": "cancelled",
    "parcels": "cancelled with the carrier",
    "payment": "given back, if it was taken",
}


def steps(history: Iterable[HistoryEntry]) -> Iterator[StepLine]:
    """Tell what became of each step of an order, from its saga's history."""
    failing: set[str] = set()
    optional: set[str] = set()
    refused: set[str] = set()
    for entry in history:
        event: Any = entry.event
        step: str = event.get("step", "") if entry.type.startswith("saga.") else ""
        match entry.type:
            case "saga.asked":
                if event.get("optional"):
                    optional.add(step)
            case "saga.failed":
                if step not in failing:
                    failing.add(step)
                    yield StepLine("…", step, event["error"].rsplit(": ", 1)[-1])
            case "saga.received" if event["message"]["type"] == "Approve":
                yield StepLine("✓", "approval", f"approved by {event['message']['by']}")
            case "saga.answered":
                if (said := _done(event)) is not None:
                    yield StepLine("✓", step, said)
            case "saga.refused":
                refused.add(event["reason"])
                yield StepLine("✗", step, event["reason"] + ("; it goes without" if step in optional else ""))
            case "saga.undone":
                yield StepLine("←", step, UNDONE.get(step, "released"))
            case "saga.parked" | "saga.retried" | "saga.skipped":
                failing.clear()
                yield StepLine("→" if entry.type != "saga.parked" else "✗", "", in_words(entry))
            case "saga.compensating" if event.get("by"):
                yield StepLine("→", "", in_words(entry))
            case "saga.compensating" if event["reason"] not in refused:
                yield StepLine("✗", "approval", event["reason"])
            case _:
                pass


def _done(event: dict[str, Any]) -> str | None:
    step = event["step"]
    if step in ("Approve", "Reject"):
        return None  # told when it came, or when it goes back
    if step == "payment":
        return f"{DONE[step]}: receipt {event['reply']['number']}"
    if step == "parcels":
        return f"{', '.join(map(str, event['reply']))} {DONE[step]}"
    return DONE.get(step, "reserved" if step.startswith("stock ") else "it has left the shelf")


def in_words(entry: HistoryEntry) -> str:
    """Say what an event of any actor means."""
    match entry.event:
        case ArticlePutIn(product, pieces):
            return f"{pieces} of {product} in the cart"
        case ArticleTakenOut(product):
            return f"no {product} in the cart any more"
        case CartCheckedOut(order):
            return f"checked out as order {order}"
        case OrderPlaced(customer, _, euros):
            return f"placed by {customer}, for {euros} euros"
        case OrderCancelled():
            return "cancelled"
        case OrderShipped():
            return "shipped"
        case PiecesSupplied(pieces):
            return f"{pieces} come in"
        case PiecesReserved(order, pieces):
            return f"{pieces} reserved for {order}"
        case PiecesReleased(order, pieces):
            return f"{pieces} released by {order}"
        case PiecesShipped(order, pieces):
            return f"{pieces} shipped to {order}"
        case AccountOpened(euros):
            return f"opened with {euros} euros"
        case MoneyTaken(_, receipt, euros):
            return f"{euros} euros taken, {receipt}"
        case MoneyGivenBack(_, receipt, euros):
            return f"{euros} euros given back, {receipt}"
        case MoneyPaidOut(_, receipt, euros):
            return f"{euros} euros paid out, {receipt}"
        case PaymentsDown():
            return "nobody answers"
        case PaymentsUp():
            return "somebody answers again"
        case CarrierOpened(parcels):
            return f"has room for {parcels}"
        case ParcelBooked(_, product, number):
            return f"parcel {number} with the {product}"
        case ParcelCancelled(_, product, number):
            return f"parcel {number} is off ({product})"
        case _:
            return _in_a_sagas_words(entry)


def _in_a_sagas_words(entry: HistoryEntry) -> str:
    event: dict[str, Any] = entry.event
    step = event.get("step", "")
    match entry.type:
        case "saga.started":
            return f"begins: {event['command']['type']}"
        case "saga.asked":
            to = Address[Any](*event["to"]) if event.get("to") else "whoever sends it"
            undo = f", undo {event['undo']['type'].removeprefix('saga.')}" if event.get("undo") else ""
            return f"{step}: {event['command']['type'] if event.get('to') else event['awaits']} to {to}{undo}"
        case "saga.answered":
            return f"{step}: done"
        case "saga.refused":
            return f"{step}: refused: {event['reason']}"
        case "saga.failed":
            return f"{'undo of ' if event.get('undo') else ''}{step}: failed"
        case "saga.received":
            message = event["message"]
            why = f": {message['why']}" if "why" in message else ""
            return f"{message['type']} by {message['by']}{why}"
        case "saga.undorevised":
            return f"{step}: undo is {event['undo']['type']} now"
        case "saga.compensating":
            return f"goes back{' for ' + event['by'] if event.get('by') else ''}: {event['reason']}"
        case "saga.undone":
            return f"{step}: undone"
        case "saga.parked":
            return f"set aside: {event['error'].split(': ')[1]}"
        case "saga.retried":
            return f"{event['by']} lets it go on: {event['reason']}"
        case "saga.skipped":
            return f"{event['by']} has {step} count as done: {event['reason']}"
        case other:
            return other.removeprefix("saga.")
