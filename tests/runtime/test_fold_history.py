"""P7: a fold equals a table read model, whatever happens to both, is set aside, or dies."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Meta, Query, ReadModel, Refused, Statement, sql
from runtime import Runtime, fold_projector
from tests.runtime.cast import Hold, Release, Room, WasHeld, WasReleased
from tests.runtime.test_fold import BAD, All, Totals, of, url
from tests.runtime.tools import node_of


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
