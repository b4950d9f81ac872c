"""Cancel scopes in one order: anyio keeps those within another in a set, whose order would be that of addresses."""

import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

_BACKEND: Any = import_module("anyio._backends._asyncio")
_SCOPE: Any = _BACKEND.CancelScope


class Numbers:
    """The numbers of objects that can have none themselves."""

    def __init__(self, next_number: Callable[[], int]) -> None:
        self._next = next_number
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def of(self, it: Any) -> int:
        """Return an object's number; the next one, where it has none yet."""
        found = self._known.get(id(it))
        if found is None:
            gone = partial(self._gone, id(it))
            found = self._known[id(it)] = (weakref.ref(it, gone), self._next())
        return found[1]

    def _gone(self, address: int, _: object) -> None:
        self._known.pop(address, None)


def forget(loop: object) -> None:
    """Have anyio let go of a loop's tasks: of one that ended inside a scope it keeps what keeps the task, and the loop.

    Such are those that were ended without its knowing, and those that began a node which then was killed.
    """
    states = _BACKEND._task_states
    for task in [task for task in states if task.get_loop() is loop]:
        states.pop(task, None)


@contextmanager
def numbered_scopes(numbers: Numbers) -> Generator[None]:
    """Hash the cancel scopes that are entered meanwhile by their numbers."""
    before = _SCOPE.__hash__

    def number(scope: Any) -> int:
        return numbers.of(scope)

    _SCOPE.__hash__ = number
    try:
        yield
    finally:
        _SCOPE.__hash__ = before
