"""Given, when, then for read models: events, and the rows that must come of them."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from actors import Address, Query, ReadModel, Statement
from actors.read_model import SqlValue
from persistence import Record
from runtime.projection import Poison, Projection
from runtime.simulation.asked import Asked
from runtime.simulation.bench import Bench, driven
from runtime.simulation.company import Company
from runtime.simulation.past import Past, write_past
from runtime.simulation.telling import difference, several, unexpected

A = TypeVar("A", bound=ReadModel)
R = TypeVar("R")

Row = tuple[SqlValue, ...]


class ReadModelGiven(Generic[A]):
    """A read model over an SQLite database in memory, and the events that have happened so far."""

    def __init__(self, read_model: type[A], now: datetime | None, actors: Sequence[type]) -> None:
        self._company = Company(read_model, actors)
        self._kind = self._company.kind(read_model.__name__)
        self._bench = Bench(self._company, self._kind, now)
        self._projected = 0
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self._db.executescript(read_model.schema)
        except sqlite3.Error as error:
            self._db.close()
            raise AssertionError(f"the schema of {self._kind.name} can't be made: {error}") from error

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()

    def events(self, of: Address[Any], *events: Past) -> Self:
        """Have events of a service or saga happen, behind those that were given before.

        Raises:
            AssertionError: the read model can't project one, or ``project`` is not pure.
        """
        __tracebackhide__ = True
        write_past(self._bench, of, self._company.kind(of.actor), events)
        projection = Projection(self._kind, self._company.writers_of(self._kind))
        for record in self._bench.stored(of):
            if record.position > self._projected:
                self._project(projection, record)
        self._projected = self._bench.memory.position
        return self

    def rows(self, query: str, *values: SqlValue) -> list[Row]:
        """Return the rows that a query finds in its tables."""
        return self._db.execute(query, values).fetchall()

    def then(self, query: str, *rows: Row, values: Sequence[SqlValue] = ()) -> Self:
        """Expect a query to find these rows, in this order; ``values`` are bound to its ``?``.

        Raises:
            AssertionError: it finds others.
        """
        __tracebackhide__ = True
        found = self.rows(query, *values)
        if found != list(rows):
            raise unexpected(f"{self._kind.name}: {query}", several(rows), several(found))
        return self

    def asks(self, query: Query[A, R]) -> Asked[Self, R]:
        """Ask it something; write what it says as ``.asks(query).answers(reply)``.

        What ``answer`` is given can ``execute`` and ``execute_fetchall`` as an ``aiosqlite.Connection``.

        Raises:
            AssertionError: it changes rows.
            TypeError: its answer is not what the query declares.
        """
        __tracebackhide__ = True
        model: ReadModel = self._kind.cls()
        before = self._db.total_changes
        found = driven(model.answer(_Connection(self._db), query))
        self._kind.check_reply(type(query), found)
        if self._db.total_changes != before:
            raise AssertionError(f"{self._kind.name}.answer changes rows; it must only read")
        return Asked(self, self._kind.name, query, found)

    def _project(self, projection: Projection, record: Record) -> None:
        __tracebackhide__ = True
        try:
            found = projection.events(record)
            statements = projection.statements(record, found) if found else []
            again = projection.statements(record, found) if found else []
        except Poison as error:
            raise AssertionError(f"{self._kind.name}: {error}") from error.__cause__
        if statements != again:
            first, then = several(map(_statement, statements)), several(map(_statement, again))
            raise AssertionError(
                f"{self._kind.name}.project is not pure: for the same {record.type} it yields one thing and then "
                f"another\n(- first, + then)\n{difference(first, then)}"
            )
        for statement in statements:
            try:
                self._db.execute(statement.text, statement.values)
            except (sqlite3.Error, OverflowError) as error:
                raise AssertionError(f"{self._kind.name}: {_statement(statement)} fails: {error}") from error


def _statement(statement: Statement) -> str:
    return f"sql({', '.join(map(repr, (statement.text, *statement.values)))})"


class _Cursor:
    """A cursor as ``aiosqlite`` has it, that never has to wait."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def fetchall(self) -> Iterable[Any]:
        return self._cursor.fetchall()

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchmany(self, size: int = 100) -> Iterable[Any]:
        return self._cursor.fetchmany(size)

    async def close(self) -> None:
        self._cursor.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        row = self._cursor.fetchone()
        if row is None:
            raise StopAsyncIteration
        return row


class _Execution:
    """What ``execute`` gives: to be awaited, or entered."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = _Cursor(cursor)

    def __await__(self) -> Any:
        yield from ()
        return self._cursor

    async def __aenter__(self) -> _Cursor:
        return self._cursor

    async def __aexit__(self, *_: object) -> None:
        await self._cursor.close()


class _Connection:
    """A connection as ``aiosqlite`` has it, as far as reading goes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def execute(self, text: str, values: Any = ()) -> _Execution:
        return _Execution(self._db.execute(text, values))

    async def execute_fetchall(self, text: str, values: Any = ()) -> Iterable[Any]:
        return self._db.execute(text, values).fetchall()
