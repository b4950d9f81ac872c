"""A process that writes a journal until it is killed, what its groups look like, and what of them is left."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from persistence import Append, Batch, NewEvent, Record, SqliteJournal, Stream
from persistence.sqlite import Durability
from tests.contract.journal_contract import everything

STREAMS: tuple[Stream, ...] = (("Flight", "LH441"), ("Hotel", "Ritz"), ("Cab", "Rome"))


def sizes(number: int) -> tuple[int, int, int]:
    """Return how many events each stream gets in group ``number``; every third group is large."""
    return (1 + number % 3, 2, 400 if number % 3 == 2 else number % 2)


def group(number: int) -> list[Batch]:
    """Return group ``number``: two batches, one of them over two streams; every event names its group."""
    appends: list[Append] = []
    for stream, index in zip(STREAMS, range(3), strict=True):
        expected = sum(sizes(n)[index] for n in range(number))
        new = [NewEvent(f"G{number % 4}", b"%d" % number, b"{}") for _ in range(sizes(number)[index])]
        appends.append(Append(stream, expected, new, number, f"c{number}", True if number % 2 else None))
    return [tuple(appends[:2]), (appends[2],)]


def whole_groups(records: list[Record]) -> int:
    """Return how many groups the journal holds; fails where one is split, twice there, or not as it was written."""
    held = 0
    for number in count():
        want = [(a.stream, number, e.data) for batch in group(number) for a in batch for e in a.events]
        have = [(record.stream, record.time, record.data) for record in records[held : held + len(want)]]
        if not have:
            return number
        assert have == want, f"group {number} is not whole"
        held += len(want)
    raise AssertionError("no journal holds that many")


@asynccontextmanager
async def opened(path: Path, durability: Durability = "full") -> AsyncGenerator[SqliteJournal]:
    """Yield a journal that is open."""
    journal = SqliteJournal(path, durability)
    try:
        await journal.open()
        yield journal
    finally:
        await journal.close()


async def groups_in(path: Path, durability: Durability = "full") -> int:
    """Open what a crash left, return how many groups it holds, and make sure that it can be written on."""
    async with opened(path, durability) as journal:
        held = whole_groups(await everything(journal))
        await journal.append(group(held))
        assert whole_groups(await everything(journal)) == held + 1
    return held


async def write_until_killed(path: Path) -> None:
    """Write group after group and print the position up to which each acknowledgement reaches."""
    journal = SqliteJournal(path)
    await journal.open()
    for number in count():
        await journal.append(group(number))
        print(journal.position, flush=True)


if __name__ == "__main__":
    asyncio.run(write_until_killed(Path(sys.argv[1])))
