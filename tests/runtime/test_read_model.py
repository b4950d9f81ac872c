"""P6, P7: a read model is always the fold of a prefix of the journal; rebuilt, it is equal to the live one."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Meta, NotTaken, Parked, ReadModel, ReadModelBehind, RetryPolicy, RuntimeClosed, Statement, sql
from persistence import MemoryJournal, Record
from persistence.journal import PAGE
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime
from runtime import follower as following
from runtime import projector as projecting
from runtime.projection import Poison
from tests.runtime.cast import (
    ALL,
    Account,
    Board,
    BookTrip,
    Deposit,
    Hold,
    Lines,
    Room,
    Trip,
    TripBooked,
    WasHeld,
    WasReleased,
)
from tests.runtime.tools import HeldJournal, node_of, quiet, restart_of


class StuckJournal(MemoryJournal):
    """Can't be read as a whole while ``gate`` is closed: read models that need to catch up, don't."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        super().__init__(records)
        self.gate = asyncio.Event()
        self.pages: list[int] = []

    async def read_all(self, after: int = 0, limit: int = PAGE) -> list[Record]:
        await self.gate.wait()
        self.pages.append(after)
        return await super().read_all(after, limit)


async def filled(count: int) -> MemoryJournal:
    """Return a journal with so many events."""
    journal = HeldJournal()
    async with Runtime(journal, [Room]) as runtime:
        for number in range(count):
            await runtime.tell(Room.at(f"r{number % 7}"), Hold(f"t{number}"))
        await runtime.ask(Room.at("last"), Hold("last"))
    return restart_of(journal.records[:count])


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the content of every read model's database, whatever its file is called, checkpoint included."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for path in folder.glob("journal.db.*-*"):
        if path.suffix.endswith(("-wal", "-shm")):
            continue
        db = sqlite3.connect(path)
        try:
            tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                found[f"{path.name} {table}"] = db.execute(f"select * from {table}").fetchall()
        finally:
            db.close()
    return found


def drop_read_models(folder: Path) -> None:
    for path in folder.glob("journal.db.*-*"):
        path.unlink()


# -- asking -------------------------------------------------------------------------------------------------------


async def test_eventual_sees_what_is_there_and_consistent_all_that_was_committed() -> None:
    journal = StuckJournal((await filled(10)).records)
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(Board.at(), Lines()) == []
        consistent = asyncio.create_task(runtime.ask(Board.at(), Lines(), consistent=True))
        after = asyncio.create_task(runtime.ask(Board.at(), Lines(), after=3))
        await asyncio.sleep(0)
        assert not consistent.done()
        assert await runtime.ask(Board.at(), Lines(), after=0) == []
        journal.gate.set()
        assert len(await consistent) == len(await after) == 10
        assert await runtime.ask(Board.at(), Lines()) == await consistent


async def test_consistent_sees_ones_own_writes() -> None:
    async with Runtime("memory:", ALL) as runtime:
        for number in range(30):
            await runtime.ask(Room.at("r"), Hold(f"t{number}"))
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert lines[-1] == (number + 1, f"WasHeld t{number}")
            assert await runtime.ask(Board.at(), Lines(), after=runtime.position) == lines


async def test_a_timeout_says_how_far_behind_it_is() -> None:
    journal = StuckJournal((await filled(10)).records)
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(ReadModelBehind, match="Board is at position 0, 10 events behind the position 10"):
            await runtime.ask(Board.at(), Lines(), consistent=True, timeout=0.01)
        with pytest.raises(ReadModelBehind, match="12 events behind"):
            await runtime.ask(Board.at(), Lines(), after=12, timeout=0.01)
        journal.gate.set()
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True, timeout=60)) == 10


async def test_a_timeout_covers_the_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(self: Board, db: Any, query: Lines) -> list[tuple[int, str]]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(Board, "answer", slow)
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(ReadModelBehind, match="Board is at position 0, and answers slowly"):
            await runtime.ask(Board.at(), Lines(), timeout=0.01)


