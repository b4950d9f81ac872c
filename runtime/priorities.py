"""Priorities: which of those that wait goes next. The highest does, but no other waits for ever."""

from collections.abc import Collection
from typing import Any

from actors import Command, DefinitionError, Saga

LOWEST, HIGHEST = -9, 9
"""The priorities that a class may give its sagas."""
NEXT = HIGHEST + 1
"""That of a saga which a person has told to go on."""
UNDO = HIGHEST + 2
"""That of undos: they never wait behind what goes forward."""
EACH = 10
"""Each turn of this number is that of the priority that has been without one for longest."""


def priority_in(cls: type[Saga[Any, Any]], command: Command[Any, Any]) -> int:
    """Return the priority of the saga that a command starts.

    Raises:
        DefinitionError: it is none.
        Exception: whatever the author's code raises.
    """
    priority = cls.priority_of(command)
    if type(priority) is not int or not LOWEST <= priority <= HIGHEST:
        raise DefinitionError(
            f"{cls.__name__}.priority_of returned {priority!r}; return a whole number from {LOWEST} to {HIGHEST}"
        )
    return priority


class Turns:
    """Whose turn it is. Of ``n`` priorities that have somebody waiting each gets one turn in ``10 * n`` or more."""

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[int, int] = {}

    def next(self, waiting: Collection[int]) -> int:
        """Return which of the priorities that have somebody waiting is next; ``taken`` says that it was."""
        if len(waiting) == 1:
            return next(iter(waiting))
        if (self._count + 1) % EACH == 0 and max(waiting) <= NEXT:
            return min(waiting, key=lambda priority: (self._last.get(priority, 0), -priority))
        return max(waiting)

    def taken(self, priority: int) -> None:
        """Take note that one of this priority has had its turn."""
        self._count += 1
        self._last[priority] = self._count
