"""P3, P8, P10, P14 between nodes: whatever the network does to a message, and whichever node dies when."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from runtime.cluster import Fate, Sent, at_random
from tests.cluster.village import NODES, Village, play


async def booked(village: Village) -> None:
    await village.book()


def calm() -> int:
    """Return how many messages it takes when nothing goes wrong."""
    village = play(booked)
    village.check()
    return village.network.sent


MESSAGES = 60
"""How many messages are each lost, repeated and delayed in turn: all that it takes, and some of those that make up for
what was lost."""


def test_nothing_goes_wrong() -> None:
    assert 30 < calm() <= MESSAGES


FATES: dict[str, Callable[[int, int], Fate]] = {
    "lost": lambda at, number: () if number == at else (0.0,),
    "lost, and the next one": lambda at, number: () if number in (at, at + 1) else (0.0,),
    "twice": lambda at, number: (0.0, 0.0) if number == at else (0.0,),
    "late, and twice": lambda at, number: (0.7, 20.0) if number == at else (0.0,),
    "silence": lambda at, number: () if at <= number < at + 12 else (0.0,),
}


@pytest.mark.parametrize("what", FATES)
def test_each_message_in_turn(what: str) -> None:
    for at in range(1, MESSAGES):
        fate = FATES[what]

        async def story(village: Village, at: int = at, fate: Callable[[int, int], Fate] = fate) -> None:
            village.fate = lambda sent: fate(at, sent.number)
            await village.book()

        play(story).check()


@pytest.mark.parametrize("seed", range(20))
def test_by_chance(seed: int) -> None:
    async def story(village: Village) -> None:
        chance = at_random(seed, lost=0.2, twice=0.2, late=0.3, seconds=3.0)

        def fate(sent: Sent) -> Fate:
            return chance(sent) if sent.number < 300 else (0.0,)

        village.fate = fate
        await village.book()

    play(story).check()


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("name", NODES)
def test_each_node_dies_at_each_message(name: str, when: str) -> None:
    for at in range(1, MESSAGES):

        async def story(village: Village, at: int = at) -> None:
            village.killed_at = (name, at, when)
            await village.book()

        play(story).check()


@pytest.mark.parametrize("seed", range(30))
def test_nodes_die_and_fall_silent_while_messages_are_lost(seed: int) -> None:
    random = Random(seed)

    async def havoc(village: Village) -> None:
        for _ in range(5):
            await asyncio.sleep(random.choice([0.01, 0.3, 1, 5, 20]))
            name, network = random.choice(list(NODES)), village.network
            if random.random() < 0.5:
                village.kill(name)
            elif (link := village.links.get(name, "")) in network.names:
                network.cut_off(link)
                await asyncio.sleep(random.choice([0.2, 3, 10, 40]))
                if link in network.names:
                    network.let_in(link)

    async def story(village: Village) -> None:
        chance = at_random(seed, lost=0.1, twice=0.2, late=0.3, seconds=random.choice([0.5, 3, 30]))
        village.fate = lambda sent: chance(sent) if sent.number < 200 else (0.0,)
        await asyncio.gather(village.book(), havoc(village))

    play(story).check()
