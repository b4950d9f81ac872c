"""P7, P13: an event that can't be projected is set aside with the later ones of its key, and others go on.

The tables are the fold of a prefix of the journal, less the events that are listed.
"""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from actors import Backoff, Meta, NotTaken, Parked, Query, ReadModel, RetryPolicy, Statement, sql
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime
from runtime import projection as projecting
from runtime import projector as projector_module
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.tools import HeldJournal, comes, node_of, restart_of

BAD: set[str] = set()
"""Trips that can't be projected."""
NOW = RetryPolicy(budget=timedelta(0))


class Rows(Query["Guests", list[tuple[int, str, str]]]):
    """Every row of one room, or of all."""

    room: str = ""


class Guests(ReadModel):
    """A row for each event, so that a gap, a repeat and another order show."""

    schema = "create table guests (row integer primary key, room text not null, trip text not null check (trip <> 'x'))"
    retry = NOW
    shared: ClassVar[dict[str, str]] = {}
    """The keys of rooms that are not keys of their own."""

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        if event.trip in BAD:
            raise ValueError(f"{event.trip} is bad")
        yield sql("insert into guests (room, trip) values (?, ?)", meta.key, event.trip)

    def key(self, event: WasHeld, meta: Meta) -> str:
        return self.shared.get(meta.key, meta.key)

    def about(self, query: Rows) -> str | None:
        return query.room or None

    async def answer(self, db: Any, query: Rows) -> list[tuple[int, str, str]]:
        where = " where room = ?" if query.room else ""
        async with db.execute(f"select * from guests{where} order by row", [query.room] if query.room else []) as rows:
            return [tuple(row) for row in await rows.fetchall()]


@pytest.fixture(autouse=True)
def nothing_is_bad() -> Iterator[None]:
    BAD.clear()
    yield
    BAD.clear()


async def hold(runtime: Runtime, *told: str) -> None:
    """Have rooms held: ``"a1"`` is by the trip a1 in room a."""
    for trip in told:
        await runtime.ask(Room.at(trip[0]), Hold(trip))
    await node_of(runtime).projectors["Guests"].reached(runtime.position)


async def trips(runtime: Runtime) -> list[str]:
    return [trip for _, _, trip in await runtime.ask(Guests.at(), Rows())]


async def listed(runtime: Runtime) -> list[tuple[str, int, str]]:
    return [(event.key, event.position, event.error) for event in await runtime.parked_events(Guests.at())]


# -- setting aside ------------------------------------------------------------------------------------------------


async def test_the_later_ones_of_its_key_wait_in_order_and_others_go_on() -> None:
    BAD.add("a2")
    clock = ManualClock()
    async with Runtime("memory:", [Room, Guests], clock=clock) as runtime:
        await hold(runtime, "a1", "a2", "b1", "a3", "b2", "a4")
        assert await trips(runtime) == ["a1", "b1", "b2"]
        first, *others = await runtime.parked_events(Guests.at())
        assert (first.key, first.position, first.error, first.attempts) == ("a", 2, "ValueError: a2 is bad", 0)
        assert first.time.timestamp() == pytest.approx(clock.now() / 1e6)
        assert [(event.key, event.position, event.error) for event in others] == [("a", 4, ""), ("a", 6, "")]
        assert runtime.parked() == {}
        stats = runtime.stats().read_models["Guests"]
        assert (stats.position, stats.lag, stats.set_aside, stats.set_aside_keys, stats.parked) == (6, 0, 3, 1, False)


@pytest.mark.parametrize("bad", ["project", "statement"])
async def test_in_the_middle_of_a_batch(bad: str) -> None:
    """What stands before it, and behind it, is projected once."""
    trip = "x" if bad == "statement" else "bad"
    BAD.add("bad")
    journal = HeldJournal()
    async with Runtime(journal, [Room]) as runtime:
        for n in range(20):
            await runtime.ask(Room.at(f"{n % 5}"), Hold(trip if n == 7 else f"t{n}"))
    async with Runtime(restart_of(journal.records), [Room, Guests]) as runtime:
        await node_of(runtime).projectors["Guests"].reached(20)
        assert await trips(runtime) == [f"t{n}" for n in range(20) if n < 7 or n % 5 != 2]
        assert [position for _, position, _ in await listed(runtime)] == [8, 13, 18]


