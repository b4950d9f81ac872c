"""Read models are built anew beside the tables that are there, which answer until the new ones have caught up."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Meta, NotTaken, Parked, Query, ReadModel, ReadModelBehind, RetryPolicy, RuntimeClosed, Statement, sql
from persistence.sqlite_view import SqliteView
from runtime import Runtime
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.tools import comes, node_of

BAD: set[str] = set()


class Seen(Query["Log", list[str]]):
    pass


class Log(ReadModel):
    schema = "create table log (position integer primary key, text text not null)"
    retry = RetryPolicy(budget=timedelta(0))
    prefix = ""

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        yield sql("insert into log values (?, ?)", meta.position, f"{self.prefix}{event.trip}")

    async def answer(self, db: Any, query: Seen) -> list[str]:
        async with db.execute("select text from log order by position") as rows:
            return [text for (text,) in await rows.fetchall()]


def changed(number: int, extra: str = "") -> type[Log]:
    """Return another version of it: its lines begin with its number."""

    class Changed(Log):
        schema = f"create table log (position integer primary key, text text not null{extra})"
        version = number
        prefix = f"{number}:"

        def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
            for text, values in super().project(event, meta):
                yield Statement(text.replace("into log", "into log (position, text)"), values)

    Changed.__name__ = "Log"
    return Changed


@pytest.fixture(autouse=True)
def nothing_is_bad() -> Iterator[None]:
    BAD.clear()
    yield
    BAD.clear()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Keep tables that are built from moving until it is set; open at first."""
    gate, apply = asyncio.Event(), SqliteView.apply
    gate.set()

    async def held(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        if not view.ready:
            await gate.wait()
        await apply(view, statements, checkpoint, **more)

    monkeypatch.setattr(SqliteView, "apply", held)
    return gate


async def hold(runtime: Runtime, *told: str) -> None:
    for trip in told:
        await runtime.ask(Room.at("r"), Hold(trip))


async def ask(runtime: Runtime, cls: type[Log] = Log, **how: Any) -> list[str]:
    return await runtime.ask(cls.at(), Seen(), **how)


def files(folder: Path) -> list[str]:
    return sorted(
        path.name.removeprefix("j.db.Log-")
        for path in folder.glob("j.db.Log-*")
        if path.suffix[-4:] not in ("-wal", "-shm")
    )


# -- a new version ------------------------------------------------------------------------------------------------


async def test_the_version_before_answers_until_todays_has_caught_up(tmp_path: Path, gate: asyncio.Event) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a", "b")
        assert await ask(runtime, consistent=True) == ["a", "b"]
        (old,) = files(tmp_path)
    gate.clear()
    today = changed(2)
    async with Runtime(url, [Room, today]) as runtime:
        await hold(runtime, "c")
        assert await ask(runtime, today) == ["a", "b"]
        consistent = asyncio.create_task(ask(runtime, today, consistent=True))
        await asyncio.sleep(0)
        assert not consistent.done()
        assert old in files(tmp_path)
        gate.set()
        assert await consistent == ["2:a", "2:b", "2:c"]
        await comes(lambda: node_of(runtime).projectors["Log"].stand_in is None)
        assert await ask(runtime, today) == ["2:a", "2:b", "2:c"]
        await comes(lambda: old not in files(tmp_path))
        assert len(files(tmp_path)) == 1


async def test_one_that_reads_other_tables_gets_none_of_the_version_before(tmp_path: Path, gate: asyncio.Event) -> None:
    """Today's ``answer`` could not read them."""
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a")
    gate.clear()
    today = changed(1, ", more text")
    async with Runtime(url, [Room, today]) as runtime:
        assert await ask(runtime, today) == []
        gate.set()
        assert await ask(runtime, today, consistent=True) == ["1:a"]


async def test_a_crash_while_it_is_built(tmp_path: Path, gate: asyncio.Event) -> None:
    """The version before still answers, and what was built is gone on with."""
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a")
    today = changed(2)
    gate.clear()
    async with Runtime(url, [Room, today], shutdown_timeout=0.05) as runtime:
        assert await ask(runtime, today) == ["a"]
    async with Runtime(url, [Room, today], shutdown_timeout=0.05) as runtime:
        assert await ask(runtime, today) == ["a"]
        gate.set()
        assert await ask(runtime, today, consistent=True) == ["2:a"]
        await comes(lambda: len(files(tmp_path)) == 1)
    async with Runtime(url, [Room, today]) as runtime:
        assert await ask(runtime, today) == ["2:a"]


async def test_a_new_version_stops_at_an_event_that_it_can_not_project(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a", "b", "c")
    BAD.add("b")
    today = changed(2)
    async with Runtime(url, [Room, today]) as runtime:
        with pytest.raises(
            Parked, match=r"WasHeld at version 2 of stream Room/r \(position 2\) can't be projected: b is"
        ):
            await ask(runtime, today, consistent=True)
        assert await ask(runtime, today) == ["a", "b", "c"]
        BAD.clear()
        runtime.unpark(today.at())
        assert await ask(runtime, today, consistent=True) == ["2:a", "2:b", "2:c"]
        BAD.add("d")  # caught up, it is as others are
        await hold(runtime, "d")
        await node_of(runtime).projectors["Log"].reached(4)
        assert [event.position for event in await runtime.parked_events(today.at())] == [4]


# -- rebuilding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
async def test_the_old_tables_live_on_until_the_new_ones_take_over(
    tmp_path: Path, gate: asyncio.Event, kept: bool
) -> None:
    views = None if kept else "memory:"
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log], views=views) as runtime:
        await hold(runtime, "a", "b")
        assert await ask(runtime, consistent=True) == ["a", "b"]
        await comes(lambda: node_of(runtime).projectors["Log"].view.ready)
        if kept:
            (path,) = tmp_path.glob("j.db.Log-*[0-9a-f]")
            with closing(sqlite3.connect(path)) as db:
                db.execute("update log set text = 'by hand' where text = 'a'")
                db.commit()
        gate.clear()
        rebuild = asyncio.create_task(runtime.rebuild(Log.at()))
        await comes(lambda: node_of(runtime).builders)
        first = "by hand" if kept else "a"
        for trip in ("c", "d"):
            await hold(runtime, trip)
            assert (await ask(runtime, consistent=True))[0] == first
        assert await ask(runtime, consistent=True) == [first, "b", "c", "d"]
        assert runtime.stats().read_models["Log"].built == 0
        with pytest.raises(ReadModelBehind, match="being built anew already"):
            await runtime.rebuild(Log.at())
        ahead = asyncio.create_task(ask(runtime, after=5))
        await asyncio.sleep(0)
        gate.set()
        await rebuild
        assert await ask(runtime) == ["a", "b", "c", "d"]
        assert runtime.stats().read_models["Log"].built is None
        await hold(runtime, "e")
        assert await ahead == ["a", "b", "c", "d", "e"]  # who waited before waits for the new ones
        await runtime.rebuild(Log.at())
        assert await ask(runtime, consistent=True) == ["a", "b", "c", "d", "e"]
        assert len(files(tmp_path)) == kept
    async with Runtime(url, [Room, Log], views=views) as runtime:
        assert await ask(runtime, consistent=True) == ["a", "b", "c", "d", "e"]


