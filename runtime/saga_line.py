"""The line of one class of sagas: how many are under way, and who begins next.

Those that wait stand in the journal, in the order in which they begin (:mod:`runtime.saga_places`). Only the next ones
of each priority are known here. What is known is durable, so the line never runs ahead of the journal.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from persistence import Journal, Sleeper
from persistence.journal import PAGE
from runtime.log import log
from runtime.priorities import Turns
from runtime.saga_places import wake_of
from runtime.timers import Timers

KEPT = 500
"""How many that wait with one priority are kept in memory; the others are read when it is nearly their turn."""
LOW = 100
"""When so few are left in memory, more are read."""
AGAIN = 5.0
"""After so many seconds it is tried again to read them, where that has failed."""


class Level:
    """Those that wait with one priority."""

    __slots__ = ("fresh", "gone", "known", "unread")

    def __init__(self) -> None:
        self.known: dict[str, None] = {}
        """The keys of the next ones, in order."""
        self.unread = 0
        """How many wait behind them, in the journal."""
        self.fresh: list[str] | None = None
        """Those that have come while the journal is being read; None: it is not."""
        self.gone: set[str] = set()
        """Those that have left meanwhile."""

    def __len__(self) -> int:
        return len(self.known) + self.unread

    def add(self, key: str) -> None:
        """Take in one that has come."""
        if self.unread or len(self.known) >= KEPT:
            self.unread += 1
        else:
            self.known[key] = None


class Line:
    """Gives the places of a class to those who wait for them. ``begin`` is called with the key of who has one."""

    def __init__(
        self,
        actor: str,
        places: int,
        journal: Journal,
        delays: Timers,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        begin: Callable[[str], None],
    ) -> None:
        self.actor = actor
        self.places = places
        self._journal = journal
        self._delays = delays
        self._spawn = spawn
        self._begin = begin
        self._turns = Turns()
        self._epoch = 0
        self.clear()

    def clear(self) -> None:
        """Forget all: the journal is read anew. Nobody gets a place until :meth:`open`."""
        self._epoch += 1
        self._open = False
        self.under_way: set[str] = set()
        """The keys of those that have a place."""
        self._called: set[str] = set()
        """Those of them of whom the journal doesn't say yet that they wait no more."""
        self._coming = 0
        """How many have queued, and that is not durable yet."""
        self._levels: dict[int, Level] = {}

    def found(self, key: str, priority: int) -> None:
        """Take in one that waits, before the line is open; in the journal's order."""
        self._level(priority).add(key)

    def open(self) -> None:
        """Begin to give places."""
        self._open = True
        self.look()

    def close(self) -> None:
        """Give no more places."""
        self._open = False

    @property
    def free(self) -> bool:
        """Whether one that comes now may begin at once."""
        return self._open and len(self.under_way) < self.places and not self.waiting

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._coming + sum(map(len, self._levels.values()))

    def take(self, key: str) -> None:
        """Give one a place, be there one or not: it is under way."""
        self.under_way.add(key)

    def leave(self, key: str) -> None:
        """Take a place back, if it has one, and give it to the next."""
        if key in self.under_way:
            self.under_way.discard(key)
            self.look()

    def coming(self) -> None:
        """Take note of one that queues; :meth:`moved` says when that is durable."""
        self._coming += 1

    def moved(self, key: str, before: int | None, after: int | None, durable: bool) -> None:
        """Take note of one that has come, has left, or has another priority now."""
        if not durable:
            return  # all is read anew
        if before is None:
            self._coming -= 1
        else:
            self._remove(key, self._level(before))
        if after is not None and not self._has_begun(key):
            level = self._level(after)
            if key not in level.known:  # else it was read in the meantime
                level.add(key)
                if level.fresh is not None:
                    level.fresh.append(key)
        self.look()

    def _remove(self, key: str, level: Level) -> None:
        if level.fresh is not None:
            level.gone.add(key)
        if key in self._called:
            self._called.discard(key)
        elif key in level.known:
            del level.known[key]
        elif level.unread:
            level.unread -= 1

    def _level(self, priority: int) -> Level:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Level()
        return level

    # -- giving places ------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Give what places there are to who comes next."""
        while self._open and len(self.under_way) < self.places:
            waiting = [priority for priority, level in self._levels.items() if len(level)]
            if not waiting:
                return
            priority = self._turns.next(waiting)
            level = self._levels[priority]
            if len(level.known) <= LOW and level.unread and level.fresh is None:
                level.fresh = []
                self._spawn(self._read_on(priority, level, self._epoch))
            if not level.known:
                return  # it goes on when they are read
            key = next(iter(level.known))
            del level.known[key]
            self._turns.taken(priority)
            self._called.add(key)
            self.under_way.add(key)
            self._begin(key)

    async def _read_on(self, priority: int, level: Level, epoch: int) -> None:
        try:
            keys, all_read = await self._read(wake_of(self.actor, priority))
        except Exception as error:  # noqa: BLE001 (whatever it is: it is tried again)
            log.error("the queued sagas can't be read", actor=self.actor, error=repr(error))
            self._delays.after(AGAIN, partial(self._again, level, epoch))
            return
        if epoch != self._epoch:
            return
        fresh, level.fresh = level.fresh or [], None
        gone, level.gone = level.gone, set()
        before = len(level.known)
        level.known = {key: None for key in keys if key not in gone and not self._has_begun(key)}
        level.unread = max(level.unread - len(level.known) + before, 1)
        if all_read:
            level.unread = 0
            for key in fresh:
                if key not in level.known and key not in gone and not self._has_begun(key):
                    level.add(key)
        self.look()

    def _has_begun(self, key: str) -> bool:
        return key in self.under_way or key in self._called

    def _again(self, level: Level, epoch: int) -> None:
        if epoch == self._epoch:
            level.fresh = None
            level.gone = set()
            self.look()

    async def _read(self, wake: int) -> tuple[list[str], bool]:
        """Return the keys of the next ones at a wake time, and whether these are all."""
        keys: list[str] = []
        after = Sleeper(wake, 0, ("", ""))
        while len(keys) < KEPT + LOW + len(self._called):
            page = await self._journal.sleeping(after, PAGE)
            keys += [one.stream[1] for one in page if one.wake == wake and one.stream[0] == self.actor]
            if len(page) < PAGE or page[-1].wake != wake:
                return keys, True
            after = page[-1]
        return keys, False
