"""The PostgreSQL server that tests use where it answers: a schema for each test, dropped after it.

``UNDERSTUDY_POSTGRES`` names it (default: the one on this machine). In CI tests fail where there is none.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from persistence.errors import JournalError
from persistence.postgres_client import Link, Row, connect
from persistence.postgres_url import parse_url, quoted

SERVER = os.environ.get("UNDERSTUDY_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


def url_of(schema: str, server: str = SERVER) -> str:
    return f"{server}?schema={quote(schema, safe='')}"


def through(port: int) -> str:
    """Return the server's URL as seen through a relay on this machine."""
    parts = urlsplit(SERVER)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()


@cache
def missing() -> str:
    """Why there is no server to test with, or nothing."""

    async def look() -> str:
        try:
            await (await connect(parse_url(SERVER))).shut()
        except JournalError as error:
            return str(error)
        return ""

    return asyncio.run(look())


def answers() -> bool:
    """Whether tests that need the server run: where it answers, and in CI in any case, so that they fail there."""
    return bool(os.environ.get("CI")) or not missing()


needs_server = pytest.mark.postgres


async def run(statement: str, *values: object, schema: str = "public") -> list[Row]:
    """Run one statement beside the journal's own connections."""
    link: Link = await connect(parse_url(url_of(schema)))
    try:
        return await link.fetch(statement, *values)
    finally:
        await link.shut()


@asynccontextmanager
async def a_schema(name: str = "") -> AsyncGenerator[str]:
    """Yield the name of a schema that isn't there yet; drop it at the end, with those of the read models beside it."""
    name = name or f"test_{uuid4().hex[:16]}"  # of a longer one, read models would use a part only
    try:
        yield name
    finally:
        await _drop("nspname = $1 or starts_with(nspname::text, $1 || '_')", name)


async def drop(schema: str) -> None:
    await _drop("nspname = $1", schema)


async def drop_all(start: str) -> None:
    """Drop the schemas whose names begin so."""
    await _drop("starts_with(nspname::text, $1)", start)


async def _drop(which: str, value: str) -> None:
    link = await connect(parse_url(SERVER))
    try:
        for (schema,) in await link.fetch(f"select nspname from pg_namespace where {which}", value):
            await link.script(f"drop schema if exists {quoted(schema)} cascade")
    finally:
        await link.shut()
