"""The lines of all classes of sagas of which only so many may be under way at once."""

from collections.abc import Callable
from typing import Any

from actors import Address, Saga
from persistence import Journal
from runtime.kinds import Kind
from runtime.log import log
from runtime.saga_line import Line
from runtime.saga_places import BEFORE_ALL, LAST_WAKE, priority_at

SCAN = 5_000
"""How many that wait are read at a time when the journal is opened."""
LEFT_OVER = 100
"""How many at once begin of those that waited for their place in a class that has no limit any more."""

MakeLine = Callable[[str, int], Line]


class Lines(dict[str, Line]):
    """By the name of the class. Empty where no class has a limit, and none has left anybody waiting."""

    def __init__(self, journal: Journal, kinds: dict[str, Kind], make: MakeLine) -> None:
        super().__init__({name: make(name, kind.places) for name, kind in kinds.items() if kind.places is not None})
        self._journal = journal
        self._kinds = kinds
        self._make = make
        self._wait_for: dict[str, set[str]] = {}
        """Of which other classes sagas wait for places, by the class whose places they have meanwhile."""

    async def open(self) -> None:
        """Read who waits, and begin to give places. Those that are under way have theirs already.

        Raises:
            JournalError: it can't be read.
        """
        after, unknown = BEFORE_ALL, set[str]()
        while True:
            page = await self._journal.sleeping(after, SCAN)
            for one in page:
                priority = priority_at(one.wake)
                if priority is None:
                    continue
                line = self._line(one.stream[0])
                if line is None:
                    unknown.add(one.stream[0])
                else:
                    line.found(one.stream[1], priority)
            if len(page) < SCAN or page[-1].wake >= LAST_WAKE:
                break
            after = page[-1]
        for name in sorted(unknown):
            log.error("queued sagas of an unknown class", actor=name)
        for line in self.values():
            line.open()

    def _line(self, name: str) -> Line | None:
        line = self.get(name)
        kind = self._kinds.get(name)
        if line is None and kind is not None and issubclass(kind.cls, Saga):
            line = self[name] = self._make(name, LEFT_OVER)
        return line

    def may_wait(self, name: str, path: tuple[Address[Any], ...]) -> bool:
        """Whether a saga of this class may wait for its place while those in ``path`` wait for the saga.

        Those who have places and wait for others' must not wait in a circle. So which class's sagas wait for which
        other's places has one direction, the one that was first; what comes the other way has to begin at once, as has
        a saga that one of its own class waits for.
        """
        holders = {one.actor for one in path if one.actor in self and one.key in self[one.actor].under_way}
        if any(holder == name or holder in self._behind(name) for holder in holders):
            return False
        for holder in holders:
            self._wait_for.setdefault(holder, set()).add(name)
        return True

    def _behind(self, name: str) -> set[str]:
        """Return the classes for whose places sagas of this one wait, itself or through others."""
        found: set[str] = set()
        further = [name]
        while further:
            for other in self._wait_for.get(further.pop(), set()) - found:
                found.add(other)
                further.append(other)
        return found

    def reset(self) -> None:
        """Forget who waits and who is under way: the journal is read anew."""
        for line in self.values():
            line.clear()

    def close(self) -> None:
        """Give no more places."""
        for line in self.values():
            line.close()
