"""The projector: keeps one read model's tables up to date from the journal, and answers its queries.

Rows and checkpoint are committed together, so the tables are always the fold of a prefix of the journal, less what is
set aside (``set_aside.py``): an event that can't be projected, and the later ones of its key.
"""

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from actors import Address, Statement
from persistence import Journal, JournalError, Record
from persistence.views import NOTHING_ASIDE, Aside, View
from runtime.answering import behind, check_complete
from runtime.batch import Batch, TooMany
from runtime.follower import CHECKPOINT_EVERY, Follower
from runtime.kinds import Kind
from runtime.lending import Lending
from runtime.log import log
from runtime.news import Changed, untold
from runtime.projection import Poison, Projection, mark_of
from runtime.second_tries import SecondTries
from runtime.slow_turns import SlowTurns
from runtime.timers import Timers

AT_A_LOOK = 16
"""So many events are projected between two looks at the clock."""
IN_A_ROW = 100
"""So many events given up with none projected between: it is the tables, not the events."""


class Projector(Follower):
    """One read model at work; run as one task."""

    def __init__(
        self,
        kind: Kind,
        projection: Projection,
        journal: Journal,
        view: View,
        timers: Timers,
        now: Callable[[], int],
        slow: SlowTurns,
        *,
        strict: bool = False,
        changed: Changed = untold,
    ) -> None:
        """``now`` tells the time, in microseconds since 1970; ``slow`` names projections that take long.

        ``changed`` is told of rows, and of the end.
        """
        super().__init__(kind, projection.model.retry, journal, view, timers, now, changed)
        self.model = projection.model
        self.tries = SecondTries(projection, self._carry_out, journal, view, self.aside, now, self.books, changed)
        self.strict = strict
        """Whether it is parked at an event that can't be projected."""
        self.lending = Lending(view)
        self.stand_in: Lending | None = None
        """The tables of the version before, from which is answered until today's have caught up."""
        self.successor: Projector | None = None
        """Who has taken over."""
        self._projection = projection
        self._slow = slow
        self._given_up: Poison | None = None
        self._in_a_row = 0

    async def _carry_out(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        return self._projection.statements(record, events)

    # -- following ----------------------------------------------------------------------------------------------

    async def _take(self, records: list[Record]) -> None:
        await self._project(records)

    def _renew(self) -> None:
        self._given_up = None
        self._in_a_row = 0
        super()._renew()

    def _goes_on(self, error: Exception, *, reading: bool) -> bool:
        self._given_up = None
        return super()._goes_on(error, reading=reading)

    def _gives_up(self, error: Exception) -> bool:
        if isinstance(error, Poison) and not self.strict and self.model.parked_limit and self._in_a_row < IN_A_ROW:
            self._given_up = error
            return True
        return False

    async def _pause(self, error: Exception) -> None:
        if self._given_up is None:
            await super()._pause(error)

    async def _level(self) -> None:
        if not self.view.ready:
            await self.view.keep_ready()
        self._tell_ready()
        if self.view.unclean:
            await self._clean()

    async def _clean(self) -> None:
        """Have no copy left of what was blanked; here, when all is done, for it takes long in a large file."""
        try:
            await self.view.clean()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises)
            log.warning("read model not cleaned", **self.named, error=repr(error))  # after the next batch

    # -- projecting ---------------------------------------------------------------------------------------------

    async def _project(self, records: list[Record]) -> None:
        try:
            await self._apply(records)
        except Exception as error:
            if not self._is_blamed(error):
                raise
            if self.view.checkpoint > self.position:  # it came behind the commit
                self._go_back()
                return
            # Some statement has failed. One by one it shows whose, and what stands before it is no worse for it.
            for record in records:
                if record.position > self.view.checkpoint:
                    await self._apply_one(record)

    def _is_blamed(self, error: Exception) -> bool:
        return not (isinstance(error, Poison | TooMany | JournalError) or self.view.passes(error))

    async def _apply_one(self, record: Record) -> None:
        try:
            await self._apply([record])
        except Exception as error:
            if not self._is_blamed(error):
                raise
            raise Poison(record, error) from error

    async def _apply(self, records: Sequence[Record]) -> None:
        """Bring the tables up to date with records, in one transaction, up to the first that can't be projected."""
        batch, failure = Batch(self._projection, self.aside, self._given_up, self._now), None
        try:
            for first in range(0, len(records), AT_A_LOOK):
                self._project_some(batch, records[first : first + AT_A_LOOK])
        except Exception as error:  # noqa: BLE001 (raised below: what stands before it is no worse for it)
            failure = error
        last = batch.last
        if last is not None:
            passed = last.position - self.view.checkpoint
            if batch.changes or passed >= CHECKPOINT_EVERY:
                aside = Aside(batch.parked) if batch.parked else NOTHING_ASIDE
                await self.view.apply(
                    batch.statements, last.position, mark=mark_of(last), blanks=batch.blanks, aside=aside
                )
                self._log_watch.look(self.view.log_bytes)
                self._note(batch)
            self.progress.done(last.position - self.position, last.time)
            self.position = last.position
            self._let_go()
            if batch.statements:
                self._changed(records)
        if failure is not None:
            raise failure

    def _project_some(self, batch: Batch, records: Sequence[Record]) -> None:
        """Take a few records into a batch, and have it named in the log if that took long: nobody else had a turn."""
        slow = self._slow
        began = slow.stopwatch()
        try:
            for record in records:
                batch.add(record)
        finally:
            took = slow.stopwatch() - began
            if took > slow.limit:
                last = records[-1]
                what = last.type if len(records) == 1 else f"{len(records)} events up to {last.type}"
                slow.took(Address(self.kind.name), f"{what} at position {last.position}", took)

    def _note(self, batch: Batch) -> None:
        """Take note of what was set aside in a batch that is committed."""
        if batch.statements:
            self._in_a_row = 0
        for row in batch.parked:
            if row.error:
                self._in_a_row += 1
                self._given_up = None
                log.error("event set aside", **self.named, key=row.key, position=row.position, error=row.error)
        self.aside.add(batch.parked)

    # -- what goes out ------------------------------------------------------------------------------------------

    async def ask(self, query: Any, position: int, timeout: float | None) -> Any:
        """Answer a query, when the tables have reached ``position``.

        Raises:
            Parked: they will not reach it by themselves, or events up to it that the query is about are set aside.
            ReadModelBehind: they have not reached it within ``timeout`` seconds.
            RuntimeClosed: the runtime was closed; an interceptor, or a task that an actor has left behind, asks late.
        """
        with anyio.move_on_after(timeout):
            await self.reached(position)
            if self.successor is not None:
                return await self.successor.ask(query, position, None)
            if self._closed:
                raise self._closed_error()
            if position and self.aside:
                check_complete(self.kind.name, self._projection, self.aside, query, position)
            lending = self.lending if position or self.stand_in is None else self.stand_in
            async with lending.reading() as db:
                return await self.model.answer(db, query)
        raise behind(self.kind.name, self.position, position)
