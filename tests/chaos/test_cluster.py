"""P3, P8, P14 between processes on NATS: each is killed again and again, and nothing is doubled or half done."""

from collections import Counter
from pathlib import Path
from random import Random

from tests.chaos.clustered import NODES
from tests.chaos.keepers import Keeper, everything, start
from tests.nats import needs_server, new_url
from tests.runtime.tools import ENDS, check_stories, content, of

KILLS = 12
BETWEEN = 12
"""Trips that come to their end between two kills."""

pytestmark = needs_server


async def check(folder: Path, told: set[str]) -> None:
    """Check that each trip has ended, with all of its effects once, or none."""
    trips, air, pay = [await everything(f"sqlite:{folder / node}.db") for node in ("front", "air", "pay")]
    check_stories(trips)
    assert not of(trips, "saga.parked")
    ends = {record.stream[1]: record.type.partition(".")[2] for record in of(trips, *ENDS)}
    assert set(ends) == {record.stream[1] for record in of(trips, "saga.started")}
    booked = {trip for trip, end in ends.items() if end == "completed"}
    assert {word.split()[1] for word in told if word.startswith("booked")} <= booked
    assert {word.split()[1] for word in told if word.startswith("refused")} <= set(ends) - booked
    held = Counter((record.stream[1], content(record)["trip"]) for record in of(air, "SeatHeld"))
    held.subtract((record.stream[1], content(record)["trip"]) for record in of(air, "SeatReleased"))
    assert Counter(trip for (_, trip), seats in held.items() if seats) == Counter(dict.fromkeys(booked, 2))
    assert set(held.values()) <= {0, 1}
    assert Counter(content(record)["trip"] for record in of(pay, "Charged")) == Counter(booked)
    letters = (folder / "letters").read_text().splitlines()
    assert set(letters) == {f"Trip/{trip}#mail" for trip in booked}
    assert booked
    assert set(ends) - booked


async def test_nodes_that_are_killed_again_and_again(tmp_path: Path) -> None:
    network, random = new_url(), Random(7)
    nodes: dict[str, Keeper] = {}
    told: set[str] = set()

    async def begin(node: str, round_: int) -> None:
        nodes[node] = await start(node, "tests.chaos.clustered", node, str(tmp_path), network, str(round_))
        await nodes[node].says("open", 1)

    try:
        for node in NODES:
            await begin(node, 0)
        for kill in range(1, KILLS + 1):
            await nodes["front"].goes_on(BETWEEN)
            node = random.choice(list(NODES))
            nodes[node].process.kill()
            await nodes[node].end()
            told |= nodes[node].kept
            await begin(node, kill)
        await nodes["front"].goes_on(BETWEEN)
        assert await nodes["front"].tell("stop") == "stopped"
        told |= nodes["front"].kept
        for one in nodes.values():
            assert await one.end() == 0
    finally:
        for one in nodes.values():
            if one.process.returncode is None:
                one.process.kill()
                await one.end()
    await check(tmp_path, told)
