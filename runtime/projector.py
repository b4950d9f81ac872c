"""The projector: keeps one read model's tables up to date from the journal, and answers its queries.

Rows and checkpoint are committed together, so the tables are always the fold of a prefix of the journal, less what is
set aside (``set_aside.py``): an event that can't be projected, and the later ones of its key.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from actors import Address, Statement
from persistence import Journal, JournalError, Record
from persistence.journal import PAGE
from persistence.views import View
from runtime.answering import behind, check_complete
from runtime.batch import Batch, TooMany
from runtime.follower import BATCH, CHECKPOINT_EVERY, Follower
from runtime.kinds import Kind
from runtime.lending import Lending
from runtime.log import log
from runtime.news import Changed, untold
from runtime.own_loop import check_loop
from runtime.partitioned_build import PartitionedBuild
from runtime.partitions import Page, Partitions
from runtime.projection import Poison, Projection, mark_of
from runtime.second_tries import SecondTries
from runtime.slow_turns import SlowTurns
from runtime.timers import Timers

AT_A_LOOK = 16
"""So many events are projected between two looks at the clock."""
FAR = 4 * BATCH
"""So far behind the journal its partitions take over; what is nearer is done as soon by one."""
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
        self._loop = asyncio.get_running_loop()
        self._projection = projection
        self._slow = slow
        self._given_up: Poison | None = None
        self._in_a_row = 0
        self.on_advance: Callable[[], None] | None = None
        """Called when it has got on."""
        self._partitions = Partitions(projection, view)
        self._alone = 0
        """Up to here everything is taken by one, also where there are partitions."""

    async def _carry_out(self, record: Record, events: Sequence[Any]) -> list[Statement]:
        return self._projection.statements(record, events)

    # -- following ----------------------------------------------------------------------------------------------

    async def _take(self, records: list[Record]) -> None:
        if self.view.partitioned and self._partitions.level(self.position):
            if self.aside or self._journal.position - self.position < FAR:
                await self._unite()
            elif self.position >= self._alone and not self._partitions.concerns_all(records):
                return await self._take_in_partitions(records)
        return await self._project(records)

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
        if self.view.partitioned:
            await self._unite()
        if not self.view.ready:
            await self.keep_ready()
        self._tell_ready()
        if self.view.unclean:
            await self._clean()

    async def keep_ready(self) -> None:
        """Keep that it has caught up once; see :meth:`View.keep_ready`."""
        await self.view.keep_ready()

    async def close(self) -> None:
        """Close the database, when nothing is projected any more."""
        await self.view.close()

    async def _clean(self) -> None:
        """Have no copy left of what was blanked; here, when all is done, for it takes long in a large file."""
        try:
            await self.view.clean()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises)
            log.warning("read model not cleaned", **self.named, error=repr(error))  # after the next batch

    # -- in partitions ------------------------------------------------------------------------------------------

    async def _take_in_partitions(self, records: list[Record]) -> None:
        """Have the partitions take records and those behind them, up to the end that the journal has now."""
        end = self._journal.position

        async def more(after: int) -> list[Record]:
            if after >= end or self.orders:
                return []
            page = await self._read(after, min(PAGE, end - after))
            return [] if self._partitions.concerns_all(page) else page

        build = PartitionedBuild(self._projection, self._partitions, self.view, self._project_some, self._page_done)
        try:
            await build.run(records, more)
        except Exception as error:
            self.aside.stale = True  # so that how far each has come is read anew
            self._alone = build.ahead  # it gets on, also where there is no connection for each of them
            if not self._is_blamed(error):
                raise
            log.info("partitions wait", **self.named, position=self.position, error=repr(error))
        self._alone = build.ahead  # some statement has failed, or some event: whose is seen where one takes them

    def _page_done(self, page: Page) -> None:
        self.failures = 0
        self._advance(page.records[-1])

    def _advance(self, last: Record) -> None:
        """Take note that everything is done up to a record."""
        self.progress.done(last.position - self.position, last.time)
        self.position = last.position
        if self.on_advance is not None:
            self.on_advance()

    async def _unite(self) -> None:
        """Go on as one, from here on for good: the rows are the fold of a prefix, and may be read."""
        await self.view.unite()
        self.let_go()
        self._changed(())

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
        has_had = self._partitions.has_had if self.view.partitioned else None
        batch, failure = Batch(self._projection, self.aside, self._given_up, self._now, has_had), None
        try:
            for first in range(0, len(records), AT_A_LOOK):
                self._project_some(batch, records[first : first + AT_A_LOOK])
        except Exception as error:  # noqa: BLE001 (raised below: what stands before it is no worse for it)
            failure = error
        last = batch.last
        if last is not None:
            changed = await self._commit(batch, last)
            self._advance(last)
            self.let_go()
            if changed:
                self._changed(records)
        if failure is not None:
            raise failure

    async def _commit(self, batch: Batch, last: Record) -> bool:
        """Make what comes of a batch what is asked for; return whether answers may be other ones."""
        due = CHECKPOINT_EVERY if not self.view.partitioned else 1  # no partition may be ahead of it without need
        if batch.changes or last.position - self.view.checkpoint >= due:
            await self.view.apply(
                batch.statements, last.position, mark=mark_of(last), blanks=batch.blanks, aside=batch.set_aside
            )
            self._log_watch.look(self.view.log_bytes)
            self._note(batch, changed=bool(batch.statements))
        return bool(batch.statements)

    def _project_some(self, batch: Batch | Page, records: Sequence[Record]) -> None:
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

    def _note(self, batch: Batch, *, changed: bool) -> None:
        """Take note of what was set aside in a batch that is committed."""
        if changed:
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
            WrongLoop: this is another event loop than its own.
            RuntimeClosed: the runtime was closed; an interceptor, or a task that an actor has left behind, asks late.
        """
        check_loop(self._loop)
        with anyio.move_on_after(timeout):
            if position or self.stand_in is None:
                await self.reached(position)
            if self.successor is not None:
                return await self.successor.ask(query, position, None)
            if self._closed:
                raise self._closed_error()
            if position and self.aside:
                check_complete(self.kind.name, self._projection, self.aside, query, position)
            lending = self.lending if position or self.stand_in is None else self.stand_in
            return await self._answer(query, lending)
        raise behind(self.kind.name, self.position, position)

    async def _answer(self, query: Any, lending: Lending) -> Any:
        async with lending.reading() as db:
            return await self.model.answer(db, query)
