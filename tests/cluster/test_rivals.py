"""Nodes with different journals that would serve one class: one of them ends, also where they start in one moment."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors import NetworkUnusable, RuntimeClosed
from runtime import Runtime
from runtime.cluster import Fate, MemoryNetwork, NatsNetwork, Network, Sent
from runtime.cluster.subjects import life_subject
from runtime.simulation.clock import SimulatedClock
from tests import nats
from tests.cluster.cast import Flight, HoldSeat, Payments, Taken
from tests.cluster.virtual import play

SERVES = "another node serves Flight(, Payments)? from another journal"
Opened = Runtime | NetworkUnusable


@asynccontextmanager
async def opened(*after: float, **more: Any) -> AsyncGenerator[list[Opened]]:
    """Open nodes, each after so many seconds and in a task of its own; yield them, or why they can't be opened."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    opened: list[asyncio.Future[Opened]] = [loop.create_future() for _ in after]

    async def live(number: int) -> None:
        await asyncio.sleep(after[number])
        try:
            async with Runtime("memory:", [Flight, Payments], **more) as runtime:
                opened[number].set_result(runtime)
                await over.wait()
        except NetworkUnusable as error:
            opened[number].set_result(error)

    lives = [asyncio.ensure_future(live(number)) for number in range(len(after))]
    try:
        yield list(await asyncio.gather(*opened))
    finally:
        over.set()
        await asyncio.gather(*lives)


async def is_open(node: Opened) -> bool:
    if isinstance(node, NetworkUnusable):
        return False
    try:
        await node.ask(Flight.at("a"), HoldSeat("t"), id="t")
    except RuntimeClosed:
        return False
    return True


def slow(seconds: float) -> Callable[[Sent], Fate]:
    return lambda _: (seconds,)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.1, 0.11, 0.15, 0.19, 0.2, 0.21, 0.25, 0.3, 0.35, 0.4, 0.5])
def test_of_two_that_start_at_about_the_same_time_not_both_are_open(after: float) -> None:
    """A question takes 0.1 seconds, and as long its answer: there and back, before a node serves and when it does."""

    async def story(clock: SimulatedClock) -> None:
        async with opened(0.0, after, network=MemoryNetwork(slow(0.1)), clock=clock) as both:
            await asyncio.sleep(1)
            states = [await is_open(node) for node in both]
            assert not all(states)
            assert after <= 0.2 or states == [True, False], "the one that was there before goes on"

    play(story)


def late(network: MemoryNetwork, seconds: float) -> Callable[[Sent], Fate]:
    """Let what the first of two nodes tells the other one come so late, and all else as fast as it does."""

    def fate(sent: Sent) -> Fate:
        to_the_other = sent.subject == life_subject(network.names[-1]) and sent.sender != network.names[-1]
        return (seconds,) if to_the_other else (0.1,)

    return fate


def test_one_that_is_answered_late_is_out() -> None:
    """Its own answer comes before that of the other one: it is open by then, and ends all the same."""

    async def story(clock: SimulatedClock) -> None:
        network = MemoryNetwork()
        network.decide = late(network, 0.5)
        async with opened(0.0, 0.0, network=network, clock=clock) as (_, other):
            assert isinstance(other, Runtime)
            error = await other.replaced()
            assert isinstance(error, NetworkUnusable)
            with pytest.raises(RuntimeClosed, match=SERVES):
                await other.ask(Flight.at("a"), Taken())

    play(story)


def test_an_answer_of_long_ago_ends_nobody() -> None:
    """Who has slept for a minute must not end those who have not."""

    async def story(clock: SimulatedClock) -> None:
        network = MemoryNetwork()
        network.decide = late(network, 60.0)
        async with opened(0.0, 0.0, network=network, clock=clock) as both:
            await asyncio.sleep(200)
            assert [await is_open(node) for node in both] == [False, True]

    play(story)


@pytest.mark.parametrize("engine", ["memory", pytest.param("nats", marks=nats.needs_server)])
async def test_of_many_that_start_at_once_one_stays_at_most(engine: str) -> None:
    for _ in range(5):
        network: Network = MemoryNetwork() if engine == "memory" else NatsNetwork(nats.new_url())
        async with opened(*[0.0] * 4, network=network) as nodes:
            while sum([await is_open(node) for node in nodes]) > 1:
                pass  # those that are out are told so while they are asked
            assert [node for node in nodes if isinstance(node, NetworkUnusable)]
