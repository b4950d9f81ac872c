"""Sagas whose stories the tests write, while whatever can befall messages does, and nodes die."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors import Address, NotTaken, Refused, UnderstudyError
from runtime.cluster import Fate, Sent
from runtime.sagas import SagaControl
from tests.cluster.village import Nodes, Village, play
from tests.runtime.cast import Account, Begin, Desk, Held, Play, Room, Trip
from tests.runtime.tools import ENDS, check_once, check_stories, of

NODES: Nodes = {
    "rooms": ([Room, Desk], []),
    "trips": ([Trip], [Room]),
    "front": ([Play, Account], [Room, Desk, Trip]),
}
"""The rooms are on one node, the trips that book them on another, and what is played asks both from a third."""
Story = Callable[[Any, Begin], Awaitable[Held]]
PLAY = Play.at("p")
Fates = dict[str, Callable[[int, int], Fate]]
FATES: Fates = {
    "lost": lambda at, number: () if number == at else (0.0,),
    "late, and twice": lambda at, number: (0.7, 20.0) if number == at else (0.0,),
    "silence": lambda at, number: () if at <= number < at + 8 else (0.0,),
}
"""What befalls the message ``at``."""


async def open_all(village: Village) -> None:
    """Start all nodes."""
    for name in village.nodes:
        await village.start(name)


def whatever_happens(
    story: Story | None,
    check: Callable[[Village], None],
    nodes: Nodes = NODES,
    sagas: Mapping[Address[Any], Any] | None = None,
    meanwhile: Callable[[Village], Awaitable[None]] | None = None,
) -> None:
    """Play a story without trouble, then with each message lost, repeated and late, and each node dying at each.

    ``meanwhile`` is what somebody does while the ``sagas`` (else: the one of the story) are under way.
    """
    Play.script = story
    asked = {PLAY: Begin()} if sagas is None else sagas

    async def plain(village: Village) -> None:
        await open_all(village)
        doing = None if meanwhile is None else asyncio.ensure_future(meanwhile(village))
        await village.ask_all(asked)
        if doing is not None:
            await doing

    messages = _checked(plain, check, nodes) + 4  # and some of those that make up for what was lost
    for at in range(1, messages):
        for fate in FATES.values():

            async def befallen(village: Village, at: int = at, fate: Callable[[int, int], Fate] = fate) -> None:
                village.fate = lambda sent: fate(at, sent.number)
                await plain(village)

            _checked(befallen, check, nodes)
        for number, name in enumerate(nodes):

            async def dying(village: Village, name: str = name, at: int = at, number: int = number) -> None:
                village.killed_at = (name, at, ("before", "behind")[(at + number) % 2])
                await plain(village)

            _checked(dying, check, nodes)


async def insist(
    village: Village, says: Callable[[SagaControl[Any]], Awaitable[None]], on: Address[Any] = PLAY
) -> None:
    """Tell a saga of the front something until it is told that this is done."""
    while True:
        try:
            await says(village.runtimes["front"].saga(PLAY))
        except (NotTaken, Refused):
            raise
        except (UnderstudyError, KeyError):
            await asyncio.sleep(1)
        else:
            return


def _checked(story: Callable[[Village], Awaitable[None]], check: Callable[[Village], None], nodes: Nodes) -> int:
    village = play(story, nodes)
    for journal in village.journals.values():
        check_once(journal.records)
        check_stories(journal.records)
    check(village)
    return village.network.sent


def end_of(village: Village, address: Address[Any] = PLAY, node: str = "front") -> str:
    """Return how a saga has ended, the last time that it has."""
    stream = (address.actor, address.key)
    return [record.type for record in of(village.journals[node].records, *ENDS) if record.stream == stream][-1]


def asks_for(sent: Sent, request: str) -> bool:
    """Whether a message carries the request with this id."""
    return b'"type":"ask"' in sent.data and f'"id":"{request}"'.encode() in sent.data
