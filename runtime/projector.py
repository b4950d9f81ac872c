"""The projector: keeps one read model's tables up to date from the journal, and answers its queries.

It is pushed what has become durable while it keeps up, and reads from the journal in pages while it doesn't.
Rows and checkpoint are committed together, so the tables are always the fold of a prefix of the journal, less what is
set aside (``set_aside.py``): an event that can't be projected, and the later ones of its key.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import anyio

from actors import Elsewhere, JournalMismatch, Parked, RuntimeClosed
from persistence import Journal, JournalDamaged, JournalError, JournalUnusable, Record
from persistence.views import NOTHING_ASIDE, Aside, View
from runtime.answering import behind, check_complete
from runtime.batch import Batch, TooMany
from runtime.footing import fit
from runtime.kinds import Kind
from runtime.lending import Lending
from runtime.log import log
from runtime.log_watch import LogWatch
from runtime.news import Changed, untold
from runtime.orders import Orders
from runtime.projection import Poison, Projection, mark_of
from runtime.second_tries import SecondTries
from runtime.set_aside import SetAside
from runtime.timers import Timers
from runtime.waiting import Waiting

LIVE_LIMIT = 4_000
"""Events that wait to be projected in memory; a read model that is further behind reads them from the journal."""
BATCH = 1_000
"""The most events that are projected in one transaction."""
CHECKPOINT_EVERY = 1_000
"""Events that are passed over before a checkpoint is written for them alone."""
IN_A_ROW = 100
"""So many events given up with none projected between: it is the tables, not the events."""

LOOK_BUSY, LOOK_IDLE = 0.02, 1.0
"""Seconds after which a process that doesn't lead looks how far the one that does has come; with and without somebody
who waits for it."""
AGAIN = 1.0
"""Seconds after which a journal that could not be read is read again."""


class Projector:
    """One read model at work; run as one task."""

    def __init__(
        self,
        kind: Kind,
        projection: Projection,
        journal: Journal,
        view: View,
        timers: Timers,
        now: Callable[[], int],
        *,
        strict: bool = False,
        random: Random | None = None,
        changed: Changed = untold,
    ) -> None:
        """``now`` tells the time, in microseconds since 1970; ``changed`` is told of rows, and of the end."""
        self.kind = kind
        self.model = projection.model
        self.view = view
        self.position = 0
        """Everything up to here is in the tables, or set aside."""
        self.error: BaseException | None = None
        """Why it is parked."""
        self.failures = 0
        """Attempts at the next events that have failed in a row."""
        self.aside = SetAside()
        self.tries = SecondTries(projection, journal, view, self.aside, now, changed)
        self.orders = Orders(self.look)
        """What is to be done between two batches."""
        self.waiting = Waiting()
        self.strict = strict
        """Whether it is parked at an event that can't be projected."""
        self.lending = Lending(view)
        self.stand_in: Lending | None = None
        """The tables of the version before, from which is answered until today's have caught up."""
        self.successor: Projector | None = None
        """Who has taken over."""
        self.on_ready: Callable[[], None] | None = None
        """Called when the tables have caught up for the first time."""
        self._footing = False
        self._projection = projection
        self._journal, self._timers, self._now = journal, timers, now
        self._changed = changed
        self._random = random or Random()
        self._since = self._in_a_row = 0
        self._given_up: Poison | None = None
        self._begun = self._closed = False
        self._log_watch = LogWatch(f"read model {kind.name}")
        self._live: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._scope: anyio.CancelScope | None = None

    # -- what comes in ------------------------------------------------------------------------------------------

    def offer(self, records: list[Record]) -> None:
        """Take events that have just become durable; too many are left to be read from the journal."""
        live = self._live
        # What comes behind events that were left out is left out too: what is live has no gap.
        no_gap = not live or (bool(records) and live[-1].position + 1 == records[0].position)
        if no_gap and len(live) + len(records) <= LIVE_LIMIT:
            live.extend(records)
        self._wake.set()

    def look(self) -> None:
        """Look at the journal again: it may hold events that nobody could offer."""
        self._wake.set()

    async def run(self) -> None:
        """Project until cancelled; parked where it can't go on, until it is killed and tries again."""
        try:
            while not self._closed:
                with anyio.CancelScope() as self._scope:
                    await self._run()
                    while True:  # parked; what is set aside can be seen to all the same
                        self._wake.clear()
                        await self.orders.obey()
                        await self._wake.wait()
        finally:
            self._closed = True
            self.waiting.fail(self._closed_error())
            self.orders.close(self._closed_error())

    async def _run(self) -> None:
        self.error = self._given_up = None
        self.failures = self._in_a_row = 0
        self._begun = False
        self.aside.stale = True
        self._go_back()
        while True:
            reading = True
            try:
                records = await self._next()
                reading = False
                await self._project(records)
                self.failures = 0
            except Exception as error:  # noqa: BLE001 (the author's code, the database, a damaged journal)
                if not self._goes_on(error, reading=reading):
                    self._park(error)
                    return
                self._go_back()
                if self._given_up is None:
                    pause = self.model.retry.backoff.pause(self.failures, self._random)
                    log.warning("projection failed", read_model=self.kind.name, retry_in=pause, error=repr(error))
                    await self._timers.pause(pause)

    async def _look_again(self) -> None:
        """Learn from the database what is set aside, and where the tables are; wait while another process leads."""
        while not await self.view.lead():
            self._footing = False
            await self._look_on()
        if not self._footing:
            await fit(self.kind.name, self.view, self._journal)
            self._footing = True
        await self.aside.load(self.view)
        self.position = self.view.checkpoint
        self._changed(())  # something may be committed that nobody was told of
        try:
            if not self._begun:
                self._begun = True
                await self.tries.retry(None)  # today's code, or today's rows, may let it
        finally:
            self._let_go()

    def _tell_ready(self) -> None:
        told, self.on_ready = self.on_ready, None
        if told is not None:
            told()

    async def _look_on(self) -> None:
        """Follow what the process that leads has projected."""
        if self.view.ready:
            self._tell_ready()
        before = self.position, self.aside.count
        await self.aside.load(self.view)
        self.position = self.view.checkpoint
        if before != (self.position, self.aside.count):
            self._changed(())
        self._let_go()
        self.orders.refuse(Elsewhere(f"{self.kind.name} is projected by another process; see to it there"))
        self._wake.clear()
        timer = self._timers.after(LOOK_BUSY if self.waiting else LOOK_IDLE, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _go_back(self) -> None:
        """Be where the tables are. Where an error came behind the commit, the database has to say what is set aside."""
        self._live.clear()
        self.aside.stale = self.aside.stale or self.view.checkpoint > self.position
        self.position = min(self.position, self.view.checkpoint)

    def _goes_on(self, error: Exception, *, reading: bool) -> bool:
        """Decide what becomes of a failure: another try, one event that is given up, or (False) the end."""
        self.failures += 1
        self.kind.counts.failures += 1
        self._since = self._since if self.failures > 1 else self._timers.now()
        self._given_up = None
        cause = error.__cause__ if isinstance(error, Poison) else error
        if isinstance(cause, JournalDamaged | JournalMismatch | TooMany):
            return False
        # A disk that is full or away, or a journal that can't be read for now, is not the read model's fault.
        passes = self.view.passes(error) or (reading and isinstance(error, JournalUnusable))
        if passes or (self._timers.now() - self._since) / 1e6 < self.model.retry.budget.total_seconds():
            return True
        if isinstance(error, Poison) and not self.strict and self.model.parked_limit and self._in_a_row < IN_A_ROW:
            self._given_up = error
            return True
        return False

    async def _next(self) -> list[Record]:
        while True:
            self._wake.clear()
            await self.orders.obey()
            while self.aside.stale or not self.view.leading:
                await self._look_again()
            live = self._live
            while live and live[0].position <= self.position:
                live.popleft()
            if live and live[0].position == self.position + 1:
                return [live.popleft() for _ in range(min(len(live), BATCH))]
            if self.position < self._journal.position:
                return await self._read()
            if not self.view.ready:
                await self.view.keep_ready()
            self._tell_ready()
            if self.view.unclean:
                await self._clean()
            await self._wake.wait()

    async def _read(self) -> list[Record]:
        """Read on in the journal. One that can't be read, on a server that is down, say, is no failure of ours."""
        told = False
        while True:
            try:
                return await self._journal.read_all(self.position)
            except JournalUnusable as error:
                if not told:
                    what = "the journal can't be read, it is tried again and again"
                    log.warning(what, read_model=self.kind.name, error=str(error))
                told = True
                await self._timers.pause(AGAIN)

    async def _clean(self) -> None:
        """Have no copy left of what was blanked; here, when all is done, for it takes long in a large file."""
        try:
            await self.view.clean()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises)
            log.warning("read model not cleaned", read_model=self.kind.name, error=repr(error))  # after the next batch

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
            for record in records:
                batch.add(record)
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
            self.position = last.position
            self._let_go()
            if batch.statements:
                self._changed(records)
        if failure is not None:
            raise failure

    def _note(self, batch: Batch) -> None:
        """Take note of what was set aside in a batch that is committed."""
        if batch.statements:
            self._in_a_row = 0
        for row in batch.parked:
            if row.error:
                self._in_a_row += 1
                self._given_up = None
                log.error(
                    "event set aside", read_model=self.kind.name, key=row.key, position=row.position, error=row.error
                )
        self.aside.add(batch.parked)

    # -- waiting ------------------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        if not self.aside.stale:
            self.waiting.let_go(self.position)

    def _park(self, error: BaseException) -> None:
        self.error = error
        log.error("read model parked", read_model=self.kind.name, position=self.position, error=repr(error))
        self.waiting.fail(self.parked_error())
        self._changed(())

    def parked_error(self) -> Parked:
        """Return the error for those who wait for what will not come."""
        parked = Parked(f"{self.kind.name} is parked behind position {self.position}: {self.error}")
        parked.__cause__ = self.error
        return parked

    def _closed_error(self) -> RuntimeClosed:
        return RuntimeClosed(f"the runtime was closed before {self.kind.name} got there")

    async def reached(self, position: int) -> None:
        """Wait until everything up to ``position`` is in the tables, or set aside.

        Raises:
            Parked: it will not get there by itself.
            RuntimeClosed: it was closed before it got there.
        """
        if not position or (self.position >= position and not self.aside.stale):
            return
        if self._closed:
            raise self._closed_error()
        if self.error is not None:
            raise self.parked_error()
        if not self.view.leading:
            self._wake.set()  # who only looks on looks more often while somebody waits
        await self.waiting.wait(position)

    # -- what goes out ------------------------------------------------------------------------------------------

    async def ask(self, query: Any, position: int, timeout: float | None) -> Any:
        """Answer a query, when the tables have reached ``position``.

        Raises:
            Parked: they will not reach it by themselves, or events up to it that the query is about are set aside.
            ReadModelBehind: they have not reached it within ``timeout`` seconds.
        """
        with anyio.move_on_after(timeout):
            await self.reached(position)
            if self.successor is not None:
                return await self.successor.ask(query, position, None)
            if position and self.aside:
                check_complete(self.kind.name, self._projection, self.aside, query, position)
            lending = self.lending if position or self.stand_in is None else self.stand_in
            async with lending.reading() as db:
                return await self.model.answer(db, query)
        raise behind(self.kind.name, self.position, position)

    def unpark(self) -> None:
        """Try again from the checkpoint; does nothing where it is not parked."""
        if self.error is not None:
            self.kill()

    def retire(self) -> None:
        """End for good: another one has taken over."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()

    def kill(self) -> None:
        """Crash: what is in memory is gone; go on from the checkpoint."""
        if self._scope is not None:
            # Who asks from here on waits for what the next attempt comes to.
            self.error, self.aside.stale, self._begun = None, True, False
            self._scope.cancel()
