"""What a run came to."""

from collections.abc import Awaitable
from typing import Any

import msgspec

from actors import Parked, Refused
from demos.page import Page
from demos.trip.books import Books
from demos.trip.messages import TripBooked

PROBLEMS_SHOWN = 10


class Tally:
    """Counts how trips end."""

    def __init__(self) -> None:
        self.booked = 0
        self.compensated = 0
        self.parked = 0

    @property
    def trips(self) -> int:
        """How many have ended."""
        return self.booked + self.compensated + self.parked

    async def count(self, reply: Awaitable[TripBooked]) -> TripBooked | None:
        """Wait for the end of a trip and count it; return what was booked, if it was."""
        try:
            booked = await reply
        except Refused:
            self.compensated += 1
        except Parked:
            self.parked += 1
        else:
            self.booked += 1
            return booked
        return None


class Report(msgspec.Struct):
    """One run: its trips, those that it found unfinished included, and the books after it."""

    tally: Tally
    resumed: int
    events: int
    """Events that the run has added to the journal."""
    trips_per_second: float
    books: Books

    def as_json(self, journal: str) -> dict[str, Any]:
        """Return the report for other programs to read."""
        return {
            "booked": self.tally.booked,
            "compensated": self.tally.compensated,
            "parked": self.tally.parked,
            "resumed": self.resumed,
            "events": self.events,
            "trips_per_second": round(self.trips_per_second, 1),
            "books_balance": self.books.balance,
            "journal": journal,
        }


def tell_books(books: Books, page: Page) -> None:
    """Write whether the books balance, and if not, why."""
    if books.balance:
        page.verdict(True, "The books balance.")
        page.say(
            f"By replay of the journal, {books.held:,} seats, rooms and cars are held, three each by "
            f"{books.booked:,} booked trips, and nothing by {books.compensated:,} that had to give back what they held."
        )
        return
    page.verdict(False, f"The books don't balance: {len(books.problems):,} problems.")
    for problem in books.problems[:PROBLEMS_SHOWN]:
        page.say(problem)
    if len(books.problems) > PROBLEMS_SHOWN:
        page.say(f"... and {len(books.problems) - PROBLEMS_SHOWN:,} more")