async def test_several_at_once() -> None:
    BAD.update(("a1", "b2", "c1"))
    async with Runtime("memory:", [Room, Guests]) as runtime:
        told = ["a1", "b1", "c1", "b2", "a2", "c2", "b3", "d1"]
        await asyncio.gather(*(runtime.ask(Room.at(trip[0]), Hold(trip)) for trip in told))
        await node_of(runtime).projectors["Guests"].reached(8)
        assert await trips(runtime) == ["b1", "d1"]
        errors: dict[str, list[str]] = {}
        for key, _, error in await listed(runtime):
            errors.setdefault(key, []).append(error.removeprefix("ValueError: "))
        assert errors == {"a": ["a1 is bad", ""], "b": ["b2 is bad", ""], "c": ["c1 is bad", ""]}


async def test_streams_that_share_a_key_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guests, "shared", {"a": "ab", "b": "ab"})
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "b1", "c1")
        assert await trips(runtime) == ["c1"]
        assert await listed(runtime) == [("ab", 1, "ValueError: a1 is bad"), ("ab", 2, "")]


@pytest.mark.parametrize("key", [7, None, ZeroDivisionError])
async def test_one_whose_key_can_not_be_told_waits_under_its_streams_name(
    key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Guests, event: WasHeld, meta: Meta) -> Any:
        if meta.key == "b":
            return key if key is not ZeroDivisionError else 1 / 0
        return meta.key

    monkeypatch.setattr(Guests, "key", wrong)
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "b0", "a1", "b1", "c1")
        assert await trips(runtime) == ["b0", "c1"]  # nobody asks for a key while nothing is set aside
        (_, _, error), (key_of_b, position, error_of_b) = await listed(runtime)
        assert (error, key_of_b, position) == ("ValueError: a1 is bad", "Room/b", 3)
        assert error_of_b.startswith(("TypeError: Guests.key must return text", "ZeroDivisionError"))