async def test_it_goes_on_under_load(tmp_path: Path) -> None:
    """No query ever sees less than one before it, or a gap."""
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log]) as runtime:
        await hold(runtime, *(f"t{n}" for n in range(300)))
        done = False

        async def write() -> None:
            n = 300
            while not done:
                await hold(runtime, f"t{n}")
                n += 1

        async def read() -> None:
            seen = 0
            while not done:
                rows = await ask(runtime, consistent=True)
                assert rows == [f"t{n}" for n in range(len(rows))]
                assert len(rows) >= seen
                seen = len(rows)

        work = [asyncio.create_task(job()) for job in (write, read, read)]
        for _ in range(3):
            await runtime.rebuild(Log.at())
        done = True
        await asyncio.gather(*work)
        assert len(await ask(runtime, consistent=True)) == runtime.position


async def test_one_that_comes_to_a_bad_event_stops_and_the_old_tables_stay(tmp_path: Path) -> None:
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log]) as runtime:
        BAD.add("b")
        await hold(runtime, "a", "b", "c")
        await runtime.ask(Room.at("other"), Hold("d"))
        await node_of(runtime).projectors["Log"].reached(4)
        with pytest.raises(Parked, match=r"\(position 2\) can't be projected: b is bad"):
            await runtime.rebuild(Log.at())
        assert await ask(runtime) == ["a", "d"]
        assert len(files(tmp_path)) == 1
        await runtime.rebuild(Log.at(), strict=False)
        assert await ask(runtime) == ["a", "d"]
        assert [event.position for event in await runtime.parked_events(Log.at())] == [2, 3]
        BAD.clear()
        await runtime.rebuild(Log.at())
        assert await ask(runtime, consistent=True) == ["a", "b", "c", "d"]


