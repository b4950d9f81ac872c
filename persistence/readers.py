"""Connections for queries: each query has one to itself, and sees the database as it is when it begins to read.

On one connection that several queries share, one that is still reading holds the others to what was there when it
began: SQLite has one moment for all statements of a connection. A query that must see what was just written would not.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from persistence.connection import Connection, connect

READERS = 4
"""How many queries read one database at a time; more wait for their turn."""


class Readers:
    """The connections for queries to one file; opened when they are needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[Connection] = []
        self._broken: set[Connection] = set()
        self._places = asyncio.Semaphore(READERS)
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Connection]:
        """Return a read-only connection to one query, in a transaction: all of its statements see one moment.

        That is the moment of the first one that reads, so the transaction is begun long before: when the connection
        comes back from the query before, whose caller need not wait for it.

        Raises:
            sqlite3.Error: there is none to be had.
        """
        async with self._places:
            connection = await self._take()
            try:
                yield connection
            finally:
                if self._closed:
                    await connection.shut()
                else:
                    connection.post(partial(self._begin, connection))
                    self._idle.append(connection)

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection not in self._broken:
                return connection
            self._broken.discard(connection)
            await connection.shut()
        connection = await connect(self._path, readonly=True)
        connection.post(partial(self._begin, connection))
        return connection

    def _begin(self, connection: Connection, db: sqlite3.Connection) -> None:
        """Let go of what the last query has seen; in the connection's thread."""
        try:
            if db.in_transaction:
                db.execute("rollback")
            db.execute("begin")
        except sqlite3.Error:
            self._broken.add(connection)  # the next query gets another one

    async def close(self) -> None:
        """Close all that are idle now, and the others when their queries have ended."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.shut()
