"""P3, P4, P8, P14: actors are killed before any message, and the system goes on as if nothing had happened."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from actors import Refused
from persistence import MemoryJournal, Record, Stream
from persistence.journal import PAGE
from runtime import Chaos, Runtime
from tests.runtime.cast import ALL, Board, BookTrip, Desk, Hold, Lines, Look, Note, Room, TakeTour, Tour, Trip
from tests.runtime.test_prefixes import TOURS, TRIPS, run_from
from tests.runtime.tools import HeldJournal, check_books, check_once, node_of, quiet, types_of


@pytest.mark.parametrize("seed", range(12))
async def test_kills_before_any_message_change_nothing(seed: int) -> None:
    calm = await run_from([], [*TRIPS, *TOURS])
    wild = await run_from([], [*TRIPS, *TOURS], kill=0.3, seed=seed)
    check_books(wild)
    for name in (*TRIPS, *TOURS):
        saga = Trip.at(name) if name in TRIPS else Tour.at(name)
        assert types_of(wild, saga)[-1] == types_of(calm, saga)[-1]


@pytest.mark.parametrize("seed", range(4))
async def test_kills_and_crashes_of_the_process(seed: int) -> None:
    """A crash at a random place, and kills all along; then the same again, from what is left."""
    random = Random(seed)
    records = await run_from([], [*TRIPS, *TOURS], kill=0.3, seed=seed)
    for round_ in range(6):
        records = records[: random.randrange(len(records))]
        records = await run_from(records, [*TRIPS, *TOURS], kill=0.3, seed=round_)
        check_books(records)


async def test_kills_on_sqlite_with_a_read_model(tmp_path: Path) -> None:
    chaos = Chaos(seed=5, kill=0.2)
    async with Runtime(f"sqlite:{tmp_path / 'journal.db'}", ALL, chaos=chaos) as runtime:
        rooms = [["flight", "hotel"], ["flight", "full"]]
        asked = [runtime.ask(Trip.at(f"t{n}"), BookTrip(rooms[n % 2])) for n in range(60)]
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(end, Refused) for end in ends] == [n % 2 == 1 for n in range(60)]
        assert chaos.kills > 20
        assert await runtime.ask(Room.at("flight"), Look()) == 30
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert sum(line.startswith("TripBooked") for _, line in lines) == 30
        assert len({position for position, _ in lines}) == len(lines) == 30 + 90 + 30


async def test_a_killed_actor_knows_every_line() -> None:
    async with Runtime("memory:", ALL) as runtime:
        for number in range(1, 4):
            assert (await runtime.ask(Room.at("r"), Hold(f"t{number}"))).number == number
            await runtime.kill(Room.at("r"))
            await runtime.kill(Room.at("r"))  # dead already, and nothing to do
        assert (await runtime.state_of(Room.at("r"))).held == ("t1", "t2", "t3")


async def test_kills_while_its_events_are_not_durable_yet() -> None:
    """Twice, before the first recovery could begin: still only one incarnation comes back."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"t{n}"))) for n in range(3)]
        await journal.arrived.wait()
        asked += [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"t{n}"))) for n in range(3, 6)]
        await runtime.kill(Room.at("r"))
        await asyncio.sleep(0)  # the three that come now wait for the next incarnation
        await runtime.kill(Room.at("r"))
        await runtime.kill(Room.at("r"))
        journal.gate.set()
        assert [(await one).number for one in asked] == [1, 2, 3, 4, 5, 6]
    check_once(journal.records)


async def test_kills_of_one_that_is_about_to_recover_bring_back_one_incarnation() -> None:
    """Two readings of one stream would both bring the actor to life, the later one in the middle of its work."""

    class SlowReading(MemoryJournal):
        async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
            page = await super().read(stream, after, limit)
            for _ in range(3):
                await asyncio.sleep(0)
            return page

    journal = SlowReading()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        for round_ in range(20):
            asked = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"{round_}-{n}"))) for n in range(5)]
            for _ in range(3):
                await runtime.kill(Room.at("r"))
                await asyncio.sleep(0)
                await runtime.kill(Room.at("r"))
            for one in asked:
                await one
        assert (await runtime.ask(Room.at("r"), Look())) == 101
    check_once(journal.records)


async def test_a_killed_saga_keeps_its_askers() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = [asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["a", "b"]))) for _ in range(2)]
        await journal.arrived.wait()
        await runtime.kill(Trip.at("t"))
        journal.gate.set()
        assert [(await one).trip for one in asked] == ["t", "t"]
    check_books(journal.records)


async def test_a_read_model_killed_again_and_again() -> None:
    async with Runtime("memory:", ALL) as runtime:
        for number in range(50):
            asked = [asyncio.create_task(runtime.ask(Room.at(f"r{n}"), Hold(f"{number}"))) for n in range(4)]
            for one in asked:
                await runtime.kill(Board.at())
                await one
        lines = await runtime.ask(Board.at(), Lines(), consistent=True)
        assert [position for position, _ in lines] == list(range(1, 201))


async def test_a_plain_actor_killed_in_the_middle_of_a_message() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        if begun.is_set():
            return note.text
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    Desk.script = play
    async with Runtime("memory:", ALL) as runtime:
        first = asyncio.create_task(runtime.ask(Desk.at(), Note("first"), id="one"))
        await begun.wait()
        second = asyncio.create_task(runtime.ask(Desk.at(), Note("second")))
        await quiet_but_for_actors()
        await runtime.kill(Desk.at())
        assert await first == "first"
        assert await second == "second"
        assert ended.is_set()
    assert [message for message, _ in Desk.inbox][:2] == ["one", "one"]


async def quiet_but_for_actors() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_killing_who_is_not_there_does_nothing() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.kill(Room.at("never"))
        await runtime.kill(Tour.at("never"))
        await quiet(runtime)
        assert len(node_of(runtime).directory) == 0
        with pytest.raises(Refused):
            await runtime.ask(Tour.at("t"), TakeTour(["full"], "ana"))