async def test_it_is_tried_again_within_its_budget_before(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Backoff(timedelta(seconds=1), factor=1.0, jitter=0.0)
    monkeypatch.setattr(Guests, "retry", RetryPolicy(pause, budget=timedelta(seconds=3)))
    clock, project, calls = ManualClock(), Guests.project, list[str]()

    def counted(self: Guests, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        calls.append(event.trip)
        return project(self, event, meta)

    monkeypatch.setattr(Guests, "project", counted)
    BAD.update(("a1", "b1"))
    async with Runtime("memory:", [Room, Guests], clock=clock) as runtime:
        await asyncio.gather(*(runtime.ask(Room.at(trip[0]), Hold(trip)) for trip in ("a1", "b1", "c1")))
        projector = node_of(runtime).projectors["Guests"]
        for tries in range(1, 4):
            await comes(lambda tries=tries: projector.failures == tries)  # type: ignore[misc]
            assert await trips(runtime) == []
            clock.advance(1.001)
        await projector.reached(3)
        assert await trips(runtime) == ["c1"]
        assert calls == ["a1"] * 4 + ["b1", "c1"]  # the budget is all bad events' together: others wait for it once
        assert runtime.stats().read_models["Guests"].failures == 5


# -- consistent queries -------------------------------------------------------------------------------------------


async def test_a_consistent_query_fails_fast_where_what_it_is_about_is_set_aside() -> None:
    BAD.add("a2")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "b1", "a2", "a3")
        assert len(await runtime.ask(Guests.at(), Rows("b"), consistent=True)) == 1
        text = r"Guests has set aside what is of 'a' from position 3 on \(ValueError: a2 is bad\)"
        for query in (Rows("a"), Rows()):
            with pytest.raises(Parked, match=text):
                await runtime.ask(Guests.at(), query, consistent=True)
            with pytest.raises(Parked, match=text):
                await runtime.ask(Guests.at(), query, after=3)
            assert await runtime.ask(Guests.at(), query, after=2)
            assert await runtime.ask(Guests.at(), query)


# -- what lasts ---------------------------------------------------------------------------------------------------


async def test_it_is_still_set_aside_after_a_restart_and_projected_when_the_code_can(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    BAD.update(("a2", "b1"))
    async with Runtime(url, [Room, Guests]) as runtime:
        await runtime.ask(Room.at("d"), Hold("x"))
        await hold(runtime, "a1", "a2", "a3", "b1", "c1")
        before = (await runtime.parked_events(Guests.at()))[1:]
    async with Runtime(url, [Room, Guests]) as runtime:
        await hold(runtime, "a4", "c2")
        statement, *now = await runtime.parked_events(Guests.at())
        assert (statement.position, statement.attempts) == (1, 1)
        assert [(event.position, event.attempts) for event in now] == [(3, 1), (4, 0), (5, 1), (7, 0)]
        assert len(await runtime.ask(Guests.at(), Rows("c"), consistent=True)) == 2
        assert [(event.key, event.time, event.error) for event in now[:3]] == [
            (event.key, event.time, event.error) for event in before
        ]
        assert await trips(runtime) == ["a1", "c1", "c2"]
    BAD.remove("a2")
    async with Runtime(url, [Room, Guests]) as runtime:
        await hold(runtime, "a5")
        assert await trips(runtime) == ["a1", "c1", "c2", "a2", "a3", "a4", "a5"]
        assert [(key, position) for key, position, _ in await listed(runtime)] == [("d", 1), ("b", 5)]
    BAD.clear()
    async with Runtime(url, [Room, Guests]) as runtime:
        await hold(runtime, "b2")
        assert [key for key, _, _ in await listed(runtime)] == ["d"]
        assert sorted(await trips(runtime)) == ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1", "c2"]


async def test_a_kill_tries_again() -> None:
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "a2")
        BAD.clear()
        await runtime.kill(Guests.at())
        await hold(runtime, "a3")
        assert await trips(runtime) == ["a1", "a2", "a3"]


# -- seeing to it -------------------------------------------------------------------------------------------------


async def test_retrying_goes_in_order_and_stops_at_the_next_bad_one() -> None:
    BAD.update(("a1", "b1"))
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "a2", "a3", "a4", "b1")
        assert await runtime.retry_parked(Guests.at()) == 0
        BAD.clear()
        BAD.update(("a3", "b1"))
        assert await runtime.retry_parked(Guests.at(), "b") == 0
        assert await runtime.retry_parked(Guests.at(), "nobody") == 0
        assert await runtime.retry_parked(Guests.at(), "a") == 2
        assert await trips(runtime) == ["a1", "a2"]
        events = await runtime.parked_events(Guests.at())
        assert [(event.position, event.error, event.attempts) for event in events] == [
            (3, "ValueError: a3 is bad", 1),
            (4, "", 0),
            (5, "ValueError: b1 is bad", 2),
        ]
        await hold(runtime, "a5", "b2")
        BAD.clear()
        assert await runtime.retry_parked(Guests.at()) == 5
        assert await trips(runtime) == ["a1", "a2", "a3", "a4", "a5", "b1", "b2"]
        await hold(runtime, "a6")
        assert (await trips(runtime))[-1] == "a6"


async def test_skipping_leaves_one_out_and_keeps_who_and_why(tmp_path: Path) -> None:
    url, clock = f"sqlite:{tmp_path / 'journal.db'}", ManualClock()
    BAD.update(("a1", "a3"))
    async with Runtime(url, [Room, Guests], clock=clock) as runtime:
        await hold(runtime, "a1", "a2", "a3", "a4")
        clock.advance(60)
        assert await runtime.skip_parked(Guests.at(), "a", reason="a typo", by="ana") == 1
        assert await trips(runtime) == ["a2"]
        assert await listed(runtime) == [("a", 3, "ValueError: a3 is bad"), ("a", 4, "")]
        assert await runtime.skip_parked(Guests.at(), "a", reason="another", by="bob") == 3
        assert await trips(runtime) == ["a2", "a4"]
        skipped = await runtime.skipped_events(Guests.at())
    async with Runtime(url, [Room, Guests]) as runtime:
        await hold(runtime, "a5")
        assert await trips(runtime) == ["a2", "a4", "a5"]
        assert await runtime.skipped_events(Guests.at()) == skipped
    assert [(event.key, event.position, event.error, event.reason, event.by) for event in skipped] == [
        ("a", 1, "ValueError: a1 is bad", "a typo", "ana"),
        ("a", 3, "ValueError: a3 is bad", "another", "bob"),
    ]
    assert skipped[0].time.timestamp() == pytest.approx(clock.now() / 1e6)