async def test_a_query_that_waits_when_the_runtime_closes_is_told() -> None:
    async with Runtime("memory:", ALL) as runtime:
        asked = asyncio.create_task(runtime.ask(Board.at(), Lines(), after=10**6))
        await quiet(runtime)
        assert not asked.done()
    with pytest.raises(RuntimeClosed, match="closed before Board got there"):
        await asked


async def test_only_a_read_model_answers_queries_and_only_queries() -> None:
    async with Runtime("memory:", ALL) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Room/r answers no queries"):
            await anyone.ask(Room.at("r"), Lines())
        with pytest.raises(NotTaken, match="Board doesn't take Hold, only queries"):
            await anyone.ask(Board.at(), Hold("t"))


async def test_an_answer_that_goes_wrong_or_writes_harms_nothing() -> None:
    class Careless(Board):
        async def answer(self, db: Any, query: Lines) -> list[tuple[int, str]]:
            await db.execute("delete from line")
            return []

    async with Runtime("memory:", [Room, Careless]) as runtime:
        anyone: Any = runtime
        await runtime.ask(Room.at("r"), Hold("t"))
        with pytest.raises(sqlite3.OperationalError):
            await anyone.ask(Careless.at(), Lines(), consistent=True)
        await runtime.ask(Room.at("r"), Hold("t"))
        with pytest.raises(sqlite3.OperationalError):
            await anyone.ask(Careless.at(), Lines(), consistent=True)


# -- the fold of a prefix -----------------------------------------------------------------------------------------


async def test_rebuilt_it_is_equal_to_the_live_one(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, ALL) as runtime:
        for number in range(40):
            asked = runtime.ask(Trip.at(f"t{number}"), BookTrip(["a", "full" if number % 3 else "b", "c"]))
            await asyncio.gather(asked, return_exceptions=True)
            if number % 4 == 0:
                await runtime.kill(Board.at())
        live = await runtime.ask(Board.at(), Lines(), consistent=True)
    kept = rows(tmp_path)
    drop_read_models(tmp_path)
    async with Runtime(url, ALL) as runtime:
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == live
    rebuilt = rows(tmp_path)
    (lines,) = (name for name in kept if name.endswith(" line"))
    assert rebuilt[lines] == kept[lines]
    assert rebuilt.keys() == kept.keys()


