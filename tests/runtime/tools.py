"""What the tests of the runtime watch and drive it with."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from actors import Address
from persistence import (
    AppendFailed,
    Batch,
    JournalError,
    JournalUnusable,
    MemoryJournal,
    Record,
    Stream,
    Written,
)
from persistence.journal import PAGE
from persistence.opening import journal_of
from runtime import ManualClock, Runtime
from runtime.kinds import FORGOTTEN, REMINDED, REMINDER, RESENT
from runtime.node import Node
from runtime.reminder_events import NOTHING_PENDING, PendingByName, replayed, wake_of
from runtime.saga_events import DECODERS
from runtime.saga_places import wake_of as wake_in_line
from runtime.saga_story import Story
from tests.reading import everything
from tests.runtime.cast import TripBooked

ENDS = ("saga.completed", "saga.compensated", "saga.killed")


class HeldJournal(MemoryJournal):
    """A journal whose disk the test holds back while ``gate`` is closed, and breaks as it likes."""

    def __init__(
        self,
        records: Sequence[Record] = (),
        unfinished: Sequence[Stream] = (),
        wakes: Mapping[Stream, int] | None = None,
        crashed: bool = False,
    ) -> None:
        super().__init__(records, unfinished, wakes, crashed)
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        """An append has come to the gate."""
        self.groups: list[list[Batch]] = []
        """What was handed in, written or not."""
        self.fail: list[str] = []
        """What befalls the next appends: "before" or "after" the group is written."""
        self.full = False
        """No append succeeds, though the journal can be opened again: a full disk."""
        self.unreadable: set[Stream] = set()
        """Streams that can't be read for now."""

    async def append(self, batches: Sequence[Batch]) -> int:
        async with self._disk(batches):
            return await super().append(batches)

    async def append_each(self, batches: Sequence[Batch]) -> list[Written | JournalError]:
        async with self._disk(batches):
            return await super().append_each(batches)

    @asynccontextmanager
    async def _disk(self, batches: Sequence[Batch]) -> AsyncGenerator[None]:
        self.groups.append(list(batches))
        self.arrived.set()
        await self.gate.wait()
        fate = "before" if self.full else self.fail.pop(0) if self.fail else ""
        if fate == "before":
            raise AppendFailed("the disk is full")
        yield
        if fate == "after":
            raise AppendFailed("the disk went away")

    async def heads(self, streams: Sequence[Stream]) -> dict[Stream, int]:
        for stream in streams:
            self._must_be_readable(stream)
        return await super().heads(streams)

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        self._must_be_readable(stream)
        return await super().read(stream, after, limit)

    def _must_be_readable(self, stream: Stream) -> None:
        if stream in self.unreadable:
            raise JournalUnusable("disk I/O error")

    def hold(self) -> None:
        """Close the gate, and be told anew when an append comes."""
        self.gate.clear()
        self.arrived.clear()

    @property
    def enqueued(self) -> list[tuple[Stream, str, bytes]]:
        """Every event that was handed in, in order."""
        appends = (append for group in self.groups for batch in group for append in batch)
        return [(append.stream, event.type, event.data) for append in appends for event in append.events]

    @property
    def written(self) -> list[tuple[Stream, str, bytes]]:
        """Every event that is durable, in order."""
        return [(record.stream, record.type, record.data) for record in self.records]


def node_of(runtime: Runtime) -> Node:
    node = runtime._node  # pyright: ignore[reportPrivateUsage]
    assert node is not None
    return node


async def stored(url: str) -> list[Record]:
    """Return all that stands in a journal."""
    return await everything(journal_of(url, "full"))


async def quiet(runtime: Runtime) -> None:
    """Wait until nothing is under way but timers."""
    node = node_of(runtime)
    still = 0
    while still < 5:  # what is released by the last turn takes the loop a round or two to begin
        still = still + 1 if node.idle else 0
        await asyncio.sleep(0)


async def ends(runtime: Runtime, clock: ManualClock) -> None:
    """Let time pass until all sagas have ended, and have given back their locks."""
    for _ in range(60):
        await quiet(runtime)
        if not await runtime.unfinished():
            return
        clock.advance(10)
    raise AssertionError(f"still unfinished: {await runtime.unfinished()}")


def restart_of(records: Sequence[Record], *, crashed: bool = True) -> HeldJournal:
    """Return a journal as a crash behind the last of these records would have left it; or as if it was closed then."""
    records = [msgspec.structs.replace(record, value=None) for record in records]  # values are not stored
    sagas: dict[Stream, Story] = {}
    pending: dict[Stream, PendingByName] = {}
    for record in records:
        if record.type in DECODERS:
            sagas.setdefault(record.stream, Story()).apply(DECODERS[record.type].decode(record.data), record.time)
        elif record.type in (REMINDER, REMINDED, RESENT, FORGOTTEN):
            pending[record.stream] = replayed(pending.get(record.stream, NOTHING_PENDING), record)
    wakes = {stream: wake_of(found) for stream, found in pending.items() if found}
    asleep = {stream: until for stream, story in sagas.items() if (until := story.asleep_until()) is not None}
    asleep |= {stream: wake_in_line(stream[0], story.priority) for stream, story in sagas.items() if _waits(story)}
    open_ = [stream for stream, story in sagas.items() if not story.ended or story.lockers]
    awake = [stream for stream in open_ if stream not in asleep]
    return HeldJournal(records, awake, {**wakes, **asleep}, crashed)


