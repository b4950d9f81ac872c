"""The soak: a short one runs here, so that its command works; and its ledger sees what is wrong with a journal."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.soak_figures import Lives, percentile, slope
from benchmarks.soak_ledger import Ledger
from benchmarks.soak_node import bucket
from demos.page import Page
from demos.trip import ACTORS, load
from persistence import MemoryJournal, Record
from runtime import Runtime
from tests.postgres import a_schema, needs_server, url_of
from tests.runtime.tools import of

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0


async def soak(*options: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "benchmarks.soak", "--minutes", "0", "--kills", "2", "--every", "1", "2.5"],
        *["--seed", "5", "--trips", "40", "--orders", "10", "--quiet", *options],
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            told, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.communicate()
        raise
    assert (errors.decode(), process.returncode) == ("", 0), told.decode()
    return told.decode()


async def test_a_short_one_on_sqlite() -> None:
    told = await soak()
    assert "all is well: " in told
    assert " kills and " in told


@needs_server
async def test_a_short_one_on_postgresql() -> None:
    async with a_schema() as schema:
        assert "all is well: " in await soak("--journal", url_of(schema))


async def some_trips() -> list[Record]:
    """Return a journal of trips, booked and taken back."""
    journal = MemoryJournal()
    async with Runtime(journal, ACTORS) as runtime:
        await load.run(runtime, 60, 1, Page(None))
    return journal.records


def problems_of(records: Sequence[Record]) -> list[str]:
    ledger = Ledger()
    ledger.take([msgspec.structs.replace(one, position=number) for number, one in enumerate(records, 1)])
    return ledger.problems


def changed(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, data=msgspec.json.encode({**msgspec.json.decode(record.data), **fields}))


def without(records: list[Record], one: Record) -> list[Record]:
    """Return the records without one, the versions behind it moved up."""
    return [
        msgspec.structs.replace(other, version=other.version - 1)
        if other.stream == one.stream and other.version > one.version
        else other
        for other in records
        if other is not one
    ]


def twice(records: list[Record], one: Record) -> list[Record]:
    """Return the records with one there twice, with the versions as they would be."""
    again = msgspec.structs.replace(one, version=one.version + 1)
    behind = [
        msgspec.structs.replace(other, version=other.version + 1)
        if other.stream == one.stream and other.version > one.version
        else other
        for other in records
    ]
    at = records.index(one) + 1
    return [*behind[:at], again, *behind[at:]]


Wrong = Callable[[list[Record]], list[Record]]
WRONG: dict[str, tuple[Wrong, str]] = {
    "a seat held twice": (lambda all_: twice(all_, of(all_, "SeatHeld")[5]), "is held by"),
    "a seat that is not there": (
        lambda all_: [changed(one, seat=99) if one is of(all_, "SeatHeld")[5] else one for one in all_],
        "there is no number 99",
    ),
    "a room not given back": (lambda all_: without(all_, of(all_, "RoomReleased")[0]), "is compensated, and holds"),
    "a room given back twice": (lambda all_: twice(all_, of(all_, "RoomReleased")[0]), "holds number None"),
    "a car that was never held": (lambda all_: without(all_, of(all_, "CarHeld")[3]), "and holds"),
    "an end that came twice": (lambda all_: twice(all_, of(all_, "saga.completed")[3]), "it had completed"),
    "a beginning that came twice": (lambda all_: twice(all_, of(all_, "saga.started")[3]), "it had begun"),
    "a hole in a stream": (lambda all_: [one for one in all_ if one is not of(all_, "SeatHeld")[3]], "has version"),
    "another seat than promised": (
        lambda all_: [changed(one, seat=77) if one is of(all_, "TripBooked")[3] else one for one in all_],
        "is booked with",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_its_ledger_sees_what_is_wrong(what: str) -> None:
    records = await some_trips()
    assert problems_of(records) == []
    change, told = WRONG[what]
    problems = problems_of(change(records))
    assert any(told in problem for problem in problems), problems


async def test_its_ledger_sees_a_missing_position() -> None:
    ledger, records = Ledger(), await some_trips()
    ledger.take([one for one in records if one.position != 7])
    assert ledger.problems[0] == "position 7 is missing before 8"


def life(pid: int, grows: float, seconds: int) -> list[dict[str, Any]]:
    return [{"pid": pid, "age": float(age), "rss": 60 + grows * age / 60} for age in range(seconds)]


def test_growth_is_that_of_warm_processes() -> None:
    flat, leaky = life(1, 0.0, 90), life(2, 30.0, 90)
    assert Lives([*flat, *leaky]).growth("rss") == pytest.approx(15.0)
    assert Lives(leaky).growth("rss") == pytest.approx(30.0)
    assert Lives(life(3, 500.0, 50)).growth("rss") is None  # it was warming up
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)


def test_latencies_are_told_within_a_twentieth() -> None:
    buckets = Counter(bucket(milliseconds / 1e3) for milliseconds in range(1, 1_001))
    assert percentile(buckets, 50) == pytest.approx(500, rel=0.06)
    assert percentile(buckets, 99) == pytest.approx(990, rel=0.06)
