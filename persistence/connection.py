"""SQLite connections: one hop to the connection's own thread for each unit of work."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite
import anyio

T = TypeVar("T")


async def shielded(work: Awaitable[T]) -> T:
    """Await ``work`` to its end, even if the caller is cancelled, by a scope or by ``Task.cancel``."""
    future = asyncio.ensure_future(work)
    with anyio.CancelScope(shield=True):
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:  # by Task.cancel, which no scope keeps out
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((future,))
            raise
    raise AssertionError("a scope that nobody cancels swallowed an error")


class Hop(asyncio.Future[T]):
    """What is awaited while another thread does something, and can't be called off by ``Task.cancel``.

    A task that is cancelled meanwhile hears of it when the work is done: asyncio keeps it in mind, without the task of
    its own and the two more turns of the event loop that :func:`shielded` takes.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002
        """Refuse: asyncio cancels the task when this is done."""
        return False


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function in its thread.

    A transaction as one function can't be cut in two by a cancellation, and costs one hop, not one a statement.
    """

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the connection's thread, to its end even if the caller is cancelled.

        A scope of anyio's that is cancelled is heard of behind it: what was done is told. It also tries again in each
        turn of the event loop, without a pause, to cancel who is not shielded from it.
        """
        hop: Hop[T] = Hop(loop=asyncio.get_running_loop())
        connection = self._conn
        self._tx.put_nowait((hop, lambda: work(connection)))  # pyright: ignore[reportUnknownMemberType]
        with anyio.CancelScope(shield=True):
            return await hop
        raise AssertionError("a scope that nobody cancels swallowed an error")

    def post(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Have ``work`` run in the connection's thread, behind all that was asked before; it must not raise."""
        connection = self._conn
        self._tx.put_nowait((None, lambda: work(connection)))  # pyright: ignore[reportUnknownMemberType]

    async def shut(self) -> None:
        """Close, even if the caller is cancelled: an open connection would keep its thread for ever."""
        await shielded(self._end())

    async def _end(self) -> None:
        try:
            await self.close()
        finally:
            if self._thread.is_alive():
                self._thread.join()  # it has nothing left to do but to end


async def connect(path: Path | None, *, readonly: bool = False) -> Connection:
    """Open a database file (None: one in memory), in autocommit mode.

    Only the writing connection may checkpoint: before SQLite 3.51.3 two that reset one WAL at once corrupt it.
    """
    # The path is quoted as a URI, so that any character in it is only a character.
    mode = "ro" if readonly else "rw"

    def connector() -> sqlite3.Connection:
        return sqlite3.connect(
            ":memory:" if path is None else f"file://{quote(os.fsencode(path.absolute()))}?mode={mode}",
            uri=path is not None,
            isolation_level=None,
            check_same_thread=False,
            timeout=5.0,
            cached_statements=256,
        )

    connection = Connection(connector, iter_chunk_size=64)
    try:
        await shielded(connection)  # a cancelled open would leave its thread behind (aiosqlite#259)
        if readonly:
            await connection.run(_never_write)
    except BaseException:
        await connection.shut()
        raise
    return connection


def _never_write(connection: sqlite3.Connection) -> None:
    connection.execute("pragma query_only = on")
    connection.execute("pragma wal_autocheckpoint = 0")
