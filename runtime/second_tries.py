"""Seeing to what a follower has set aside: taking it after all, or leaving it out for good."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from persistence import Journal, JournalError, Record
from persistence.views import Aside, ParkedRow, SkippedRow, SqlStatement, View
from runtime.news import Changed
from runtime.projection import FORGOTTEN, Following, Poison
from runtime.set_aside import SetAside

TEXT = 1_000
"""Characters of an error that are kept."""


CarryOut = Callable[[Record, Sequence[Any]], Awaitable[Sequence[SqlStatement]]]
"""Takes one record's events; returns the statements that belong to it."""


class SecondTries:
    """Works through the events that are set aside, each key's in order, each in a transaction of its own."""

    def __init__(
        self,
        following: Following,
        carry_out: CarryOut,
        journal: Journal,
        view: View,
        aside: SetAside,
        now: Callable[[], int],
        books: asyncio.Lock,
        changed: Changed,
    ) -> None:
        """``books`` is held while something is kept in the database, and while it tells what is set aside."""
        self._following = following
        self._carry_out = carry_out
        self._books = books
        self._keys = WeakValueDictionary[str, asyncio.Lock]()
        self._journal = journal
        self._view = view
        self._aside = aside
        self._now = now
        self._changed = changed

    async def retry(self, key: str | None) -> int:
        """Take what is set aside of a key, or of all, as far as that goes; return how many events were.

        Raises:
            Exception: the journal or the database can't be used now.
        """
        await self._look()
        done = 0
        for one in list(self._aside) if key is None else [key]:
            while rows := self._aside.of(one):  # more may be set aside meanwhile
                if not await self.take(rows[0]):
                    break
                done += 1
        return done

    async def skip(self, key: str, reason: str, by: str) -> int:
        """Leave out the first event of a key that is set aside, and retry the others; return the position of it.

        Raises:
            LookupError: nothing of the key is set aside.
        """
        await self._look()
        async with self._one_of(key):
            rows = self._aside.of(key)
            if not rows:
                there = ", ".join(map(repr, list(self._aside)[:10])) or "nothing"
                raise LookupError(f"nothing of {key!r} is set aside; there is {there}")
            row = rows[0]
            gone = SkippedRow(row.position, key, self._now(), row.error, reason, by)
            await self._apply([], Aside(taken=[row.position], skipped=[gone]))
            self._aside.take(row)
        await self.retry(key)
        return row.position

    def _one_of(self, key: str) -> asyncio.Lock:
        """Return what is held while an event of a key is dealt with: several may want to, each in a task of its own."""
        return self._keys.setdefault(key, asyncio.Lock())

    async def _look(self) -> None:
        if self._aside.stale:
            async with self._books:  # or what is taken meanwhile would stay in the list
                await self._aside.load(self._view)

    async def take(self, row: ParkedRow) -> bool:
        """Take one event that is set aside, if it can be; return whether it is not any more."""
        async with self._one_of(row.key):
            return not self._aside.has(row) or await self._take(row)

    async def _take(self, row: ParkedRow) -> bool:
        error: Exception | None
        try:
            await self._try(row)
        except Poison as poison:
            error = poison.__cause__ if isinstance(poison.__cause__, Exception) else poison
        except Exception as failure:
            if self._is_nobodys(failure):
                raise
            error = failure
        else:
            self._aside.take(row)
            return True
        known = ParkedRow(row.position, row.key, row.time, text_of(error), row.attempts + 1)
        await self._apply([], Aside([known]))
        self._aside.add([known])
        return False

    def _is_nobodys(self, error: Exception) -> bool:
        """Whether an error is no event's fault."""
        return isinstance(error, JournalError) or self._view.passes(error)

    async def _try(self, row: ParkedRow) -> None:
        (record,) = await self._journal.read_all(row.position - 1, 1)
        events = self._following.events(record)  # none of one that was erased since
        statements: Sequence[SqlStatement] = await self._carry_out(record, events) if events else ()
        await self._apply(statements, Aside(taken=[row.position]), blanks=record.type == FORGOTTEN)

    async def _apply(self, statements: Sequence[SqlStatement], aside: Aside, *, blanks: bool = False) -> None:
        view = self._view
        async with self._books:
            try:
                await view.apply(statements, view.checkpoint, mark=view.mark, blanks=blanks, aside=aside)
            except BaseException as error:
                if not isinstance(error, Exception) or self._is_nobodys(error):
                    self._aside.stale = True  # it may be committed all the same
                raise
        if statements:
            self._changed(())


def text_of(error: BaseException | None) -> str:
    """Return an error as it is kept."""
    return f"{type(error).__name__}: {error}"[:TEXT]
