"""A test that hangs shows what it waits for."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator

from tests.watchdog import Watchdog, tasks


async def outer(gate: asyncio.Event) -> None:
    async for _ in middle(gate):
        pass


async def middle(gate: asyncio.Event) -> AsyncIterator[int]:
    yield 1
    await gate.wait()


async def test_the_lines_of_each_task_are_shown_down_to_what_it_waits_for() -> None:
    gate = asyncio.Event()
    task, done = asyncio.create_task(outer(gate), name="hangs"), asyncio.create_task(asyncio.sleep(0), name="done")
    await done
    first_lines = {text.partition("\n")[0]: text for text in tasks()}
    (shown,) = [text for line, text in first_lines.items() if "name='hangs'" in line]
    assert not [line for line in first_lines if "name='done'" in line]
    where = [line.rpartition(", in ")[2] for line in shown.splitlines() if line.startswith("  File")]
    assert where[0] == "outer: async for _ in middle(gate):"
    assert where[-1].startswith("wait: await fut")
    gate.set()
    await task


class Report(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def flush(self) -> None:
        super().flush()
        self.told.set()

    def close(self) -> None:
        """Stay readable."""


def test_one_that_takes_too_long_is_told_once_and_the_next_one_too() -> None:
    report = Report()
    watchdog = Watchdog(0.0, report, lambda: ["it waits"])
    for test in ("one", "other"):
        report.told.clear()
        watchdog.begin(test)
        report.told.wait()
    watchdog.close()
    told = [line for line in report.getvalue().splitlines() if line]
    assert told == [
        "one has not ended after 0 s. Its tasks:", "it waits", "other has not ended after 0 s. Its tasks:", "it waits"
    ]  # fmt: skip


def test_one_that_ends_in_time_is_not_told() -> None:
    report = Report()
    watchdog = Watchdog(1_000.0, report, lambda: ["it waits"])
    watchdog.begin("one")
    watchdog.end()
    watchdog.close()
    assert report.getvalue() == ""
