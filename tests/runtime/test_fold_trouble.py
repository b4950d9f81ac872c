"""Folds in trouble: a state that can't be kept, tables that somebody dropped; and what those see who observe one."""
# ruff: noqa: ASYNC240 (a test may block its loop on a file)

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors import Address, Parked
from runtime import BaseInstrument, Runtime, fold_projector, state_form
from tests.runtime.cast import Room
from tests.runtime.test_fold import (
    BAD,
    All,
    Totals,
    hold,
    nothing_is_bad,
    of,
    told,
    url,
)
from tests.runtime.tools import comes

__all__ = ["nothing_is_bad"]


# -- too large ----------------------------------------------------------------------------------------------------


async def test_a_state_that_is_too_large_to_be_kept_goes_on_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the next start it is folded on from the last snapshot that there is."""
    monkeypatch.setattr(state_form, "SNAPSHOT_LIMIT", 300)
    monkeypatch.setattr(fold_projector, "EVERY", 2)
    trips = [f"t{n}" for n in range(30)]
    for first in (0, 15):
        async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
            for trip in trips[first : first + 15]:
                await hold(runtime, trip)
                assert (await told(runtime, consistent=True))[-1] == trip
            assert await told(runtime, consistent=True) == trips[: first + 15]
            assert 0 < of(runtime).view.checkpoint < first + 15
            assert runtime.parked() == {}
    assert "no snapshot of a fold's state" in caplog.text
    monkeypatch.setattr(state_form, "SNAPSHOT_LIMIT", 30_000)
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        assert await told(runtime, consistent=True) == trips
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        assert of(runtime).view.checkpoint == 30
        assert await told(runtime) == trips


async def test_one_that_was_never_small_enough_is_folded_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_form, "SNAPSHOT_LIMIT", 5)
    for n in range(3):
        async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
            await hold(runtime, f"t{n}")
            assert await told(runtime, consistent=True) == [f"t{m}" for m in range(n + 1)]
            await comes(lambda: of(runtime).view.ready)
            await runtime.rebuild(Totals.at())
            assert await told(runtime, consistent=True) == [f"t{m}" for m in range(n + 1)]


async def test_with_a_state_that_can_not_be_kept_the_first_bad_event_parks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, checkpoint and list change together, or not at all; the guide says so."""
    monkeypatch.setattr(state_form, "SNAPSHOT_LIMIT", 5)
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        assert await told(runtime, consistent=True) == ["a", "b"]
        BAD.add("c")
        await hold(runtime, "c", room="other")
        with pytest.raises(Parked, match="state of Totals can't be kept"):
            await told(runtime, consistent=True)
        assert await told(runtime) == ["a", "b"]
        assert await runtime.parked_events(Totals.at()) == []
        monkeypatch.setattr(state_form, "SNAPSHOT_LIMIT", 30_000)
        runtime.unpark(Totals.at())
        await runtime.caught_up(Totals.at())
        assert [event.position for event in await runtime.parked_events(Totals.at())] == [3]
        BAD.clear()
        assert await runtime.retry_parked(Totals.at()) == 1
        assert sorted(await told(runtime, consistent=True)) == ["a", "b", "c"]


