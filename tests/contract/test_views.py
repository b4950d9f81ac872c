"""Read models' databases keep the contract: SQLite in memory and in files, and PostgreSQL."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from persistence.postgres_shelf import PostgresShelf
from persistence.postgres_url import parse_url
from persistence.sqlite_shelf import SqliteShelf
from persistence.views import Shelf, View
from tests.contract.view_contract import KeptViewContract, ViewContract
from tests.postgres import drop_all, needs_server, url_of


class OnSqlite(ViewContract):
    async def rows(self, view: View, query: str = "select trip, seat from trips order by trip") -> list[Any]:
        async with view.reading() as db, db.execute(query) as cursor:
            return [tuple(row) for row in await cursor.fetchall()]

    async def write(self, view: View) -> None:
        async with view.reading() as db:
            await db.execute("delete from trips")


class TestSqliteViewInMemory(OnSqlite):
    keeps = False

    def shelf(self, folder: Path) -> Shelf:
        return SqliteShelf(None)


class TestSqliteView(OnSqlite, KeptViewContract):
    def shelf(self, folder: Path) -> Shelf:
        return SqliteShelf(folder / "journal.db")


@needs_server
class TestPostgresView(KeptViewContract):
    mark = "$"

    def shelf(self, folder: Path) -> Shelf:
        name = f"test {blake2b(str(folder).encode(), digest_size=8).hexdigest()}"
        return PostgresShelf(parse_url(url_of(name)))

    @asynccontextmanager
    async def room(self, folder: Path) -> AsyncGenerator[Shelf]:
        try:
            async with super().room(folder) as shelf:
                yield shelf
        finally:
            await drop_all(f"test {blake2b(str(folder).encode(), digest_size=8).hexdigest()}_")

    async def rows(self, view: View, query: str = "select trip, seat from trips order by trip") -> list[Any]:
        async with view.reading() as db:
            return [tuple(row) for row in await db.fetch(query)]

    async def write(self, view: View) -> None:
        async with view.reading() as db:
            await db.execute("delete from trips")