async def test_what_can_not_be_meant_is_told() -> None:
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1")
        with pytest.raises(LookupError, match="nothing of 'b' is set aside; there is 'a'"):
            await runtime.skip_parked(Guests.at(), "b", reason="why", by="ana")
        for reason, by in (("", "ana"), ("why", " ")):
            with pytest.raises(ValueError, match="write reason="):
                await runtime.skip_parked(Guests.at(), "a", reason=reason, by=by)
        anyone: Any = runtime
        for ask in (anyone.parked_events, anyone.skipped_events, anyone.retry_parked):
            with pytest.raises(NotTaken, match="Room/a is no read model"):
                await ask(Room.at("a"))
        assert len(await listed(runtime)) == 1


async def test_what_was_erased_meanwhile_is_not_waited_for() -> None:
    """As a read model that is built anew would not see it."""
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "a2", "a3")
        await runtime.truncate(Room.at("a"), 3)
        assert await runtime.retry_parked(Guests.at()) == 3
        assert await trips(runtime) == ["a3"]
        assert await listed(runtime) == []


# -- bounds -------------------------------------------------------------------------------------------------------


async def test_beyond_the_bound_the_whole_read_model_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guests, "parked_limit", 3)
    BAD.add("a1")
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "a2", "b1", "a3")
        await runtime.ask(Room.at("a"), Hold("a4"))
        with pytest.raises(Parked, match="behind position 4: 3 events are set aside already, and WasHeld of 'a'"):
            await runtime.ask(Guests.at(), Rows("b"), consistent=True)
        await runtime.ask(Room.at("b"), Hold("b2"))
        assert await trips(runtime) == ["b1"]
        assert len(await listed(runtime)) == 3
        assert list(runtime.parked()) == [Guests.at()]
        BAD.clear()
        assert await runtime.retry_parked(Guests.at()) == 3  # what is set aside can be seen to all the same
        runtime.unpark(Guests.at())
        await node_of(runtime).projectors["Guests"].reached(6)
        assert await trips(runtime) == ["b1", "a1", "a2", "a3", "a4", "b2"]


async def test_a_table_that_was_dropped_by_hand_parks_it_after_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "IN_A_ROW", 5)
    async with Runtime(f"sqlite:{tmp_path / 'journal.db'}", [Room, Guests]) as runtime:
        await hold(runtime, "a1")
        (path,) = tmp_path.glob("journal.db.Guests-*[0-9a-f]")
        db = sqlite3.connect(path)
        db.execute("alter table guests rename to gone")
        db.commit()
        for n in range(20):
            await runtime.ask(Room.at(f"{n}"), Hold(f"t{n}"))
        with pytest.raises(Parked, match=r"Guests is parked behind position 6: .* no such table: guests"):
            await runtime.ask(Guests.at(), Rows(), consistent=True)
        assert len(await listed(runtime)) == 5
        db.execute("alter table gone rename to guests")
        db.commit()
        db.close()
        runtime.unpark(Guests.at())
        await node_of(runtime).projectors["Guests"].reached(21)
        assert sorted(await trips(runtime)) == sorted(["a1", *(f"t{n}" for n in range(20))])


