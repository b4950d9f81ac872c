"""Read models: events projected a second, the time from a reply to its being seen, queries a second while others write.

    python -m benchmarks.read_models [--postgres URL] [--peers PYTHON] [--scale 1.0] [--rounds 3] [--loop LOOP]
                                     [--fsync MS] [--json FILE]

The journal is always an SQLite file; the read model's tables are in memory, in a file, or on PostgreSQL; a fold is one
value in memory. With ``--postgres`` a heavy read model, whose statement makes a tsvector under an index, is built by
1, 2 and 4 partitions as well. PYTHON is an interpreter that has eventsourcing installed, whose projection is built in
the same rounds, in a file.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors import Fold, Meta, Query, ReadModel, State, Statement, sql
from benchmarks.contestants import ROOT
from benchmarks.disk import add_fsync, print_fsync
from benchmarks.journals import Figures, best
from benchmarks.loops import add_loop
from benchmarks.measuring import latency
from benchmarks.raw import SCHEMA
from benchmarks.sagas import Hold, PlaceHeld, Places
from persistence import Append, NewEvent, SqliteJournal
from persistence.postgres_client import connect
from persistence.postgres_url import parse_url, quoted
from runtime import Runtime

EVENTS, WATCHED, STREAMS = 100_000, 1_000, 1_000
"""Events to build from; commands whose visibility is timed; streams that the events are of."""
QUERIES, READERS, WRITERS = 5_000, 10, 20
"""Queries that are timed; who asks them at once, and who sends commands meanwhile, without a pause."""
PEER_EVENTS = 20_000
HEAVY_EVENTS, PARTITIONS = 40_000, (1, 2, 4)
"""Events that the heavy read model is built from, and by how many partitions."""
WORDS = "The room has a window to the harbour, breakfast is late and good, and the station is near. " * 12
"""What a guest says of a place."""


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


async def query(journal: Any, model: type[ReadModel], count: int, **options: Any) -> Figures:
    """Queries a second, of what is there and of all that is committed, while others write as fast as they can."""
    figures: Figures = {}
    async with Runtime(journal, [Places, model], **options) as runtime:
        anyone: Any = runtime
        written, done = 0, asyncio.Event()

        async def write(n: int) -> None:
            nonlocal written
            while not done.is_set():
                await runtime.ask(Places.at(f"p{written % 10}"), Hold(f"t{n}"))
                written += 1

        writers = [asyncio.ensure_future(write(n)) for n in range(WRITERS)]
        for name, consistent in (("queries", False), ("consistent", True)):
            numbers, before, begun = iter(range(count)), written, time.perf_counter()

            async def read(numbers: Any = numbers, consistent: bool = consistent) -> None:
                for _ in numbers:
                    await anyone.ask(model.at(), Seats(), consistent=consistent)

            await asyncio.gather(*(read() for _ in range(READERS)))
            seconds = time.perf_counter() - begun
            figures |= {f"{name}_per_second": count / seconds, f"{name}_beside_commands": (written - before) / seconds}
        done.set()
        await asyncio.gather(*writers)
    return figures


def peer(python: str, scale: float) -> Figures:
    """Events a second that eventsourcing's projection takes in."""
    count = max(1_000, int(PEER_EVENTS * scale))
    with tempfile.TemporaryDirectory() as folder:
        script = [python, "-m", "benchmarks.peers.eventsourcing_reading", "sqlite", "project", str(count)]
        place = f"{folder}/peer.db"
        told = subprocess.run([*script, place, folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {"events_per_second": float(json.loads(told)["projected_per_second"])}


class Sum(State):
    seats: int = 0
    last: str = ""


class TripsFolded(Fold[Sum]):
    """The sum of the same, in memory."""

    initial = Sum()

    def evolve(self, state: Sum, event: PlaceHeld, _meta: Meta) -> Sum:
        return Sum(state.seats + 1, event.trip)

    def answer(self, state: Sum, _query: Seats) -> int:
        return state.seats


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


class Reviews(ReadModel):
    """A heavy one: the server makes a tsvector of each event, and keeps it in an index."""

    schema = """create table reviews (place text not null, number bigint not null, words tsvector not null,
        primary key (place, number)); create index words on reviews using gin (words)"""

    def project(self, event: PlaceHeld, meta: Meta) -> Iterator[Statement]:
        yield sql(
            "insert into reviews values ($1, $2, to_tsvector('english', $3))",
            meta.key,
            meta.version,
            f"{event.trip} {WORDS} {event.trip}{event.number}",
        )

    def key(self, _event: PlaceHeld, meta: Meta) -> str:
        return meta.key

    async def answer(self, db: Any, _query: Seats) -> int:
        return int(await db.fetchval("select count(*) from reviews"))


def in_partitions(number: int) -> type[Reviews]:
    return type("Reviews", (Reviews,), {"partitions": number})


async def one_heavy_round(folder: Path, views: str, number: int, scale: float) -> Figures:
    count = max(1, int(HEAVY_EVENTS * scale) // STREAMS) * STREAMS
    await fill(folder / "journal.db", count)
    return await build(f"sqlite:{folder / 'journal.db'}", in_partitions(number), count, views=views)


async def one_round(folder: Path, model: type[ReadModel], views: str | None, scale: float) -> Figures:
    count = int(EVENTS * scale) // STREAMS * STREAMS
    await fill(folder / "journal.db", count)
    options: dict[str, Any] = {"views": views} if views else {}
    figures = await build(f"sqlite:{folder / 'journal.db'}", model, count, **options)
    figures |= await see(f"sqlite:{folder / 'other.db'}", model, int(WATCHED * scale), **options)
    return figures | await query(f"sqlite:{folder / 'third.db'}", model, int(QUERIES * scale), **options)


async def drop_views(server: str) -> None:
    link = await connect(parse_url(server))
    for (schema,) in await link.fetch("select nspname from pg_namespace where nspname like $1", f"{SCHEMA}\\_%"):
        await link.script(f"set client_min_messages = error; drop schema {quoted(schema)} cascade")
    await link.shut()


def main() -> None:
    parser = argparse.ArgumentParser(description="how fast read models are built and kept")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in schemas of our own")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has eventsourcing installed")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many events")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    add_loop(parser)
    add_fsync(parser)
    options = parser.parse_args()
    print_fsync()
    works: dict[str, tuple[type[ReadModel], str | None]] = {
        "sqlite": (Trips, None),
        "memory": (Trips, "memory:"),
        "fold": (TripsFolded, None),
    }
    if options.postgres:
        works["postgresql"] = (TripsOnPostgres, f"{options.postgres}?schema={SCHEMA}")
    table: dict[str, Figures] = {}
    if options.peers:
        table["eventsourcing"] = best([peer(options.peers, options.scale) for _ in range(options.rounds)])
    for name, (model, views) in works.items():
        rounds: list[Figures] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(asyncio.run(one_round(Path(folder), model, views, options.scale)))
            if options.postgres:
                asyncio.run(drop_views(options.postgres))
        table[name] = best(rounds)
    if options.postgres:
        heavy: dict[int, list[Figures]] = {number: [] for number in PARTITIONS}
        for _ in range(options.rounds):
            for number, rounds in heavy.items():
                with tempfile.TemporaryDirectory() as folder:
                    views = f"{options.postgres}?schema={SCHEMA}"
                    rounds.append(asyncio.run(one_heavy_round(Path(folder), views, number, options.scale)))
                asyncio.run(drop_views(options.postgres))
        table |= {f"heavy, by {number}": best(rounds) for number, rounds in heavy.items()}
    for name, figures in table.items():
        print(f"{name:14}" + "".join(f"  {what} {figure:,.2f}" for what, figure in figures.items()))
        if name != "eventsourcing" and not name.startswith("heavy") and options.peers:
            times = figures["events_per_second"] / table["eventsourcing"]["events_per_second"]
            print(f"{'':14}  built {times:.1f} times as fast as eventsourcing")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
