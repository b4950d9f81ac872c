"""What a run of a demo came to: how things ended, how fast, and whether the books balance."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from actors import Parked, Refused
from demos.measuring import Figures
from demos.page import Page

PROBLEMS_SHOWN = 10

R = TypeVar("R")


class Books(Protocol):
    """What was found in the books."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with them."""
        ...

    def __str__(self) -> str:
        """Say in a sentence or two what they come to."""
        ...


class Endings(NamedTuple):
    """What a demo calls the things that it makes many of, and their good end and their other one."""

    things: str
    """In the plural: ``trips``."""
    done: str
    refused: str


class Tally:
    """Counts how things end."""

    def __init__(self) -> None:
        self.done = 0
        self.refused = 0
        self.parked = 0

    @property
    def ended(self) -> int:
        """How many there were."""
        return self.done + self.refused + self.parked

    def add(self, other: "Tally") -> None:
        """Count what somebody else has counted."""
        self.done += other.done
        self.refused += other.refused
        self.parked += other.parked

    async def count(self, reply: Awaitable[R]) -> R | None:
        """Wait for an end and count it; return the reply, if there is one."""
        try:
            found = await reply
        except Refused:
            self.refused += 1
        except Parked:
            self.parked += 1
        else:
            self.done += 1
            return found
        return None


class Report(msgspec.Struct):
    """One run: what it made, what it found unfinished included, and the books after it."""

    endings: Endings
    tally: Tally
    resumed: int
    events: int
    """Events that the run has added to the journal."""
    per_second: float
    books: Books
    more: Mapping[str, Any] = {}
    """What else this demo has to say."""

    @property
    def balance(self) -> bool:
        """Whether nothing is wrong with the books."""
        return not self.books.problems

    def as_json(self, journal: str) -> dict[str, Any]:
        """Return the report for other programs to read."""
        return {
            self.endings.done: self.tally.done,
            self.endings.refused: self.tally.refused,
            "parked": self.tally.parked,
            "resumed": self.resumed,
            "events": self.events,
            f"{self.endings.things}_per_second": round(self.per_second, 1),
            **self.more,
            "books_balance": self.balance,
            "journal": journal,
        }


def tell_tally(report: Report, why_refused: str, page: Page) -> None:
    """Write how many came to which end."""
    tally, resumed = report.tally, "counting those that were unfinished before" if report.resumed else ""
    page.figure(report.endings.done, f"{tally.done:,}", resumed)
    page.figure(report.endings.refused, f"{tally.refused:,}", why_refused)
    page.figure("parked", f"{tally.parked:,}", "set aside for a person to look at")


def tell_figures(things: str, figures: Figures, page: Page) -> None:
    """Write how fast it went, if there was anything to do."""
    if figures.latencies:
        page.figure(f"{things} a second", f"{figures.per_second:,.0f}")
        tell_times(f"half of the {things} took no longer", figures, page)


def tell_times(half: str, figures: Figures, page: Page) -> None:
    """Write how long it took, if there was anything to do."""
    if figures.latencies:
        page.figure("p50", f"{figures.percentile(50) * 1000:,.1f} ms", half)
        page.figure("p99", f"{figures.percentile(99) * 1000:,.1f} ms", "99 of 100 took no longer")


def tell_books(books: Books, page: Page) -> None:
    """Write whether the books balance, and if not, why."""
    if not books.problems:
        page.verdict(True, "The books balance.")
        page.say(str(books))
        return
    page.verdict(False, f"The books don't balance: {len(books.problems):,} problems.")
    for problem in books.problems[:PROBLEMS_SHOWN]:
        page.say(problem)
    if len(books.problems) > PROBLEMS_SHOWN:
        page.say(f"... and {len(books.problems) - PROBLEMS_SHOWN:,} more")
