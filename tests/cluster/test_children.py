"""P8 between nodes for sagas that ask sagas: the child of another node is undone too, whoever dies when."""

import pytest

from actors import Address
from tests.cluster.test_kinds import Both, Hike, Room, Two
from tests.cluster.village import Nodes, Village, play
from tests.runtime.tools import ENDS, check_once, check_stories, content, of

NODES: Nodes = {"huts": ([Room], []), "hikes": ([Hike], [Room]), "front": ([Both], [Hike])}
MESSAGES = 30
"""All that it takes, and some of those that make up for what was lost."""


async def walk(village: Village) -> None:
    for name in NODES:
        await village.start(name)
    sagas: dict[Address[Both], Two] = {Both.at("stay"): Two(), Both.at("back"): Two(dear=True)}
    await village.ask_all(sagas)


def check(village: Village) -> None:
    """Check that the one has stayed, with its child and its room, and the other has gone back, with all of it."""
    for name in ("front", "hikes"):
        records = village.journals[name].records
        last = {record.stream[1]: record.type for record in of(records, *ENDS)}
        assert last == {"stay": "saga.completed", "back": "saga.compensated"}
        check_once(records)
        check_stories(records)
    rooms = [content(record)["by"] for record in of(village.journals["huts"].records, "Desk")]
    assert sorted(rooms) == ["back", "back", "stay"]


def test_nothing_goes_wrong() -> None:
    village = play(walk, NODES)
    check(village)
    assert village.network.sent < MESSAGES


@pytest.mark.parametrize("lost", [1, 2])
def test_each_message_is_lost(lost: int) -> None:
    for at in range(1, MESSAGES):

        async def story(village: Village, at: int = at) -> None:
            village.fate = lambda sent: () if at <= sent.number < at + lost else (0.0,)
            await walk(village)

        check(play(story, NODES))


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("name", NODES)
def test_each_node_dies_at_each_message(name: str, when: str) -> None:
    for at in range(1, MESSAGES):

        async def story(village: Village, at: int = at) -> None:
            village.killed_at = (name, at, when)
            await walk(village)

        check(play(story, NODES))
