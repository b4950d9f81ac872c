"""Folds: the state in memory is the fold of the journal, less what is set aside, whatever dies."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Fold,
    Meta,
    Parked,
    Query,
    RetryPolicy,
    State,
)
from persistence import SqliteJournal
from persistence.journal import PAGE
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime, fold_projector
from runtime.fold_projector import FoldProjector
from runtime.projector import Projector
from tests.runtime.cast import Hold, Room, WasHeld, WasReleased
from tests.runtime.tools import comes, node_of

BAD: set[str] = set()


class Trips(State):
    count: int = 0
    text: dict[str, list[str]] = {}


class All(Query["Totals", dict[str, list[str]]]):
    room: str = ""


class Totals(Fold[Trips]):
    initial = Trips()
    retry = RetryPolicy(budget=timedelta(0))

    def evolve(self, state: Trips, event: WasHeld | WasReleased, meta: Meta) -> Trips:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        line = f"{type(event).__name__} {event.trip} {meta.position}"
        return Trips(state.count + 1, {**state.text, meta.key: [*state.text.get(meta.key, []), line]})

    def key(self, event: WasHeld | WasReleased, meta: Meta) -> str:
        return meta.key

    def about(self, query: All) -> str | None:
        return query.room or None

    def answer(self, state: Trips, query: All) -> dict[str, list[str]]:
        return state.text


@pytest.fixture(autouse=True)
def nothing_is_bad() -> Iterator[None]:
    BAD.clear()
    yield
    BAD.clear()


class Counted:
    """What is asked of databases and the journal."""

    def __init__(self) -> None:
        self.snapshots: list[int] = []
        self.read: list[int] = []


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted, apply, read_all = Counted(), SqliteView.apply, SqliteJournal.read_all

    async def applied(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        assert len(statements) <= 1
        counted.snapshots.append(checkpoint)
        await apply(view, statements, checkpoint, **more)

    async def read(journal: SqliteJournal, after: int = 0, limit: int = PAGE) -> Any:
        found = await read_all(journal, after, limit)
        counted.read += [record.position for record in found]
        return found

    monkeypatch.setattr(SqliteView, "apply", applied)
    monkeypatch.setattr(SqliteJournal, "read_all", read)
    return counted


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have runtimes end from now on as in a crash, without a last snapshot."""
    return lambda: monkeypatch.setattr(FoldProjector, "close", Projector.close)


def url(folder: Path) -> str:
    return f"sqlite:{folder / 'j.db'}"


def of(runtime: Runtime, cls: type[Totals] = Totals) -> FoldProjector:
    found = node_of(runtime).projectors[cls.__name__]
    assert isinstance(found, FoldProjector)
    return found


async def hold(runtime: Runtime, *trips: str, room: str = "r") -> None:
    for trip in trips:
        await runtime.ask(Room.at(room), Hold(trip))


async def told(runtime: Runtime, **how: Any) -> list[str]:
    answer = await runtime.ask(Totals.at(), All(), **how)
    return [line.split()[1] for lines in answer.values() for line in lines]


# -- what it says -------------------------------------------------------------------------------------------------


async def test_it_answers_from_memory_and_nothing_is_written_meanwhile(tmp_path: Path, counted: Counted) -> None:
    async with Runtime(url(tmp_path), [Room, Totals], clock=ManualClock()) as runtime:
        await hold(runtime, *"abcdef")
        assert await told(runtime, consistent=True) == [*"abcdef"]
        assert await told(runtime, after=3) == [*"abcdef"]
        await runtime.caught_up(Totals.at())
        assert runtime.stats().read_models["Totals"].position == 6
        assert len(counted.snapshots) <= 1  # when it was ready
    assert counted.snapshots[-1] == 6  # at the end


async def test_after_some_events_or_a_moment_it_keeps_a_snapshot(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_projector, "EVERY", 4)
    clock = ManualClock()
    async with Runtime(url(tmp_path), [Room, Totals], clock=clock) as runtime:
        await comes(lambda: of(runtime).view.ready)
        for trip in "abcdefghi":
            await hold(runtime, trip)
            await told(runtime, consistent=True)
        assert counted.snapshots == [4, 8]
        clock.advance(fold_projector.MOMENT + 0.1)
        await comes(lambda: counted.snapshots == [4, 8, 9])


async def test_a_restart_reads_only_what_is_behind_the_snapshot(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch, crashes: Callable[[], None]
) -> None:
    monkeypatch.setattr(fold_projector, "EVERY", 4)
    crashes()
    async with Runtime(url(tmp_path), [Room, Totals], clock=ManualClock()) as runtime:
        await comes(lambda: of(runtime).view.ready)
        for trip in "abcdef":
            await hold(runtime, trip)
            await told(runtime, consistent=True)
        before = of(runtime).state
    kept = counted.snapshots[-1]
    assert kept == 4
    counted.read.clear()
    async with Runtime(url(tmp_path), [Room, Totals], clock=ManualClock()) as runtime:
        assert await told(runtime, consistent=True) == [*"abcdef"]
        assert of(runtime).state == before
        assert sorted(set(counted.read)) == [4, 5, 6]  # the one at the checkpoint too: is it still there?


async def test_a_watcher_sees_each_change(tmp_path: Path) -> None:
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        seen: list[int] = []
        await hold(runtime, "a")
        async for answer in runtime.watch(Totals.at(), All()):
            seen.append(len(answer.get("r", [])))
            if seen[-1] == 3:
                break
            if seen[-1]:
                await hold(runtime, "x")
        assert seen[-3:] == [1, 2, 3]


