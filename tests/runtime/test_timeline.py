"""Timelines: what happened in a saga that ran, told from its journal."""

import asyncio
from datetime import timedelta

import pytest

from actors import Command, Refused, Saga
from runtime import ManualClock, Runtime
from runtime.timeline import Moment, diagram, duration, timeline
from tests.runtime.cast import ALL, DOWN, BookTrip, Hold, Release, Room, Trip
from tests.runtime.tools import node_of, quiet


class Allow(Command["Story", None]):
    by: str


class Tell(Command["Story", int]):
    rooms: list[str]


class Story(Saga[Tell, int]):
    receives = Allow

    async def run(self, command: Tell) -> int:
        await self.sleep("nap", timedelta(seconds=2))
        await self.receive(Allow)
        for room in command.rooms:
            await self.ask(room, Room.at(room), Hold(self.key), undo=Release(self.key))
        return 1


async def told(runtime: Runtime, saga: Story | None = None) -> list[Moment]:
    return [moment async for moment in timeline(node_of(runtime).journal, Story.at("s"))]


async def test_everything_that_happens_is_told() -> None:
    clock = ManualClock()
    DOWN.add("b")
    async with Runtime("memory:", [*ALL, Story], clock=clock) as runtime:
        await runtime.start(Story.at("s"), Tell(["a", "b", "full"]))
        result = asyncio.create_task(runtime.result(Story.at("s")))
        await quiet(runtime)
        clock.advance(2)
        await quiet(runtime)
        await runtime.ask(Story.at("s"), Allow("ana"))
        await quiet(runtime)
        DOWN.clear()
        clock.advance(1)
        with pytest.raises(Refused, match="full is full"):
            await result
        moments = await told(runtime)
        drawn = await diagram(node_of(runtime).journal, Story.at("s"))
    assert [(moment.after, moment.mark, moment.step, moment.text.partition(" (")[0]) for moment in moments] == [
        (0, "note", "", "started by Tell"),
        (0, "note", "nap", "sleeps"),
        (2_000_000, "note", "nap", "goes on"),
        (2_000_000, "note", "Allow", "waits for Allow"),
        (2_000_000, "note", "", "received Allow"),
        (2_000_000, "note", "Allow", "goes on"),
        (2_000_000, "sent", "a", "Hold"),
        (2_000_000, "done", "a", "done"),
        (2_000_000, "sent", "b", "Hold"),
        (2_000_000, "failed", "b", moments[9].text),
        (3_000_000, "done", "b", "done"),
        (3_000_000, "sent", "full", "Hold"),
        (3_000_000, "refused", "full", "refused: full is full"),
        (3_000_000, "end", "", "goes back: full is full"),
        (3_000_000, "done", "b", "undone"),
        (3_000_000, "done", "a", "undone"),
        (3_000_000, "end", "", "compensated"),
    ]
    assert moments[9].text.startswith("failed, to be tried again: Failed: ")
    lines = drawn.splitlines()
    assert lines[:5] == [
        "sequenceDiagram",
        "    participant saga as Story/s",
        "    participant actor1 as Room/a",
        "    participant actor2 as Room/b",
        "    participant actor3 as Room/full",
    ]
    assert "    saga->>actor1: a: Hold (+2.0 s)" in lines
    assert "    actor3--xsaga: full: refused: full is full (+3.0 s)" in lines
    assert "    actor2-->>saga: b: undone (+3.0 s)" in lines
    assert lines[-1] == "    Note over saga: compensated (+3.0 s)"


async def test_verbs_are_told_with_who_and_why() -> None:
    async with Runtime("memory:", [*ALL, Story], clock=ManualClock()) as runtime:
        await runtime.start(Story.at("s"), Tell([]))
        control = runtime.saga(Story.at("s"))
        await control.skip("nap", by="ana", reason="no time")
        await control.retry(by="bob", reason="why not")
        await control.kill(by="eve", reason="enough")
        texts = [moment.text for moment in await told(runtime)]
    assert "skipped by ana: no time" in texts
    assert "tried again by bob: why not" in texts
    assert texts[-1] == "killed by eve: enough"


async def test_who_was_never_started_has_none() -> None:
    async with Runtime("memory:", [*ALL, Story]) as runtime:
        assert await told(runtime) == []
        await runtime.ask(Trip.at("s"), BookTrip([]))
        assert await told(runtime) == []


@pytest.mark.parametrize(
    ("micros", "said"),
    [
        (0, "0.0 ms"),
        (1_234, "1.2 ms"),
        (1_500_000, "1.5 s"),
        (60_000_000, "1 min 0 s"),
        (3_725_000_000, "1 h 2 min"),
        (90_000_000_000, "1 d 1 h"),
    ],
)
def test_durations_for_people(micros: int, said: str) -> None:
    assert duration(micros) == said
