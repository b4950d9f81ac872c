"""What outlives an incarnation of a plain actor: tasks that it has left behind, and what must not outlive it."""

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, ActorMisuse, Failed, Group, RestartPolicy, Stopped
from runtime import ManualClock, Runtime
from runtime.actor_cell import ActorCell
from tests.runtime.cast import ALL
from tests.runtime.crew import CREW, HEARD, Agent, Clerk, Say
from tests.runtime.tools import comes, node_of, quiet, until

EVERYONE = [*ALL, *CREW]
BOTH = pytest.mark.parametrize("cls", CREW, ids=lambda cls: cls.__name__)


def scripted(cls: type[Actor], script: Callable[[Any, Any], Any]) -> None:
    """Give a class its script: a function without awaits, for both sorts."""

    async def later(actor: Any, message: Any) -> Any:
        return script(actor, message)

    if cls is Clerk:
        Clerk.script = script
    else:
        Agent.script = later


ACTS: dict[str, Callable[[Any], Any]] = {
    "after": lambda actor: actor.after(timedelta(0), Say("late")),
    "every": lambda actor: actor.every(timedelta(seconds=1), Say("late")),
    "spawn": lambda actor: actor.spawn(Agent.at("child")),
    "watch": lambda actor: actor.watch(Agent.at("other")),
    "tell": lambda actor: actor.tell(Agent.at("other"), Say("late")),
    "unstash": lambda actor: actor.unstash(),
}


@BOTH
@pytest.mark.parametrize("act", ACTS)
async def test_an_incarnation_that_has_ended_can_do_nothing_more(cls: type[Any], act: str) -> None:
    """Or a timer, say, that a task sets which it has left behind would begin a second incarnation. P4."""
    seen: list[Any] = []

    def once(actor: Any, message: Any) -> str:
        seen.append(actor)
        if message.text == "first":
            actor.stop()
        return "done"

    scripted(cls, once)
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        await runtime.ask(cls.at("a"), Say("first"))
        await quiet(runtime)
        await runtime.ask(cls.at("a"), Say("second"))
        first, second = seen
        with pytest.raises(ActorMisuse, match=f"{cls.__name__} is not run by a runtime"):
            ACTS[act](first)
        clock.advance(2)
        await quiet(runtime)
        await runtime.ask(cls.at("a"), Say("third"))
        assert seen[2:] == [second]
        assert [text for _, text in HEARD] == ["first", "second", "third"]
        assert not node_of(runtime).owners


@BOTH
async def test_what_was_stashed_can_be_put_back_by_a_task_of_its_own(cls: type[Any]) -> None:
    """One that warms up in the background says so when it is ready; there may be no other message."""
    cold: list[Any] = []

    def warm_up(actor: Any, message: Any) -> str | None:
        if cold:
            return "served"
        cold.append(actor)
        actor.stash()
        return None

    scripted(cls, warm_up)
    async with Runtime("memory:", EVERYONE) as runtime:
        asked = asyncio.create_task(runtime.ask(cls.at("a"), Say("x")))
        await comes(lambda: cold)
        await quiet(runtime)
        cold[0].unstash()
        await comes(asked.done)
        assert await asked == "served"


async def test_one_that_tells_in_a_timers_tick_leaves_the_memory() -> None:
    """What is not traced by the garbage collector must not hold what holds it."""

    def cells(runtime: Runtime) -> int:
        gc.collect()
        node = node_of(runtime)
        return sum(isinstance(one, ActorCell) and one.world is node for one in gc.get_objects())

    async def ticks(actor: Agent, message: Say) -> str:
        if message.text == "begin":
            actor.after(timedelta(0), Say("tick"))
        elif actor.key != "other":
            actor.tell(Agent.at("other"), Say("ticked"))
            actor.stop()
        return message.text

    Agent.script = ticks
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        before = cells(runtime)
        for n in range(10):
            await runtime.ask(Agent.at(str(n)), Say("begin"))
        clock.advance(1)
        await quiet(runtime)
        clock.advance(60)  # what looks after those that resist their end
        assert len(node_of(runtime).directory) == 1
        assert cells(runtime) == before + 1


