"""P3, P8, P14 between processes on NATS: each is killed again and again, and nothing is doubled or half done."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

from persistence import Record
from tests import postgres
from tests.chaos.clustered import NODES
from tests.chaos.keepers import Keeper, everything, start
from tests.nats import needs_server, new_url
from tests.runtime.tools import ENDS, check_stories, content, of

KILLS = 12
BETWEEN = 12
"""Trips that come to their end between two kills."""

pytestmark = needs_server


def check(folder: Path, trips: list[Record], air: list[Record], pay: list[Record], told: set[str]) -> None:
    """Check that each trip has ended, with all of its effects once, or none."""
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


async def play(names: Sequence[str], begin: Callable[[str, int], Awaitable[Keeper]]) -> set[str]:
    """Kill one after the other, and start it again, then let all come to their ends; return what they have said."""
    random = Random(7)
    nodes: dict[str, Keeper] = {}
    told: set[str] = set()
    front = names[-1]
    try:
        for name in names:
            nodes[name] = await begin(name, 0)
        for kill in range(1, KILLS + 1):
            await nodes[front].goes_on(BETWEEN)
            name = random.choice(names)
            nodes[name].process.kill()
            await nodes[name].end()
            told |= nodes[name].kept
            nodes[name] = await begin(name, kill)
        await nodes[front].goes_on(BETWEEN)
        assert await asyncio.gather(*(one.tell("stop") for one in nodes.values())) == ["stopped"] * len(names)
        for one in nodes.values():
            told |= one.kept
            assert await one.end() == 0
    finally:
        for one in nodes.values():
            if one.process.returncode is None:
                one.process.kill()
                await one.end()
    return told


async def begun(folder: Path, name: str, network: str, round_: str, *journal: str) -> Keeper:
    one = await start(name, "tests.chaos.clustered", name, str(folder), network, round_, *journal)
    await one.says("open", 1)
    one.said.clear()
    return one


async def test_nodes_that_are_killed_again_and_again(tmp_path: Path) -> None:
    network = new_url()
    told = await play(list(NODES), lambda name, round_: begun(tmp_path, name, network, str(round_)))
    trips, air, pay = [await everything(f"sqlite:{tmp_path / node}.db") for node in ("front", "air", "pay")]
    check(tmp_path, trips, air, pay, told)


@postgres.needs_server
async def test_owners_of_one_journal_that_are_killed_again_and_again(tmp_path: Path) -> None:
    """Each begins trips on the same flights, and passes on what is for actors that the other one has begun."""
    network = new_url()
    async with postgres.a_schema() as schema:
        url = postgres.url_of(schema)

        def begin(name: str, round_: int) -> Awaitable[Keeper]:
            return begun(tmp_path, name, network, f"{name}{round_}", f"{url}&owner={name}")

        told = await play(["ana", "bob"], begin)
        records = await everything(url)
        check(tmp_path, records, records, records, told)
