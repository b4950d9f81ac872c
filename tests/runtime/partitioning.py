"""A read model that is built in partitions, and histories that show whether it was built well."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import Meta, Query, ReadModel, RetryPolicy, Statement, sql
from persistence import Append, NewEvent, SqliteJournal
from persistence.postgres_partition import PostgresPartition
from persistence.postgres_view import PostgresView
from runtime import Runtime
from runtime import projector as projector_module
from runtime.partitioned_build import PartitionedBuild
from tests.postgres import a_schema, run
from tests.runtime.cast import WasHeld

BAD: set[str] = set()
Told = tuple[str, str]
"""A room, and a trip that it is held for."""


class Rows(Query["Ledger", dict[str, str]]):
    """All rows, by floor."""


class Ledger(ReadModel):
    """A row for each floor, made of the events of its rooms, whose order shows in it."""

    schema = "create table ledger (floor text primary key, trips text not null check (trips not like '%x%'))"
    retry = RetryPolicy(budget=timedelta(0))
    partitions = 3

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        yield sql(
            "insert into ledger values ($1, $2) on conflict (floor) do update "
            "set trips = ledger.trips || ' ' || excluded.trips",
            meta.key[0],
            event.trip,
        )

    def key(self, event: WasHeld, meta: Meta) -> str:
        return meta.key[0]

    def about(self, query: Rows) -> str | None:
        return None

    async def answer(self, db: Any, query: Rows) -> dict[str, str]:
        return dict(await db.fetch("select floor, trips from ledger"))


class Alone(Ledger):
    """The same, built by one."""

    partitions = 1


Alone.__name__ = "Ledger"


class Slowly(Ledger):
    """Another version of it."""

    version = 2


Slowly.__name__ = "Ledger"


def history(seed: int, count: int, floors: str = "abcdefgh") -> list[Told]:
    """Return a random history."""
    random = Random(seed)
    return [(f"{random.choice(floors)}{random.randrange(3)}", f"t{n}") for n in range(count)]


def folded(told: Sequence[Told]) -> dict[str, str]:
    """Return the rows that a history leads to."""
    rows: dict[str, list[str]] = {}
    for room, trip in told:
        rows.setdefault(room[0], []).append(trip)
    return {floor: " ".join(trips) for floor, trips in rows.items()}


async def write(path: Path, told: Sequence[Told]) -> None:
    """Append a history to a journal, event by event."""
    journal = SqliteJournal(path, "normal")
    await journal.open()
    try:
        heads = await journal.heads([("Room", room) for room, _ in told])
        for room, trip in told:
            stream = ("Room", room)
            event = NewEvent("WasHeld", b'{"type":"WasHeld","trip":"%s"}' % trip.encode(), b"{}")
            await journal.append([(Append(stream, heads.get(stream, 0), [event], 1),)])
            heads[stream] = heads.get(stream, 0) + 1
    finally:
        await journal.close()


async def tables(schema: str) -> list[str]:
    rows = await run("select nspname from pg_namespace where starts_with(nspname::text, $1) order by 1", f"{schema}_")
    return [name for (name,) in rows]


async def in_table(schema: str) -> dict[str, str]:
    """Return the rows as they are, whoever may see them."""
    return {str(floor): str(trips) for floor, trips in await run("select floor, trips from ledger", schema=schema)}


def small(monkeypatch: pytest.MonkeyPatch, *, page: int = 5, far: int = 10) -> None:
    """Have partitions take over for a few events, and pages be of a few."""
    monkeypatch.setattr(projector_module, "FAR", far)
    monkeypatch.setattr(projector_module, "PAGE", page)
    monkeypatch.setattr("runtime.follower.PAGE", page)
    monkeypatch.setattr("runtime.partitioned_build.TOGETHER", 3)


class Killed:
    """Kills whoever builds at one of its commits: nothing that comes behind it comes to the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> None:
        """``after``: what it dies at is committed."""
        self.commits = 0
        self.dead = False
        self._at = at
        self._after = after
        for cls, name in ((PostgresPartition, "apply"), (PostgresView, "apply"), (PostgresView, "unite")):
            monkeypatch.setattr(cls, name, self._dying(getattr(cls, name)))

    def _dying(self, commit: Any) -> Any:
        async def committed(*told: Any, **more: Any) -> None:
            at, self.commits = self.commits, self.commits + 1
            if self.dead:
                raise ConnectionResetError("it was killed")
            if at == self._at:
                self.dead = True
                if self._after:
                    await commit(*told, **more)
                raise ConnectionResetError("it was killed")
            await commit(*told, **more)

        return committed


@asynccontextmanager
async def small_schema(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """Yield a schema for journals whose read models are built in small partitions."""
    BAD.clear()
    small(monkeypatch)
    async with a_schema() as name:
        yield name
    BAD.clear()


def note_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by how far each run of the partitions has come."""
    runs: list[int] = []
    work = PartitionedBuild.run

    async def counted(build: PartitionedBuild, *told: Any) -> None:
        try:
            await work(build, *told)
        finally:
            runs.append(build.ahead)

    monkeypatch.setattr(PartitionedBuild, "run", counted)
    return runs


class Gate:
    """Holds back one partition's batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.open = asyncio.Event()
        self.arrived = asyncio.Event()
        apply = PostgresPartition.apply

        async def held(partition: Any, *told: Any) -> None:
            if partition._number == number:
                self.arrived.set()
                await self.open.wait()
            await apply(partition, *told)

        monkeypatch.setattr(PostgresPartition, "apply", held)


async def rows(runtime: Runtime, cls: type[Ledger] = Ledger, **how: Any) -> dict[str, str]:
    return await runtime.ask(cls.at(), Rows(), **how)
