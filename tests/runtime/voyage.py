"""A saga with all that a saga can have, who plays it, and what must stand when it has ended.

As a program it writes the journal of a voyage, or recovers from every prefix of one that another process has written,
with another hash seed; or it sails on a journal, and dies when that has so many batches more.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from actors import Chosen, Command, NotTaken, OutcomeUnknown, Refused, Saga, Step, UnknownActor
from persistence import Journal, Record
from runtime import Chaos, Instrument, ManualClock, Runtime
from tests.runtime.cast import SOON, Account, BookTrip, Deposit, Held, Hold, Release, Room, Trip, Withdraw
from tests.runtime.dying import deadly
from tests.runtime.playing import later, stands
from tests.runtime.tools import check_once, check_stories, of, quiet, restart_of, types_of


class Sail(Command["Voyage", int]):
    last: str = "bunk"
    payer: str = "ana"


class Aboard(Command["Voyage", None]):
    name: str


class Sunk(Command["Voyage", None]):
    """Nobody sends it."""


class Voyage(Saga[Sail, int]):
    """In sequence, at once, the first of several, perhaps, in a while, by another saga, past a pivot."""

    deadline = timedelta(hours=1)
    timeout = timedelta(minutes=2)
    retry = SOON
    undo_retry = SOON
    receives = Aboard | Sunk

    async def run(self, command: Sail) -> int:
        cabin = await self.ask("cabin", Room.at("cabin"), Hold(self.key), undo=Release("nobody yet"))
        self.revise_undo("cabin", Release(f"still nobody {cabin.number}"))
        self.revise_undo("cabin", Release(self.key))
        port, _, aboard = await self.parallel(
            self._hold("port"), self.optional(self._hold("full mess")), self.receive(Aboard)
        )
        pilot = await self.select(
            self._hold("pilot one"), self._hold("full pilot"), self._hold("pilot two"), self.receive(Sunk)
        )
        assert isinstance(pilot, Chosen)
        booked = await self.ask("trip", Trip.at(f"{self.key} trip"), BookTrip(["hotel", "cab"]))
        await self.sleep("tide", timedelta(seconds=30))
        late = await self.receive(Aboard, name="another", timeout=timedelta(seconds=5))
        await self._hold(command.last)
        paid = await self.pivot("pay", Account.at(command.payer), Withdraw(10))
        await self.ask("tip", Account.at("crew"), Deposit(10))
        await self.sleep("rest", timedelta(seconds=20))
        assert late is None
        return paid + port.number + len(aboard.name) + len(booked.rooms)

    def _hold(self, room: str) -> Step[Held]:
        return self.ask(room, Room.at(room), Hold(self.key), undo=Release(self.key))


VOYAGE = Voyage.at("v")
ACTORS: list[type] = [Room, Account, Trip, Voyage]
SAILS = {"fine": Sail(), "full": Sail(last="full bunk"), "poor": Sail(payer="nobody")}


async def sail(
    records: Sequence[Record], sail: Sail, chaos: Chaos | None = None, instruments: Sequence[Instrument] = ()
) -> list[Record]:
    """Sail, or sail on from what a crash has left, until all is over; return the journal."""
    journal = restart_of(records)
    await sail_on(journal, later(records), sail, chaos, instruments)
    return journal.records


async def sail_on(
    journal: str | Journal,
    clock: ManualClock,
    sail: Sail,
    chaos: Chaos | None = None,
    instruments: Sequence[Instrument] = (),
) -> None:
    """Sail on from what stands in a journal, until all is over."""
    async with Runtime(journal, ACTORS, clock=clock, chaos=chaos, instruments=instruments) as runtime:
        if sail.payer == "nobody":
            with suppress(Refused):
                await comes(runtime, clock, runtime.ask(Account.at("nobody"), Withdraw(100), id="spent"))
        asked = asyncio.create_task(runtime.ask(VOYAGE, sail))
        for _ in range(90):
            with suppress(UnknownActor, NotTaken, OutcomeUnknown):
                await comes(runtime, clock, runtime.ask(VOYAGE, Aboard("ana"), id="aboard"))
            await quiet(runtime)
            if asked.done() and not await runtime.unfinished():
                break
            clock.advance(1)
        assert asked.done(), await runtime.progress_of(VOYAGE)
        with suppress(Refused):
            assert await asked == 90 + 1 + 3 + 2


async def comes(runtime: Runtime, clock: ManualClock, asked: Any) -> None:
    """Ask for something, and let time pass until there is an answer."""
    task = asyncio.ensure_future(asked)
    for _ in range(30):
        await quiet(runtime)
        if task.done():
            break
        clock.advance(1)
    await task


def check_voyage(records: Sequence[Record], sail: Sail) -> None:
    """Check that it has ended as P8 says, with each effect once."""
    check_once(records)
    check_stories(records)
    found = types_of(records, VOYAGE)
    end = "saga.completed" if sail == SAILS["fine"] else "saga.compensated"
    assert found[-1] == end, found
    count = {what: len(of(records, what)) for what in ("saga.received", "Withdrawn", "Deposited")}
    spent = sail.payer == "nobody"
    if end == "saga.completed":
        standing = stands(records)
        pilots = standing.pop("pilot one", 0) + standing.pop("pilot two", 0)
        assert pilots == 1
        assert standing == {"cabin": 1, "port": 1, "hotel": 1, "cab": 1, "bunk": 1}
        assert count == {"saga.received": 1, "Withdrawn": 1, "Deposited": 1}
    else:
        assert stands(records) == {}
        assert count == {"saga.received": 1, "Withdrawn": spent, "Deposited": 0}
        assert types_of(records, Trip.at("v trip"))[-1] == "saga.compensated"


async def _recover(whole: list[Record], which: str) -> None:
    for crash in range(len(whole)):
        again = await sail(whole[:crash], SAILS[which])
        assert [r.data for r in again[:crash]] == [r.data for r in whole[:crash]]
        check_voyage(again, SAILS[which])


def _main(what: str, where: str, which: str, batches: str = "") -> None:
    path = Path(where)
    if what == "die":
        asyncio.run(sail_on(deadly(where, int(batches)), ManualClock(), SAILS[which]))
    elif what == "write":
        path.write_bytes(msgspec.json.encode(asyncio.run(sail([], SAILS[which]))))
    else:
        asyncio.run(_recover(msgspec.json.decode(path.read_bytes(), type=list[Record]), which))


if __name__ == "__main__":
    _main(*sys.argv[1:])