async def test_who_waits_for_the_old_tables_is_answered_by_new_ones_that_are_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, apply = asyncio.Event(), SqliteView.apply
    gate.set()

    async def held(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        if view.ready:
            await gate.wait()
        await apply(view, statements, checkpoint, **more)

    monkeypatch.setattr(SqliteView, "apply", held)
    async with Runtime(f"sqlite:{tmp_path / 'j.db'}", [Room, Log]) as runtime:
        await hold(runtime, "a")
        assert await ask(runtime, consistent=True) == ["a"]
        await comes(lambda: node_of(runtime).projectors["Log"].view.ready)
        gate.clear()
        await hold(runtime, "b")
        asked = asyncio.create_task(ask(runtime, consistent=True))
        await comes(lambda: node_of(runtime).projectors["Log"].waiting)
        rebuild = asyncio.create_task(runtime.rebuild(Log.at()))
        assert await asked == ["a", "b"]  # though nothing more comes
        gate.set()
        await rebuild


async def test_closing_while_it_is_built(tmp_path: Path, gate: asyncio.Event) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a")
        await ask(runtime, consistent=True)
        await comes(lambda: node_of(runtime).projectors["Log"].view.ready)
        gate.clear()
        rebuild = asyncio.create_task(runtime.rebuild(Log.at()))
        await comes(lambda: node_of(runtime).builders)
    gate.set()
    with pytest.raises(RuntimeClosed):
        await rebuild
    async with Runtime(url, [Room, Log]) as runtime:
        assert await ask(runtime) == ["a"]
        await runtime.rebuild(Log.at())
        assert await ask(runtime) == ["a"]
        assert len(files(tmp_path)) == 1


async def test_only_read_models_are_rebuilt() -> None:
    async with Runtime("memory:", [Room, Log]) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Room/r is no read model"):
            await anyone.rebuild(Room.at("r"))


# -- another past -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 5])
async def test_a_journal_that_was_restored_from_a_backup(
    tmp_path: Path, more: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The tables have seen events that the journal lacks, or that others stand in place of."""
    path = tmp_path / "j.db"
    async with Runtime(f"sqlite:{path}", [Room, Log]) as runtime:
        await hold(runtime, "a")
    backup = path.read_bytes()
    async with Runtime(f"sqlite:{path}", [Room, Log]) as runtime:
        await hold(runtime, "lost", "lost too")
        assert await ask(runtime, consistent=True) == ["a", "lost", "lost too"]
    path.write_bytes(backup)
    async with Runtime(f"sqlite:{path}", [Room]) as runtime:
        await hold(runtime, *(f"new {n}" for n in range(more)))
    async with Runtime(f"sqlite:{path}", [Room, Log]) as runtime:
        expected = ["a", *(f"new {n}" for n in range(more))]
        assert await ask(runtime, consistent=True) == expected
        assert "built anew: the journal has another past" in caplog.text


async def test_tables_of_the_same_past_are_kept_also_where_events_were_erased(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    async with Runtime(url, [Room, Log]) as runtime:
        await hold(runtime, "a", "b")
        assert await ask(runtime, consistent=True) == ["a", "b"]
        await runtime.delete(Room.at("r"))
    async with Runtime(url, [Room, Log]) as runtime:
        assert await ask(runtime, consistent=True) == ["a", "b"]
    assert "built anew" not in caplog.text
