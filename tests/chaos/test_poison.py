"""P13, P14, failure 22: work that kills its process at each start is parked after a while; all else is done."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

import pytest

from persistence import Record
from persistence.opening import journal_of
from tests.chaos.poisoner import DEADLY, INNOCENTS
from tests.postgres import a_schema, needs_server, url_of
from tests.reading import everything
from tests.runtime.ending import counted
from tests.runtime.tools import check_once, content, of

ROOT = Path(__file__).parents[2]
ENOUGH = 20


async def run(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.poisoner", *arguments, cwd=ROOT, stdout=PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


async def read(url: str) -> list[Record]:
    journal = journal_of(url, "full")
    records = await everything(journal)
    assert not journal.crashed
    return records


@pytest.mark.parametrize("what", ["service", "actor", "code", "reminder"])
async def test_after_a_bounded_number_of_starts_the_process_stays_up(what: str, tmp_path: Path) -> None:
    await starts(f"sqlite:{tmp_path / 'journal.db'}", what)


@needs_server
async def test_on_postgresql_too() -> None:
    async with a_schema() as schema:
        await starts(url_of(schema), "service")


async def starts(url: str, what: str) -> None:
    """Start process after process until one lives, and check what they have done."""
    assert (await run(url, what, "begin"))[0] == DEADLY
    ends = 0
    while (outcome := await run(url, what, "go"))[0] == DEADLY:
        ends += 1
        assert ends < ENOUGH
    code, told = outcome
    assert (code, ends) == (0, 5)
    assert told.endswith("done\n")

    records = await read(url)
    check_once(records)
    assert counted(records, "poison") == [1, 2, 3, 4, 5]
    completed = {record.stream[1] for record in of(records, "saga.completed")}
    assert completed == {f"{number}" for number in range(INNOCENTS)}
    parked = {record.stream[1]: content(record)["error"] for record in of(records, "saga.parked")}
    reminded = [content(record) for record in of(records, "service.reminded")]
    if what == "reminder":
        assert parked == {}
        refused = {one["name"]: one.get("refused", "") for one in reminded}
        assert refused.pop("poison").startswith("PoisonMessage: the process crashed 6 times in a row")
        assert refused == dict.fromkeys(completed, "")
        assert len(reminded) == INNOCENTS + 1
    else:
        assert parked.pop("poison").startswith("PoisonMessage: the process crashed 6 times in a row")
        assert parked == {}
        assert "Meal/poison is parked: PoisonMessage" in told
    # Each innocent's step took effect once.
    assert set(Counter(record.command for record in of(records, "Tasted")).values()) == {1}
