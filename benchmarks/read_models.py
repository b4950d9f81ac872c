"""Read models: events projected a second when one is built, and the time from a reply to its being seen.

    python -m benchmarks.read_models [--postgres URL] [--scale 1.0] [--rounds 3] [--json FILE]

The journal is always an SQLite file; the read model's tables are in memory, in a file, or on PostgreSQL.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors import Meta, Query, ReadModel, Statement, sql
from benchmarks.commands import SCHEMA
from benchmarks.journals import Figures, best
from benchmarks.measuring import latency
from benchmarks.sagas import Hold, PlaceHeld, Places
from persistence import Append, NewEvent, SqliteJournal
from persistence.postgres_client import connect
from persistence.postgres_url import parse_url, quoted
from runtime import Runtime

EVENTS, WATCHED, STREAMS = 100_000, 1_000, 1_000
"""Events to build from; commands whose visibility is timed; streams that the events are of."""


class Seats(Query["Trips", int]):
    pass


class Trips(ReadModel):
    schema = "create table trips (place text primary key, seats integer not null, last text not null)"

    def project(self, event: PlaceHeld, meta: Meta) -> Iterator[Statement]:
        yield sql(
            "insert into trips values (?, 1, ?) on conflict do update set seats = seats + 1, last = excluded.last",
            meta.key,
            event.trip,
        )

    async def answer(self, db: Any, _query: Seats) -> int:
        async with db.execute("select sum(seats) from trips") as rows:
            return int((await rows.fetchone())[0] or 0)


async def fill(path: Path, count: int) -> None:
    journal = SqliteJournal(path, "normal")
    await journal.open()
    each = count // STREAMS
    for stream in range(STREAMS):
        new = [
            NewEvent(
                "PlaceHeld",
                b'{"type":"PlaceHeld","trip":"t%d","number":%d}' % (n, n),
                b'{"causation":"c","correlation":"c"}',
            )
            for n in range(each)
        ]
        await journal.append([(Append(("Places", f"p{stream}"), 0, new, 1),)])
    await journal.close()


async def build(journal: Any, model: type[ReadModel], count: int, **options: Any) -> Figures:
    begun = time.perf_counter()
    async with Runtime(journal, [Places, model], **options) as runtime:
        anyone: Any = runtime
        assert await anyone.ask(model.at(), Seats(), consistent=True) == count
        return {"events_per_second": count / (time.perf_counter() - begun)}


async def see(journal: Any, model: type[ReadModel], count: int, **options: Any) -> Figures:
    seconds: list[float] = []
    async with Runtime(journal, [Places, model], **options) as runtime:
        anyone: Any = runtime
        for n in range(count):
            await runtime.ask(Places.at(f"p{n % 10}"), Hold(f"t{n}"))
            begun = time.perf_counter()
            await anyone.ask(model.at(), Seats(), consistent=True)
            seconds.append(time.perf_counter() - begun)
    found = latency(seconds)
    return {"visible_p50_ms": found["p50_us"] / 1e3, "visible_p99_ms": found["p99_us"] / 1e3}


class TripsOnPostgres(Trips):
    """The same in the server's words."""

    schema = "create table trips (place text primary key, seats bigint not null, last text not null)"

    def project(self, event: PlaceHeld, meta: Meta) -> Iterator[Statement]:
        yield sql(
            "insert into trips values ($1, 1, $2) on conflict (place) do update "
            "set seats = trips.seats + 1, last = excluded.last",
            meta.key,
            event.trip,
        )

    async def answer(self, db: Any, _query: Seats) -> int:
        return int(await db.fetchval("select sum(seats) from trips") or 0)


async def one_round(folder: Path, model: type[ReadModel], views: str | None, scale: float) -> Figures:
    count = int(EVENTS * scale) // STREAMS * STREAMS
    await fill(folder / "journal.db", count)
    options: dict[str, Any] = {"views": views} if views else {}
    figures = await build(f"sqlite:{folder / 'journal.db'}", model, count, **options)
    return figures | await see(f"sqlite:{folder / 'other.db'}", model, int(WATCHED * scale), **options)


async def drop_views(server: str) -> None:
    link = await connect(parse_url(server))
    for (schema,) in await link.fetch("select nspname from pg_namespace where nspname like $1", f"{SCHEMA}\\_%"):
        await link.script(f"set client_min_messages = error; drop schema {quoted(schema)} cascade")
    await link.shut()


def main() -> None:
    parser = argparse.ArgumentParser(description="how fast read models are built and kept")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in schemas of our own")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many events")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    options = parser.parse_args()
    works: dict[str, tuple[type[ReadModel], str | None]] = {"sqlite": (Trips, None), "memory": (Trips, "memory:")}
    if options.postgres:
        works["postgresql"] = (TripsOnPostgres, f"{options.postgres}?schema={SCHEMA}")
    table: dict[str, Figures] = {}
    for name, (model, views) in works.items():
        rounds: list[Figures] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(asyncio.run(one_round(Path(folder), model, views, options.scale)))
            if options.postgres:
                asyncio.run(drop_views(options.postgres))
        table[name] = best(rounds)
    for name, figures in table.items():
        print(f"{name:12}" + "".join(f"  {what} {figure:,.2f}" for what, figure in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
