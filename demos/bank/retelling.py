"""Puts events into words. Everything that the story says of a transfer comes from the journal, by way of here."""

from collections.abc import Iterable, Iterator
from typing import Any

from actors import Address
from demos.bank.messages import (
    AccountClosed,
    AccountOpened,
    HoldReleased,
    MoneyDeposited,
    MoneyHeld,
    MoneyWithdrawn,
    TransferAnnounced,
    TransferCalledOff,
)
from demos.bank.money import euros
from demos.page import StepLine
from runtime import HistoryEntry

DONE = {
    "hold": "it is held: nobody else gets it",
    "announce": "it is announced, and can't be refused any more",
    "settle": "it has left; from here on there is only forward",
    "credit": "it has come",
}
UNDONE = {"hold": "it is free again", "announce": "it is called off"}


def steps(history: Iterable[HistoryEntry]) -> Iterator[StepLine]:
    """Tell what became of each step of a transfer, from its saga's history."""
    refused: set[str] = set()
    for entry in history:
        event: Any = entry.event
        match entry.type:
            case "saga.answered" if event["step"] in DONE:
                yield StepLine("✓", event["step"], DONE[event["step"]])
            case "saga.received" if event["message"]["type"] == "Approve":
                yield StepLine("✓", "approval", f"approved by {event['message']['by']}")
            case "saga.refused":
                refused.add(event["reason"])
                yield StepLine("✗", event["step"], event["reason"])
            case "saga.compensating" if event["reason"] not in refused:
                yield StepLine("✗", "approval", event["reason"])
            case "saga.undone":
                yield StepLine("←", event["step"], UNDONE[event["step"]])
            case _:
                pass


def in_words(entry: HistoryEntry) -> str:
    """Say what an event of any actor means."""
    match entry.event:
        case AccountOpened(overdraft):
            return "opened, as the bank's own" if overdraft is None else "opened"
        case AccountClosed():
            return "closed"
        case MoneyWithdrawn(_, to, cents):
            return f"{euros(cents)} leave for {to}"
        case MoneyDeposited(_, source, cents):
            return f"{euros(cents)} come from {source}"
        case MoneyHeld(_, to, cents):
            return f"{euros(cents)} are held for {to}"
        case HoldReleased():
            return "what was held is free again"
        case TransferAnnounced(_, source, cents):
            return f"{euros(cents)} will come from {source}"
        case TransferCalledOff():
            return "it won't come"
        case _:
            return _in_a_sagas_words(entry)


def _in_a_sagas_words(entry: HistoryEntry) -> str:
    event: dict[str, Any] = entry.event
    step = event.get("step", "")
    match entry.type:
        case "saga.started":
            return f"begins: {event['command']['source']} pays {event['command']['target']}"
        case "saga.asked" if event.get("to"):
            undo = f", undo {event['undo']['type']}" if event.get("undo") else ""
            return f"{event['command']['type']} to {Address[Any](*event['to'])}{undo}"
        case "saga.asked":
            return f"waits for {event['awaits']}"
        case "saga.answered":
            return f"{step}: done"
        case "saga.refused":
            return f"{step}: refused: {event['reason']}"
        case "saga.received":
            return f"{event['message']['type']}, by {event['message']['by']}"
        case "saga.compensating":
            return f"goes back: {event['reason']}"
        case "saga.undone":
            return f"{step}: undone"
        case "saga.resumed":
            return "the process died; it goes on"
        case other:
            return other.removeprefix("saga.")
