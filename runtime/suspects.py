"""Suspects: what may have been under way when the process before this one ended without closing the journal.

One of them may be what ended it: a handler that kills the process would be sent its message again at each start, for
ever. So a suspect counts, in its own stream, the ends in a row that it was under way at; it goes on when that is
durable, and is parked when there were too many. Any progress begins the count anew.

Those that were under way at one end only go at once, all together. The others line up, the least suspect first: an
eighth of those that are equally suspect goes at a time, so that at the next end fewer are counted with the one that
ends the process; and who would be parked next goes alone. Who still stands in the line at an end is not counted.
"""

import heapq
import os
from collections import Counter
from collections.abc import Callable
from functools import partial

from persistence import Journal
from runtime.clock import Clock
from runtime.log import log
from runtime.timers import Timer, Timers

SHARE = 8
"""One in so many of those that are equally suspect may go on at a time; who would be parked next goes alone."""
GATHER = 0.2
"""So many seconds after the first one has come the line begins to move: the least suspect of all is to be its head."""
PATIENCE = 1.0
"""For so many seconds the others wait for one that makes no progress, and twice as long for each end behind it."""
LONGEST = 60.0
"""But for no more seconds than this, also where a policy allows so many ends that it would never be over."""


class Suspect:
    """One that may have ended the process.

    ``crashes`` is what it has counted so far: it was under way at so many ends before the last. ``left`` is how many
    more it may count before it is parked, ``position`` that of its last event. ``go`` tells it that it is its turn;
    ``cleared`` says whether it has made progress since.
    """

    __slots__ = ("cleared", "crashes", "go", "left", "name", "position", "timer")

    def __init__(
        self,
        name: str,
        crashes: int,
        left: int,
        position: int,
        go: Callable[[], None],
        cleared: Callable[[], bool],
    ) -> None:
        self.name = name
        self.crashes = crashes
        self.left = left
        self.position = position
        self.go = go
        self.cleared = cleared
        self.timer: Timer | None = None


class Suspects:
    """Who is suspect in this process, and the line in which they go on."""

    def __init__(self, journal: Journal, clock: Clock, delays: Timers, run: str = "") -> None:
        """Look at a journal that has just been opened; ``run`` is a random name."""
        self.position = journal.position if journal.crashed else 0
        """Who was under way by an event up to here, and has written none since, is suspect; 0: nobody is."""
        self.run = run or os.urandom(6).hex()
        """Tells this process's work on the journal from that of all others."""
        self.time = clock.now()
        """When the journal was opened, in microseconds since 1970."""
        self._delays = delays
        self._line: list[tuple[int, int, str, Suspect]] = []
        """A heap: the least suspect first, and then who was the last to go on before the process ended: if it was that
        one, it ends this one too before the others are counted with it."""
        self._waiting: set[str] = set()
        """The names of those in the line."""
        self._equals: Counter[int] = Counter()
        """How many have lined up, by what they have counted."""
        self._out: dict[str, Suspect] = {}
        """Whose turn it is, by name."""
        self._gathering: Timer | None = None
        self._moves = False
        self._closed = False

    def line_up(self, suspect: Suspect) -> None:
        """Let one go when it is its turn; does nothing where it waits already, or has its turn now."""
        if suspect.name in self._waiting or suspect.name in self._out:
            return
        if suspect.left < 1 or (not suspect.crashes and suspect.left > 1):
            suspect.go()  # to be parked, or with all the others
            return
        heapq.heappush(self._line, (suspect.crashes, -suspect.position, suspect.name, suspect))
        self._waiting.add(suspect.name)
        self._equals[suspect.crashes] += 1
        if self._moves:
            self._next()
        elif self._gathering is None:
            self._gathering = self._delays.after(GATHER, self._begin)

    def look(self) -> None:
        """Let the next ones go where those before them have made progress; called when something is durable."""
        if self._out:
            for suspect in [suspect for suspect in self._out.values() if suspect.cleared()]:
                self._over(suspect)

    def clear(self) -> None:
        """Forget all that wait: the journal was lost, and they will come again."""
        for timer in (self._gathering, *(suspect.timer for suspect in self._out.values())):
            if timer is not None:
                timer.cancel()
        self._gathering, self._moves = None, False
        self._out.clear()
        self._waiting.clear()
        self._line.clear()
        self._equals.clear()

    def close(self) -> None:
        """Let nobody go any more."""
        self._closed = True
        self.clear()

    def _begin(self) -> None:
        self._moves = True
        self._next()

    def _next(self) -> None:
        while self._line and not self._closed and self._room(self._line[0][-1]):
            suspect = heapq.heappop(self._line)[-1]
            self._waiting.remove(suspect.name)
            self._out[suspect.name] = suspect
            patience = min(PATIENCE * 2.0 ** min(suspect.crashes, 10), LONGEST)
            suspect.timer = self._delays.after(patience, partial(self._over, suspect))
            if suspect.crashes > 1:
                log.warning(
                    "it was under way each time that the process crashed",
                    what=suspect.name,
                    times=suspect.crashes + 1,
                )
            suspect.go()

    def _room(self, suspect: Suspect) -> bool:
        """Whether one may go on beside those whose turn it is: they are all as suspect as it is, and few."""
        if not self._out:
            return True
        if suspect.left == 1 or any(one.left == 1 or one.crashes != suspect.crashes for one in self._out.values()):
            return False
        return len(self._out) * SHARE < self._equals[suspect.crashes]

    def _over(self, suspect: Suspect) -> None:
        if self._out.get(suspect.name) is suspect:
            del self._out[suspect.name]
            if suspect.timer is not None:
                suspect.timer.cancel()
            self._next()
