"""P15, P13: a damaged record stops its reader with stream and position; it is never skipped, and others go on."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from actors import JournalMismatch, Parked, RestartPolicy
from persistence import JournalDamaged
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Board, BookTrip, Hold, Lines, Look, Room, Trip, TripBooked, WasHeld
from tests.runtime.tools import HeldJournal, of, quiet, restart_of


async def filled(path: Path) -> None:
    async with Runtime(f"sqlite:{path}", [Room, Trip]) as runtime:
        for number in range(6):
            await runtime.ask(Room.at("good" if number % 2 else "bad"), Hold(f"t{number}"))
        await runtime.ask(Trip.at("t"), BookTrip(["hotel"]))


def damage(path: Path, position: int) -> None:
    """Change what an event holds, behind the journal's back: on position 3 stands the second event of the bad room."""
    db = sqlite3.connect(path)
    db.execute("update events set data = replace(data, 't2', 't9') where position = ?", (position,))
    db.commit()
    db.close()


async def test_a_damaged_record_parks_its_reader_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await filled(path)
    damage(path, 3)
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        with pytest.raises(Parked, match=r"Room/bad is parked: .*position 3, version 2 of stream Room/bad") as parked:
            await runtime.ask(Room.at("bad"), Hold("u"))
        assert isinstance(parked.value.__cause__, JournalDamaged)
        with pytest.raises(Parked, match="position 3"):
            await runtime.ask(Room.at("bad"), Look())
        with pytest.raises(Parked, match="position 3"):
            await runtime.transact((Room.at("good"), Hold("u")), (Room.at("bad"), Hold("u")))
        assert await runtime.ask(Room.at("good"), Look()) == 3
        assert (await runtime.ask(Trip.at("new"), BookTrip(["hotel"]))).trip == "new"
        with pytest.raises(JournalDamaged, match="position 3, version 2 of stream Room/bad"):
            await runtime.state_of(Room.at("bad"))
        with pytest.raises(JournalDamaged, match="position 3"):
            _ = [entry async for entry in runtime.history(Room.at("bad"))]


async def test_a_damaged_record_parks_the_read_model(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await filled(path)
    damage(path, 3)
    async with Runtime(f"sqlite:{path}", ALL) as runtime:
        with pytest.raises(
            Parked, match=r"Board is parked behind position 0: .*position 3, version 2 of stream Room/bad"
        ):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        await runtime.ask(Room.at("good"), Hold("u"))
        with pytest.raises(Parked):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        assert await runtime.ask(Board.at(), Lines()) == []


async def test_a_damaged_record_of_a_saga_parks_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with Runtime(f"sqlite:{path}", [Room, Trip]) as runtime:
        await runtime.ask(Trip.at("t2"), BookTrip(["hotel"]))
    damage(path, 2)  # the saga's intent
    clock = ManualClock()
    async with Runtime(f"sqlite:{path}", ALL, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.result(Trip.at("t2")))
        while not asked.done():
            await quiet(runtime)
            clock.advance(1)
        with pytest.raises(Parked, match=r"Trip/t2 is parked: .*position 2, version 2 of stream Trip/t2"):
            await asked
        assert (await runtime.ask(Trip.at("new"), BookTrip(["hotel"]))).trip == "new"


async def test_a_restart_is_tried_within_the_budget_before_it_is_parked() -> None:
    """Failure 23: a recovery that always raises ends parked, not in a loop."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("poison 1"))
    broken = restart_of(journal.records)
    broken.records[0].data = b"{}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "restart", RestartPolicy(restarts=3))
        async with Runtime(broken, ALL, clock=clock) as runtime:
            asked = asyncio.create_task(runtime.ask(Room.at("r"), Look()))
            for _ in range(3):
                await quiet(runtime)
                assert not asked.done()
                clock.advance(5)
            await quiet(runtime)
            with pytest.raises(Parked):
                await asked


async def test_an_event_that_the_class_no_longer_knows_parks_its_reader() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        await runtime.ask(Trip.at("t"), BookTrip(["s"]))
    old = restart_of(journal.records)
    of(old.records, WasHeld.__name__)[0].type = "WasTakenOnce"
    async with Runtime(old, ALL) as runtime:
        text = r"stream Room/r holds an event WasTakenOnce at version 1 \(position 1\) that Room doesn't know"
        with pytest.raises(Parked, match=text) as parked:
            await runtime.ask(Room.at("r"), Look())
        assert isinstance(parked.value.__cause__, JournalMismatch)
        assert await runtime.ask(Room.at("s"), Look()) == 1


async def test_an_event_that_no_longer_fits_parks_the_read_model() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        await runtime.ask(Trip.at("t"), BookTrip(["s"]))
    old = restart_of(journal.records)
    of(old.records, TripBooked.__name__)[0].data = b'{"trip": 1}'
    async with Runtime(old, ALL) as runtime:
        with pytest.raises(Parked, match=r"TripBooked at version 5 of stream Trip/t \(position 7\) doesn't fit"):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        assert await runtime.ask(Room.at("r"), Look()) == 1


async def test_an_event_that_nobody_knows_any_more_parks_the_read_model() -> None:
    """It may be one that the read model should follow: a class that was renamed."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        await runtime.ask(Room.at("r"), Hold("u"))
    old = restart_of(journal.records)
    old.records[1].type = "WasTakenOnce"
    async with Runtime(old, ALL) as runtime:
        text = r"event WasTakenOnce at version 2 \(position 2\) that Room doesn't know"
        with pytest.raises(Parked, match=text):
            await runtime.ask(Board.at(), Lines(), consistent=True)
        assert len(await runtime.ask(Board.at(), Lines(), after=1)) == 1
