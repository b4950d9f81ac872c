"""Who waits for whom: the commands that wait for locks in one node, as a graph in which circles are found.

A saga waits for those who hold the lock that one of its steps, or of those that it has asked, needs; and for those who
stand in line before it to take the same lock. A circle can only be closed by who begins to wait, for everybody who
could ever hold a lock before one's turn comes stands in line already. (Coffman, Elphick and Shoshani, "System
deadlocks", ACM Computing Surveys, 1971.)
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from actors import Address
from runtime.mailbox import Envelope


class Line(Protocol):
    """Where commands wait: a service's locks."""

    address: Address[Any]

    def holders(self, lock: str, /) -> Iterable[Address[Any]]:
        """Return who holds a lock."""
        ...


class Waiting:
    """A command that waits for a lock."""

    __slots__ = ("_before", "envelope", "gone", "line", "lock", "number")

    def __init__(self, line: Line, lock: str, envelope: Envelope, number: int, before: "Waiting | None" = None) -> None:
        self.line = line
        self.lock = lock
        self.envelope = envelope
        self.number = number
        """Its place in the order of coming, among all that wait at the service."""
        self._before = before
        self.gone = False

    @property
    def taker(self) -> Address[Any] | None:
        """The saga that takes the lock with it, if it does."""
        return self.envelope.path[-1] if self.envelope.lock else None

    @property
    def before(self) -> "Waiting | None":
        """The last one before it in line that takes the lock."""
        while self._before is not None and self._before.gone:
            self._before = self._before._before
        return self._before

    def leave(self) -> None:
        """Wait no more; who stands behind it looks further ahead from now on."""
        _ = self.before  # so that of those that have left, none keeps another
        self.gone = True


class LockWaits:
    """All commands of one node that wait for locks."""

    def __init__(self) -> None:
        self.tally: Counter[Address[Any]] = Counter()
        """How many locks each saga holds, at services that are in memory."""
        self._of: dict[Address[Any], dict[int, Waiting]] = {}

    def add(self, waiting: Waiting) -> None:
        """Note that a command waits, and with it all who wait for its reply."""
        for one in waiting.envelope.path:
            self._of.setdefault(one, {})[id(waiting)] = waiting

    def remove(self, waiting: Waiting) -> None:
        """Note that it waits no more."""
        waiting.leave()
        for one in waiting.envelope.path:
            mine = self._of.get(one)
            if mine is not None and mine.pop(id(waiting), None) is not None and not mine:
                del self._of[one]

    def of(self, saga: Address[Any]) -> Iterable[Waiting]:
        """Return what a saga waits for, itself or through those that it has asked."""
        return self._of.get(saga, {}).values()

    def circle(self, waiting: Waiting) -> str | None:
        """Return the circle that a command would close by waiting, in words; None: it may wait."""
        goal = waiting.envelope.path
        if not any(one in self.tally or one in self._of for one in goal):
            return None  # nobody waits for any of them
        came: dict[Address[Any], tuple[Address[Any], Waiting]] = {}
        todo = [(goal[-1], waiting)]
        while todo:
            who, waits = todo.pop()
            for other in self._blockers(waits):
                if other in goal:
                    return _in_words(waiting, came, other, who, waits)
                if other not in came:
                    came[other] = (who, waits)
                    todo += [(other, more) for more in self.of(other)]
        return None

    def _blockers(self, waits: Waiting) -> Iterable[Address[Any]]:
        path, before = waits.envelope.path, waits.before
        found = [one for one in waits.line.holders(waits.lock) if one not in path]
        if before is not None and not any(
            other.line is waits.line and other.lock == waits.lock and other.number < waits.number and other.taker == one
            for one in path
            for other in self.of(one)
        ):  # else it passes as soon as that one has taken the lock
            assert before.taker is not None
            found.append(before.taker)
        return found


def _in_words(
    waiting: Waiting,
    came: dict[Address[Any], tuple[Address[Any], Waiting]],
    goal: Address[Any],
    who: Address[Any],
    waits: Waiting,
) -> str:
    first = waiting.envelope.path[-1]
    words = [str(goal) if goal == first else f"{goal}, which waits for {first}"]
    while True:
        words.append(f"{who} waits at {waits.line.address} for lock {waits.lock!r} of")
        if waits is waiting:
            return " ".join(reversed(words))
        who, waits = came[who]
