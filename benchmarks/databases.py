"""Databases of our own to measure in, which are gone afterwards."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from benchmarks.raw import SCHEMA, drop
from persistence.postgres_client import connect
from persistence.postgres_url import parse_url


async def run(server: str, *statements: str) -> None:
    """Run statements in a PostgreSQL database."""
    link = await connect(parse_url(server))
    for statement in statements:
        await link.script(statement)
    await link.shut()


@asynccontextmanager
async def place(postgres: str | None) -> AsyncGenerator[str]:
    """A journal of our own, by its URL: on SQLite, or in a schema of a PostgreSQL database."""
    if postgres is None:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:{folder}/journal.db"
        return
    await drop(postgres)
    try:
        yield f"{postgres}?schema={SCHEMA}"
    finally:
        await drop(postgres)


@contextmanager
def a_database(server: str, name: str) -> Generator[str]:
    """A PostgreSQL database of this name beside another one, by its URL."""
    asyncio.run(run(server, f"drop database if exists {name} with (force)", f"create database {name}"))
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        asyncio.run(run(server, f"drop database if exists {name} with (force)"))
