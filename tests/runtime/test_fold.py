"""Folds: the state in memory is the fold of the journal, less what is set aside, whatever dies."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import (
    DefinitionError,
    Event,
    Fold,
    Meta,
    Parked,
    Query,
    ReadModel,
    Refused,
    RetryPolicy,
    State,
    Statement,
    sql,
)
from persistence import SqliteJournal
from persistence.journal import PAGE
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime, fold_projector
from runtime.fold_projector import FoldProjector
from runtime.projector import Projector
from runtime.simulation.given import given as given_past
from tests.runtime.cast import Hold, Release, Room, WasHeld, WasReleased
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


class AllRows(Query["Table", dict[str, list[str]]]):
    pass


class Table(ReadModel):
    schema = "create table lines (position integer primary key, room text not null, line text not null)"
    retry = Totals.retry

    def project(self, event: WasHeld | WasReleased, meta: Meta) -> Iterator[Statement]:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        yield sql(
            "insert into lines values (?, ?, ?)",
            meta.position,
            meta.key,
            f"{type(event).__name__} {event.trip} {meta.position}",
        )

    def key(self, event: WasHeld | WasReleased, meta: Meta) -> str:
        return meta.key

    async def answer(self, db: Any, query: AllRows) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async with db.execute("select room, line from lines order by position") as rows:
            async for room, line in rows:
                found.setdefault(room, []).append(line)
        return found


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
        assert "Wrong.evolve must return Trips, not None" in aside.error


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

        def evolve(self, state: Short, event: WasHeld, meta: Meta) -> Short:
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
        assert await runtime.ask(today.at(), All(), consistent=True) == ["a", "b"]


async def test_a_snapshot_that_was_changed_by_hand_is_not_used(tmp_path: Path) -> None:
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        await runtime.caught_up(Totals.at())
        await of(runtime).see_to(of(runtime).keep_ready)
        writer: Any = of(runtime).view
        await writer._writer.run(lambda db: db.execute("update fold set kept = '{}'"))
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


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.sampled_from("xyz")),
        st.tuples(st.just("release"), st.sampled_from("xyz")),
        st.tuples(st.just("bad"), st.sampled_from("xyz")),
        st.tuples(st.sampled_from(["kill", "turn", "level", "mend", "skip", "restart", "crash"]), st.just("")),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(1, 5))
def test_it_equals_the_table_whatever_dies(steps: list[tuple[str, str]], every: int) -> None:
    BAD.clear()
    before, fold_projector.EVERY = fold_projector.EVERY, every
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(asyncio.wait_for(_play(steps, Path(folder)), 60))
    finally:
        fold_projector.EVERY = before


async def _play(steps: list[tuple[str, str]], folder: Path) -> None:
    left = list(enumerate(steps))
    while left:
        crash = False
        async with Runtime(url(folder), [Room, Totals, Table]) as runtime:
            while left:
                number, (what, room) = left.pop(0)
                if what in ("restart", "crash"):
                    crash = what == "crash"
                    break
                await _step(runtime, what, room, f"t{number}")
            if crash:
                vars(of(runtime))["close"] = of(runtime).view.close  # nothing more is kept
    BAD.clear()
    async with Runtime(url(folder), [Room, Totals, Table]) as runtime:
        fold, table = of(runtime), node_of(runtime).projectors["Table"]
        await runtime.caught_up(Totals.at())
        await runtime.caught_up(Table.at())
        await runtime.retry_parked(Totals.at())
        await runtime.retry_parked(Table.at())
        assert {row.position for row in await fold.view.skipped()} == {
            row.position for row in await table.view.skipped()
        }
        said = await runtime.ask(Totals.at(), All(), consistent=True)
        assert {room: sorted(lines) for room, lines in said.items()} == {
            room: sorted(lines) for room, lines in (await runtime.ask(Table.at(), AllRows(), consistent=True)).items()
        }
        assert fold.state.count == sum(map(len, said.values()))
        if not await fold.view.skipped():
            for lines in said.values():
                assert lines == sorted(lines, key=lambda line: int(line.split()[-1]))


async def _step(runtime: Runtime, what: str, room: str, trip: str) -> None:
    if what == "bad":
        BAD.add(trip)
    if what in ("hold", "bad"):
        await runtime.ask(Room.at(room), Hold(trip))
    elif what == "release":
        with suppress(Refused):
            await runtime.ask(Room.at(room), Release(f"t{int(trip[1:]) - 1}"))
    elif what == "kill":
        await runtime.kill(Totals.at())
    elif what == "turn":
        await asyncio.sleep(0)
    elif what == "level":
        await runtime.caught_up(Totals.at())
        await runtime.caught_up(Table.at())
    elif what == "mend":
        BAD.clear()
        await runtime.retry_parked(Totals.at())
    elif what == "skip":
        await _step(runtime, "level", "", "")
        both = await runtime.parked_events(Totals.at()), await runtime.parked_events(Table.at())
        keys = {event.key: event.position for event in reversed(both[0])}
        same = {event.key: event.position for event in reversed(both[1])}
        if keys and (first := next(iter(keys))) in same and same[first] == keys[first]:
            for address in (Totals.at(), Table.at()):
                await runtime.skip_parked(address, first, reason="bad", by="me")


# -- definitions --------------------------------------------------------------------------------------------------


def test_definitions_that_cant_work() -> None:
    with pytest.raises(DefinitionError, match=r"Slow.answer is async, but a fold works at once"):

        class Slow(Totals):
            async def answer(self, state: Trips, query: All) -> Any:
                return 1

    with pytest.raises(DefinitionError, match=r"Lazy.evolve yields"):

        class Lazy(Totals):
            def evolve(self, state: Trips, event: WasHeld, meta: Meta) -> Any:
                yield state

    with pytest.raises(DefinitionError, match=r"Tables is a fold and has no tables"):

        class Tables(Totals):
            schema = "create table t (a)"

    with pytest.raises(DefinitionError, match="Nameless doesn't say what its state is"):

        class Nameless(Fold):  # type: ignore[type-arg]  # what it is about
            pass

    with pytest.raises(DefinitionError, match="needs its first state"):

        class First(Fold[Trips]):
            def evolve(self, state: Trips, event: WasHeld, meta: Meta) -> Trips:
                return state

    with pytest.raises(DefinitionError, match=r"must say which messages it is for"):

        class Untold(Totals):
            def evolve(self, state, event, meta):  # type: ignore[no-untyped-def]  # what it is about
                return state

    with pytest.raises(DefinitionError, match=r"is a fold, and pure"):
        given_past(Totals)


def test_it_follows_what_evolve_names() -> None:
    assert dict(Totals.follows) == {"WasHeld": WasHeld, "WasReleased": WasReleased}
    assert issubclass(WasHeld, Event)
