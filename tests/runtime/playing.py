"""What the tests of sagas share: one saga whose story each test writes, and what it is to be parked."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from actors import Command, Parked
from persistence import Record
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, BookTrip, Hold, Play, Release, Room, Trip
from tests.runtime.tools import HeldJournal, check_once, check_stories, quiet, restart_of, types_of

PLAY = Play.at("p")


def hold(self: Play, name: str, room: str | None = None) -> Any:
    return self.ask(name, Room.at(room or name), Hold(self.key), undo=Release(self.key))


async def parked_with(text: str, runtime: Runtime) -> None:
    """Check that the saga is parked, that its askers are told why, and that the others go on."""
    with pytest.raises(Parked, match=text):
        await runtime.ask(PLAY, Begin())
    with pytest.raises(Parked, match=text):
        await runtime.result(PLAY)
    assert await runtime.unfinished() == [PLAY]
    assert (await runtime.ask(Trip.at("other"), BookTrip(["elsewhere"]))).trip == "other"


class House(NamedTuple):
    """A runtime with a journal and a clock of the test's own."""

    runtime: Runtime
    journal: HeldJournal
    clock: ManualClock

    async def passes(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, a step at a time, with all that it leads to."""
        await quiet(self.runtime)
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            await quiet(self.runtime)

    async def goes_on(self, playing: asyncio.Task[Any]) -> None:
        """Let time pass until something has ended."""
        for _ in range(500):
            await quiet(self.runtime)
            if playing.done():
                return
            self.clock.advance(1)
        playing.cancel()
        raise AssertionError(f"it has not ended: {await self.runtime.progress_of(PLAY)}")

    async def begin(self, line: str = "") -> None:
        """Start the saga, and go as far as that leads."""
        await self.runtime.start(PLAY, Begin(line))
        await quiet(self.runtime)

    async def held(self, room: str) -> tuple[str, ...]:
        """Return who holds a room."""
        return (await self.runtime.state_of(Room.at(room))).held

    async def status(self) -> str:
        """Return where the saga is."""
        return (await self.runtime.progress_of(PLAY)).status


@asynccontextmanager
async def house(
    records: Sequence[Record] = (), clock: ManualClock | None = None, actors: Sequence[type] = ALL, **more: Any
) -> AsyncGenerator[House]:
    """Open a house, with what a crash has left of another one."""
    journal, clock = restart_of(records), clock or ManualClock()
    async with Runtime(journal, actors, clock=clock, **more) as runtime:
        await quiet(runtime)
        yield House(runtime, journal, clock)


def later(records: Sequence[Record], seconds: float = 0.0) -> ManualClock:
    """Return a clock that stands so long after the last record."""
    clock = ManualClock()
    return ManualClock(records[-1].time + round(seconds * 1e6)) if records else clock


def breaks(*_: object) -> Any:
    """Stand for code of an author's that is broken."""
    raise ZeroDivisionError


def agrees(_self: object, _state: object, command: Command[Any, None]) -> Any:
    """Stand for a ``decide`` that takes whatever comes, and does nothing."""
    return command.reply(None)


def stands(records: Sequence[Record]) -> dict[str, int]:
    """Return how often each room is held, of those that are."""
    count = Counter[str]()
    for record in records:
        if record.type in ("WasHeld", "WasReleased"):
            count[record.stream[1]] += 1 if record.type == "WasHeld" else -1
            assert count[record.stream[1]] >= 0, "released more often than held"
    return dict(+count)


async def from_every_prefix(
    whole: Sequence[Record],
    play: Callable[[House], Awaitable[None]],
    check: Callable[[Sequence[Record]], None],
    actors: Sequence[type] = ALL,
) -> None:
    """Crash behind each event, and behind some events of each recovery too; play on, and check the books."""
    for crash in range(len(whole)):
        again = await _again(whole[:crash], play, actors)
        check(again)
        for second in range(crash + 1, len(again), 3):
            check(await _again(again[:second], play, actors))


async def _again(records: Sequence[Record], play: Callable[[House], Any], actors: Sequence[type]) -> list[Record]:
    async with house(records, later(records), actors) as at:
        playing = asyncio.create_task(play(at))
        await at.goes_on(playing)
        await playing
    check_once(at.journal.records)
    check_stories(at.journal.records)
    assert [(r.stream, r.type, r.data) for r in at.journal.records[: len(records)]] == [
        (r.stream, r.type, r.data) for r in records
    ]
    return at.journal.records


def ends_with(*types: str) -> Callable[[Sequence[Record]], None]:
    """Return a check that the play has ended, in one of these ways and once."""

    def check(records: Sequence[Record]) -> None:
        found = types_of(records, PLAY)
        assert found[-1] in types, found
        assert sum(one in ("saga.completed", "saga.compensated") for one in found) == 1

    return check
