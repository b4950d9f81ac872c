"""Whatever prefix a crash leaves, and whatever dies: the limit holds, the order too, and all come to an end."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from actors import Parked, Refused
from persistence import Record
from runtime import Chaos, ManualClock, Runtime, saga_line
from tests.runtime.flowing import CAST, Family, Job, Raise, Work, check_order, check_places
from tests.runtime.tools import HeldJournal, as_stored, check_once, content, ends, of, restart_of

JOBS = {
    "a": Work(["flight"], waits=False, nap=20),
    "b": Work(["flight", "hotel"], waits=False, nap=10),
    "c": Work(["hotel", "full"], 3, waits=False),
    "d": Work(["cab"], 3, waits=False, nap=20),
    "e": Work([], -9, waits=False),
    "f": Work(["full"], waits=False),
}
FAMILIES = {"x": Raise(2, 2), "y": Raise(1)}


async def start_all(runtime: Runtime, seed: int = 0) -> None:
    keys = sorted(JOBS, key=lambda key: Random(f"{seed}{key}").random()) if seed else JOBS
    jobs = [runtime.start(Job.at(key), JOBS[key]) for key in keys]
    await asyncio.gather(*jobs, *[runtime.start(Family.at(key), command) for key, command in FAMILIES.items()])


async def run_from(records: Sequence[Record], chaos: Chaos | None = None) -> list[Record]:
    """Restart from these records, let all come to its end, ask for everything again, and return the journal."""
    journal, clock = restart_of(records), ManualClock()
    clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)
    async with Runtime(journal, CAST, clock=clock, chaos=chaos) as runtime:
        await ends(runtime, clock)
        await start_all(runtime)
        await ends(runtime, clock)
        stats = runtime.stats().queues
        assert {(one.queued, one.under_way) for one in stats.values()} == {(0, 0)}
        for key in FAMILIES:
            assert await runtime.result(Family.at(key)) > 0
    return journal.records


def check_books(records: Sequence[Record]) -> None:
    """Check the limit, the order, and that what is held belongs to jobs that have completed, each once."""
    check_places(records, "Job", Job.at_once or 0)
    check_order(records)
    check_once(records)
    held: Counter[tuple[str, str]] = Counter()
    for record in of(records, "WasHeld", "WasReleased"):
        held[content(record)["trip"], record.stream[1]] += 1 if record.type == "WasHeld" else -1
    completed = {record.stream for record in of(records, "saga.completed")}
    due = Counter((key, room) for key, work in JOBS.items() for room in work.rooms if ("Job", key) in completed)
    assert {pair: count for pair, count in held.items() if count and pair[1] != "cradle"} == due


async def test_every_prefix_is_brought_to_its_end() -> None:
    first = await run_from([])
    assert len(of(first, "saga.queued")) >= 5
    check_books(first)
    for crash in range(len(first)):
        again = await run_from(first[:crash])
        check_books(again)
        assert as_stored(again[:crash]) == as_stored(first[:crash])


async def test_every_prefix_of_a_recovery_too() -> None:
    first = await run_from([])
    second = await run_from(first[: len(first) // 3])
    for crash in range(len(first) // 3, len(second), 2):
        check_books(await run_from(second[:crash]))


@pytest.mark.parametrize("seed", range(25))
async def test_kills_and_losses_at_random(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are killed between turns, the journal fails, the process crashes; and the queue is read in small pages."""
    for name, value in (("KEPT", 2), ("LOW", 1), ("PAGE", 2)):
        monkeypatch.setattr(saga_line, name, value)
    random, records = Random(seed), list[Record]()
    for life in range(4):
        journal, clock = restart_of(records, crashed=random.random() < 0.7), ManualClock()
        clock.step(max((record.time for record in records), default=clock.now()) / 1e6 - clock.now() / 1e6)
        chaos = Chaos(random.randrange(10**9), 0.1)
        async with Runtime(journal, CAST, clock=clock, chaos=chaos, shutdown_timeout=5) as runtime:
            starting = asyncio.create_task(start_until_done(runtime, seed))
            for _ in range(random.randrange(1, 12)):
                for _ in range(random.randrange(1, 60)):
                    await asyncio.sleep(0)
                if random.random() < 0.3:
                    journal.fail.append(random.choice(["before", "after"]))
                clock.advance(random.choice([0, 0.2, 10]))
            if life == 3:
                journal.fail.clear()
                await starting
                await ends(runtime, clock)
            else:
                starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        records = journal.records
        check_places(records, "Job", Job.at_once or 0)
        check_order(records)
    check_books(records)


async def start_until_done(runtime: Runtime, seed: int) -> None:
    while True:
        try:
            await start_all(runtime, seed)
        except (Parked, Refused):
            raise
        except Exception:  # noqa: BLE001 (the outcome is unknown: the journal was lost)
            await asyncio.sleep(0)
        else:
            return


async def test_a_start_is_told_when_it_is_durable() -> None:
    """Also the first one, where the writer has nothing else to do."""
    journal = HeldJournal()
    async with Runtime(journal, CAST) as runtime:
        for key in JOBS:
            journal.hold()
            started = asyncio.create_task(runtime.start(Job.at(key), JOBS[key]))
            await journal.arrived.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not started.done()
            journal.gate.set()
            await started
            assert (("Job", key)) in {record.stream for record in journal.records}