async def test_what_was_projected_is_not_projected_again(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    for number in range(4):
        async with Runtime(url, ALL) as runtime:
            await runtime.ask(Room.at("r"), Hold(f"t{number}"))
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert lines == [(n + 1, f"WasHeld t{n}") for n in range(number + 1)]


async def test_at_every_moment_its_rows_are_those_up_to_its_checkpoint(tmp_path: Path) -> None:
    """As anyone sees it who looks between any two statements, and as a crash there would leave it."""
    seen: list[tuple[int, list[int]]] = []

    def look(_statement: str) -> None:
        ((_, found),) = [(name, db) for name, db in rows(tmp_path).items() if name.endswith(" line")]
        ((_, checkpoint, *_),) = next(
            db for name, db in rows(tmp_path).items() if name.endswith(" understudy_checkpoint")
        )
        seen.append((checkpoint, [position for position, _ in found]))

    async with Runtime(f"sqlite:{tmp_path / 'journal.db'}", ALL) as runtime:
        view = node_of(runtime).projectors["Board"].view
        assert isinstance(view, SqliteView)
        writer = view._writer  # pyright: ignore[reportPrivateUsage]
        assert writer is not None
        await writer.run(lambda db: db.set_trace_callback(look))
        for number in range(5):
            await runtime.ask(Trip.at(f"t{number}"), BookTrip(["a", "b"]))
            await runtime.ask(Board.at(), Lines(), consistent=True)
        await writer.run(lambda db: db.set_trace_callback(None))
        lines = [position for position, _ in await runtime.ask(Board.at(), Lines(), consistent=True)]
    assert len({checkpoint for checkpoint, _ in seen}) == 6  # at first, and behind each trip
    for checkpoint, found in seen:
        assert found == [position for position in lines if position <= checkpoint]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_killed_between_rows_and_checkpoint(after_commit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no between: whichever side the kill falls on, no line is lost and none comes twice."""
    apply, kills = SqliteView.apply, 0

    async def apply_and_die(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        nonlocal kills
        kills += 1
        if kills % 2 and not after_commit:
            raise sqlite3.OperationalError("killed before the commit")
        await apply(view, statements, checkpoint, **more)
        if kills % 2:
            raise sqlite3.OperationalError("killed after the commit")

    monkeypatch.setattr(SqliteView, "apply", apply_and_die)
    monkeypatch.setattr(Board, "retry", RetryPolicy())
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        for number in range(10):
            await runtime.ask(Room.at("r"), Hold(f"t{number}"))
            asked = asyncio.create_task(runtime.ask(Board.at(), Lines(), consistent=True))
            while not asked.done():
                await asyncio.sleep(0)
                clock.advance(1)
            assert [position for position, _ in asked.result()] == list(range(1, number + 2))
    assert kills >= 10


async def test_an_error_behind_the_commit_parks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one that gets no second try has its rows in, it goes on from there."""
    apply = SqliteView.apply

    async def apply_and_fail(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        await apply(view, statements, checkpoint, **more)
        raise RuntimeError("the driver says so, and it is done")

    monkeypatch.setattr(SqliteView, "apply", apply_and_fail)
    async with Runtime(await filled(5), [Room, Board]) as runtime:
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == 5
        await runtime.ask(Room.at("r"), Hold("t"))
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == 6


async def test_a_changed_schema_or_version_builds_it_anew(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, [Room, Board]) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))

    def changed(name: str, columns: str, number: int) -> type[ReadModel]:
        class Changed(Board):
            schema = f"create table line (position integer primary key, text text not null{columns})"
            version = number

            def project(self, event: TripBooked | WasHeld | WasReleased, meta: Meta) -> Iterator[Statement]:
                yield sql("insert into line (position, text) values (?, ?)", meta.position, event.trip * number)

        Changed.__name__ = name
        return Changed

    for columns, number, text in (("", 2, "tt"), (", more text", 2, "tt"), (", more text", 3, "ttt")):
        async with Runtime(url, [Room, changed("Board", columns, number)]) as runtime:
            lines = await runtime.ask(Board.at(), Lines(), consistent=True)
            assert [tuple(line)[:2] for line in lines] == [(1, text)]


async def test_one_whose_producers_were_not_all_there_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it passed over while nobody knew the event must not be lost to it."""
    monkeypatch.setattr(projecting, "CHECKPOINT_EVERY", 1)
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, [Room]) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
    async with Runtime(url, [Trip, Board]) as runtime:
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == []
    async with Runtime(url, [Room, Trip, Board]) as runtime:
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == [(1, "WasHeld t")]


# -- poison -------------------------------------------------------------------------------------------------------


async def test_a_poison_event_parks_it_and_consistent_queries_fail_fast() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("fine"))
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == 1
        await runtime.ask(Room.at("r"), Hold("unprintable"))
        with pytest.raises(
            Parked, match=r"Board is parked behind position 1: event WasHeld .* can't be projected: can't print it"
        ) as parked:
            await runtime.ask(Board.at(), Lines(), consistent=True)
        assert isinstance(parked.value.__cause__, Poison)
        assert isinstance(parked.value.__cause__.__cause__, ValueError)
        await runtime.ask(Room.at("r"), Hold("late"))
        with pytest.raises(Parked):
            await runtime.ask(Board.at(), Lines(), after=3)
        assert await runtime.ask(Board.at(), Lines()) == [(1, "WasHeld fine")]
        await runtime.kill(Board.at())


async def test_what_stands_before_a_poison_event_is_projected() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Room]) as runtime:
        for number in range(10):
            await runtime.ask(Room.at("r"), Hold("unprintable" if number == 7 else f"t{number}"))
    async with Runtime(restart_of(journal.records), ALL) as runtime:  # all in one batch
        assert len(await runtime.ask(Board.at(), Lines(), after=7)) == 7
        with pytest.raises(Parked, match="Board is parked behind position 7"):
            await runtime.ask(Board.at(), Lines(), after=8)
        assert len(await runtime.ask(Board.at(), Lines(), after=7)) == 7


async def test_closing_while_it_comes_to_a_poison_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parked while the runtime waits for it to catch up, and the runtime closes as if nothing were wrong."""
    monkeypatch.setattr(following, "BATCH", 1)
    async with Runtime("memory:", ALL) as runtime:
        await runtime.tell(Room.at("r"), Hold("fine"))
        await runtime.tell(Room.at("r"), Hold("unprintable"))


async def test_a_projection_that_fails_is_tried_again_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "retry", RetryPolicy(budget=timedelta(seconds=30)))
    clock, project, calls = ManualClock(), Board.project, 0

    def flaky(self: Board, event: Any, meta: Meta) -> Iterator[Statement]:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise ValueError("not today")
        yield from project(self, event, meta)

    monkeypatch.setattr(Board, "project", flaky)
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        asked = asyncio.create_task(runtime.ask(Board.at(), Lines(), consistent=True))
        while not asked.done():
            await quiet(runtime)
            clock.advance(0.1)
        assert await asked == [(1, "WasHeld t")]
        assert calls == 4