# -- what can't be folded -----------------------------------------------------------------------------------------


async def test_poison_is_set_aside_by_key_and_comes_after_all(tmp_path: Path, crashes: Callable[[], None]) -> None:
    BAD.add("b")
    crashes()
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b", "c")
        await hold(runtime, "d", room="s")
        assert await told(runtime) in (["a", "d"], ["a"], [])
        assert len((await runtime.ask(Totals.at(), All("s"), consistent=True))["s"]) == 1
        with pytest.raises(Parked, match="set aside what is of 'r'"):
            await told(runtime, consistent=True)
        await hold(runtime, "e", room="s")
        assert [event.position for event in await runtime.parked_events(Totals.at())] == [2, 3]
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await runtime.caught_up(Totals.at())
        assert await told(runtime) == ["a", "d", "e"]
        BAD.clear()
        await hold(runtime, "f", room="s")
        await runtime.caught_up(Totals.at())
        assert await runtime.retry_parked(Totals.at()) == 2
        assert await told(runtime, consistent=True) == ["a", "b", "c", "d", "e", "f"]
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:  # what was retried is kept
        assert await told(runtime, consistent=True) == ["a", "b", "c", "d", "e", "f"]


async def test_what_is_skipped_stays_out(tmp_path: Path, crashes: Callable[[], None]) -> None:
    BAD.add("b")
    crashes()
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b", "c", "d")
        await runtime.caught_up(Totals.at())
        assert await runtime.skip_parked(Totals.at(), "r", reason="bad", by="me") == 2
        assert await told(runtime, consistent=True) == ["a", "c", "d"]
        await runtime.kill(Totals.at())
        assert await told(runtime, consistent=True) == ["a", "c", "d"]
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        assert await told(runtime, consistent=True) == ["a", "c", "d"]


async def test_evolve_must_return_a_state(tmp_path: Path) -> None:
    class Wrong(Totals):
        def evolve(self, state: Trips, event: WasHeld | WasReleased, meta: Meta) -> Any:
            return None

    async with Runtime(url(tmp_path), [Room, Wrong]) as runtime:
        await hold(runtime, "a")
        await runtime.caught_up(Wrong.at())
        (aside,) = await runtime.parked_events(Wrong.at())
        assert "Wrong.evolve must return the next Trips, not None" in aside.error


# -- built anew ---------------------------------------------------------------------------------------------------


async def test_a_rebuild_equals_the_live_one_byte_for_byte(tmp_path: Path) -> None:
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        for number in range(30):
            await hold(runtime, f"t{number}", room=f"r{number % 3}")
        await runtime.caught_up(Totals.at())
        encode = of(runtime).kind.state.encode
        live, old = encode(of(runtime).state), of(runtime)
        await runtime.rebuild(Totals.at())
        assert of(runtime) is not old
        assert encode(of(runtime).state) == live is not None


@pytest.mark.parametrize("what", ["version", "form"])
async def test_another_version_or_form_is_folded_anew(tmp_path: Path, what: str) -> None:
    class Short(State):
        trips: tuple[str, ...] = ()

    class Later(Fold[Short]):
        initial = Short()

        def evolve(self, state: Short, event: WasHeld | WasReleased, meta: Meta) -> Short:
            return Short((*state.trips, event.trip))

        def answer(self, state: Short, query: All) -> Any:
            return list(state.trips)

    class Newer(Totals):
        version = 2

        def evolve(self, state: Trips, event: WasHeld | WasReleased, meta: Meta) -> Trips:
            return Trips(state.count + 1, {**state.text, event.trip: []})

        def answer(self, state: Trips, query: All) -> Any:
            return list(state.text)

    today: Any = Later if what == "form" else Newer
    today.__name__ = "Totals"
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        await runtime.caught_up(Totals.at())
    async with Runtime(url(tmp_path), [Room, today]) as runtime:
        answer: Any = await runtime.ask(today.at(), All(), consistent=True)
        assert answer == ["a", "b"]


@pytest.mark.parametrize("by", ["'{}'", "replace(kept, '\"position\":2', '\"position\":1')", "'no json'"])
async def test_a_snapshot_that_was_changed_by_hand_is_not_used(tmp_path: Path, by: str) -> None:
    def spoil(db: sqlite3.Connection) -> None:
        assert db.execute(f"update fold set kept = {by}").rowcount == 1

    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        await runtime.caught_up(Totals.at())
        await of(runtime).see_to(of(runtime).keep_ready)
        writer: Any = of(runtime).view
        await writer._writer.run(spoil)
        await runtime.kill(Totals.at())
        assert await told(runtime, consistent=True) == ["a", "b"]


# -- what dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_error_beside_the_commit_folds_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(fold_projector, "EVERY", 2)
    apply, fails = SqliteView.apply, [True, False, True]

    async def torn(view: SqliteView, *args: Any, **more: Any) -> None:
        fail = bool(fails) and fails.pop(0)
        if fail and when == "before":
            raise OSError("the disk went away")
        await apply(view, *args, **more)
        if fail:
            raise RuntimeError("something broke behind the commit")

    monkeypatch.setattr(SqliteView, "apply", torn)
    monkeypatch.setattr(Totals, "retry", RetryPolicy(budget=timedelta(seconds=30)))
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        for number in range(12):
            await hold(runtime, f"t{number}")
            assert await told(runtime, consistent=True) == [f"t{n}" for n in range(number + 1)]
        assert not fails
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        assert await told(runtime, consistent=True) == [f"t{number}" for number in range(12)]
