"""Seeing to what a read model has set aside: projecting it after all, or leaving it out for good."""

from collections.abc import Callable, Sequence

from persistence import Journal, JournalError
from persistence.views import Aside, ParkedRow, SkippedRow, SqlStatement, View
from runtime.news import Changed
from runtime.projection import FORGOTTEN, Poison, Projection
from runtime.set_aside import SetAside

TEXT = 1_000
"""Characters of an error that are kept."""


class SecondTries:
    """Works through the events that are set aside, each key's in order, each in a transaction of its own."""

    def __init__(
        self,
        projection: Projection,
        journal: Journal,
        view: View,
        aside: SetAside,
        now: Callable[[], int],
        changed: Changed,
    ) -> None:
        self._projection = projection
        self._journal = journal
        self._view = view
        self._aside = aside
        self._now = now
        self._changed = changed

    async def retry(self, key: str | None) -> int:
        """Project what is set aside of a key, or of all, as far as that goes; return how many events were.

        Raises:
            Exception: the journal or the database can't be used now.
        """
        await self._look()
        done = 0
        for one in list(self._aside) if key is None else [key]:
            for row in self._aside.of(one):
                if not await self._project(row):
                    break
                done += 1
        return done

    async def skip(self, key: str, reason: str, by: str) -> int:
        """Leave out the first event of a key that is set aside, and retry the others; return the position of it.

        Raises:
            LookupError: nothing of the key is set aside.
        """
        await self._look()
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

    async def _look(self) -> None:
        if self._aside.stale:
            await self._aside.load(self._view)

    async def _project(self, row: ParkedRow) -> bool:
        """Project one event, if it can be."""
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
        events = self._projection.events(record)  # none of one that was erased since
        statements = self._projection.statements(record, events) if events else []
        await self._apply(statements, Aside(taken=[row.position]), blanks=record.type == FORGOTTEN)

    async def _apply(self, statements: Sequence[SqlStatement], aside: Aside, *, blanks: bool = False) -> None:
        view = self._view
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
