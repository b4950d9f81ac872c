"""Lending a read model's database to queries, so that it is closed only when the last of them has ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from persistence.views import View

PATIENCE = 60.0
"""Seconds after which a database is closed under a query that still runs."""


class Lending:
    """One database, and the queries that run in it."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._lent = 0
        self._back = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Any]:
        """Return the connection for one query, while it runs."""
        self._lent += 1
        try:
            async with self.view.reading() as db:
                yield db
        finally:
            self._lent -= 1
            if not self._lent:
                self._back.set()

    async def close(self) -> None:
        """Close the database when no query is in it; nobody may begin another one."""
        with anyio.move_on_after(PATIENCE):
            while self._lent:
                self._back.clear()
                await self._back.wait()
        await self.view.close()
