"""Whether a node with another journal serves one of our classes: each would have some of its actors.

A node asks before it serves, and once more when it does. Of two that start in the same moment, each serves before it
asks for the second time; so whoever asks last is answered by the other one.
"""

from collections.abc import Callable, Iterable

import anyio

from actors import NetworkUnusable
from persistence import Journal
from runtime.cluster import frames
from runtime.cluster.network import Link
from runtime.cluster.subjects import class_subject

LONGEST_LOOK = 2.0
"""Seconds for which a node that joins waits to be told who serves its classes; by then nobody does."""


class Rivals:
    """Those who serve our classes from another journal, as far as they have answered."""

    def __init__(self, journal: Journal, link: Link, life: str, late: Callable[[NetworkUnusable], None]) -> None:
        """``late`` is called where one answers when nobody waits for that any more."""
        self._journal = journal
        self._link = link
        self._life = life
        self._late = late
        self._asked: dict[int, str] = {}
        """The classes that were asked for, by the number of the question. These go down from -1, so that they are not
        taken for numbers of requests."""
        self._open = set[int]()
        """The questions that nobody has answered."""
        self._found: dict[str, None] = {}
        """Classes that are served from another journal."""
        self._told = anyio.Event()
        self._looks = False

    async def look(self, classes: Iterable[str]) -> None:
        """Ask who serves these classes, and wait until somebody has answered, or nobody will.

        Raises:
            NetworkUnusable: a node with another journal does.
        """
        self._looks = True
        for name in classes:
            number = -len(self._asked) - 1
            self._asked[number] = name
            self._open.add(number)
            who = frames.Who(frames.VERSION, self._life, number)
            self._link.send(class_subject(name), frames.pack(who), number)
        with anyio.move_on_after(LONGEST_LOOK):
            while self._open:
                await self._told.wait()
                self._told = anyio.Event()
        self._open.clear()
        self._looks = False
        if self._found:
            raise self._error()

    def close(self) -> None:
        """Hear no more: who answers that late has slept, and must not be the end of those who have not."""
        self._asked.clear()

    def here(self, frame: frames.Here) -> None:
        """Take note of who serves a class."""
        name = self._asked.get(frame.number)
        if name is None:
            return
        self._open.discard(frame.number)
        self._told.set()
        if frame.journal != self._journal.identity and name not in self._found:
            self._found[name] = None
            if not self._looks:
                self._late(self._error())

    def nobody(self, number: int) -> None:
        """Take note that nobody serves a class."""
        self._open.discard(number)
        self._told.set()

    def _error(self) -> NetworkUnusable:
        return NetworkUnusable(
            f"another node serves {', '.join(self._found)} from another journal, and some of its actors would be here, "
            "some there; name it in remote= on one of them, let both use one PostgreSQL journal, or give each "
            "system a network of its own (?system=...)"
        )
