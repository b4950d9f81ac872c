"""P1 to P3, P5 on PostgreSQL: processes that are killed, and one that is paused while another takes over."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import pytest

from persistence import JournalInUse, Record, postgres_schema
from persistence.postgres import PostgresJournal
from runtime import Runtime
from tests.chaos.test_sigkill import read_lines
from tests.postgres import a_schema, needs_server, run, url_of
from tests.runtime.cast import ALL, Hold, Room
from tests.runtime.tools import check_once, content

pytestmark = needs_server

ROOT = Path(__file__).parents[2]
KILLS = 12


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    async with a_schema() as name:
        yield name


async def start(schema: str, name: str) -> Process:
    url = f"{url_of(schema)}&application_name={schema}"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.holder", url, name, cwd=ROOT, stdout=PIPE
    )


async def trips(schema: str) -> tuple[list[Record], list[str]]:
    """Return all records, and what is held by them."""
    journal = PostgresJournal(url_of(schema), watching=True)
    await journal.open()
    records: list[Record] = []
    while page := await journal.read_all(len(records)):
        records += page
    await journal.close()
    check_once(records)
    return records, [content(record)["trip"] for record in records]


def acknowledged_in(lines: list[str]) -> list[str]:
    return [line.removeprefix("held ") for line in lines if line.startswith("held ")]


async def test_kills_lose_nothing_that_was_acknowledged(schema: str) -> None:
    random = Random(7)
    acknowledged: list[str] = []
    for kill in range(KILLS):
        process = await start(schema, f"p{kill}")
        lines = await read_lines(process, random.randrange(300))
        process.kill()
        acknowledged += acknowledged_in(lines + await read_lines(process, sys.maxsize))
        assert await process.wait() == -9
    # The next one opens the journal as soon as the server has seen that the last one is gone.
    async with Runtime(url_of(schema), ALL) as runtime:
        await runtime.ask(Room.at("r0"), Hold("last"))
    _, held = await trips(schema)
    assert set(held) >= {*acknowledged, "last"}
    assert len(held) == len(set(held))
    assert len(acknowledged) > 10 * KILLS


async def test_one_that_was_paused_while_another_took_over_stays_out(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.1)
    zombie = await start(schema, "zombie")
    lines = await read_lines(zombie, 200)
    zombie.send_signal(signal.SIGSTOP)
    try:
        # As long as its session is there, it is taken for alive, and named.
        with pytest.raises(JournalInUse, match=f"in use by process {zombie.pid} on "):
            await PostgresJournal(url_of(schema)).open()
        monkeypatch.setattr(postgres_schema, "PATIENCE", 30.0)
        await run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", schema)
        async with Runtime(url_of(schema), ALL) as runtime:
            before, _ = await trips(schema)
            for n in range(20):
                await runtime.ask(Room.at(f"r{n % 5}"), Hold(f"new-{n}"))
            zombie.send_signal(signal.SIGCONT)
            lines += await read_lines(zombie, sys.maxsize)
            assert await zombie.wait() == 0
            for n in range(20, 40):
                await runtime.ask(Room.at(f"r{n % 5}"), Hold(f"new-{n}"))
    finally:
        if zombie.returncode is None:
            zombie.kill()
            await zombie.wait()
    assert [line for line in lines if not line.startswith("held ")] == ["unknown", "taken"]
    records, held = await trips(schema)
    assert [record.position for record in records[: len(before)]] == [record.position for record in before]
    assert held[len(before) :] == [f"new-{n}" for n in range(40)]
    assert set(acknowledged_in(lines)) <= set(held[: len(before)])
