"""Flow control: how many sagas of a class are under way at once, and how fast sagas may send steps to a class."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from actors import Address
from persistence import Journal
from runtime.kinds import Kind
from runtime.saga_line import Line
from runtime.saga_lines import Lines
from runtime.throttle import Throttle
from runtime.timers import Timers


class QueueStats(msgspec.Struct, frozen=True):
    """The sagas of a class of which only so many may be under way at once."""

    queued: int
    """How many wait for their place."""
    under_way: int
    """How many have one; those that had to begin at once are among them."""
    at_once: int
    """How many places there are."""


class Flow:
    """All lines and throttles of a node. ``begin`` is called with who has a place now."""

    def __init__(
        self,
        journal: Journal,
        delays: Timers,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        kinds: Iterable[Kind],
        begin: Callable[[Address[Any]], None],
    ) -> None:
        by_name = {kind.name: kind for kind in kinds}

        def line(name: str, places: int) -> Line:
            return Line(name, places, journal, delays, spawn, lambda key: begin(Address(name, key)))

        self.lines = Lines(journal, by_name, line)
        self.throttles = {name: Throttle(kind.rate, delays) for name, kind in by_name.items() if kind.rate is not None}
        """By the name of the class that is asked; empty where none has a rate."""

    def under_way(self, address: Address[Any]) -> None:
        """Take note of one that the journal holds as under way."""
        line = self.lines.get(address.actor)
        if line is not None:
            line.take(address.key)

    def reset(self) -> None:
        """Forget all that rests on the journal, which is read anew."""
        self.lines.reset()
        for throttle in self.throttles.values():
            throttle.clear()

    def close(self) -> None:
        """Let nobody go any more."""
        self.lines.close()
        for throttle in self.throttles.values():
            throttle.close()

    def queues(self) -> dict[str, QueueStats]:
        """Return how many wait and how many are under way, by class."""
        return {
            name: QueueStats(line.waiting, len(line.under_way), line.places) for name, line in list(self.lines.items())
        }

    def waiting(self) -> dict[str, int]:
        """Return how many steps wait for the rate of whom they go to, by the class of those."""
        return {name: throttle.waiting for name, throttle in self.throttles.items()}
