"""P2, P8, P11: wherever a crash cuts the journal off, and whoever is killed, each planned time is seen to once."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from actors.schedules import Overlap
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from tests.extras import need
from tests.runtime.cast import ALL, Begin, Play
from tests.runtime.scheduling import (
    MINUTE,
    START,
    after,
    check_schedules,
    cuts,
    lasts,
    pass_time,
    restarted,
    started,
)
from tests.runtime.tools import HeldJournal, check_once, content, of

need("cronsim")

POLICIES: list[Overlap] = ["skip", "allow", "queue", "cancel"]
FIRST, END = 60, 330
"""When the first run is planned, and until when the story is told, in seconds."""


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", None)
    lasts(70)


async def declare(runtime: Runtime, names: list[str]) -> None:
    """Set the schedules, as a program does at its start."""
    ways: dict[str, dict[str, Any]] = {
        **{policy: {"every": MINUTE, "at": after(FIRST), "overlap": policy, "catch_up": 2} for policy in POLICIES},
        "cron": {"cron": "40 * * * * *", "timezone": "Europe/Berlin", "overlap": "queue"},
        "once": {"at": after(FIRST + 30)},
    }
    for name in names:
        await runtime.schedule(name, Play, Begin(), **ways[name])


async def run_from(records: HeldJournal, names: list[str], kill: float = 0.0, seed: int = 0) -> HeldJournal:
    """Go on from these records to the end of the story."""
    clock = ManualClock()
    now = max((record.time for record in records.records), default=START)
    clock.step((now - START) / 1e6)
    chaos = Chaos(seed, kill) if kill else None
    async with Runtime(records, ALL, clock=clock, chaos=chaos) as runtime:
        await declare(runtime, names)
        await pass_time(runtime, clock, timedelta(seconds=END - (now - START) / 1e6), 27)
    return records


def seen_to(records: list[Record], name: str) -> list[datetime]:
    """Return the planned times of which the schedule says what became of them, each once."""
    times: set[int] = set()
    for record in of(records, "schedule.advanced"):
        if record.stream[1] == name:
            for run in content(record)["runs"]:
                first = run.get("since", run["planned"])
                times.update(range(first, run["planned"] + 1, 60_000_000))
    return [after((time - START) / 1e6) for time in sorted(times)]


def check_all(journal: HeldJournal, names: list[str]) -> None:
    check_once(journal.records)
    check_schedules(journal.records)
    for name in names:
        times = seen_to(journal.records, name)
        if name == "once":
            assert times == [after(FIRST + 30)]
            assert len(started(journal.records, name)) == 1
        else:  # (where it was set again after its first time, for that was not durable yet, it begins later)
            assert times == [times[0] + n * MINUTE for n in range(len(times))]
            assert times[-1] == after(300)
            assert times[0] == after(FIRST)
    held = {record.stream for record in of(journal.records, "saga.started")}
    assert len(of(journal.records, "WasHeld")) == len(held)


@pytest.mark.parametrize("names", [["skip"], ["allow"], ["queue"], ["cancel"], ["cron"], [*POLICIES, "cron", "once"]])
async def test_every_prefix_goes_on_to_the_same_end(names: list[str]) -> None:
    first = await run_from(HeldJournal(), names)
    check_all(first, names)
    points = cuts(first)
    assert points[-1] == len(first.records)
    if len(names) > 1:
        points = points[::5]
    for crash in points:
        again = await run_from(restarted(first, crash), names)
        check_all(again, names)


async def test_every_prefix_of_a_recovery_too() -> None:
    names = ["queue", "cancel"]
    first = await run_from(HeldJournal(), names)
    points = cuts(first)
    half = restarted(first, points[len(points) // 2])
    begun = len(half.records)
    second = await run_from(half, names)
    for crash in cuts(second)[::3]:
        check_all(await run_from(restarted(second, begun + crash), names), names)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kill", [0.02, 0.2])
async def test_whoever_is_killed(seed: int, kill: float) -> None:
    """Schedules, planners, sagas and rooms, in the middle of anything."""
    names = [*POLICIES, "cron", "once"]
    journal = await run_from(HeldJournal(), names, kill, seed)
    check_all(journal, names)
