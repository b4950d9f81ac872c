"""Snapshots of services: when they are taken, and that they are never ahead."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from actors import NotTaken, OutcomeUnknown, Passivation
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Hold, Look, Room, Trip
from tests.runtime.keeping import ROOM, hold, keep_often, note_replays, snapshot_of
from tests.runtime.tools import HeldJournal, node_of, quiet


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_often(monkeypatch)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return note_replays(monkeypatch)


@pytest.mark.parametrize("url", ["memory:", "sqlite:"])
async def test_every_few_events_with_the_events(url: str, tmp_path: Path, replayed: list[int]) -> None:
    async with Runtime(url if url == "memory:" else f"{url}{tmp_path}/j.db", ALL) as runtime:
        journal = node_of(runtime).journal
        kept: list[int] = []
        for number in range(1, 8):
            await hold(runtime, number)
            snapshot = await snapshot_of(journal, ROOM)
            kept.append(snapshot.version if snapshot is not None else 0)
        assert kept == [0, 0, 3, 3, 3, 6, 6]
        replayed.clear()
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 7
        assert replayed == [6]
        assert (await runtime.state_of(ROOM)).count == 7


async def test_a_snapshot_rides_with_the_events_that_it_is_of() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await asyncio.gather(*(runtime.ask(ROOM, Hold(f"t{n}")) for n in range(7)))
    appends = [append for group in journal.groups for batch in group for append in batch]
    kept = [(append.expected + len(append.events), append.snapshot.version) for append in appends if append.snapshot]
    assert kept == [(3, 3), (6, 6)]
    assert len(journal.groups) == 1


async def test_nothing_is_kept_that_was_not_written() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, 1, 2)
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await hold(runtime, 3)
        assert await snapshot_of(journal, ROOM) is None
        assert await runtime.ask(ROOM, Look()) == 2
        await hold(runtime, 4)
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 3
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 3
        assert (await runtime.state_of(ROOM)).held == ("t1", "t2", "t4")


async def test_on_demand() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.snapshot(ROOM)
        assert await snapshot_of(journal, ROOM) is None
        await hold(runtime, 1)
        told = runtime.tell(ROOM, Hold("t2"))
        await runtime.snapshot(ROOM)
        await told
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 2
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Trip/t is no service"):
            await anyone.snapshot(Trip.at("t"))


async def test_only_on_demand(monkeypatch: pytest.MonkeyPatch, replayed: list[int]) -> None:
    monkeypatch.setattr(Room, "snapshot_every", None)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(10))
        assert await snapshot_of(journal, ROOM) is None
        await runtime.snapshot(ROOM)
        await hold(runtime, 11)
        replayed.clear()
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 11
        assert replayed == [10]


async def test_when_it_leaves_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "snapshot_every", 100)
    monkeypatch.setattr(Room, "passivation", Passivation(idle=timedelta(minutes=1)))
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:

        async def leave() -> int:
            for _ in range(10):
                clock.advance(30)
                await quiet(runtime)
            assert node_of(runtime).find(ROOM) is None
            snapshot = await snapshot_of(journal, ROOM)
            return snapshot.version if snapshot is not None else 0

        await hold(runtime, *range(24))
        assert await leave() == 0  # not worth it
        await hold(runtime, 24)
        assert await leave() == 25
        await hold(runtime, *range(25, 49))
        assert await leave() == 25
        await hold(runtime, 49)
        assert await leave() == 50


async def test_a_large_state_is_kept_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.snapshots.EVENT_WEIGHT", 100)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await asyncio.gather(*(runtime.ask(ROOM, Hold(f"t{n:0100}")) for n in range(1_000)))
    appends = [append for group in journal.groups for batch in group for append in batch]
    kept = [append.snapshot for append in appends if append.snapshot is not None]
    assert 5 < len(kept) < 15
    for before, after in pairwise(kept):
        assert after.version - before.version == max(3, len(before.data or b"") // 100)
