"""P7 for folds: a process that folds as it writes is killed with SIGKILL; the fold is always that of the journal."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path
from random import Random

from runtime import Runtime
from tests.chaos.folder import Chained, Links, chain_of
from tests.chaos.keeper import Shelf
from tests.chaos.test_sigkill import ROOT, read_lines
from tests.runtime.tools import node_of

KILLS = 15
SEED = 20_261_128


def kept(folder: Path) -> int:
    """Return up to where there is a snapshot."""
    positions = [0]
    for path in folder.glob("journal.db.Chained-*[0-9a-f]"):
        with closing(sqlite3.connect(path)) as db:
            positions += [position for (position,) in db.execute("select position from understudy_checkpoint")]
    return max(positions)


async def test_it_is_folded_on_from_its_snapshot_whenever_it_dies(tmp_path: Path) -> None:
    random, journal, acknowledged = Random(SEED), tmp_path / "journal.db", 0
    snapshots: list[int] = []
    for kill in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.folder", str(journal), str(kill * 10_000), cwd=ROOT, stdout=PIPE
        )
        lines = await read_lines(process, random.randrange(1, 60))
        assert lines[:1] == ["ready"]  # else its fold was another one
        for _ in range(random.randrange(100)):
            await asyncio.sleep(0)
        process.kill()
        acknowledged += len(lines + await read_lines(process, sys.maxsize)) - 1
        assert await process.wait() == -9
        snapshots.append(kept(tmp_path))
    assert len(set(snapshots)) > KILLS / 2  # they are kept meanwhile, and gone on from
    async with Runtime(f"sqlite:{journal}", [Shelf, Chained]) as runtime:
        chain = await runtime.ask(Chained.at(), Links(), consistent=True)
        assert chain == await chain_of(node_of(runtime).journal)
        assert chain.count >= acknowledged