async def test_one_that_yields_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "MOST_STATEMENTS", 100)
    project = Guests.project

    def endless(self: Guests, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        while True:
            yield from project(self, event, meta)
            if event.trip != "a1":
                return

    monkeypatch.setattr(Guests, "project", endless)
    async with Runtime("memory:", [Room, Guests]) as runtime:
        await hold(runtime, "a1", "b1")
        assert await trips(runtime) == ["b1"]
        ((_, _, error),) = await listed(runtime)
        assert error == "RuntimeError: project yields more than 100 statements for one event"


async def test_a_statement_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = "with recursive n(n) as (select 1 union all select n from n) select count(*) from n"
    project = Guests.project

    def blocking(self: Guests, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        if event.trip == "a1":
            yield sql(f"insert into guests (room, trip) values ('a', ({forever}))")
        yield from project(self, event, meta)

    monkeypatch.setattr(Guests, "project", blocking)
    async with Runtime("memory:", [Room, Guests]) as runtime:
        view = node_of(runtime).projectors["Guests"].view
        assert isinstance(view, SqliteView)
        view.slowest = 0.05
        await hold(runtime, "a1", "b1")
        assert await trips(runtime) == ["b1"]
        ((_, _, error),) = await listed(runtime)
        assert error == "OperationalError: interrupted"


# -- whatever dies ------------------------------------------------------------------------------------------------


def fold(records: Any, without: set[int]) -> dict[str, list[str]]:
    """Return each room's trips, in order, as the journal has them."""
    rooms: dict[str, list[str]] = {}
    for record in records:
        if record.type == "WasHeld" and record.position not in without:
            rooms.setdefault(record.stream[1], []).append(record.value.trip)
    return rooms


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("every", [2, 3])
async def test_killed_at_any_batch_the_tables_are_the_fold_less_what_is_listed(
    after_commit: bool, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7, exactly; each database call of the read model fails now and then, before or behind its commit."""
    apply, calls, over = SqliteView.apply, 0, False

    async def apply_and_die(view: SqliteView, statements: Any, checkpoint: int, **more: Any) -> None:
        nonlocal calls
        calls += not over
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        if calls % every == 0 and not over and not after_commit:
            raise error
        await apply(view, statements, checkpoint, **more)
        if calls % every == 0 and not over:
            raise error

    monkeypatch.setattr(SqliteView, "apply", apply_and_die)
    clock, journal = ManualClock(), HeldJournal()
    BAD.update(("a3", "b1", "b4", "c2"))
    async with Runtime(journal, [Room, Guests], clock=clock) as runtime:
        projector = node_of(runtime).projectors["Guests"]

        async def meanwhile(work: Coroutine[Any, Any, Any]) -> Any:
            """Have time pass until something is done."""
            task = asyncio.ensure_future(work)
            while not task.done():
                await asyncio.sleep(0)
                clock.advance(1)
            return task.result()

        async def check() -> None:
            out = {event.position for event in await runtime.parked_events(Guests.at())}
            out |= {event.position for event in await runtime.skipped_events(Guests.at())}
            rooms: dict[str, list[str]] = {}
            for _, room, trip in await runtime.ask(Guests.at(), Rows()):
                rooms.setdefault(room, []).append(trip)
            assert rooms == fold(journal.records[: projector.position], out)

        for n in range(1, 7):
            for room in "abcd":
                await runtime.ask(Room.at(room), Hold(f"{room}{n}"))
            await meanwhile(projector.reached(runtime.position))
            await check()
            if n % 2:
                await runtime.kill(Guests.at())
        assert {event.key for event in await runtime.parked_events(Guests.at())} == {"a", "b", "c"}
        BAD.difference_update(("a3", "b1"))
        for key in ("a", "b", "c"):
            for _ in range(5):
                try:
                    await meanwhile(runtime.skip_parked(Guests.at(), key, reason="why", by="ana"))
                except (sqlite3.OperationalError, LookupError):
                    await runtime.kill(Guests.at())
                    await meanwhile(projector.reached(runtime.position))
            await check()
        over = True  # P14
        while left := await runtime.parked_events(Guests.at()):
            await meanwhile(runtime.skip_parked(Guests.at(), left[0].key, reason="why", by="ana"))
        await check()
        skipped = await runtime.skipped_events(Guests.at())
        assert len(await runtime.ask(Guests.at(), Rows(), consistent=True)) == 24 - len(skipped)
