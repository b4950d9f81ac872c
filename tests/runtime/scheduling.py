"""What the tests of schedules play with: sagas that last as long as the test says, and what became of runs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import msgspec

from actors import planned_time
from actors.schedules import Overlap
from persistence import Record
from runtime import ManualClock, Runtime, ScheduleInfo
from tests.runtime.cast import ALL, Begin, Held, Hold, Play, Release, Room
from tests.runtime.tools import HeldJournal, content, of, quiet, restart_of

START = 1_000_000_000_000_000
"""When a manual clock begins: 2001-09-09T01:46:40Z."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, SECOND, THIRD, FOURTH = (f"s@2001-09-09T01:{minute}:40Z" for minute in (47, 48, 49, 50))


def after(seconds: float) -> datetime:
    """Return a time so many seconds behind the start."""
    return datetime.fromtimestamp(START // 1_000_000, UTC) + timedelta(seconds=seconds)


def clock_at(text: str) -> ManualClock:
    clock = ManualClock()
    clock.step((datetime.fromisoformat(text) - after(0)).total_seconds())
    return clock


def lasts(seconds: float) -> None:
    """Have each run hold a room, and last so long. (Play has a deadline of five minutes, unless a test lifts it.)"""

    async def play(play: Any, begin: Begin) -> Held:
        held: Held = await play.ask("room", Room.at("r"), Hold(play.key), undo=Release(play.key))
        await play.sleep("nap", timedelta(seconds=seconds))
        return held

    Play.script = play


async def one(runtime: Runtime, name: str = "s") -> ScheduleInfo:
    (found,) = [info for info in await runtime.schedules() if info.name == name]
    return found


async def outcomes(runtime: Runtime, name: str = "s") -> list[tuple[str, str, str]]:
    """Return what became of its runs: the planned time of the day, the outcome, and why."""
    return [(f"{run.planned:%H:%M:%S}", run.outcome, run.why) for run in (await one(runtime, name)).runs]


def started(records: Sequence[Record], name: str = "s") -> list[str]:
    """Return the keys of the sagas that a schedule has started, in order."""
    return [record.stream[1] for record in of(records, "saga.started") if record.stream[1].startswith(f"{name}@")]


def check_schedules(records: Sequence[Record]) -> None:
    """Check that no run began before its time or twice, and that each is known as started; none is two things."""
    told: dict[tuple[str, int], str] = {}
    begun: set[str] = set()
    for record in records:
        if record.type == "saga.started" and "@" in record.stream[1]:
            key = record.stream[1]
            planned = round(planned_time(key).timestamp() * 1e6)
            assert record.time >= planned, f"{key} was early"
            assert key not in begun
            begun.add(key)
            assert told[key.rpartition("@")[0], planned] == "started"
        elif record.type in ("schedule.advanced", "schedule.resumed"):
            for run in content(record)["runs"]:
                before = told.get((record.stream[1], run["planned"]))
                assert before is None or (before == "waiting" and run["outcome"] in ("started", "skipped"))
                assert run["planned"] <= record.time
                told[record.stream[1], run["planned"]] = run["outcome"]
    assert {key for key, what in told.items() if what == "started"} == {
        (key.rpartition("@")[0], round(planned_time(key).timestamp() * 1e6)) for key in begun
    }


def restarted(journal: HeldJournal, upto: int | None = None, *, crashed: bool = True) -> HeldJournal:
    return restart_of(journal.records[:upto], crashed=crashed)


async def pass_time(runtime: Runtime, clock: ManualClock, span: timedelta, steps: int = 1) -> None:
    await quiet(runtime)
    for _ in range(steps):
        clock.advance(span.total_seconds() / steps)
        await quiet(runtime)


def cuts(journal: HeldJournal) -> list[int]:
    """Return where a crash may have cut the journal off: behind each batch, for no batch is ever split."""
    batches = [batch for group in journal.groups for batch in group]
    return [0, *accumulate(sum(len(append.events) for append in batch) for batch in batches)]


def writes(journal: HeldJournal, kind: str) -> list[Any]:
    return [msgspec.json.decode(record.data) for record in of(journal.records, kind)]


async def run_for(
    journal: HeldJournal, clock: ManualClock, overlap: Overlap, minutes: int, catch_up: int = 1
) -> list[tuple[str, str, str]]:
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.schedule("s", Play, Begin(), every=MINUTE, overlap=overlap, catch_up=catch_up)
        await pass_time(runtime, clock, minutes * MINUTE, minutes * 6)
        return await outcomes(runtime)
