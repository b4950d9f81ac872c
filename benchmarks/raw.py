"""Raw inserts: as many rows in a transaction as there are commands in flight, without any of the checks."""

import sqlite3
import tempfile
import time
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from persistence.postgres_client import connect
from persistence.postgres_url import parse_url

SERVICES = 1_000
SCHEMA = "understudy_benchmark"
TABLE = """create table events (position bigint primary key, stream bigint not null, version bigint not null,
    type text not null, time bigint not null, command text, data text not null, meta text not null, crc bigint not null,
    unique (stream, version))"""
META = '{"causation":"benchmark-123456","correlation":"benchmark-123456","event":"0123456789abcdef01234567"}'
INSERT = """insert into events select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[],
    $6::text[], $7::text[], $8::text[], $9::bigint[])"""


def rows(first: int, count: int) -> list[tuple[Any, ...]]:
    """Return rows as ours are."""
    return [
        (n, n % SERVICES, n // SERVICES, "PlaceHeld", n, f"benchmark-{n}", f'{{"trip":"t{n}","number":{n}}}', META, n)
        for n in range(first, first + count)
    ]


def executemany(group: int, count: int) -> float:
    """Return rows a second of ``executemany`` on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(f"{folder}/raw.db", isolation_level=None)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute(TABLE)
        begun = time.perf_counter()
        for first in range(0, count, group):
            db.execute("begin immediate")
            db.executemany("insert into events values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows(first, group))
            db.execute("commit")
        seconds = time.perf_counter() - begun
        db.close()
    return count / seconds


async def unnest(server: str, group: int, count: int) -> float:
    """Return rows a second of one statement with arrays on PostgreSQL."""
    await drop(server, make=True)
    link = await connect(parse_url(f"{server}?schema={SCHEMA}"))
    await link.script(TABLE)
    begun = time.perf_counter()
    for first in range(0, count, group):
        await link.fetch(INSERT, *(list(column) for column in zip(*rows(first, group), strict=True)))
    seconds = time.perf_counter() - begun
    await link.shut()
    await drop(server)
    return count / seconds


async def copy(server: str, group: int, count: int) -> float:
    """Return rows a second of COPY on PostgreSQL."""
    await drop(server, make=True)
    db: Any = await asyncpg.connect(parse_url(server).dsn, server_settings={"search_path": SCHEMA})
    await db.execute(TABLE)
    begun = time.perf_counter()
    for first in range(0, count, group):
        await db.copy_records_to_table("events", records=rows(first, group))
    seconds = time.perf_counter() - begun
    await db.close()
    await drop(server)
    return count / seconds


async def drop(server: str, *, make: bool = False) -> None:
    """Drop our schema; make an empty one where it is wanted."""
    link = await connect(parse_url(server))
    await link.script(f"drop schema if exists {SCHEMA} cascade")
    if make:
        await link.script(f"create schema {SCHEMA}")
    await link.shut()
