"""Keeps things and folds them, until it is killed: ``python -m tests.chaos.folder JOURNAL FIRST``.

It says ``ready`` when its fold is what the journal holds, and then prints what was acknowledged.
"""

import asyncio
import hashlib
import sys

import msgspec

from actors import Fold, Meta, Query, State
from persistence import Journal
from runtime import Runtime, fold_projector
from tests.chaos.keeper import Keep, Kept, Shelf
from tests.runtime.tools import node_of

SHELVES = 5


class Chain(State):
    """What tells any other order, a gap and a repeat."""

    count: int = 0
    digest: str = ""


class Links(Query["Chained", Chain]):
    pass


class Chained(Fold[Chain]):
    initial = Chain()

    def evolve(self, state: Chain, event: Kept, meta: Meta) -> Chain:
        return linked(state, event.thing)

    def answer(self, state: Chain, query: Links) -> Chain:
        return state


def linked(state: Chain, thing: str) -> Chain:
    return Chain(state.count + 1, hashlib.sha256(f"{state.digest} {thing}".encode()).hexdigest())


async def chain_of(journal: Journal) -> Chain:
    """Fold the journal by hand."""
    state, position = Chain(), 0
    while page := await journal.read_all(position):
        for record in page:
            if record.type == "Kept":
                state = linked(state, msgspec.json.decode(record.data)["thing"])
        position = page[-1].position
    return state


async def main(path: str, first: int) -> None:
    fold_projector.EVERY = 7
    async with Runtime(f"sqlite:{path}", [Shelf, Chained]) as runtime:
        assert await runtime.ask(Chained.at(), Links(), consistent=True) == await chain_of(node_of(runtime).journal)
        print("ready", flush=True)
        for number in range(first, first + 10_000):
            thing = f"t{number}"
            await runtime.ask(Shelf.at(str(number % SHELVES)), Keep(thing), id=thing)
            print(thing, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
