"""At least once, whatever dies: a process that sends letters is killed with SIGKILL again and again."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from itertools import pairwise
from pathlib import Path
from random import Random

from runtime import Runtime
from tests.chaos.keeper import Shelf
from tests.chaos.mailer import Letters
from tests.chaos.test_sigkill import read_lines

ROOT = Path(__file__).parents[2]
KILLS = 15
SEED = 20_261_128


async def start(journal: Path, out: Path, first: int) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.mailer", str(journal), str(out), str(first), cwd=ROOT, stdout=PIPE
    )


async def test_every_letter_is_sent_under_the_same_id_and_each_shelf_in_order(tmp_path: Path) -> None:
    random, journal, out = Random(SEED), tmp_path / "journal.db", tmp_path / "out"
    acknowledged: list[str] = []
    for kill in range(KILLS):
        process = await start(journal, out, kill * 10_000)
        lines = await read_lines(process, random.randrange(1, 60))
        for _ in range(random.randrange(100)):
            await asyncio.sleep(0)
        process.kill()
        acknowledged += lines + await read_lines(process, sys.maxsize)
        await process.wait()
    Letters.out = out
    async with Runtime(f"sqlite:{journal}", [Shelf, Letters]) as runtime:
        await runtime.caught_up(Letters.at())
        stats = runtime.stats().subscribers["Letters"]
        assert (stats.set_aside, stats.lag) == (0, 0)
    sent = [(id_, thing) for id_, _, thing in (line.partition(" ") for line in out.read_text().splitlines())]
    assert {thing for _, thing in sent} >= set(acknowledged)
    assert len({id_ for id_, _ in sent}) == len({thing for _, thing in sent}) == len(set(sent))
    assert len(sent) < len(set(sent)) + KILLS * 100  # some came twice, and no more than that
    for shelf in map(str, range(5)):
        versions = [int(id_.partition("@")[2]) for id_, _ in sent if id_.startswith(f"Shelf/{shelf}@")]
        assert list(dict.fromkeys(versions)) == list(range(1, max(versions) + 1))
        assert all(after <= before + 1 for before, after in pairwise(versions))
