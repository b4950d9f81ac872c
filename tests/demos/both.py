"""A demo whose read models are on SQLite, or on PostgreSQL."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest

from runtime import Clock, Runtime
from tests.postgres import a_schema, needs_server, url_of

both = pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=needs_server)])


@asynccontextmanager
async def on(
    database: str, actors: Sequence[type], on_postgres: Sequence[type], clock: Clock | None = None
) -> AsyncGenerator[Runtime]:
    """Yield a runtime whose journal is in memory, and whose read models are on this database."""
    if database == "sqlite":
        async with Runtime("memory:", actors, clock=clock) as runtime:
            yield runtime
        return
    async with a_schema() as schema, Runtime("memory:", on_postgres, views=url_of(schema), clock=clock) as runtime:
        yield runtime
