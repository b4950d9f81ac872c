"""The read models' own databases on PostgreSQL: a schema for each, one process that projects, all may answer."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

from persistence import postgres_rows
from persistence.connection import shielded
from persistence.errors import JournalUnusable, StatementFailed
from persistence.postgres_client import CLOSE_TIMEOUT, CONNECT_FAULTS, CONNECT_TIMEOUT, FAULTS, driver, text_of
from persistence.postgres_partition import PARTITIONS, TABLE, PostgresPartition, end_all, move_all
from persistence.postgres_text import escaped, unescaped
from persistence.postgres_url import Place, quoted
from persistence.views import (
    NOTHING_ASIDE,
    PARKED,
    SKIPPED,
    SLOWEST,
    Aside,
    ParkedRow,
    SkippedRow,
    SqlStatement,
    View,
    form_of,
    wall_time,
)

T = TypeVar("T")

READERS = 8
"""Connections for queries at the most; more queries than that wait."""

BOOKS = """
create table understudy_checkpoint (journal text not null, position bigint not null, mark text not null,
    form text not null, made bigint not null, ready boolean not null, unclean boolean not null);
create table understudy_parked (position bigint primary key, key text not null, time bigint not null,
    error text not null, attempts integer not null);
create table understudy_skipped (position bigint primary key, key text not null, time bigint not null,
    error text not null, reason text not null, "by" text not null);
"""
KNOWN = """select journal, position, mark, ready, unclean, to_regclass('understudy_partition') is not null
    from understudy_checkpoint"""
NOT_THERE = ("42P01", "42703")
"""What the server says of a table, or a column, that isn't there."""
UNKNOWN = (0,)
"""What another process may be filling by partitions, for all that is known."""


