"""Keeps things on a journal as one of its owners, until it is told to stop; made to live through whatever comes.

``python -m tests.chaos.keeper URL NAME`` prints what was acknowledged, and what was told unknown and is not asked for
again. Told ``stop`` on its input it takes no more in, and prints ``stopped``; told ``report`` it prints a digest of its
read model's rows. It ends with its input. Where another process has taken its place it says ``replaced``.
"""

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from actors import (
    Command,
    Decision,
    Elsewhere,
    Event,
    Meta,
    OutcomeUnknown,
    Query,
    ReadModel,
    ReadModelBehind,
    RuntimeClosed,
    Service,
    State,
    Statement,
    sql,
)
from runtime import Runtime

IN_FLIGHT = 8
SHELVES = 5


class Kept(Event):
    thing: str


class Keep(Command["Shelf", int]):
    thing: str


class Count(State):
    count: int = 0


class Shelf(Service[Count, Keep, Kept]):
    initial = Count()

    def decide(self, state: Count, command: Keep) -> Decision:
        return command.reply(state.count + 1, Kept(command.thing))

    def evolve(self, state: Count, event: Kept) -> Count:
        return Count(state.count + 1)


class Rows(Query["List", list[tuple[int, str]]]):
    pass


class List(ReadModel):
    """A line for each thing, by its position: a gap or a repeat shows."""

    schema = "create table line (position integer primary key, thing text not null)"

    def project(self, event: Kept, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into line values (?, ?)", meta.position, event.thing)

    async def answer(self, db: Any, query: Rows) -> list[tuple[int, str]]:
        async with db.execute("select * from line order by position") as rows:
            return [tuple(row) for row in await rows.fetchall()]


ALL = [Shelf, List]


def digest(rows: list[tuple[int, str]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


async def keep(runtime: Runtime, name: str, number: int, stop: asyncio.Event) -> None:
    """Keep one thing after the other. Of those whose outcome is unknown every second one is asked for again."""
    while not stop.is_set():
        thing = f"{name}-{number}"
        number += IN_FLIGHT
        while True:
            try:
                await runtime.ask(Shelf.at(f"{name} {number % SHELVES}"), Keep(thing), id=thing)
            except Elsewhere:
                continue  # it belongs to another owner now; soon we shall know that we are out
            except RuntimeClosed:
                print("replaced", flush=True)
                return
            except OutcomeUnknown:
                if number % 2:
                    print(f"unknown {thing}", flush=True)
                    break
            else:
                print(f"kept {thing}", flush=True)
                break


async def report(runtime: Runtime) -> str:
    while True:
        try:
            rows = await runtime.ask(List.at(), Rows(), consistent=True, timeout=60)
        except ReadModelBehind:
            continue
        return f"rows {len(rows)} {digest(rows)}"


async def main(url: str, name: str) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stop = asyncio.Event()
    async with Runtime(url, ALL) as runtime, asyncio.TaskGroup() as tasks:
        keeping = [tasks.create_task(keep(runtime, name, number, stop)) for number in range(IN_FLIGHT)]
        async for line in reader:
            if line == b"stop\n":
                stop.set()
                await asyncio.wait(keeping)
                print("stopped", flush=True)
            else:
                print(await report(runtime), flush=True)
        stop.set()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
