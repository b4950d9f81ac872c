"""Several keepers as processes, as a test sees them; see :mod:`tests.chaos.keeper`."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from persistence import Record
from persistence.opening import journal_of
from tests import reading
from tests.chaos.keeper import digest
from tests.runtime.tools import check_once, content

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds until one that makes no progress is given up."""


class Keeper:
    """One process; what it has said is taken in as it comes."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.kept: set[str] = set()
        self.unknown: set[str] = set()
        self.said: list[str] = []
        """All else."""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            word, _, rest = line.strip().partition(" ")
            if word == "kept":
                self.kept.add(rest)
            elif word == "unknown":
                self.unknown.add(rest)
            else:
                self.said.append(line.strip())
            self._news.set()
        self._news.set()

    async def goes_on(self, more: int) -> None:
        """Wait until so many more things are kept."""
        enough = len(self.kept) + more
        await self._until(lambda: len(self.kept) >= enough)

    async def says(self, what: str, count: int) -> None:
        """Wait until it has said something so many times."""
        await self._until(lambda: self.said.count(what) >= count)

    async def tell(self, what: str) -> str:
        """Tell it to do something, and return what it says when that is done."""
        assert self.process.stdin is not None
        count = len(self.said)
        self.process.stdin.write(f"{what}\n".encode())
        await self._until(lambda: len(self.said) > count)
        return self.said[count]

    async def _until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not happened():
                assert not self._reading.done(), f"{self.name} has ended"
                self._news.clear()
                await self._news.wait()

    async def end(self) -> int:
        """Let it end, and return how it did."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self._reading
        return await self.process.wait()


async def start(name: str, *arguments: str) -> Keeper:
    """Start a process that keeps things, or does something else that it says."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    return Keeper(name, process)


@asynccontextmanager
async def keepers(urls: Sequence[tuple[str, str]]) -> AsyncGenerator[list[Keeper]]:
    """Start a process for each name and URL; whoever is left at the end is killed."""
    found: list[Keeper] = []
    try:
        for name, url in urls:
            found.append(await start(name, "tests.chaos.keeper", url, name))
        yield found
    finally:
        for keeper in found:
            if keeper.process.returncode is None:
                keeper.process.kill()
            await keeper.end()


async def everything(url: str) -> list[Record]:
    """Return all records of a journal, having checked that nothing is there twice, or missing."""
    records = await reading.everything(journal_of(url, watching=True))
    check_once(records)
    return records


async def check_kept(url: str, keepers: Sequence[Keeper]) -> list[str]:
    """Check that the journal is what was acknowledged and, at the most, what was told unknown; return the things."""
    things = [content(record)["thing"] for record in await everything(url)]
    assert len(things) == len(set(things))
    kept = {thing for keeper in keepers for thing in keeper.kept}
    unknown = {thing for keeper in keepers for thing in keeper.unknown}
    assert kept <= set(things)
    assert set(things) <= kept | unknown
    return things


async def check_rows(url: str, keepers: Sequence[Keeper]) -> None:
    """Check that the read models of all are the fold of the journal; nobody may write meanwhile."""
    rows = [(record.position, content(record)["thing"]) for record in await everything(url)]
    for keeper in keepers:
        assert await keeper.tell("report") == f"rows {len(rows)} {digest(rows)}"