# -- dropped ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "mend"),
    [
        ("fold", "unpark"),
        ("fold", "kill"),
        ("fold", "rebuild"),
        ("understudy_checkpoint", "rebuild"),
        ("understudy_parked", "rebuild"),
    ],
)
async def test_a_table_that_was_dropped_while_it_runs(
    tmp_path: Path, table: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in memory or parks; one that has lost its snapshot is folded anew."""
    monkeypatch.setattr(fold_projector, "EVERY", 2)
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        assert await told(runtime, consistent=True) == ["a", "b"]
        await comes(lambda: of(runtime).view.ready)
        (path,) = tmp_path.glob("j.db.Totals-*[0-9a-f]")
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"drop table {table}")
            db.commit()
        await hold(runtime, *"cdefgh")
        await comes(lambda: Totals.at() in runtime.parked() or of(runtime).position == 8)
        assert set("ab") <= set(await told(runtime))
        if mend == "rebuild":
            await runtime.rebuild(Totals.at())
        elif mend == "kill":
            await runtime.kill(Totals.at())
        else:
            runtime.unpark(Totals.at())
        assert await told(runtime, consistent=True) == [*"abcdefgh"]
        assert runtime.parked() == {}
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        assert await told(runtime, consistent=True) == [*"abcdefgh"]


@pytest.mark.parametrize("table", ["fold", "understudy_checkpoint", "understudy_parked"])
async def test_a_table_that_was_dropped_while_nobody_looked(tmp_path: Path, table: str) -> None:
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "a", "b")
        assert await told(runtime, consistent=True) == ["a", "b"]
    (path,) = tmp_path.glob("j.db.Totals-*[0-9a-f]")
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"drop table {table}")
        db.commit()
    async with Runtime(url(tmp_path), [Room, Totals]) as runtime:
        await hold(runtime, "c")
        assert await told(runtime, consistent=True) == ["a", "b", "c"]


# -- observed -----------------------------------------------------------------------------------------------------


class Tape(BaseInstrument):
    def __init__(self) -> None:
        self.projected_events = 0
        self.handled_queries = list[tuple[str, str]]()
        self.trouble = list[str]()

    def projected(self, read_model: str, events: int, seconds: float, /) -> None:
        assert read_model == "Totals"
        self.projected_events += events

    def handled(self, address: Address[Any], message: str, seconds: float, outcome: Any, /) -> None:
        if address.actor == "Totals":
            self.handled_queries.append((message, outcome))

    def crashed(self, address: Address[Any], error: BaseException, /) -> None:
        self.trouble.append(f"crashed {address}: {error}")

    def parked(self, address: Address[Any], error: BaseException, /) -> None:
        self.trouble.append(f"parked {address}: {error}")


async def test_who_observes_a_fold_is_told_of_its_events_its_queries_and_its_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = Tape()
    async with Runtime(url(tmp_path), [Room, Totals], instruments=[tape]) as runtime:
        await hold(runtime, *"abc")
        assert await told(runtime, consistent=True) == [*"abc"]
        assert tape.projected_events == 3
        assert tape.handled_queries == [("All", "done")]
        BAD.add("d")
        await hold(runtime, "d", "e")
        await runtime.caught_up(Totals.at())
        with pytest.raises(Parked):
            await runtime.ask(Totals.at(), All("r"), consistent=True)
        assert tape.handled_queries[-1][0] == "All"
        assert tape.handled_queries[-1][1] != "done"
        assert tape.trouble
        assert all(line == "crashed Totals: d is bad" for line in tape.trouble)
        assert tape.projected_events == 5
        BAD.clear()
        assert await runtime.retry_parked(Totals.at()) == 2
        assert await told(runtime, consistent=True) == [*"abcde"]
        monkeypatch.setattr(Totals, "parked_limit", 0)
        BAD.add("f")
        await hold(runtime, "f")
        await comes(lambda: Totals.at() in runtime.parked())
        assert tape.trouble[-1].startswith("parked Totals: ")


async def test_an_observed_fold_is_built_anew_and_killed_as_any(tmp_path: Path) -> None:
    class Other(Totals):
        version = 2

    Other.__name__ = "Totals"
    async with Runtime(url(tmp_path), [Room, Totals], instruments=[Tape()]) as runtime:
        await hold(runtime, *"ab")
        await comes(lambda: of(runtime).view.ready)
        await runtime.rebuild(Totals.at())
        await runtime.kill(Totals.at())
        await hold(runtime, "c")
        assert await told(runtime, consistent=True) == [*"abc"]
    async with Runtime(url(tmp_path), [Room, Other], instruments=[Tape()]) as runtime:
        assert await told(runtime, consistent=True) == [*"abc"]
