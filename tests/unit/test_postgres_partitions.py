"""Partitions of a read model's tables on PostgreSQL: rows and each checkpoint are of one moment, whoever writes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from persistence import JournalUnusable
from persistence.postgres_partition import PostgresPartition
from persistence.postgres_url import parse_url
from persistence.postgres_view import PostgresView
from persistence.views import Aside, ParkedRow
from tests.postgres import a_schema, needs_server, run, url_of

pytestmark = needs_server
SCHEMA = "create table trips (trip text primary key, seat integer not null)"
INSERT = "insert into trips values ($1, $2)"


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    async with a_schema() as name:
        yield name


@asynccontextmanager
async def opened(schema: str, partitions: int = 3) -> AsyncGenerator[PostgresView]:
    view = PostgresView(parse_url(url_of(schema)), schema, SCHEMA, "j1")
    view.partitions = partitions
    await view.open()
    try:
        yield view
    finally:
        await view.close()


@asynccontextmanager
async def one_of(view: PostgresView, number: int) -> AsyncGenerator[PostgresPartition]:
    partition = view.partition(number)
    await partition.open()
    try:
        yield partition
    finally:
        await partition.close()


async def end_session(view: Any) -> None:
    """End the session with which a view leads."""
    await run("select pg_terminate_backend($1)", view._writer.get_server_pid())


async def trips(schema: str) -> list[str]:
    return [trip for (trip,) in await run("select trip from trips order by trip", schema=schema)]


async def test_each_goes_on_from_its_own_checkpoint(schema: str) -> None:
    async with opened(schema) as view:
        assert (view.checkpoint, view.partitioned, view.furthest) == (0, (0, 0, 0), (0, ""))
        async with one_of(view, 0) as first, one_of(view, 2) as last:
            await first.apply([(INSERT, ("a", 1))], 5, "m5")
            await last.apply([(INSERT, ("b", 1)), (INSERT, ("c", 1))], 9, "m9")
            await first.apply([(INSERT, ("d", 1))], 7, "m7")
        await view.apply([], 4, mark="m4")
    async with opened(schema, partitions=5) as view:  # what has begun goes on as it began
        assert (view.checkpoint, view.partitioned, view.furthest) == (4, (7, 0, 9), (9, "m9"))
        assert await trips(schema) == ["a", "b", "c", "d"]


async def test_a_batch_that_fails_changes_nothing(schema: str) -> None:
    async with opened(schema) as view, one_of(view, 1) as partition:
        await partition.apply([(INSERT, ("a", 1))], 5, "m")
        for wrong in ((INSERT, ("a", 1)), ("commit", ()), ("drop table trips", ()), (INSERT, ("b", "x"))):
            with pytest.raises(Exception, match=r".") as raised:
                await partition.apply([(INSERT, ("b", 1)), wrong], 6, "m")
            assert not view.passes(raised.value)
        assert view.partitioned == (0, 5, 0)
        await partition.apply([(INSERT, ("b", 1))], 6, "m")
        assert await trips(schema) == ["a", "b"]


async def test_nobody_may_read_or_take_over_before_they_are_level(schema: str) -> None:
    async with opened(schema) as view:
        async with one_of(view, 1) as partition:
            await partition.apply([(INSERT, ("a", 1))], 5, "m5")
        with pytest.raises(JournalUnusable, match="still being filled by partitions"):
            await view.keep_ready()
        await view.apply([], 4, mark="m4")
        with pytest.raises(JournalUnusable, match="changed by somebody else"):
            await view.unite()
        assert view.partitioned == (0, 5, 0)
        await view.apply([(INSERT, ("b", 1))], 5, mark="m5")
        assert view.partitioned == (5, 5, 5)
        await view.unite()
        await view.keep_ready()
    async with opened(schema) as view:
        assert (view.checkpoint, view.partitioned, view.furthest, view.ready) == (5, (), (5, "m5"), True)


async def test_made_anew_the_tables_are_filled_by_one(schema: str) -> None:
    """Another process may know that they can be read."""
    async with opened(schema) as view:
        await view.remake()
        assert view.partitioned == ()
        assert await trips(schema) == []


async def test_who_doesn_t_know_the_tables_doesn_t_take_them_for_whole(schema: str) -> None:
    """They are being made by another process."""
    view = PostgresView(parse_url(url_of(schema)), schema, SCHEMA, "j1")
    link: Any = PostgresView(parse_url(url_of(schema)), schema, SCHEMA, "j1")
    made = link._make

    async def never(partitions: int) -> None:
        pass

    link._make = never
    try:
        await link.open()
        await view.open()
        assert not view.leading
        assert view.partitioned
        await made(1)
        await view.lead()
        assert view.partitioned == ()
    finally:
        await view.close()
        await link.close()


@pytest.mark.parametrize("what", ["rows", "what is set aside", "the end"])
async def test_who_has_lost_the_lead_writes_no_more(schema: str, what: str) -> None:
    """His partitions' connections live on; what they were about to write is in the rows by now."""
    async with opened(schema) as old, one_of(old, 0) as slow, one_of(old, 1) as other:
        await slow.apply([(INSERT, ("a", 1))], 3, "m3")
        await other.apply([(INSERT, ("b", 1))], 4, "m4")
        await end_session(old)
        async with opened(schema) as new:
            assert (new.leading, new.partitioned) == (True, (3, 4, 0))
            if what == "rows":
                await new.apply([(INSERT, ("c", 1))], 5, mark="m5")
            elif what == "what is set aside":
                await new.apply([], 5, mark="m5", aside=Aside([ParkedRow(5, "k", 1, "bad")]))
            else:
                await new.apply([], 5, mark="m5")
                await new.unite()
            with pytest.raises(JournalUnusable, match=r"partition 0 of the schema .* was changed by somebody else"):
                await slow.apply([(INSERT, ("c", 1))], 5, "m5")


async def test_what_one_who_has_lost_the_lead_has_still_written_is_seen(schema: str) -> None:
    async with opened(schema) as old, one_of(old, 0) as slow:
        await end_session(old)
        async with opened(schema) as new:
            await slow.apply([(INSERT, ("a", 1))], 3, "m3")
            with pytest.raises(JournalUnusable, match="was changed by somebody else"):
                await new.apply([(INSERT, ("b", 1))], 3, mark="m3")
            assert new.partitioned == (3, 0, 0)  # known anew
            assert await trips(schema) == ["a"]
            await new.apply([(INSERT, ("b", 1))], 3, mark="m3")
