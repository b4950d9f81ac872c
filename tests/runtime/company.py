"""A company of plain actors and a service that play alike, whatever they are: what the tests of supervision share."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from actors import (
    Actor,
    Address,
    Backoff,
    Command,
    Decision,
    Event,
    Group,
    Passivation,
    Pool,
    Refused,
    RestartPolicy,
    Service,
    State,
    Stopped,
)
from runtime import ManualClock, Runtime
from tests.runtime.tools import node_of, quiet

LOG: list[str] = []
"""What happened, in order: ``Quick/a begins``, ``Quick/a: hello``, ``Quick/a hears Slow/b crashed``."""
MADE: Counter[str] = Counter()
"""How often each actor has begun."""
BROKEN: set[str] = set()
"""Keys of actors that can't begin."""
INSIDE: Counter[str] = Counter()
"""Who is in the middle of a message, and how often."""

FAST = Backoff(timedelta(seconds=1), jitter=0.0)
OFTEN = RestartPolicy(restarts=1_000, backoff=FAST)


class Say(Command[Any, str]):
    """Answered by all that the incarnation has heard, and done where it is the name of a deed."""

    text: str
    to: Address[Any] | None = None


class Stage:
    play: ClassVar[Callable[[Any, Say], Any] | None] = None
    """What is done with what is no deed."""


def name(actor: Any) -> str:
    return f"{type(actor).__name__}/{actor.key}"


def place(actor: Any) -> str:
    """Where only one may be at a time: an address, or one of a pool's workers."""
    return name(actor) if actor.pool is None else str(id(actor))


def deed(actor: Any, message: Say | Stopped) -> Any:
    if isinstance(message, Stopped):
        LOG.append(f"{name(actor)} hears {message.address} {message.reason}")
        return None
    actor.heard.append(message.text)
    LOG.append(f"{name(actor)}: {message.text}")
    match message:
        case Say("spawn", Address() as child):
            actor.spawn(child)
        case Say("watch", Address() as other):
            actor.watch(other)
        case Say("unwatch", Address() as other):
            actor.unwatch(other)
        case Say(text, Address() as other):
            actor.tell(other, Say(text))
        case Say("crash"):
            raise ValueError(f"{name(actor)} trips")
        case Say("refuse"):
            raise Refused("no")
        case Say("stop"):
            actor.stop()
        case _ if Stage.play is not None:
            return Stage.play(actor, message)
        case _:
            pass
    return " ".join(actor.heard)


def begins(actor: Any) -> None:
    if actor.key in BROKEN:
        raise ConnectionError(f"{name(actor)} can't begin")
    MADE[name(actor)] += 1
    LOG.append(f"{name(actor)} begins")


class Quick(Actor):
    """A synchronous one."""

    restart = OFTEN
    passivation = Passivation(idle=None)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.heard: list[str] = []

    def started(self) -> None:
        begins(self)

    def stopped(self) -> None:
        LOG.append(f"{name(self)} ends")

    def receive(self, message: Say | Stopped) -> Any:
        INSIDE[place(self)] += 1
        assert INSIDE[place(self)] == 1, "two at once"
        try:
            return deed(self, message)
        finally:
            INSIDE[place(self)] -= 1


class Slow(Actor):
    """An async one; it lets the event loop go round in the middle of all that it does."""

    restart = OFTEN
    passivation = Passivation(idle=None)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.heard: list[str] = []

    async def started(self) -> None:
        await asyncio.sleep(0)
        begins(self)

    async def stopped(self) -> None:
        await asyncio.sleep(0)
        LOG.append(f"{name(self)} ends")

    async def receive(self, message: Say | Stopped) -> Any:
        INSIDE[place(self)] += 1
        assert INSIDE[place(self)] <= self.at_once, "too many at once"
        try:
            await asyncio.sleep(0)
            reply = deed(self, message)
            return await reply if inspect.isawaitable(reply) else reply
        finally:
            INSIDE[place(self)] -= 1


class Said(Event):
    text: str


class Heard(State):
    texts: tuple[str, ...] = ()


class Ledger(Service[Heard, Say, Said]):
    """A service that remembers what it hears; it can be made to fail only when it is brought back."""

    initial = Heard()
    restart = OFTEN

    def __init__(self, key: str) -> None:
        super().__init__(key)
        begins(self)

    def decide(self, state: Heard, command: Say) -> Decision:
        if command.text == "refuse":
            raise Refused("no")
        return command.reply(" ".join((*state.texts, command.text)), Said(command.text))

    def evolve(self, state: Heard, event: Said) -> Heard:
        return Heard((*state.texts, event.text))


class QuickWorker(Quick):
    pool = Pool(3)


class SlowWorker(Slow):
    pool = Pool(3)


class QuickParent(Quick):
    children = Group(restart=RestartPolicy(restarts=2, backoff=FAST))


class SlowParent(Slow):
    children = Group(restart=RestartPolicy(restarts=2, backoff=FAST))


COMPANY: list[type] = [Quick, Slow, Ledger, QuickWorker, SlowWorker, QuickParent, SlowParent]


def clear_the_stage() -> None:
    LOG.clear()
    MADE.clear()
    BROKEN.clear()
    INSIDE.clear()
    Stage.play = None


async def crash(runtime: Runtime, address: Address[Any]) -> None:
    """Let one crash, whatever it is."""
    if address.actor == "Ledger":
        BROKEN.add(address.key)
        await runtime.kill(address)
        runtime.tell(address, Say("wake up"))
        await quiet(runtime)
        BROKEN.remove(address.key)
    else:
        runtime.tell(address, Say("crash"))
    await quiet(runtime)


async def passes(runtime: Runtime, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    await quiet(runtime)


def in_memory(runtime: Runtime) -> set[str]:
    return {str(cell.address) for cell in node_of(runtime).directory}


def supervised(runtime: Runtime) -> set[str]:
    return {str(address) for address in node_of(runtime).owners}


async def a_while() -> None:
    """Give the loop its turns, where it never gets quiet: somebody is in the middle of a message."""
    for _ in range(50):
        await asyncio.sleep(0)
