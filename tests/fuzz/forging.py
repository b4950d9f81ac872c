"""Journals in which one event was altered, and its checksum made right again."""

import asyncio
import logging
from collections.abc import Awaitable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import strategies as st

from persistence import MemoryJournal, Record
from runtime import ManualClock, Runtime
from tests.fuzz.mutations import altered, check_ours, mutated
from tests.runtime.tools import quiet

SECONDS = 200
"""Longer than a service may fail until it is parked."""
ENOUGH = 0.1
"""Real seconds that closing gets: what tries again when time passes would be waited for, and no time passes then."""


class Forgery(NamedTuple):
    """A journal in which something was altered; its other events need not be shown."""

    records: list[Record]
    before: Record
    """What stood there."""
    how: str
    position: int

    def __repr__(self) -> str:
        return f"{self.how} at {self.before}: {[one for one in self.records if one.position == self.position]}"


@st.composite
def forged(draw: st.DrawFn, written: Sequence[Record]) -> Forgery:
    """Return a journal with one event that was altered, left out, or put in another's place."""
    records = [msgspec.structs.replace(record, value=None) for record in written]
    at = draw(st.integers(0, len(records) - 1))
    record, other = records[at], records[draw(st.integers(0, len(records) - 1))]
    how = draw(st.sampled_from(["data", "data", "data", "bytes", "meta", "type", "event", "gone", "twice", "command"]))
    match how:
        case "data":
            record.data = draw(altered(record.data))
        case "bytes":
            record.data = draw(mutated(record.data))
        case "meta":
            record.meta = draw(altered(record.meta) | mutated(record.meta))
        case "type":
            record.type = other.type
        case "event":
            record.type, record.data = other.type, other.data
        case "gone":
            del records[at]
        case "twice":
            records.insert(at, msgspec.structs.replace(record, command=None))
        case _:
            record.command = draw(st.none() | st.just("c1"))
    return Forgery(_numbered(records), written[at], how, at + 1)


def _numbered(records: list[Record]) -> list[Record]:
    versions: dict[Any, int] = {}
    for position, record in enumerate(records, 1):
        versions[record.stream] = record.version = versions.get(record.stream, 0) + 1
        record.position = position
    return records


def journal_of(records: Sequence[Record]) -> MemoryJournal:
    """Return a journal in which everybody is to be woken."""
    copies = [msgspec.structs.replace(record) for record in records]
    return MemoryJournal(copies, list(dict.fromkeys(record.stream for record in records)))


async def collected(found: Any) -> None:
    _ = [one async for one in found]


async def told(asked: Any) -> None:
    """Wait for what may raise an error of ours, and no other."""
    try:
        await asked
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)


@contextmanager
def nothing_fails_unseen(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Make sure that no task and no timer of the runtime's own ends by an error meanwhile."""
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        yield
    assert [one for one in caplog.messages if "task failed" in one or "timer failed" in one] == []


async def all_answered(runtime: Runtime, clock: ManualClock, asked: Iterable[Awaitable[Any]]) -> None:
    """Let time pass, and make sure that all is answered, by errors of ours where it isn't done."""
    answers = [asyncio.ensure_future(told(one)) for one in asked]
    for _ in range(SECONDS // 5):
        await quiet(runtime)
        clock.advance(5)
    await quiet(runtime)
    assert all(one.done() for one in answers)
    for one in answers:
        one.result()
