"""P7: a process that builds a read model in partitions is killed again and again; no event is in it twice."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from random import Random

from runtime import Runtime
from tests.chaos.test_sigkill import ROOT, read_lines
from tests.postgres import a_schema, needs_server, url_of
from tests.runtime.cast import Room
from tests.runtime.partitioning import Ledger, Rows, folded, history, write

pytestmark = needs_server
EVENTS = 12_000
SEED = 20_261_128


async def test_killed_in_the_middle_of_a_build_each_partition_goes_on_where_it_was(tmp_path: Path) -> None:
    random, journal, told = Random(SEED), tmp_path / "journal.db", history(SEED, EVENTS, "abcdefghijklmnop")
    await write(journal, told)
    async with a_schema() as schema:
        kills, done = 0, False
        while not done:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.builder", str(journal), url_of(schema), cwd=ROOT, stdout=PIPE
            )
            # Some die before they have got on, some in the middle of a page.
            lines = await read_lines(process, random.randrange(1, 5))
            for _ in range(random.randrange(200)):
                await asyncio.sleep(0)
            with suppress(ProcessLookupError):  # it has ended by itself
                process.kill()
            done = "done" in lines + await read_lines(process, sys.maxsize)
            await process.wait()
            kills += 1
        assert kills > 3
        async with Runtime(f"sqlite:{journal}", [Room, Ledger], views=url_of(schema)) as runtime:
            assert await runtime.ask(Ledger.at(), Rows(), consistent=True) == folded(told)