# -- catching up --------------------------------------------------------------------------------------------------


async def test_catching_up_and_live_without_gap_or_repeat(tmp_path: Path) -> None:
    journal = StuckJournal((await filled(2_345)).records)
    async with Runtime(journal, ALL) as runtime:
        await asyncio.gather(*(runtime.ask(Room.at("live"), Hold(f"live {n}")) for n in range(100)))
        journal.gate.set()
        for number in range(300):
            await runtime.tell(Room.at("live"), Hold(f"more {number}"))
            if number % 10 == 0:
                await asyncio.sleep(0)
        await runtime.ask(Room.at("live"), Hold("end"))
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert [position for position, _ in lines] == list(range(1, 2_345 + 100 + 300 + 2))


async def test_live_events_beyond_the_limit_are_read_from_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that was too much is not skipped when the next one fits again."""
    monkeypatch.setattr(following, "LIVE_LIMIT", 10)
    monkeypatch.setattr(following, "BATCH", 3)
    gate, apply = asyncio.Event(), SqliteView.apply

    async def slowly(view: SqliteView, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        await gate.wait()
        await apply(view, statements, checkpoint, **more)

    monkeypatch.setattr(SqliteView, "apply", slowly)
    async with Runtime("memory:", ALL) as runtime:
        for size in (1, 8, 5, 2, 1):  # the third is too much, the fourth fits
            await asyncio.gather(*(runtime.ask(Room.at("r"), Hold(f"{size} {n}")) for n in range(size)))
        gate.set()
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert [position for position, _ in lines] == list(range(1, 18))


async def test_events_that_it_does_not_follow_move_it_on(tmp_path: Path) -> None:
    async with Runtime("memory:", ALL) as runtime:
        for _ in range(20):
            await runtime.ask(Account.at("a"), Deposit(1))
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == []
        assert node_of(runtime).projectors["Board"].position == 20


async def test_an_append_that_failed_after_it_was_written_reaches_the_read_model() -> None:
    """Its events come from the journal, for the writer never learned that they are there."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.fail = ["after"]
        await asyncio.gather(runtime.ask(Room.at("r"), Hold("t")), return_exceptions=True)
        assert await runtime.ask(Board.at(), Lines(), after=1, timeout=5) == [(1, "WasHeld t")]


async def test_the_meta_of_an_event_says_where_it_came_from() -> None:
    metas: list[Meta] = []

    class Witness(ReadModel):
        schema = "create table seen (position integer)"

        def project(self, event: TripBooked | WasHeld, meta: Meta) -> Iterator[Statement]:
            metas.append(meta)
            return iter(())

    async with Runtime("memory:", [Room, Trip, Witness]) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["a"]), id="order-1")
    held, booked = metas
    assert (held.event_id, held.causation, held.correlation) == ("Room/a@1", "Trip/t#a", "Trip/t")
    assert (booked.actor, booked.key, booked.correlation) == ("Trip", "t", "Trip/t")
    assert booked.position == held.position + 3
