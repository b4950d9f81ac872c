"""P1, P2, P3, P8: a process that books trips is killed with SIGKILL fifty times, and what it acknowledged is there."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from random import Random
from typing import Any

from actors import Address, Refused
from persistence import Record, SqliteJournal
from runtime import Runtime
from tests.reading import everything
from tests.runtime.cast import ALL, Board, Lines, Tour, Trip
from tests.runtime.tools import as_stored, check_books, check_once

ROOT = Path(__file__).parents[2]
KILLS = 50
SEED = 20_240_229


async def start(journal: Path, first: int, count: int) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.booker", str(journal), str(first), str(count), cwd=ROOT, stdout=PIPE
    )


async def read_lines(process: Process, most: int) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while len(lines) < most and (line := await process.stdout.readline()):
        if line.endswith(b"\n"):
            lines.append(line.decode().strip())
    return lines


async def test_fifty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    random, path = Random(SEED), tmp_path / "journal.db"
    acknowledged: dict[str, str] = {}
    first = 0
    before: list[Record] = []
    for kill in range(KILLS):
        process = await start(path, first, 1_000)
        # Some die before they have said anything, some in the middle of what they found unfinished.
        lines = await read_lines(process, random.choice([0, 1, 2, random.randrange(3, 60)]))
        for _ in range(random.randrange(400)):
            await asyncio.sleep(0)
        process.kill()
        lines += await read_lines(process, sys.maxsize)  # what it had said before it died
        assert await process.wait() == -9
        acknowledged.update({number: word for word, _, number in (line.partition(" ") for line in lines) if number})
        # The next process asks again for what was under way: it joins what is there.
        first = max((int(number) for number in acknowledged), default=-1) + 1
        if kill % 10 == 9:
            records = await everything(SqliteJournal(path))
            assert as_stored(records[: len(before)]) == as_stored(before)
            check_once(records)
            before = records

    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        for number, word in acknowledged.items():
            saga: Address[Any] = Tour.at(number) if int(number) % 5 == 4 else Trip.at(number)
            try:
                await runtime.result(saga, timeout=60)
                assert word == "booked"
            except Refused:
                assert word == "refused"
        for saga in await runtime.unfinished():
            await asyncio.gather(runtime.result(saga), return_exceptions=True)
        assert await runtime.unfinished() == []
        lines_ = await runtime.ask(Board.at(), Lines(), consistent=True)
    records = await everything(SqliteJournal(path))
    assert as_stored(records[: len(before)]) == as_stored(before)
    check_books(records)
    assert [position for position, _ in lines_] == [
        record.position for record in records if record.type in ("TripBooked", "WasHeld", "WasReleased")
    ]
    assert len(acknowledged) > 10 * KILLS // 2
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()
