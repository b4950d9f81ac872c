"""P4, P8: plain actors that do a saga's steps are killed at each turn: each step has one id, and is undone in order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from actors import Refused
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from runtime.saga_cell import SagaCell
from runtime.turn_cell import TurnCell
from tests.runtime.cast import Begin, Held, Play
from tests.runtime.company import COMPANY, Quick, Say, Slow, Stage
from tests.runtime.playing import PLAY
from tests.runtime.striking import StrikeAt, strikes_behind
from tests.runtime.tools import HeldJournal, check_stories, quiet, steps_of, types_of

STEPS = ["slow", "quick", "both slow", "both quick"]


async def story(self: Play, command: Begin) -> Held:
    def ask(name: str, to: Any) -> Any:
        return self.ask(name, to, Say(name), undo=Say(f"un{name}"))

    await ask("slow", Slow.at("s"))
    await ask("quick", Quick.at("q"))
    await self.parallel(ask("both slow", Slow.at("s")), ask("both quick", Quick.at("q")))
    if command.line == "back":
        raise Refused("enough")
    return Held(len(STEPS))


class World:
    """What the plain actors do outside: it knows each by its key, and takes it once."""

    def __init__(self) -> None:
        self.calls: dict[str, set[str]] = {}
        """The ids with which each thing was called for."""
        self.done: list[str] = []

    def take(self, actor: Any, message: Say) -> None:
        self.calls.setdefault(message.text, set()).add(actor.message_id)
        if message.text not in self.done:
            self.done.append(message.text)


async def play(line: str, chaos: Chaos | None = None, dies: int = 0) -> tuple[World, list[Record]]:
    """Play the story to its end; in the middle of the n-th message, in its world's hands, its actor dies."""
    world, journal, clock = World(), HeldJournal(), ManualClock()

    async def slowly(actor: Any, message: Say) -> str:
        nonlocal dies
        dies -= 1
        if dies == 0:
            await runtime.kill(Slow.at("s"))
        await asyncio.sleep(0)
        world.take(actor, message)
        dies -= 1
        if dies == 0:
            await runtime.kill(Slow.at("s"))
        await asyncio.sleep(0)
        return message.text

    def act(actor: Any, message: Say) -> Any:
        if isinstance(actor, Slow):
            return slowly(actor, message)
        world.take(actor, message)
        return message.text

    Stage.play, Play.script = act, story
    async with Runtime(journal, [*COMPANY, Play], clock=clock, chaos=chaos) as runtime:
        asked = asyncio.ensure_future(runtime.ask(PLAY, Begin(line)))
        for _ in range(60):
            await quiet(runtime)
            if asked.done():
                break
            clock.advance(1)
        with suppress(Refused):
            assert await asked == Held(len(STEPS))
    return world, journal.records


def check(line: str, world: World, records: list[Record]) -> None:
    check_stories(records)
    assert types_of(records, PLAY)[-1] == ("saga.compensated" if line == "back" else "saga.completed")
    assert sorted(steps_of(records, PLAY, "answered")) == sorted(STEPS)
    undone = [f"un{name}" for name in steps_of(records, PLAY, "undone")]
    assert sorted(undone) == (sorted(f"un{name}" for name in STEPS) if line == "back" else [])
    assert undone == [f"un{name}" for name in reversed(steps_of(records, PLAY, "answered"))][: len(undone)]
    assert world.done[:2] == STEPS[:2]
    assert sorted(world.done) == sorted([*STEPS, *undone])
    assert world.done[len(STEPS) :] == undone
    ids = [one for found in world.calls.values() for one in found]
    assert len(ids) == len(set(ids)) == len(world.calls)  # each has one id, however often it comes


LINES = pytest.mark.parametrize("line", ["", "back"])


@LINES
async def test_a_kill_before_every_message(line: str) -> None:
    turn = 0
    while True:
        turn += 1
        chaos = StrikeAt(turn)
        check(line, *await play(line, chaos))
        if not chaos.struck:
            break
    assert turn > len(STEPS)


@LINES
async def test_a_kill_behind_every_message_of_one_that_works_in_turns(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: Callable[[int], list[str]] = strikes_behind(monkeypatch, TurnCell, SagaCell)
    turn, all_struck = 0, set[str]()
    while True:
        turn += 1
        struck = after(turn)
        check(line, *await play(line))
        if not struck:
            break
        all_struck.update(struck)
    assert all_struck == {"Quick/q", "Play/p"}


@LINES
async def test_a_kill_in_the_middle_of_every_message_of_one_that_awaits(line: str) -> None:
    """Before it has its effect outside, and when it has, but has not answered."""
    for dies in range(1, 2 * (4 if line == "back" else 2) + 1):
        world, records = await play(line, dies=dies)
        check(line, world, records)


@pytest.mark.parametrize("seed", range(4))
async def test_kills_all_along(seed: int) -> None:
    for line in ("", "back"):
        check(line, *await play(line, Chaos(seed, 0.2)))
