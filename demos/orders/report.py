"""What a run came to."""

from collections.abc import Awaitable
from typing import Any

import msgspec

from actors import Parked, Refused
from demos.orders.books import Books
from demos.orders.checkout import Sold
from demos.page import Page

PROBLEMS_SHOWN = 10


class Tally:
    """Counts how orders end."""

    def __init__(self) -> None:
        self.shipped = 0
        self.cancelled = 0
        self.parked = 0

    async def count(self, reply: Awaitable[Sold]) -> Sold | None:
        """Wait for the end of an order and count it; return what was sold, if it was."""
        try:
            sold = await reply
        except Refused:
            self.cancelled += 1
        except Parked:
            self.parked += 1
        else:
            self.shipped += 1
            return sold
        return None


class Report(msgspec.Struct):
    """One run: its orders, those that it found unfinished included, and the books after it."""

    tally: Tally
    resumed: int
    events: int
    """Events that the run has added to the journal."""
    orders_per_second: float
    books: Books

    def as_json(self, journal: str) -> dict[str, Any]:
        """Return the report for other programs to read."""
        return {
            "shipped": self.tally.shipped,
            "cancelled": self.tally.cancelled,
            "parked": self.tally.parked,
            "resumed": self.resumed,
            "events": self.events,
            "orders_per_second": round(self.orders_per_second, 1),
            "books_balance": self.books.balance,
            "journal": journal,
        }


def tell_books(books: Books, page: Page) -> None:
    """Write whether the books balance, and if not, why."""
    if books.balance:
        page.verdict(True, "The books balance.")
        page.say(
            f"By replay of the journal, {books.shipped:,} orders were shipped, {books.pieces:,} pieces in all, and "
            f"have brought {books.euros:,} euros, each once. {books.cancelled:,} were cancelled, and have neither "
            f"pieces, parcels nor money. {books.open:,} have not ended."
        )
        return
    page.verdict(False, f"The books don't balance: {len(books.problems):,} problems.")
    for problem in books.problems[:PROBLEMS_SHOWN]:
        page.say(problem)
    if len(books.problems) > PROBLEMS_SHOWN:
        page.say(f"... and {len(books.problems) - PROBLEMS_SHOWN:,} more")
