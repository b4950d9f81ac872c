"""The commands ``read-models`` and ``rebuild``: beside the process that holds the journal, or without one."""

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Command,
    Decision,
    Event,
    Meta,
    ReadModel,
    RetryPolicy,
    Service,
    State,
    Statement,
    Subscriber,
    sql,
)
from demos.trip import ACTORS
from demos.trip import read_models as demo
from runtime import Runtime
from tests.command_line.conftest import Beside, Run

NAME = next(cls.__name__ for cls in ACTORS if issubclass(cls, ReadModel))
TODAY = ("--actors", "demos.trip")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"trips.db.{NAME}-*") if not path.name.endswith(("-wal", "-shm")))


def content(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        return {
            name: sorted(db.execute(f"select * from {name}").fetchall())
            for name in names
            if not name.startswith("understudy_")
        }


def test_it_is_built_beside_and_the_next_start_takes_it_over(process: Run, trips: str, tmp_path: Path) -> None:
    (old,) = files(tmp_path)
    told = process("read-models", trips, *TODAY, "--json").objects
    (before,) = [one for one in told if one["read_model"] == NAME]
    assert (before["today"], before["ready"], before["behind"]) == (True, True, 0)
    done = process("rebuild", trips, NAME, *TODAY)
    assert (done.code, done.err) == (0, "")
    assert f"{NAME} is built anew ({before['tables']}.1); the next start" in done.out
    _, new = files(tmp_path)
    assert content(new) == content(old) != {}
    listed = process("read-models", trips, *TODAY).out
    assert listed.count(NAME) == 2
    assert listed.count("ready") >= 2

    async def start() -> None:
        async with Runtime(trips, ACTORS):
            async with asyncio.timeout(60):
                while len(files(tmp_path)) > 1:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.001)

    asyncio.run(start())
    assert files(tmp_path) == [new]
    (after,) = [one for one in process("read-models", trips, *TODAY, "--json").objects if one["read_model"] == NAME]
    assert after["tables"] == f"{before['tables']}.1"


async def test_beside_the_process_that_holds_the_journal(beside: Beside, trips: str, tmp_path: Path) -> None:
    async with Runtime(trips, ACTORS):
        done = await beside("rebuild", trips, NAME, *TODAY, "--json")
        assert (done.code, done.err) == (0, "")
        assert done.objects[0]["read_model"] == NAME
    assert len(files(tmp_path)) == 2


def test_one_that_comes_to_a_bad_event_says_which_and_leaves_nothing(
    run: Run, trips: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(self: Any, event: Any, meta: Any) -> Any:
        raise ValueError("not this one")

    cls: Any = getattr(demo, NAME)
    monkeypatch.setattr(cls, "project", bad)
    monkeypatch.setattr(cls, "parked_limit", 0)
    monkeypatch.setattr(cls, "retry", RetryPolicy(budget=timedelta(0)))
    before = files(tmp_path)
    done = run("rebuild", trips, NAME, *TODAY)
    assert done.code == 1
    assert "can't be projected: not this one" in done.err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((NAME,), "the following arguments are required: --actors"),
        (("Nobody", *TODAY), f"has no read model Nobody, only .*{NAME}"),
        ((NAME, "--actors", "demos.trip.services"), "demos.trip.services has no read models"),
        ((NAME, *TODAY, "--views", "memory:"), "these read models are in memory"),
        ((NAME, *TODAY, "--views", "x"), "there is no place for read models 'x'"),
    ],
)
def test_bad_usage(run: Run, trips: str, arguments: tuple[str, ...], said: str) -> None:
    done = run("rebuild", trips, *arguments)
    assert done.code == 2
    assert re.search(said, done.complaint)


class Mailed(Event):
    to: str


class Post(Command["Office", None]):
    to: str


class Office(Service[State, Post, Mailed]):
    initial = State()

    def decide(self, state: State, command: Post) -> Decision:
        return command.reply(None, Mailed(command.to))

    def evolve(self, state: State, event: Mailed) -> State:
        return state


class Everything(ReadModel):
    schema = "create table everything (position int)"

    def project(self, event: Event, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into everything values (?)", meta.position)


class Letters(Subscriber):
    since = "beginning"
    retry = RetryPolicy(budget=timedelta(0))

    async def handle(self, event: Mailed, meta: Meta) -> None:
        if event.to == "nobody":
            raise ValueError("no such address")


OFFICE = [Office, Everything, Letters]


def test_it_tells_how_late_they_are_and_what_is_set_aside(process: Run, tmp_path: Path) -> None:
    """Also of subscribers, and of a read model that follows all events, those of the runtime's own services too."""
    url, actors = f"sqlite:{tmp_path / 'office.db'}", ("--actors", f"{__name__}:OFFICE")

    async def write() -> None:
        async with Runtime(url, OFFICE) as runtime:
            for to in ("ana", "nobody", "bob"):
                await runtime.ask(Office.at(to), Post(to))
            await runtime.caught_up(Letters.at())
        async with Runtime(url, [Office]) as runtime:
            await runtime.ask(Office.at("late"), Post("late"))
            await runtime.ask(Office.at("late"), Post("later"))

    asyncio.run(write())
    model, letters = process("read-models", url, *actors, "--json").objects
    assert (model["read_model"], model["today"], model["behind"], model["set_aside"]) == ("Everything", True, 2, 0)
    assert (letters["subscriber"], letters["today"], letters["behind"], letters["set_aside"]) == ("Letters", True, 2, 1)
    for one in (model, letters):
        assert 0 < one["behind_seconds"] < 3_600
    lines = process("read-models", url, *actors).out.splitlines()
    assert any(line.split()[0] == "Letters" and "subscriber" in line for line in lines)
    refused = process("rebuild", url, "Letters", *actors)
    assert (refused.code, "has no read model Letters" in refused.err) == (2, True)
    assert process("rebuild", url, "Everything", *actors).code == 0
    model, new, _ = process("read-models", url, *actors, "--json").objects
    assert (new["tables"], new["today"], new["behind"]) == (f"{model['tables']}.1", True, 0)