def _waits(story: Story) -> bool:
    return story.status == "queued"


def as_stored(records: list[Record]) -> list[tuple[object, ...]]:
    return [
        (record.position, record.stream, record.version, record.type, record.time, record.command, record.data)
        for record in records
    ]


def of(records: Iterable[Record], *types: str) -> list[Record]:
    return [record for record in records if record.type in types]


def content(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(record.data)
    return found


def types_of(records: Iterable[Record], address: Address[Any]) -> list[str]:
    return [record.type for record in records if record.stream == (address.actor, address.key)]


def steps_of(records: Iterable[Record], address: Address[Any], kind: str) -> list[str]:
    """Return the names of a saga's steps of which there is an event of this kind, in order."""
    stream = (address.actor, address.key)
    return [content(record)["step"] for record in of(records, f"saga.{kind}") if record.stream == stream]


def check_books(records: Sequence[Record]) -> None:
    """Check that what is held belongs to completed sagas, all of it, once, and that no command took effect twice."""
    ended: dict[Stream, str] = {}
    started: dict[Stream, list[str]] = {}
    held: Counter[tuple[str, str]] = Counter()
    paid: Counter[str] = Counter()
    for record in records:
        actor, key = record.stream
        if record.type == "saga.started":
            assert record.stream not in started, f"{record.stream} began twice"
            started[record.stream] = content(record)["command"]["rooms"]
        elif record.type in ENDS:
            assert record.stream not in ended, f"{record.stream} ended twice"
            ended[record.stream] = record.type
        elif record.type == "saga.parked":
            raise AssertionError(f"{record.stream} is parked: {content(record)['error']}")
        elif actor == "Room" and record.type in ("WasHeld", "WasReleased"):
            held[content(record)["trip"], key] += 1 if record.type == "WasHeld" else -1
        elif record.type in ("Withdrawn", "Deposited"):
            paid[record.type] += 1
    assert set(ended) == set(started), f"not ended: {set(started) - set(ended)}"
    booked = {stream for stream, end in ended.items() if end == "saga.completed"}
    due = Counter((key, room) for actor, key in booked for room in started[actor, key])
    assert +held == due
    assert min(held.values(), default=0) >= 0
    tours = sum(actor == "Tour" for actor, _ in booked)
    assert paid == Counter({"Withdrawn": tours, "Deposited": tours}) if tours else not paid
    check_once(records)
    check_stories(records)


def check_stories(records: Sequence[Record]) -> None:
    """Check each saga's story: outcomes come once, undos once and in reverse, and nothing is left to undo at an end."""
    stories: dict[Stream, Story] = {}
    for record in records:
        if record.type not in DECODERS:
            continue
        event = DECODERS[record.type].decode(record.data)
        story = stories.setdefault(record.stream, Story())
        where = f"{record.type} at {record.position} of {record.stream}"
        assert not story.ended or record.type in ("saga.compensating", "saga.released"), f"{where}: it had ended"
        match record.type:
            case "saga.asked":
                assert event.step not in story.steps, f"{where}: {event.step} was asked twice"
                assert story.reason is None, f"{where}: asked on the way back"
            case "saga.answered" | "saga.refused":
                assert story.steps[event.step].open, f"{where}: {event.step} had its outcome"
            case "saga.undone":
                step = story.steps[event.step]
                assert step.needs_undo, f"{where}: {event.step} was not to be undone"
                others = [one for one in story.steps.values() if one.needs_undo and not one.dropped and one is not step]
                if story.reason is not None and step.ended and not step.dropped:
                    assert all(0 < one.ended < step.ended for one in others), f"{where}: {event.step} is not the last"
            case "saga.completed":
                assert not story.dropped(), f"{where}: what was given up is not undone"
                assert not any(step.open for step in story.steps.values()), f"{where}: something is under way"
            case "saga.compensated":
                left = [name for name, step in story.steps.items() if step.needs_undo]
                assert not left, f"{where}: {left} not undone"
            case _:
                pass
        story.apply(event, record.time)


def check_once(records: Sequence[Record]) -> None:
    """Check that positions and versions have no gap, and that each stream has each command once."""
    versions: Counter[Stream] = Counter()
    commands: Counter[tuple[Stream, str]] = Counter()
    for position, record in enumerate(records, 1):
        versions[record.stream] += 1
        assert (record.position, record.version) == (position, versions[record.stream])
        if record.command is not None:
            commands[record.stream, record.command] += 1
    assert max(commands.values(), default=1) == 1


def booked_in(records: Iterable[Record]) -> set[str]:
    return {content(record)["trip"] for record in of(records, TripBooked.__name__)}


async def comes(happened: Callable[[], object]) -> None:
    """Give the loop its turns until something is so, however slow the disk or the server is today."""
    last = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < last, "it did not happen"
        await asyncio.sleep(0)


async def until(runtime: Runtime, happened: Callable[[], object]) -> None:
    """Wait until something is so; it must come without time passing."""
    await quiet(runtime)
    assert happened(), "it is quiet, and it has not happened"
