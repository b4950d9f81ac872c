"""The projector: keeps one read model's tables up to date from the journal, and answers its queries.

It is pushed what has become durable while it keeps up, and reads from the journal in pages while it doesn't.
Rows and checkpoint are committed together, so the tables are always the fold of a prefix of the journal.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import anyio

from actors import JournalMismatch, Meta, Parked, ReadModel, ReadModelBehind, RuntimeClosed, Statement, SubjectForgotten
from actors.messages import name_of
from persistence import Journal, JournalDamaged, JournalUnusable, Record
from persistence.sqlite_file import may_pass
from persistence.views import SqliteView
from runtime.kinds import Kind, meta_of
from runtime.log import log
from runtime.log_watch import LogWatch
from runtime.timers import Timers

FORGOTTEN = name_of(SubjectForgotten)
LIVE_LIMIT = 4_000
"""Events that wait to be projected in memory; a read model that is further behind reads them from the journal."""
BATCH = 1_000
"""The most events that are projected in one transaction."""
CHECKPOINT_EVERY = 1_000
"""Events that are passed over before a checkpoint is written for them alone."""

AGAIN = 1.0
"""Seconds after which a journal that could not be read is read again."""


class Projector:
    """One read model at work; run as one task."""

    def __init__(self, kind: Kind, producers: list[Kind], journal: Journal, view: SqliteView, timers: Timers) -> None:
        self.kind = kind
        self.model: ReadModel = kind.cls()
        self.view = view
        self.position = 0
        """Everything up to here is in the tables."""
        self.error: BaseException | None = None
        """Why it is parked."""
        self._journal = journal
        self._timers = timers
        self._random = Random()
        self._followed = follows = set(kind.cls.follows.values())
        self._producers = {
            (producer.name, stored): producer
            for producer in producers
            if follows.intersection(producer.events.values())
            for stored, event in producer.evolution.leads_to.items()
            if event is None or event in follows
        }
        for producer in producers:
            self._producers.update(
                {(producer.name, name): producer for name, event in producer.internal.items() if event in follows}
            )
        self._categories = {producer.name: producer for producer in producers}
        known = (event for producer in producers for event in (*producer.events.values(), *producer.internal.values()))
        lost = follows.difference(known)
        if lost:
            names = sorted(event.__name__ for event in lost)
            log.warning("read model follows events that no actor here writes", read_model=kind.name, events=names)
        self.failures = 0
        """Attempts at the next events that have failed in a row."""
        self._log_watch = LogWatch(f"read model {kind.name}")
        self._closed = False
        self._live: deque[Record] = deque()
        self._wake = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

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
        """Project until cancelled; parked where an event can't be projected, until it is killed and tries again."""
        try:
            while True:
                with anyio.CancelScope() as self._scope:
                    await self._run()
                    await anyio.sleep_forever()  # parked
        finally:
            self._closed = True
            self._tell_waiting(self._closed_error())

    async def _run(self) -> None:
        self.error = None
        self.position = self.view.checkpoint
        self._live.clear()
        self.failures = since = 0
        while True:
            reading = True
            try:
                records = await self._next()
                reading = False
                await self._project(records)
                self.failures = 0
            except Exception as error:  # noqa: BLE001 (the author's code, the database, a damaged journal)
                self.failures += 1
                self.kind.counts.failures += 1
                since = since if self.failures > 1 else self._timers.now()
                retry = self.model.retry
                # A disk that is full or away, or a journal that can't be read for now, is not the read model's fault.
                passes = isinstance(error, JournalUnusable) if reading else may_pass(error)
                spent = not passes and (self._timers.now() - since) / 1e6 >= retry.budget.total_seconds()
                if spent or isinstance(error, JournalDamaged | JournalMismatch):
                    self._park(error)
                    return
                pause = retry.backoff.pause(self.failures, self._random)
                log.warning("projection failed", read_model=self.kind.name, retry_in=pause, error=repr(error))
                self._live.clear()
                self.position = self.view.checkpoint  # an error may also come after the commit
                self._let_go()
                await self._timers.pause(pause)

    async def _next(self) -> list[Record]:
        while True:
            self._wake.clear()
            live = self._live
            while live and live[0].position <= self.position:
                live.popleft()
            if live and live[0].position == self.position + 1:
                return [live.popleft() for _ in range(min(len(live), BATCH))]
            if self.position < self._journal.position:
                return await self._read()
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
        except sqlite3.Error as error:
            log.warning("read model not cleaned", read_model=self.kind.name, error=repr(error))  # after the next batch

    async def _project(self, records: list[Record]) -> None:
        statements: list[Statement] = []
        last, failure, blanks = self.position, None, False
        for record in records:
            try:
                producer = self._producer(record)
                if producer is not None:
                    blanks = blanks or record.type == FORGOTTEN
                    statements += self._statements(producer.read(record), to_meta(record))
            except Exception as error:  # noqa: BLE001 (raised below: what stands before it is no worse for it)
                failure = error
                break
            last = record.position
        if statements or last - self.view.checkpoint >= CHECKPOINT_EVERY:
            await self.view.apply(statements, last, blanks=blanks)
            self._log_watch.look(self.view.log_bytes)
        self.position = last
        self._let_go()
        if failure is not None:
            raise failure

    def _statements(self, events: Sequence[Any], meta: Meta) -> list[Statement]:
        """Return what brings the tables up to date with a whole record: all of its events, or an error."""
        statements: list[Statement] = []
        for event in events:
            if type(event) in self._followed:
                statements += self.model.project(event, meta)
        return statements

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, []
        for position, future in waiting:
            if position > self.position:
                self._waiting.append((position, future))
            elif not future.done():
                future.set_result(None)

    def _follows(self, record: Record) -> bool:
        return (record.stream[0], record.type) in self._producers

    def _producer(self, record: Record) -> Kind | None:
        """Return who knows the record's event, if the read model follows it.

        Raises:
            JournalMismatch: nobody knows it any more, so nobody knows whether the read model should follow it.
        """
        category = record.stream[0]
        producer = self._producers.get((category, record.type))
        if producer is None and "." not in record.type:
            kind = self._categories.get(category)
            if kind is not None and record.type not in kind.evolution.names:
                raise kind.unknown(record, meta_of(record).revision)
        return producer

    def _park(self, error: BaseException) -> None:
        self.error = error
        log.error("read model parked", read_model=self.kind.name, position=self.position, error=repr(error))
        self._tell_waiting(self._parked_error())

    def _tell_waiting(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def _parked_error(self) -> Parked:
        parked = Parked(f"{self.kind.name} is parked behind position {self.position}: {self.error}")
        parked.__cause__ = self.error
        return parked

    # -- what goes out ------------------------------------------------------------------------------------------

    async def reached(self, position: int) -> None:
        """Wait until everything up to ``position`` is in the tables.

        Raises:
            Parked: it will not get there by itself.
            RuntimeClosed: it was closed before it got there.
        """
        if self.position >= position:
            return
        if self._closed:
            raise self._closed_error()
        if self.error is not None:
            raise self._parked_error()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        await future

    def _closed_error(self) -> RuntimeClosed:
        return RuntimeClosed(f"the runtime was closed before {self.kind.name} got there")

    async def ask(self, query: Any, position: int, timeout: float | None) -> Any:
        """Answer a query, when the tables have reached ``position``.

        Raises:
            Parked: they will not reach it by themselves.
            ReadModelBehind: they have not reached it within ``timeout`` seconds.
        """
        with anyio.move_on_after(timeout):
            await self.reached(position)
            return await self.model.answer(self.view.reader, query)
        behind = position - self.position
        raise ReadModelBehind(
            f"{self.kind.name} is at position {self.position}, "
            + (
                f"{behind} events behind the position {position} that was asked for"
                if behind > 0
                else "and answers slowly"
            )
            + "; the events are safe, ask again later"
        )

    def unpark(self) -> None:
        """Try again from the checkpoint; does nothing where it is not parked."""
        if self.error is not None:
            self.kill()

    def kill(self) -> None:
        """Crash: what is in memory is gone; go on from the checkpoint."""
        if self._scope is not None:
            self._scope.cancel()


def to_meta(record: Record) -> Meta:
    """Return what a record says of where its event stands and where it came from."""
    meta = meta_of(record)
    return Meta(
        actor=record.stream[0],
        key=record.stream[1],
        version=record.version,
        position=record.position,
        time=datetime.fromtimestamp(record.time / 1e6, UTC),
        causation=meta.causation,
        correlation=meta.correlation,
    )
