"""Connections for queries: each query has one to itself, and sees the database as it is when it begins to read.

On one connection that several queries share, one that is still reading holds the others to what was there when it
began: SQLite has one moment for all statements of a connection. A query that must see what was just written would not.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from persistence.connection import Connection, connect, shielded

READERS = 4
"""How many queries read one database at a time; more wait for their turn."""


class Readers:
    """The connections for queries to one file; opened when they are needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(READERS)
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Connection]:
        """Return a read-only connection to one query, in a transaction: all of its statements see one moment.

        Raises:
            sqlite3.Error: there is none to be had.
        """
        async with self._places:
            connection = self._idle.pop() if self._idle else await connect(self._path, readonly=True)
            try:
                await connection.run(_begin)
                yield connection
            finally:
                await shielded(self._take_back(connection))

    async def _take_back(self, connection: Connection) -> None:
        try:
            await connection.run(_end)
        except sqlite3.Error:
            await connection.shut()  # the next query gets another one
            return
        if self._closed:
            await connection.shut()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Close all that are idle now, and the others when their queries have ended."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.shut()


def _begin(db: sqlite3.Connection) -> None:
    db.execute("begin")


def _end(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("rollback")
