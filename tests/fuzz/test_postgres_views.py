"""Books of read models on PostgreSQL that were altered by SQL: an error of our own, or what is there is told."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.errors import StatementFailed
from persistence.postgres_shelf import PostgresShelf
from persistence.postgres_url import parse_url, quoted
from persistence.views import Aside, Build, ParkedRow, SkippedRow, View, wall_time
from tests.fuzz.mutations import check_ours, examples
from tests.postgres import drop_all, needs_server, run, url_of

pytestmark = needs_server
SHELF = f"test_{uuid4().hex[:16]}"
BUILD = Build("1a2b3c4d", 0, "journal", "", 7, False, 0)
TABLES = {
    "understudy_checkpoint": ["journal", "position", "mark", "form", "made", "ready", "unclean"],
    "understudy_parked": ["position", "key", "time", "error", "attempts"],
    "understudy_skipped": ["position", "key", "time", "error", "reason", "by"],
}
NUMBERS = {"position", "made", "time", "attempts"}
FLAGS = {"ready", "unclean"}

numbers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1, 2**31 - 1, 2**63 - 1])
written = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    ["", "\\", "\\0", "\\x", "\\u", "\\ud800", "journal"]
)


def shelf() -> PostgresShelf:
    return PostgresShelf(parse_url(url_of(SHELF)))


def view() -> View:
    return shelf().view("Board", BUILD, "create table board (line text primary key)", "journal", wall_time)


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    """The name of the read model's schema."""

    async def make() -> None:
        one = view()
        await one.open()
        await one.close()

    asyncio.run(make())
    yield quoted(shelf().schema("Board", BUILD))
    asyncio.run(drop_all(f"{SHELF}_"))


async def told(asked: Awaitable[Any]) -> None:
    """Wait for what may raise an error of ours, and no other."""
    try:
        await asked
    except StatementFailed:
        return
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)


async def look() -> None:
    """Open the read model, look at all of it, and go on with it."""
    await told(shelf().builds("Board"))
    one = view()
    try:
        await told(one.open())
        await told(one.parked())
        await told(one.skipped())
        aside = Aside(parked=(ParkedRow(8, "k", 1, "e", 2),), skipped=(SkippedRow(8, "k", 1, "e", "r", "b"),))
        insert = ("insert into board values ($1) on conflict do nothing", ("a",))
        await told(one.apply([insert], one.checkpoint + 1, mark="m", aside=aside))
        await told(one.keep_ready())
        await told(one.clean())
        await told(one.value("select count(*) from board"))
    finally:
        await one.close()


async def read() -> None:
    """Make sure that all is told that is there."""
    one = view()
    try:
        await one.open()
        assert await one.parked() == [ParkedRow(1, "k", 1, "e", 2)]
        assert await one.skipped() == [SkippedRow(2, "k", 1, "e", "r", "b")]
    finally:
        await one.close()


async def fresh(schema: str) -> None:
    """Make the books as they were."""
    await run(
        f"""do $$ begin
        truncate {schema}.understudy_checkpoint, {schema}.understudy_parked, {schema}.understudy_skipped;
        insert into {schema}.understudy_checkpoint values ('journal', 5, '', 'form', 7, false, false);
        insert into {schema}.understudy_parked values (1, 'k', 1, 'e', 2);
        insert into {schema}.understudy_skipped values (2, 'k', 1, 'e', 'r', 'b');
        end $$"""
    )


@given(st.data())
@examples(20, slow=20)
def test_a_cell(schema: str, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(sorted(TABLES)))
    column = data.draw(st.sampled_from(TABLES[table]))
    value: Any = data.draw(numbers if column in NUMBERS else st.booleans() if column in FLAGS else written)

    async def alter() -> None:
        await fresh(schema)
        try:
            await run(f"update {schema}.{table} set {quoted(column)} = $1", value)
        except Exception:  # noqa: BLE001 (the driver's own: the table's rules forbid it)
            return
        await look()

    asyncio.run(alter())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change", ["drop column {last}", "add column more text", "rename column {last} to other", "rename to elsewhere"]
)
def test_a_table(schema: str, table: str, change: str) -> None:
    """Altered by somebody who tidies up. What has only grown is read as before."""

    async def alter() -> None:
        await fresh(schema)
        try:
            await run(f"alter table {schema}.{table} {change.format(last=quoted(TABLES[table][-1]))}")
            await look()
            if change.startswith("add"):
                await fresh(schema)
                await read()
        finally:
            await run(f"drop schema if exists {schema} cascade")
            one = view()
            await one.open()
            await one.close()

    asyncio.run(alter())