@BOTH
async def test_a_message_that_was_stashed_when_its_actor_was_killed_comes_again_once(cls: type[Any]) -> None:
    async def waits(agent: Agent, message: Say) -> str:
        if len(HEARD) == 1:
            agent.stash()
            await asyncio.Event().wait()
        return "done"

    Agent.script = waits
    Clerk.script = lambda clerk, message: clerk.stash() if len(HEARD) == 1 else "done"
    async with Runtime("memory:", EVERYONE) as runtime:
        await runtime.tell(cls.at("a"), Say("x"))
        await comes(lambda: HEARD)
        await runtime.kill(cls.at("a"))
        await comes(lambda: len(HEARD) > 1)
        await quiet(runtime)
        assert len(HEARD) == 2


# -- ended in the middle of its own turn ----------------------------------------------------------------------------


class Sickly(Agent):
    """Can't begin while the test says so."""

    sick: ClassVar[bool] = True

    def __init__(self, key: str) -> None:
        super().__init__(key)
        if Sickly.sick:
            raise ValueError("can't begin")


class Parent(Actor):
    """Starts children that can't begin, which is the end of it: in the middle of its own turn."""

    restart = RestartPolicy(restarts=5)
    children = Group(restart=RestartPolicy(restarts=0))
    where: ClassVar[str] = ""

    def started(self) -> None:
        if Parent.where == "started":
            self.bear()

    def receive(self, message: Say | Stopped) -> str:
        if Parent.where == "receive":
            self.bear()
        return "well"

    def bear(self) -> None:
        try:
            self.spawn(Sickly.at("1"))
        finally:
            Sickly.sick = False
        self.spawn(Sickly.at("2"))


@pytest.mark.parametrize("where", ["started", "receive"])
async def test_a_parent_that_its_child_ends_in_its_own_turn_begins_anew(where: str) -> None:
    Parent.where, Sickly.sick = where, True
    clock = ManualClock()
    async with Runtime("memory:", [*EVERYONE, Parent, Sickly], clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Parent.at("p"), Say("x")))
        await quiet(runtime)
        assert not node_of(runtime).owners  # nobody is a child of what has ended
        clock.advance(60)
        if where == "receive":
            with pytest.raises(Failed, match="Parent is not run by a runtime"):
                await asked
        else:
            assert await asked == "well"
        Parent.where = ""
        assert await runtime.ask(Parent.at("p"), Say("x")) == "well"
        assert runtime.stats().actors["Parent"].failures == 1


# -- the end itself -------------------------------------------------------------------------------------------------


class Hoarder(Clerk):
    """Puts aside at its end what it has failed at."""

    def stopped(self) -> None:
        self.stash()


async def test_at_its_end_an_actor_handles_no_message() -> None:
    """So there is none to stash, and the next one's reply is not taken for stashed."""
    clock = ManualClock()

    def play(actor: Any, message: Any) -> str:
        if message.text == "fail":
            raise ValueError("a bug")
        return "done"

    Clerk.script = play
    async with Runtime("memory:", [Hoarder], clock=clock) as runtime:
        await runtime.tell(Hoarder.at("h"), Say("fail"))
        await quiet(runtime)
        asked = asyncio.create_task(runtime.ask(Hoarder.at("h"), Say("next")))
        clock.advance(2)
        await until(runtime, asked.done)
        assert await asked == "done"
        assert [text for _, text in HEARD] == ["fail", "next"]


class Couple(Agent):
    at_once = 2


async def test_only_tasks_that_go_on_are_named_when_the_runtime_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def waits(agent: Agent, message: Say) -> str:
        if message.text == "stop":
            agent.stop()
        else:
            await asyncio.Event().wait()
        return "done"

    Agent.script = waits
    async with Runtime("memory:", [Couple], shutdown_timeout=0.05) as runtime:
        runtime.tell(Couple.at("c"), Say("wait"))
        assert await runtime.ask(Couple.at("c"), Say("stop")) == "done"
    assert "resists" not in caplog.text
