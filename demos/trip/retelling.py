"""Puts events into words. Everything that the story says of a trip comes from the journal, by way of here."""

from collections.abc import Iterable, Iterator
from typing import Any

from actors import Address
from demos.page import StepLine
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
    TripBooked,
)
from runtime import HistoryEntry

NOUNS = {"flight": "seat", "hotel": "room", "cab": "car"}
SELLERS = {"Flight": "flight", "Hotel": "hotel", "Cab": "cab company"}


def steps(history: Iterable[HistoryEntry]) -> Iterator[StepLine]:
    """Tell what became of each step of a trip, from its saga's history."""
    asked: dict[str, dict[str, Any]] = {}
    replies: dict[str, str] = {}
    failures: dict[str, int] = {}
    for entry in history:
        event: Any = entry.event
        match entry.type:
            case "saga.asked":
                asked[event["step"]] = event
            case "saga.failed":
                failures[event["step"]] = failures.get(event["step"], 0) + 1
                if failures[event["step"]] == 1:
                    yield StepLine("…", event["step"], "nobody answers; it is asked again until somebody does")
            case "saga.answered":
                step = event["step"]
                actor, key = asked[step]["to"]
                replies[step] = f"{NOUNS[step]} {event['reply']}"
                yield StepLine("✓", step, f"{replies[step]}, {SELLERS[actor]} {key}")
            case "saga.refused":
                yield StepLine("✗", event["step"], event["reason"])
            case "saga.undone":
                step = event["step"]
                yield StepLine("←", step, f"cancelled: {replies.get(step, NOUNS[step])} is free again")
            case _:
                pass


def because(history: Iterable[HistoryEntry]) -> Iterator[tuple[str, str, str]]:
    """Tell a seller's history as rows: version, what happened, and what is left then."""
    capacity, held = 0, 0
    for entry in history:
        match entry.event:
            case FlightOpened(n) | HotelOpened(n) | CabsOpened(n):
                capacity = n
            case SeatHeld() | RoomHeld() | CarHeld():
                held += 1
            case SeatReleased() | RoomReleased() | CarReleased():
                held -= 1
            case _:
                pass
        yield str(entry.meta.version), in_words(entry), f"{capacity - held} left"


def in_words(entry: HistoryEntry) -> str:
    """Say what an event of any actor means."""
    match entry.event:
        case FlightOpened(n):
            return f"opened with {n} {'seat' if n == 1 else 'seats'}"
        case HotelOpened(n):
            return f"opened with {n} {'room' if n == 1 else 'rooms'}"
        case CabsOpened(n):
            return f"opened with {n} {'car' if n == 1 else 'cars'}"
        case SeatHeld(trip, number) | RoomHeld(trip, number) | CarHeld(trip, number):
            return f"{_noun(entry)} {number} is held for {trip}"
        case SeatReleased(trip, number) | RoomReleased(trip, number) | CarReleased(trip, number):
            return f"{_noun(entry)} {number} is given back by {trip}"
        case DeskClosed():
            return "the desk closed"
        case DeskOpened():
            return "the desk opened"
        case TripBooked(trip, customer):
            return f"{trip} is booked for {customer}"
        case _:
            return _in_a_sagas_words(entry)


def _noun(entry: HistoryEntry) -> str:
    return {"Flight": "seat", "Hotel": "room", "Cab": "car"}[entry.meta.actor]


def _in_a_sagas_words(entry: HistoryEntry) -> str:
    event: dict[str, Any] = entry.event
    step = event.get("step", "")
    match entry.type:
        case "saga.started":
            return f"the trip begins, for {event['command']['customer']}"
        case "saga.asked":
            return f"{event['command']['type']} to {Address[Any](*event['to'])}, undo {event['undo']['type']}"
        case "saga.answered":
            return f"the {step} is held: {NOUNS[step]} {event['reply']}"
        case "saga.refused":
            return f"refused: {event['reason']}"
        case "saga.failed":
            return f"{'the undo of ' if event.get('undo') else ''}the {step} failed, and will be tried again"
        case "saga.compensating":
            return "the trip can't be, so it goes back"
        case "saga.undone":
            return f"the {step} is cancelled"
        case "saga.compensated":
            return "the trip is off, and holds nothing"
        case "saga.completed":
            return "the trip has all that it needs"
        case "saga.resumed":
            return "the process died; the trip goes on" if event.get("crashes") else "the trip waits"
        case "saga.parked":
            return f"set aside: {event['error']}"
        case other:
            return other


def cause(entry: HistoryEntry, saga: Address[Any]) -> str:
    """Say what caused an event of a saga's trail."""
    causation = entry.meta.causation
    if causation.startswith(f"{saga}#"):
        return f"step {causation.removeprefix(f'{saga}#')}"
    if causation.startswith(f"{saga}!"):
        return f"undo {causation.removeprefix(f'{saga}!')}"
    return "start-up" if causation == str(saga) else "the request"
