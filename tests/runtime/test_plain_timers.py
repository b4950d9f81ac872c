"""Timers of plain actors: in memory, by steady time, gone with the actor that set them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, ActorMisuse, Command, NotTaken
from runtime import ManualClock, Runtime
from runtime import plain_cell as limits
from tests.runtime.company import (
    COMPANY,
    LOG,
    OFTEN,
    Quick,
    Say,
    Slow,
    Stage,
    a_while,
    clear_the_stage,
    crash,
    in_memory,
    passes,
)
from tests.runtime.tools import node_of, quiet

PLAIN: list[Any] = [Quick.at("a"), Slow.at("a")]
EITHER = pytest.mark.parametrize("one", PLAIN)
SECOND = timedelta(seconds=1)


def said(one: Any) -> list[str]:
    return [line.removeprefix(f"{one}: ") for line in LOG if line.startswith(f"{one}: ")]


# -- timers ---------------------------------------------------------------------------------------------------------


def sets(*timers: tuple[str, float, bool]) -> Any:
    """At ``set``, sets timers: what they say, after how many seconds, and whether again and again."""

    def play(actor: Any, message: Say) -> str:
        if message.text == "set":
            actor.timers = [
                (actor.every if again else actor.after)(timedelta(seconds=seconds), Say(text))
                for text, seconds, again in timers
            ]
        elif message.text == "cancel":
            for timer in actor.timers:
                timer.cancel()
        return ""

    return play


@EITHER
async def test_a_timer_is_never_early_and_fires_once(one: Any) -> None:
    Stage.play = sets(("late", 2, False), ("soon", 1, False), ("now", 0, False))
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        await passes(runtime, clock, 1e-6)
        assert said(one) == ["set", "now"]
        await passes(runtime, clock, 0.999_999)
        assert said(one) == ["set", "now"]
        await passes(runtime, clock, 1e-5)
        assert said(one) == ["set", "now", "soon"]
        for _ in range(10):
            await passes(runtime, clock, 1)
        assert said(one) == ["set", "now", "soon", "late"]


@EITHER
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 3), max_size=12), st.lists(st.sampled_from([-3600, 3600, 0]), max_size=4))
def test_one_that_comes_again_and_again_keeps_to_its_grid_whatever_the_wall_clock_does(
    one: Any, naps: list[float], steps: list[int]
) -> None:
    asyncio.run(_ticks(one, naps, steps))


async def _ticks(one: Any, naps: list[float], steps: list[int]) -> None:
    clear_the_stage()
    Stage.play = sets(("tick", 1, True))
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        start, before = clock.steady(), 0.0
        for number, nap in enumerate(naps):
            if number < len(steps):
                clock.step(steps[number])
            ticks = len(said(one))
            await passes(runtime, clock, nap)
            now = (clock.steady() - start) / 1e6
            ticks = len(said(one)) - ticks
            assert ticks <= min(1, int(now) - int(before - SLACK)), "early, or more than once"
            assert ticks >= min(1, int(now - SLACK) - int(before)), "late"
            before = now


SLACK = 1e-4


@EITHER
async def test_missed_ticks_are_sent_once(one: Any) -> None:
    gate = asyncio.Event()
    play = sets(("tick", 1, True))

    def busy(actor: Any, message: Say) -> Any:
        if message.text == "busy" and isinstance(actor, Slow):
            return wait()
        return play(actor, message)

    async def wait() -> str:
        await gate.wait()
        return ""

    Stage.play = busy
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        if isinstance(one.actor, str) and one.actor == "Slow":
            runtime.tell(one, Say("busy"))
            await a_while()
            for _ in range(5):
                clock.advance(1)
                await a_while()
            gate.set()
            await quiet(runtime)
        else:
            clock.advance(5.5)  # no turn of the loop meanwhile
            await quiet(runtime)
        assert said(one).count("tick") == 1
        await passes(runtime, clock, 1)
        assert said(one).count("tick") == 2


@EITHER
async def test_a_cancelled_one_fires_no_more_not_even_what_waits_in_the_mailbox(one: Any) -> None:
    Stage.play = sets(("tick", 1, True), ("once", 1, False))
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        await runtime.ask(one, Say("cancel"))
        await passes(runtime, clock, 10)
        assert said(one) == ["set", "cancel"]
        cell: Any = node_of(runtime).find(one)
        assert not cell._timers


async def test_a_tick_that_waits_while_its_timer_is_cancelled_is_not_handled() -> None:
    one, gate = Slow.at("a"), asyncio.Event()
    play = sets(("tick", 1, True))

    async def busy(actor: Any, message: Say) -> str:
        if message.text == "cancel":
            await gate.wait()
        return str(play(actor, message))

    Stage.play = busy
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        runtime.tell(one, Say("cancel"))
        await a_while()
        clock.advance(1.5)
        await a_while()
        gate.set()
        await passes(runtime, clock, 5)
        assert said(one) == ["set", "cancel"]


@EITHER
@pytest.mark.parametrize("end", ["kill", "crash", "stop"])
async def test_timers_end_with_their_actor(one: Any, end: str) -> None:
    Stage.play = sets(("tick", 5, True), ("once", 5, False))
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(one, Say("set"))
        if end == "kill":
            await runtime.kill(one)
        else:
            runtime.tell(one, Say(end))
        await quiet(runtime)
        await passes(runtime, clock, 1.1)
        await runtime.ask(one, Say("hello"))
        for _ in range(3):
            await passes(runtime, clock, 10)
        assert "tick" not in said(one)
        assert "once" not in said(one)


@EITHER
async def test_an_actor_with_a_timer_stays_in_the_memory(one: Any) -> None:
    from actors import Passivation

    base: Any = COMPANY[PLAIN.index(one)]

    class Brief(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        passivation = Passivation(idle=SECOND)

    brief: Any = Brief.at("b")
    Stage.play = sets(("once", 10, False))
    clock = ManualClock()
    async with Runtime("memory:", [Brief], clock=clock) as runtime:
        await runtime.ask(brief, Say("set"))
        for _ in range(9):
            await passes(runtime, clock, 1)
        assert in_memory(runtime) == {"Brief/b"}
        for _ in range(5):
            await passes(runtime, clock, 1)
        assert said(brief) == ["set", "once"]
        assert in_memory(runtime) == set()


class Tick(Command["Clockwork", None]):
    pass


class Clockwork(Actor):
    """Bad ones trip at every tick, and begin again with a timer each time."""

    restart = OFTEN
    ticks: dict[str, int] = {}

    def started(self) -> None:
        self.every(SECOND, Tick())

    def receive(self, message: Tick) -> None:
        Clockwork.ticks[self.key] = Clockwork.ticks.get(self.key, 0) + 1
        if self.key != "good":
            raise ValueError("bad")


async def test_many_timers_that_fail_do_not_starve_a_good_one() -> None:
    Clockwork.ticks = {}
    clock = ManualClock()
    keys = [*(f"bad {number}" for number in range(101)), "good"]
    async with Runtime("memory:", [Clockwork], clock=clock) as runtime:
        for key in keys:
            runtime.tell(Clockwork.at(key), Tick())
        await quiet(runtime)
        for _ in range(10):
            await passes(runtime, clock, 1.001)
        assert Clockwork.ticks["good"] == 11
        assert len(Clockwork.ticks) == 102


@EITHER
async def test_timers_are_checked_and_bounded(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_TIMERS", 3)

    def play(actor: Any, message: Say) -> str:
        with pytest.raises(NotTaken):
            actor.after(SECOND, Tick())
        for interval in (timedelta(0), -SECOND):
            with pytest.raises(ValueError, match="a timer needs"):
                actor.every(interval, Say("x"))
        with pytest.raises(ValueError, match="a timer needs"):
            actor.after(-SECOND, Say("x"))
        timers = [actor.after(SECOND, Say("x")) for _ in range(3)]
        with pytest.raises(ActorMisuse, match=f"{one} has 3 timers already; cancel some"):
            actor.after(SECOND, Say("x"))
        timers[0].cancel()
        timers[0].cancel()
        actor.after(SECOND, Say("x"))
        return "checked"

    Stage.play = play
    async with Runtime("memory:", COMPANY, clock=ManualClock()) as runtime:
        assert await runtime.ask(one, Say("check")) == "checked"
        await crash(runtime, one)
