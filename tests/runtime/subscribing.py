"""A subscriber whose outside world the tests watch, hold up and break."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ClassVar

import pytest

from actors import Backoff, Meta, RetryPolicy, Subscriber
from persistence import Record
from runtime import ManualClock, Runtime
from runtime.deliverer import Deliverer
from tests.runtime.cast import Hold, Room, WasHeld
from tests.runtime.tools import HeldJournal, node_of, restart_of

NOW = RetryPolicy(budget=timedelta(0))
PATIENT = RetryPolicy(Backoff(timedelta(seconds=1), factor=1.0, jitter=0.0), budget=timedelta(seconds=3))


class Outside:
    """Where the effects are, across all runtimes of a test."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        """The id of each event whose handling began, and its trip."""
        self.done: list[tuple[str, str]] = []
        self.under_way: Counter[str] = Counter()
        """By room."""
        self.most = 0
        self.bad: set[str] = set()
        """Trips that can't be handled."""
        self.held: dict[str, asyncio.Event] = {}
        """Trips whose handling waits."""
        self.lives: list[str] = []

    @property
    def trips(self) -> list[str]:
        return [trip for _, trip in self.done]

    def of(self, room: str) -> list[str]:
        return [trip for trip in self.trips if trip[0] == room]

    def hold(self, *trips: str) -> None:
        for trip in trips:
            self.held[trip] = asyncio.Event()

    def let_go(self, *trips: str) -> None:
        for trip in trips:
            self.held.pop(trip).set()

    async def handle(self, id_: str, trip: str) -> None:
        room = trip[0]
        assert not self.under_way[room], f"two of {room} at once"
        self.under_way[room] += 1
        self.most = max(self.most, self.under_way.total())
        self.begun.append((id_, trip))
        try:
            await asyncio.sleep(0)
            if trip in self.held:
                await self.held[trip].wait()
            if trip in self.bad:
                raise ValueError(f"{trip} is bad")
            self.done.append((id_, trip))
        finally:
            self.under_way[room] -= 1


class Mail(Subscriber):
    """Tells the outside of each room that is held; a trip's first letter is its room's key."""

    since = "beginning"
    at_once = 3
    retry = NOW
    outside: ClassVar[Outside]

    async def started(self) -> None:
        self.outside.lives.append("started")

    async def stopped(self) -> None:
        self.outside.lives.append("stopped")

    async def handle(self, event: WasHeld, meta: Meta) -> None:
        assert self.event_id == meta.event_id
        await self.outside.handle(self.event_id, event.trip)

    def key(self, event: WasHeld, meta: Meta) -> str:
        return meta.key


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    world = Outside()
    monkeypatch.setattr(Mail, "outside", world, raising=False)
    return world


def deliverer(runtime: Runtime) -> Deliverer:
    return node_of(runtime).deliverers["Mail"]


async def tell(runtime: Runtime, *trips: str) -> None:
    """Have rooms held: ``"a1"`` is by the trip a1 in room a."""
    for trip in trips:
        await runtime.ask(Room.at(trip[0]), Hold(trip))


async def written(*trips: str) -> list[Record]:
    """Return a journal in which rooms are held, and that no subscriber has seen."""
    journal = HeldJournal()
    async with Runtime(journal, [Room]) as runtime:
        await tell(runtime, *trips)
    return journal.records


def same_journal(records: Sequence[Record], identity: str) -> HeldJournal:
    """Return a journal as a crash behind the last of these records would have left it, known under its old name."""
    journal = restart_of(records)
    journal.identity = identity
    return journal


async def in_time(clock: ManualClock, happened: Callable[[], object], step: float = 1) -> None:
    """Let time pass, by so many seconds a time, until something is so."""
    for _ in range(1_000):
        for _ in range(100):
            if happened():
                return
            await asyncio.sleep(0)
        clock.advance(step)
    raise AssertionError("it did not happen")
