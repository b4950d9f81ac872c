"""P1 to P3, P5 on PostgreSQL: processes that are killed, and one that is paused while another takes over."""

import sys
from pathlib import Path

import pytest

from persistence import JournalInUse, Record, postgres_schema
from persistence.postgres import PostgresJournal
from runtime import Runtime
from runtime.simulation.monkey import ChaosMonkey
from tests.postgres import needs_server, run, url_of
from tests.reading import everything
from tests.runtime.cast import ALL, Hold, Room
from tests.runtime.tools import check_once, content

pytestmark = needs_server

ROOT = Path(__file__).parents[2]
KILLS = 12


def command(schema: str) -> list[str]:
    return [sys.executable, "-m", "tests.chaos.holder", f"{url_of(schema)}&application_name={schema}"]


async def trips(schema: str) -> tuple[list[Record], list[str]]:
    """Return all records, and what is held by them."""
    records = await everything(PostgresJournal(url_of(schema), watching=True))
    check_once(records)
    return records, [content(record)["trip"] for record in records]


class Heard:
    """What was acknowledged, and what else was said."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.else_: list[str] = []

    def __call__(self, line: str) -> None:
        word, _, trip = line.partition(" ")
        if word == "held":
            self.held.append(trip)
        else:
            self.else_.append(line)


async def test_kills_lose_nothing_that_was_acknowledged(schema: str) -> None:
    heard = Heard()
    async with ChaosMonkey(command(schema), seed=7, lines=(0, 300), on_line=heard, cwd=ROOT) as monkey:
        await monkey.until(lambda: monkey.kills >= KILLS)
    assert heard.else_ == []
    # The next one opens the journal as soon as the server has seen that the last one is gone.
    async with Runtime(url_of(schema), ALL) as runtime:
        await runtime.ask(Room.at("r0"), Hold("last"))
    _, held = await trips(schema)
    assert set(held) >= {*heard.held, "last"}
    assert len(held) == len(set(held))
    assert len(heard.held) > 10 * KILLS


async def test_one_that_was_paused_while_another_took_over_stays_out(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "PATIENCE", 0.1)
    heard = Heard()
    async with ChaosMonkey(command(schema), signals=(), on_line=heard, cwd=ROOT) as monkey:
        await monkey.until(lambda: len(heard.held) > 200)
        monkey.send("STOP")
        # As long as its session is there, it is taken for alive, and named.
        with pytest.raises(JournalInUse, match=f"in use by process {monkey.children[0].pid} on "):
            await PostgresJournal(url_of(schema)).open()
        monkeypatch.setattr(postgres_schema, "PATIENCE", 30.0)
        await run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", schema)
        async with Runtime(url_of(schema), ALL) as runtime:
            before, _ = await trips(schema)
            for n in range(20):
                await runtime.ask(Room.at(f"r{n % 5}"), Hold(f"new-{n}"))
            monkey.send("CONT")
            await monkey.finished()
            for n in range(20, 40):
                await runtime.ask(Room.at(f"r{n % 5}"), Hold(f"new-{n}"))
    assert heard.else_ == ["unknown", "taken"]
    records, held = await trips(schema)
    assert [record.position for record in records[: len(before)]] == [record.position for record in before]
    assert held[len(before) :] == [f"new-{n}" for n in range(40)]
    assert set(heard.held) <= set(held[: len(before)])
