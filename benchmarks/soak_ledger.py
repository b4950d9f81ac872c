"""What must hold of the soak's journal, checked event by event by who reads it beside its owner.

Positions and versions have no gap; a saga begins and ends once; a seat, a room, a car is held by one trip at a time; a
booked trip holds all three when it is booked, and for ever; one that was taken back holds nothing, and for ever.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from demos.trip.load import CAPACITY
from persistence import Record

HELD = {"SeatHeld": "seat", "RoomHeld": "room", "CarHeld": "car"}
RELEASED = {"SeatReleased": "seat", "RoomReleased": "room", "CarReleased": "car"}
ENDS = {"saga.completed": "completed", "saga.compensated": "compensated", "saga.killed": "killed"}
MAY_PARK = ("Checkout",)
"""Its payment has but a second, of which one attempt may take all: an order may well be parked, and is retried."""
MOST_PROBLEMS = 50
Stream = tuple[str, str]

decode = msgspec.json.Decoder(dict[str, Any]).decode


class Ledger:
    """Reads the journal's records in order, and notes what is wrong with them."""

    def __init__(self) -> None:
        self.position = 0
        self.problems: list[str] = []
        self.ends: Counter[tuple[str, str]] = Counter()
        """How many sagas of each class have ended in which way."""
        self.parked: Counter[str] = Counter()
        """How often sagas of each class were parked."""
        self.trips: dict[str, str] = {}
        """The end of each trip."""
        self._versions: dict[Stream, int] = {}
        self._sagas: dict[Stream, str] = {}
        """Where those are that have not ended; and the ends of the others."""
        self._holds: defaultdict[str, dict[Stream, int]] = defaultdict(dict)
        """What trips hold, by seller."""
        self._seats: dict[str, int] = {}
        self._holders: defaultdict[Stream, dict[int, str]] = defaultdict(dict)

    @property
    def open(self) -> list[Stream]:
        """Sagas that have not ended."""
        return [stream for stream, status in self._sagas.items() if status not in ENDS.values()]

    @property
    def holding(self) -> dict[str, dict[Stream, int]]:
        """What each trip holds that holds something."""
        return {trip: held for trip, held in self._holds.items() if held}

    def flights(self) -> dict[str, tuple[int, int]]:
        """Return how many seats each flight has, and how many are sold."""
        return {key: (seats, len(self._holders["Flight", key])) for key, seats in self._seats.items()}

    def take(self, records: Sequence[Record]) -> None:
        """Take in the next records."""
        for record in records:
            self._count(record)
            if record.type.startswith("saga."):
                self._saga(record)
            elif record.type in HELD:
                self._held(record)
            elif record.type in RELEASED:
                self._released(record)
            elif record.type == "FlightOpened":
                self._seats[record.stream[1]] = decode(record.data)["seats"]
            elif record.type == "TripBooked":
                self._booked(record)

    def problem(self, what: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(what)

    def _count(self, record: Record) -> None:
        self.position += 1
        if record.position != self.position:
            self.problem(f"position {self.position} is missing before {record.position}")
            self.position = record.position
        version = self._versions.get(record.stream, 0) + 1
        if record.version != version:
            self.problem(f"{record.stream} has version {record.version}, not {version}, at {record.position}")
        self._versions[record.stream] = record.version

    def _saga(self, record: Record) -> None:
        stream = record.stream
        where = f"{record.type} of {stream} at {record.position}"
        if record.type == "saga.started":
            if stream in self._sagas:
                self.problem(f"{where}: it had begun")
            self._sagas[stream] = "running"
        elif record.type in ENDS:
            if self._sagas.get(stream) in ENDS.values():
                # A completed one goes back when the saga that has asked it does.
                if (self._sagas[stream], record.type) != ("completed", "saga.compensated"):
                    self.problem(f"{where}: it had {self._sagas[stream]}")
                self.ends[stream[0], self._sagas[stream]] -= 1
            self._sagas[stream] = ENDS[record.type]
            self.ends[stream[0], ENDS[record.type]] += 1
            if stream[0] == "TripSaga":
                self._trip_ended(stream[1], ENDS[record.type])
        elif record.type == "saga.parked":
            self.parked[stream[0]] += 1
            if stream[0] not in MAY_PARK:
                self.problem(f"{where}: {decode(record.data).get('error')}")

    def _trip_ended(self, trip: str, end: str) -> None:
        self.trips[trip] = end
        held = self._holds.get(trip, {})
        if end == "compensated" and held:
            self.problem(f"trip {trip} is compensated, and holds {held}")
        if end == "completed" and len(held) != 3:
            self.problem(f"trip {trip} is completed, and holds {held}")

    def _held(self, record: Record) -> None:
        event = decode(record.data)
        trip, number, seller = event["trip"], event[HELD[record.type]], record.stream
        where = f"{record.type} of {seller} at {record.position}"
        if trip in self.trips:
            self.problem(f"{where}: trip {trip} is {self.trips[trip]} already")
        if not 1 <= number <= CAPACITY:
            self.problem(f"{where}: there is no number {number}")
        if number in self._holders[seller]:
            self.problem(f"{where}: number {number} is held by {self._holders[seller][number]}")
        if seller in self._holds[trip]:
            self.problem(f"{where}: trip {trip} holds number {self._holds[trip][seller]} already")
        self._holders[seller][number] = trip
        self._holds[trip][seller] = number

    def _released(self, record: Record) -> None:
        event = decode(record.data)
        trip, seller = event["trip"], record.stream
        number = self._holds[trip].pop(seller, None)
        if number != event[RELEASED[record.type]]:
            self.problem(f"{record.type} of {seller} at {record.position}: trip {trip} holds number {number}")
        if trip in self.trips:
            self.problem(f"{record.type} of {seller} at {record.position}: trip {trip} is {self.trips[trip]}")
        if number is not None:
            del self._holders[seller][number]
        if not self._holds[trip]:
            del self._holds[trip]

    def _booked(self, record: Record) -> None:
        event = decode(record.data)
        claims = {
            ("Flight", event["flight"]): event["seat"],
            ("Hotel", event["hotel"]): event["room"],
            ("Cab", event["cab"]): event["car"],
        }
        if claims != self._holds.get(event["trip"]):
            self.problem(
                f"trip {event['trip']} is booked with {claims} at {record.position}, and holds "
                f"{self._holds.get(event['trip'])}"
            )
