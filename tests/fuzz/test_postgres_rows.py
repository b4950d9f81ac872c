"""Rows of a PostgreSQL journal that were altered by SQL: what a checksum covers is found, and the rest is harmless."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import chain
from persistence.postgres import PostgresJournal
from persistence.postgres_url import quoted
from tests.fuzz.mutations import check_ours, examples, mutated
from tests.postgres import drop, needs_server, run, url_of
from tests.unit.journals import LH441, OLD, RITZ, TRIP, everything, fill

pytestmark = needs_server
SCHEMA = f"test_{uuid4().hex[:16]}"

EVENTS = ["position", "stream", "version", "type", "time", "command", "data", "meta", "crc", "id", "tags"]
COLUMNS = {
    ("events", "position"): EVENTS,
    ("streams", "id"): ["category", "key", "wake", "first"],
    ("seals", "position"): ["position", "hash"],
    ("journal", "identity"): ["position", "streams"],
}
"""What is altered, by table and the column that tells its rows apart."""
NUMBERS = {"position", "stream", "version", "time", "crc", "wake", "first", "streams"}
ARRAYS = ["{}", "{NULL}", "{{a,b},{c,d}}", '{"",a}', "{a}"]

numbers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2, -1, 2**63 - 1])
plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
forged = mutated(b'{"n":1,"text":"x"}').map(lambda one: one.decode("utf-8", "replace").replace("\0", ""))
written = plain | st.sampled_from(["\\", "\\0", "\\x", "zz"]) | forged


@pytest.fixture(scope="module")
def original() -> Iterator[Any]:
    """What a journal says that is as it was written."""

    async def write() -> Any:
        journal = PostgresJournal(url_of(SCHEMA))
        await journal.open()
        try:
            await fill(journal)
            await chain.seal(journal)
            return await everything(journal)
        finally:
            await journal.close()

    said = asyncio.run(write())
    assert asyncio.run(look()) == said
    yield said
    asyncio.run(drop(SCHEMA))


async def look() -> Any:
    """Return all that the journal says."""
    journal = PostgresJournal(url_of(SCHEMA))
    try:
        await journal.open()
        found = await everything(journal)
        for stream in (LH441, RITZ, TRIP, OLD):
            await journal.read_back(stream)
        await journal.snapshots([LH441, RITZ, TRIP, OLD])
        await chain.verify(journal)
        return found
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
        return None
    finally:
        await journal.close()


async def altered(table: str, key: str, column: str, row: int, value: Any) -> Any:
    """Alter one cell, look at the journal, and make it as it was."""
    name = f"{quoted(SCHEMA)}.{table}"
    rows = await run(f"select {key}, {column} from {name} order by {key}")
    place, before = rows[row % len(rows)]
    cast = "$1::text::text[]" if column == "tags" else "$1"
    try:
        await run(f"update {name} set {column} = {cast} where {key} = $2", value, place)
    except Exception:  # noqa: BLE001 (the driver's own: the table's rules forbid it)
        return None
    try:
        return await look()
    finally:
        where = value if column == key else place
        await run(f"update {name} set {column} = $1 where {key} = $2", before, where)


@given(st.data())
@examples(15, slow=20)
def test_a_cell(original: Any, data: st.DataObject) -> None:
    table, key = data.draw(st.sampled_from(sorted(COLUMNS)))
    column = data.draw(st.sampled_from(COLUMNS[table, key]))
    value: Any = data.draw(numbers if column in NUMBERS else st.sampled_from(ARRAYS) if column == "tags" else written)
    found = asyncio.run(altered(table, key, column, data.draw(st.integers(0, 30)), value))
    assert found is None or found["records"] == original["records"]


@pytest.mark.parametrize("column", [one for one in EVENTS if one != "position"])
def test_each_column_of_an_event_is_covered_by_its_checksum(original: Any, column: str) -> None:
    values = {"data": "{}", "meta": "{}", "tags": "{z}", "crc": 7, "time": 7, "version": 99, "stream": 2}
    found = asyncio.run(altered("events", "position", column, 0, values.get(column, "zz")))
    assert found is None, original
