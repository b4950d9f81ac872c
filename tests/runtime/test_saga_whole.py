"""P2, P3, P8, P14: whatever dies, and whenever, a saga with everything in it ends as it should, each effect once."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from persistence import Record
from runtime import Chaos
from runtime.saga_cell import SagaCell
from runtime.service_cell import ServiceCell
from tests.runtime.striking import StrikeAt, strikes_behind
from tests.runtime.tools import types_of
from tests.runtime.voyage import SAILS, VOYAGE, check_voyage, sail

ROOT = Path(__file__).parents[2]


async def whole(which: str) -> list[Record]:
    records = await sail([], SAILS[which])
    check_voyage(records, SAILS[which])
    return records


@pytest.mark.parametrize("which", SAILS)
async def test_recovery_from_every_prefix(which: str) -> None:
    first = await whole(which)
    for crash in range(len(first)):
        again = await sail(first[:crash], SAILS[which])
        check_voyage(again, SAILS[which])
        assert [(r.stream, r.type, r.data) for r in again[:crash]] == [
            (r.stream, r.type, r.data) for r in first[:crash]
        ]


@pytest.mark.parametrize("which", SAILS)
async def test_recovery_from_prefixes_of_a_recovery(which: str) -> None:
    """From every prefix of three recoveries, and from some of all others."""
    first = await whole(which)
    for crash in range(3, len(first), 7):
        again = await sail(first[:crash], SAILS[which])
        for second in range(crash + 1, len(again), 1 if crash % 21 == 10 else 9):
            check_voyage(await sail(again[:second], SAILS[which]), SAILS[which])


@pytest.mark.parametrize("which", SAILS)
async def test_a_kill_before_every_message(which: str) -> None:
    calm = await whole(which)
    turn = 0
    while True:
        turn += 1
        chaos = StrikeAt(turn)
        records = await sail([], SAILS[which], chaos)
        check_voyage(records, SAILS[which])
        if not chaos.struck:
            break
        assert types_of(records, VOYAGE)[-1] == types_of(calm, VOYAGE)[-1]
    assert turn > 60


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    return strikes_behind(monkeypatch, SagaCell, ServiceCell)


@pytest.mark.parametrize("which", SAILS)
async def test_a_kill_behind_every_message(which: str, after: Callable[[int], list[str]]) -> None:
    turn, all_struck = 0, set[str]()
    while True:
        turn += 1
        struck = after(turn)
        check_voyage(await sail([], SAILS[which]), SAILS[which])
        if not struck:
            break
        all_struck.update(struck)
    assert turn > 60
    assert {"Voyage/v", "Room/cabin", "Trip/v trip"} <= all_struck


@pytest.mark.parametrize("seed", range(3))
async def test_kills_all_along(seed: int) -> None:
    for which in SAILS:
        check_voyage(await sail([], SAILS[which], Chaos(seed, 0.15)), SAILS[which])


async def run(seed: int, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.runtime.voyage",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": f"{seed}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize("which", ["fine", "poor"])
async def test_every_prefix_recovers_in_a_process_with_another_hash_seed(which: str, tmp_path: Path) -> None:
    paths = {seed: tmp_path / f"{seed}.json" for seed in (1, 4_242)}
    written = [partial(run, seed, "write", f"{path}", which) for seed, path in paths.items()]
    for write in written:
        await write()
    await run(4_242, "recover", f"{paths[1]}", which)
