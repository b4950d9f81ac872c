"""Read models on PostgreSQL: beside any journal, and shared by several processes, of which one projects."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Elsewhere, Meta, Parked, Query, ReadModel, RetryPolicy, Statement, sql
from persistence import BadJournalUrl, JournalUnusable
from runtime import Runtime
from tests.postgres import a_schema, needs_server, run, url_of
from tests.relay import a_relay
from tests.runtime.cast import Board, Hold, Lines, Room, WasHeld
from tests.runtime.test_owners import becomes
from tests.runtime.tools import comes, node_of

pytestmark = needs_server
BAD: set[str] = set()


class Seen(Query["Log", list[str]]):
    room: str = ""


class Log(ReadModel):
    schema = (
        "create table log (position bigint primary key, room text not null, text text not null check (text <> 'x'))"
    )
    retry = RetryPolicy(budget=timedelta(0))

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        yield sql("insert into log values ($1, $2, $3)", meta.position, meta.key, event.trip)

    def key(self, event: WasHeld, meta: Meta) -> str:
        return meta.key

    def about(self, query: Seen) -> str | None:
        return query.room or None

    async def answer(self, db: Any, query: Seen) -> list[str]:
        rows = await db.fetch("select text from log where $1 in ('', room) order by position", query.room)
        return [text for (text,) in rows]


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    BAD.clear()
    async with a_schema() as name:
        yield name


async def hold(runtime: Runtime, *told: str) -> None:
    for trip in told:
        await runtime.ask(Room.at(trip[0]), Hold(trip))


async def seen(runtime: Runtime, room: str = "", **how: Any) -> list[str]:
    return await runtime.ask(Log.at(), Seen(room), **how)


async def tables(schema: str) -> list[str]:
    rows = await run("select nspname from pg_namespace where starts_with(nspname::text, $1) order by 1", f"{schema}_")
    return [name for (name,) in rows]


async def test_one_read_model_on_sqlite_and_another_on_postgresql(schema: str, tmp_path: Path) -> None:
    url, views = f"sqlite:{tmp_path / 'j.db'}", {Log: url_of(schema)}
    for n in range(3):
        async with Runtime(url, [Room, Log, Board], views=views) as runtime:
            await hold(runtime, f"a{n}")
            assert await seen(runtime, consistent=True) == [f"a{i}" for i in range(n + 1)]
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert [text for _, text in lines] == [f"WasHeld a{i}" for i in range(n + 1)]
    assert len(list(tmp_path.glob("j.db.Board-*[0-9a-f]"))) == 1
    (name,) = await tables(schema)
    assert name.startswith(f"{schema}_Log_")
    assert await run("select position from understudy_checkpoint", schema=name) == [(3,)]


async def test_what_can_not_be_projected_is_set_aside(schema: str, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    BAD.add("a2")
    async with Runtime(url, [Room, Log], views=url_of(schema)) as runtime:
        await asyncio.gather(*(hold(runtime, room + "1", room + "2", room + "3") for room in "abc"))
        await runtime.ask(Room.at("d"), Hold("x"))
        await hold(runtime, "d2")
        await node_of(runtime).projectors["Log"].reached(11)
        assert sorted(await seen(runtime)) == ["a1", "b1", "b2", "b3", "c1", "c2", "c3"]
        assert await seen(runtime, "b", consistent=True) == ["b1", "b2", "b3"]
        for room, why in (("a", "ValueError: a2 is bad"), ("d", "CheckViolationError: .* violates check constraint")):
            with pytest.raises(Parked, match=why) as parked:
                await seen(runtime, room, consistent=True)
            assert "Failing row" not in str(parked.value)  # PostgreSQL's detail, with what is in the row
    BAD.clear()
    async with Runtime(url, [Room, Log], views=url_of(schema)) as runtime:
        assert await seen(runtime, "a", consistent=True) == ["a1", "a2", "a3"]
        await runtime.skip_parked(Log.at(), "d", reason="no such guest", by="ana")
        assert await seen(runtime, "d", consistent=True) == ["d2"]
        assert [event.by for event in await runtime.skipped_events(Log.at())] == ["ana"]


async def test_a_query_can_not_write(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def careless(self: Log, db: Any, query: Seen) -> list[str]:
        await db.execute("delete from log")
        return []

    monkeypatch.setattr(Log, "answer", careless)
    async with Runtime("memory:", [Room, Log], views=url_of(schema)) as runtime:
        with pytest.raises(Exception, match="read-only transaction"):
            await seen(runtime, consistent=True)


async def test_a_rebuild_takes_over(schema: str, tmp_path: Path) -> None:
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log], views=url_of(schema)) as runtime:
        await hold(runtime, "a1", "a2")
        assert await seen(runtime, consistent=True) == ["a1", "a2"]
        (old,) = await tables(schema)
        await run("update log set text = 'by hand' where text = 'a1'", schema=old)
        assert await seen(runtime) == ["by hand", "a2"]
        await runtime.rebuild(Log.at())
        assert await seen(runtime) == ["a1", "a2"]
        assert await tables(schema) == [f"{old}_1"]
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log], views=url_of(schema)) as runtime:
        assert await seen(runtime) == ["a1", "a2"]


# -- several processes --------------------------------------------------------------------------------------------


def two(schema: str) -> tuple[Runtime, Runtime]:
    return tuple(  # type: ignore[return-value]
        Runtime(f"{url_of(schema)}&owner={owner}", [Room, Log], views=url_of(schema)) for owner in ("ana", "bob")
    )


async def test_one_of_several_processes_projects_and_all_answer(schema: str) -> None:
    ana, bob = two(schema)
    async with ana, bob:
        assert [node_of(one).projectors["Log"].view.leading for one in (ana, bob)] == [True, False]
        for n in range(5):
            await hold(ana, f"a{n}")
            await hold(bob, f"b{n}")
            for runtime in (ana, bob):
                assert len(await seen(runtime, consistent=True)) == 2 * n + 2
        assert len(await tables(schema)) == 1
        for order in (bob.rebuild(Log.at()), bob.retry_parked(Log.at())):
            with pytest.raises(Elsewhere, match="Log is projected by another process"):
                await order


async def test_when_the_one_that_projects_goes_another_one_does(schema: str) -> None:
    ana, bob = two(schema)
    async with bob:
        async with ana:
            await hold(ana, "a1")
            assert not node_of(ana).projectors["Log"].view.leading
            await hold(bob, "b1")
        await hold(bob, "b2")
        assert await seen(bob, consistent=True) == ["a1", "b1", "b2"]
    ana, bob = two(schema)
    async with bob, ana:
        await hold(ana, "a2")
        assert len(await seen(bob, consistent=True)) == 4
    async with (three := two(schema))[0], three[1]:
        leader, other = three
        assert node_of(leader).projectors["Log"].view.leading
        view: Any = node_of(leader).projectors["Log"].view
        process = view._writer.get_server_pid()
        assert await run("select pg_terminate_backend($1)", process) == [(True,)]  # its lock ends with its session
        for n in range(5):
            await hold(leader, f"a{n}")
            await hold(other, f"b{n}")
            rows = await seen(leader, consistent=True)
            assert rows == await seen(other, consistent=True)
            assert len(rows) == 4 + 2 * n + 2


async def test_what_one_has_set_aside_the_others_know(schema: str) -> None:
    ana, bob = two(schema)
    async with ana, bob:
        BAD.add("a1")
        await hold(ana, "a1", "a2")
        await hold(bob, "b1")
        for runtime in (ana, bob):
            assert await seen(runtime, "b", consistent=True) == ["b1"]
            with pytest.raises(Parked, match="set aside what is of 'a'"):
                await seen(runtime, "a", consistent=True)
            assert [event.position for event in await runtime.parked_events(Log.at())] == [1, 2]


# -- trouble ------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_gone_for_a_while(schema: str, tmp_path: Path) -> None:
    """Nothing is set aside or parked for it, and no event is lost or comes twice."""
    async with a_relay() as relay:
        views = relay.url(schema)
        async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log], views=views) as runtime:
            await hold(runtime, "a1")
            assert await seen(runtime, consistent=True) == ["a1"]
            for n in range(2):
                relay.closed = True
                relay.cut()
                await hold(runtime, f"b{n}")  # commands go on
                asked = asyncio.create_task(seen(runtime, consistent=True))
                await comes(lambda: node_of(runtime).projectors["Log"].failures)
                assert not asked.done()
                with pytest.raises(JournalUnusable, match="can't be used"):
                    await seen(runtime)
                relay.closed = False
                assert len(await asked) == n + 2
            assert runtime.parked() == {}
            assert await runtime.parked_events(Log.at()) == []
            assert await seen(runtime) == ["a1", "b0", "b1"]


@pytest.mark.parametrize("cut", range(14))
async def test_a_connection_that_is_lost_at_any_point(schema: str, cut: int) -> None:
    async with a_relay() as relay, Runtime("memory:", [Room, Log], views=relay.url(schema)) as runtime:
        await hold(runtime, "a1")
        assert await seen(runtime, consistent=True) == ["a1"]
        relay.cut_at(cut)
        await hold(runtime, "a2", "a3")
        await node_of(runtime).projectors["Log"].reached(3)

        async def answered() -> bool:
            try:
                return await seen(runtime) == ["a1", "a2", "a3"]
            except (JournalUnusable, OSError, Exception):  # noqa: BLE001 (the query's own connection may be the one)
                return False

        await becomes(answered)
        assert runtime.parked() == {}


async def test_a_place_that_can_not_be_used_is_told(schema: str) -> None:
    for url, what in (
        ("postgresql://", "can't be understood|can't be used"),
        ("mysql://x/y", "no place for read models"),
    ):
        with pytest.raises(BadJournalUrl, match=what):
            Runtime("memory:", [Room, Log], views=url.replace("postgresql://", "postgresql:/x"))
    with pytest.raises(JournalUnusable, match="does not exist"):
        async with Runtime("memory:", [Room, Log], views=url_of(schema).replace("/test", "/no_such_database")):
            pass
