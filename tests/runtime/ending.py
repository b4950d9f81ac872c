"""Processes that end in the middle of a turn, played by tests: the journal as it is then is what the next one finds."""

from collections.abc import Awaitable, Callable, Sequence

from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.cast import ALL
from tests.runtime.tools import HeldJournal, content, of, quiet, restart_of


class Ends(Exception):
    """Raised where a real process would be gone, so that the turn has no effect."""


class Stage:
    """Plays process after process on one journal; what one does after its end is thrown away with it."""

    def __init__(self, actors: Sequence[type] = ALL) -> None:
        self.actors = actors
        self.clock = ManualClock()
        self.records: list[Record] = []
        self.left: list[Record] | None = None
        """The journal as the process that runs now has left it; None: it lives."""
        self.journal = HeldJournal()

    def end(self) -> None:
        """End the process here and now."""
        if self.left is None:
            self.left = list(self.journal.records)
        raise Ends

    async def process(
        self,
        play: Callable[[Runtime], Awaitable[object]] | None = None,
        *,
        crashed: bool = True,
        seconds: int = 30,
        chaos: Chaos | None = None,
    ) -> bool:
        """Run one process for so many seconds, or until it ends; return whether it lives.

        ``crashed``: the one before it has ended without closing the journal.
        """
        self.left = None
        self.journal = restart_of(self.records, crashed=crashed)
        async with Runtime(self.journal, self.actors, clock=self.clock, chaos=chaos) as runtime:
            await quiet(runtime)
            if play is not None:
                await play(runtime)
                await quiet(runtime)
            for _ in range(2 * seconds):
                if not self.lives:
                    break
                self.clock.advance(0.5)
                await quiet(runtime)
        self.records = list(self.journal.records) if self.left is None else self.left
        return self.lives

    @property
    def lives(self) -> bool:
        return self.left is None

    async def processes(self, most: int = 20) -> int:
        """Run one after the other until one lives; return how many have ended."""
        for ends in range(most):
            if await self.process():
                return ends
        return most


def counted(records: Sequence[Record], name: str) -> list[int]:
    """Return what a saga (by its key), or a reminder (by its name), has counted, in order."""
    return [
        content(record).get("crashes", 0)
        for record in of(records, "saga.resumed", "service.resent")
        if name in (record.stream[1], content(record).get("name"))
    ]
