"""Three nodes in one simulated process: time is virtual, and a node can be killed at any message."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from actors import Address, Refused, UnderstudyError
from persistence import Record
from runtime import Runtime
from runtime.cluster import Fate, MemoryNetwork, Sent
from runtime.simulation.clock import SimulatedClock
from runtime.simulation.loop import SimulatedLoop
from tests.cluster.cast import Book, Flight, HoldSeat, Mailer, Payments, Trip
from tests.runtime.tools import ENDS, HeldJournal, check_once, content, node_of, of, restart_of

Nodes = dict[str, tuple[list[type], list[type]]]
NODES: Nodes = {
    "air": ([Flight], []),
    "pay": ([Payments, Mailer], []),
    "front": ([Trip], [Flight, Payments, Mailer]),
}
"""The classes of each node, and those of others that it asks."""
TRIPS = {
    "whole": Book("LH1", back="LH2"),
    "declined": Book("LH1", 1000, back="LH2"),
    "full": Book("LH3", back="full"),
}
LONG = 3_600
"""Seconds of virtual time after which a system that has not come to its end never will."""


class Village:
    """The nodes, and what befalls the messages between them."""

    def __init__(self, loop: SimulatedLoop, nodes: Nodes) -> None:
        self.nodes = nodes
        self.clock = SimulatedClock(loop)
        self.network = MemoryNetwork(self._decide)
        self.journals: dict[str, HeldJournal] = {}
        self.runtimes: dict[str, Runtime] = {}
        self.links: dict[str, str] = {}
        self.fate: Callable[[Sent], Fate] = lambda _: (0.0,)
        self.killed_at: tuple[str, int, str] = ("", 0, "")
        """A node that dies, at which message, and whether "before" it leaves or "behind" its arrival."""
        self.away = 2.0
        """Seconds until a node that has died is there again."""
        self.kills: list[tuple[str, float]] = []
        """Who has died, and when, in seconds."""
        self._dead: list[Runtime] = []
        self._revivals: list[asyncio.Task[None]] = []

    def _decide(self, sent: Sent) -> Fate:
        node, number, when = self.killed_at
        if sent.number == number and node in self.runtimes:
            if when == "before":
                self.kill(node)
            else:
                asyncio.get_running_loop().call_later(0.000_001, self.kill, node)
        return self.fate(sent)

    async def start(self, name: str, records: Sequence[Record] = (), *, crashed: bool = False) -> Runtime:
        actors, remote = self.nodes[name]
        journal = self.journals[name] = restart_of(records, crashed=crashed)
        runtime = Runtime(
            journal, actors, remote=remote, network=self.network, clock=self.clock, shutdown_timeout=1.0, slow_turn=None
        )
        self.runtimes[name] = await runtime.__aenter__()
        node_of(runtime).random.seed(len(self.kills))
        cluster = runtime._cluster  # pyright: ignore[reportPrivateUsage]
        assert cluster is not None
        self.links[name] = cluster.life  # not the last name in the network: several may start at a time
        return runtime

    def kill(self, name: str) -> None:
        """Let a node die: nothing that it does from here on reaches its journal, or anybody else."""
        if name not in self.runtimes:
            return
        self.kills.append((name, self.clock.steady() / 1e6))
        journal = self.journals[name]
        records = list(journal.records)
        journal.full = True
        self.network.sever(self.links[name])
        self._dead.append(self.runtimes.pop(name))
        self._revivals.append(asyncio.get_running_loop().create_task(self._revive(name, records)))

    async def _revive(self, name: str, records: list[Record]) -> None:
        await asyncio.sleep(self.away)
        await self.start(name, records, crashed=True)

    # -- what is to be played -----------------------------------------------------------------------------------

    async def book(self) -> None:
        """Book all trips, through whatever happens, until each has come to its end."""
        air = await self.start("air")
        for trip in ("somebody", "else"):
            await air.ask(Flight.at("full"), HoldSeat(trip))
        await self.start("pay")
        await self.start("front")
        await self.ask_all({Trip.at(name): command for name, command in TRIPS.items()})

    async def ask_all(self, sagas: Mapping[Address[Any], Any]) -> None:
        """Ask the front for sagas, until each has come to its end."""
        await asyncio.gather(*(self._ask(address, command) for address, command in sagas.items()))
        for _ in range(LONG):
            if len(of(self.journals["front"].records, *ENDS)) >= len(sagas) and len(self.runtimes) == len(self.nodes):
                break
            await asyncio.sleep(1)
        await asyncio.sleep(60)  # whatever is late has come

    async def _ask(self, address: Address[Any], command: Any) -> None:
        while True:
            try:
                await self.runtimes["front"].ask(address, command, timeout=30)
            except Refused:
                return
            except (UnderstudyError, KeyError):
                await asyncio.sleep(1)
            else:
                return

    def check(self) -> None:
        """Check that each trip has ended as it should, with each of its effects once or not at all."""
        ends = {record.stream[1]: record.type for record in of(self.journals["front"].records, *ENDS)}
        assert ends == {"whole": "saga.completed", "declined": "saga.compensated", "full": "saga.compensated"}
        for journal in self.journals.values():
            check_once(journal.records)
        air = self.journals["air"].records
        held = Counter((record.stream[1], content(record)["trip"]) for record in of(air, "SeatHeld"))
        held.subtract((record.stream[1], content(record)["trip"]) for record in of(air, "SeatReleased"))
        somebody = [("full", "somebody"), ("full", "else")]
        assert {one: count for one, count in held.items() if count} == dict.fromkeys(
            [("LH1", "whole"), ("LH2", "whole"), *somebody], 1
        )
        pay = self.journals["pay"].records
        assert [content(record)["trip"] for record in of(pay, "Charged")] == ["whole"]
        assert set(Mailer.sent) == {("Trip/whole#mail", "whole")}


def play(what: Callable[[Village], Awaitable[None]], nodes: Nodes = NODES) -> Village:
    """Play something in a village of its own; where it ends, everybody in it dies."""
    loop = SimulatedLoop(most_steps=3_000_000)
    Mailer.sent.clear()
    village: list[Village] = []

    async def main() -> None:
        one = Village(loop, nodes)
        village.append(one)
        await what(one)

    try:
        loop.run(main())
    finally:
        loop.bury()
    return village[0]