class PostgresView(View):
    """One read model's tables, in a schema of their own."""

    first_value = "$1"

    def __init__(self, place: Place, name: str, schema: str, journal: str, now: Callable[[], int] = wall_time) -> None:
        """``name`` is the schema's at the server, ``schema`` the statements that make the tables in it."""
        super().__init__(schema, journal, now)
        self.leading = False
        self.slowest = SLOWEST
        self._marks: list[str] = []
        self._place = place
        self._name = name
        self._writer: Any = None
        self._readers: Any = None
        self._open = False

    # -- opening ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the tables, or make them; see :meth:`View.open`."""
        await self._opening(self._open_to_lead())

    async def _open_to_lead(self) -> None:
        self._open = True
        await self.lead()
        await self._open_readers()

    async def open_for_reading(self) -> None:
        """Open the tables as they are; see :meth:`View.open_for_reading`."""
        self._open = True
        await self._opening(self._open_readers())

    async def _opening(self, work: Awaitable[None]) -> None:
        try:
            await shielded(work)
        except CONNECT_FAULTS as error:
            await self.close()
            raise self._unusable(error) from error
        except BaseException:
            await self.close()
            raise

    def _unusable(self, error: Exception) -> JournalUnusable:
        return JournalUnusable(
            f"the read model's schema {self._name} at {self._place.shown} can't be used: {text_of(error)}"
        )

    async def _open_readers(self) -> None:
        self._readers = await driver.create_pool(
            self._place.dsn,
            min_size=1,
            max_size=READERS,
            timeout=CONNECT_TIMEOUT,
            server_settings=postgres_rows.settings(self._name, default_transaction_read_only="on"),
        )

    # -- leading ------------------------------------------------------------------------------------------------

    async def lead(self) -> bool:
        """Become the one who projects; see :meth:`View.lead`. It is a lock that lives as long as our connection."""
        return await shielded(self._lead())

    async def _lead(self) -> bool:
        if not self._open:
            raise JournalUnusable("the read model's database is not open")
        if self._writer is None or self._writer.is_closed():
            self.leading = False
            self._writer = await postgres_rows.connect_to_write(self._place, self._name, self.slowest)
            await self._writer.execute("select pg_advisory_lock_shared($1)", lock_of(self._name, "in use"))
        if not self.leading:
            self.leading = bool(
                await self._writer.fetchval("select pg_try_advisory_lock($1)", lock_of(self._name, "leads"))
            )
        if not await self._load():
            if self.leading:
                await self._make(self.partitions)
            else:
                self.partitioned = UNKNOWN
        return self.leading

    async def _load(self) -> bool:
        if await self._writer.fetchval("select to_regclass($1)", f"{quoted(self._name)}.understudy_skipped") is None:
            return False
        row = await self._writer.fetchrow(KNOWN)
        if row is None or row[0] != self.journal:
            return False
        rows = await self._writer.fetch(PARTITIONS) if row[-1] else ()
        _, self.checkpoint, self.mark, self.ready, self.unclean, _ = row
        self.partitioned = tuple(position for position, _ in rows)
        self._marks = [mark for _, mark in rows]
        return True

    async def _make(self, partitions: int = 1) -> None:
        async with self._writer.transaction():
            await self._writer.execute("set local client_min_messages = error")
            await self._writer.execute(f"drop schema if exists {quoted(self._name)} cascade")
            await self._writer.execute(f"create schema {quoted(self._name)}")
            if self.schema:  # a subscriber has no tables
                await self._writer.execute(self.schema)
            await self._writer.execute(BOOKS)
            if partitions > 1:
                await self._writer.execute(TABLE.format(last=partitions - 1))
            await self._writer.execute(
                "insert into understudy_checkpoint values ($1, 0, '', $2, $3, false, false)",
                self.journal,
                form_of(self.schema),
                self.now(),
            )
        self.checkpoint, self.mark, self.ready, self.unclean = 0, "", False, False
        self.partitioned, self._marks = ((0,) * partitions, [""] * partitions) if partitions > 1 else ((), [])

    async def remake(self) -> None:
        """Make the tables anew; see :meth:`View.remake`. By one: other processes may know that they can be read."""
        self._must_lead()
        try:
            await shielded(self._make())
        except FAULTS as error:
            raise self._unusable(error) from error

    def _must_lead(self) -> None:
        if self._writer is None or not self.leading:
            raise JournalUnusable(f"another process projects into the schema {self._name}, or it is not open")

    async def keep_ready(self) -> None:
        """Keep that the tables have caught up; see :meth:`View.keep_ready`."""
        self._must_lead()
        if self.partitioned:
            raise JournalUnusable(f"the schema {self._name} is still being filled by partitions")
        await self._guarded(lambda: self._writer.execute("update understudy_checkpoint set ready = true"))
        self.ready = True

    # -- projecting ---------------------------------------------------------------------------------------------

    async def apply(
        self,
        statements: Sequence[SqlStatement],
        checkpoint: int,
        *,
        mark: str = "",
        blanks: bool = False,
        aside: Aside = NOTHING_ASIDE,
    ) -> None:
        """Run the statements and move the checkpoint; see :meth:`View.apply`."""
        self._must_lead()
        if checkpoint < self.checkpoint or (checkpoint == self.checkpoint and aside is NOTHING_ASIDE):
            raise JournalUnusable(f"the schema {self._name} is at position {self.checkpoint} already")
        await self._guarded(lambda: self._apply(statements, checkpoint, mark, blanks, aside))

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something with the writing connection, to its end; without it we lead no more."""
        writer = self._writer
        try:
            return await postgres_rows.guarded(writer, work)
        finally:
            if writer.is_closed():
                self.leading = False

    async def _apply(
        self, statements: Sequence[SqlStatement], checkpoint: int, mark: str, blanks: bool, aside: Aside
    ) -> None:
        writer = self._writer
        shared = bool(self.partitioned) and (bool(statements) or aside is not NOTHING_ASIDE)
        try:
            async with writer.transaction():
                moved = await writer.execute(
                    "update understudy_checkpoint set position = $1, mark = $2, unclean = unclean or $3 "
                    "where position = $4",
                    checkpoint,
                    mark,
                    blanks,
                    self.checkpoint,
                )
                # A batch whose outcome was unknown, or that somebody else has run, must not be run twice.
                if moved != "UPDATE 1" or await _note(writer, aside) != len(aside.taken):
                    raise self._changed_by_somebody()
                if shared and not await move_all(writer, self.partitioned, checkpoint, mark):
                    raise self._changed_by_somebody()
                await postgres_rows.run(writer, statements)
        except BaseException:
            with suppress(*FAULTS):  # what is kept decides: an error may also come behind the commit
                await self._load()
            raise
        self.checkpoint, self.mark, self.unclean = checkpoint, mark, self.unclean or blanks
        if shared:
            for number, position in enumerate(self.partitioned):
                self._moved(number, max(position, checkpoint), mark if position < checkpoint else self._marks[number])

    def _changed_by_somebody(self) -> JournalUnusable:
        return JournalUnusable(f"the schema {self._name} was changed by somebody else")

    def passes(self, error: BaseException) -> bool:
        """Return whether an error is of the connection or the server; see :meth:`View.passes`."""
        return postgres_rows.passes(self._writer, error)

    # -- partitions ---------------------------------------------------------------------------------------------

    @property
    def furthest(self) -> tuple[int, str]:
        """The last event that is in any partition's rows; see :meth:`View.furthest`."""
        return max([(self.checkpoint, self.mark), *zip(self.partitioned, self._marks, strict=False)])

    def partition(self, number: int) -> PostgresPartition:
        """Return one of the partitions; see :meth:`View.partition`."""
        return PostgresPartition(
            self._place,
            self._name,
            self.slowest,
            number,
            lambda: self.partitioned[number],
            lambda position, mark: self._moved(number, position, mark),
        )

    def _moved(self, number: int, position: int, mark: str) -> None:
        self.partitioned = (*self.partitioned[:number], position, *self.partitioned[number + 1 :])
        self._marks[number] = mark

    async def unite(self) -> None:
        """Keep that the tables are whole; see :meth:`View.unite`."""
        self._must_lead()

        async def work() -> None:
            try:
                async with self._writer.transaction():
                    if not await end_all(self._writer, self.checkpoint):
                        raise self._changed_by_somebody()
            except BaseException:
                with suppress(*FAULTS):  # what is kept decides
                    await self._load()
                raise
            self.partitioned, self._marks = (), []

        await self._guarded(work)

    async def clean(self) -> None:
        """Write the tables anew, so that nothing is left in their files of what was blanked; see :meth:`View.clean`."""
        self._must_lead()

        async def work() -> None:
            for (table,) in await self._writer.fetch(
                "select tablename from pg_tables where schemaname = $1", self._name
            ):
                await self._writer.execute(f"vacuum (full) {quoted(self._name)}.{quoted(table)}")
            await self._writer.execute("update understudy_checkpoint set unclean = false")
            self.unclean = False

        await self._guarded(work)

    # -- reading ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Any]:
        """Return one of the connections for queries; see :meth:`View.reading`."""
        if self._readers is None:
            raise JournalUnusable("the read model's database is not open")
        try:
            connection = await self._readers.acquire(timeout=CONNECT_TIMEOUT)
        except FAULTS as error:
            raise self._unusable(error) from error
        try:
            yield connection
        finally:
            with suppress(*FAULTS):  # one that was lost is made again by the pool
                await shielded(self._readers.release(connection))

    async def parked(self) -> list[ParkedRow]:
        """Return the events that are set aside; see :meth:`View.parked`."""
        rows = await self._found(PARKED)
        return [ParkedRow(at, *map(_or_same, values)) for at, *values in rows]

    async def skipped(self) -> list[SkippedRow]:
        """Return the events that were skipped; see :meth:`View.skipped`."""
        rows = await self._found(SKIPPED)
        return [SkippedRow(at, *map(_or_same, values)) for at, *values in rows]

    async def value(self, query: str) -> Any:
        """Return the first value that a query finds; see :meth:`View.value`."""
        try:
            rows = await self._found(query)
        except JournalUnusable as error:
            if getattr(error.__cause__, "sqlstate", None) in NOT_THERE:
                raise StatementFailed(str(error)) from error.__cause__
            raise
        return rows[0][0] if rows else None

    async def _found(self, query: str) -> list[Any]:
        async with self.reading() as db:
            try:
                rows: list[Any] = await db.fetch(query)
            except FAULTS as error:
                raise self._unusable(error) from error
            return rows

    async def close(self) -> None:
        """Close the connections. Does nothing where it is not open."""
        self._open = False
        await shielded(self._close())

    async def _close(self) -> None:
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        self.leading = False
        if readers is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await readers.close()
            except FAULTS:
                readers.terminate()
        if writer is not None and not writer.is_closed():
            try:
                await writer.close(timeout=CLOSE_TIMEOUT)
            except FAULTS:
                writer.terminate()


def _or_same(value: Any) -> Any:
    return unescaped(value) if isinstance(value, str) else value


async def _note(writer: Any, aside: Aside) -> int:
    """Change what is set aside; return how many have left the list."""
    if aside is NOTHING_ASIDE:
        return 0
    taken = await writer.fetch(
        "delete from understudy_parked where position = any($1::bigint[]) returning 1", list(aside.taken)
    )
    await writer.executemany(
        """insert into understudy_parked values ($1, $2, $3, $4, $5) on conflict (position) do update
            set key = excluded.key, time = excluded.time, error = excluded.error, attempts = excluded.attempts""",
        [(row.position, escaped(row.key), row.time, escaped(row.error), row.attempts) for row in aside.parked],
    )
    await writer.executemany(
        "insert into understudy_skipped values ($1, $2, $3, $4, $5, $6)",
        [
            (row.position, escaped(row.key), row.time, *map(escaped, (row.error, row.reason, row.by)))
            for row in aside.skipped
        ],
    )
    return len(taken)


def lock_of(name: str, what: Literal["leads", "in use"]) -> int:
    """Return the number of the lock that he who projects into a schema holds, or that all share who use it."""
    return int.from_bytes(hashlib.blake2b(f"understudy {what} {name}".encode(), digest_size=8).digest(), signed=True)
