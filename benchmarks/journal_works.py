"""What :mod:`benchmarks.journals` measures of ours, each on a journal of its own."""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

from actors import Actor, Command, Decision, Event, Meta, Query, ReadModel, Saga, Service, State, Statement, sql
from benchmarks.contestants import ROOT
from benchmarks.sagas import Hold, Places
from persistence import ANY, Append, Journal, Match, NewEvent, Unless
from persistence.opening import journal_of
from persistence.writer import Writer
from runtime import Runtime

LONG, PAST, OPEN, PROJECTED = 10_000, 1_000_000, 1_000, 200_000
"""Events of one actor to read back; events in a journal that is opened; sagas that are unfinished in it; events that a
read model is made of."""
HOT = ((1, 500), (10, 5_000), (100, 20_000), (1_000, 50_000))
CONDITIONS = ((1, 500), (10, 3_000), (100, 10_000))
"""In flight, and how many in all."""

Figures = dict[str, float]


# -- one hot actor --------------------------------------------------------------------------------------------------


async def hot(url: str, scale: float) -> Figures:
    """Commands a second of one service, with so many in flight."""
    figures: Figures = {}
    async with Runtime(url, actors=[Places]) as runtime:
        for in_flight, count in HOT:
            count = max(in_flight, int(count * scale))
            numbers = iter(range(count))

            async def client(numbers: Any = numbers) -> None:
                for n in numbers:
                    await runtime.ask(Places.at("hot"), Hold(f"t{n}"))

            begun = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(in_flight)))
            figures[f"hot_{in_flight}_per_second"] = count / (time.perf_counter() - begun)
    return figures


# -- reading back ---------------------------------------------------------------------------------------------------


class Counted(Event):
    trip: str


class Count(Command["Tally", None]):
    trip: str


class Look(Command["Tally", int]):
    pass


class Total(State):
    total: int = 0


class Tally(Service[Total, Count | Look, Counted]):
    initial = Total()
    snapshot_every = None

    def decide(self, state: Total, command: Count | Look) -> Decision:
        match command:
            case Count(trip):
                return command.reply(None, Counted(trip))
            case Look():
                return command.reply(state.total)

    def evolve(self, state: Total, event: Counted) -> Total:  # noqa: ARG002 (it happened)
        return Total(state.total + 1)


async def back(url: str, scale: float) -> Figures:
    """How long an actor of many events that is not in memory takes to answer: from its events, and from a snapshot."""
    events, tally = int(LONG * scale), Tally.at("long")

    async def seconds(runtime: Runtime) -> float:
        await runtime.kill(tally)
        begun = time.perf_counter()
        assert await runtime.ask(tally, Look()) == events
        return time.perf_counter() - begun

    async with Runtime(url, actors=[Tally]) as runtime:
        await asyncio.gather(*(runtime.ask(tally, Count(f"trip-{n}")) for n in range(events)))
        read = min([await seconds(runtime) for _ in range(3)])
        await runtime.snapshot(tally)
        snapshot = min([await seconds(runtime) for _ in range(3)])
    return {"read_ms": read * 1e3, "read_per_second": events / read, "snapshot_ms": snapshot * 1e3}


# -- a read model ---------------------------------------------------------------------------------------------------


class HowMany(Query["Trips", int]):
    pass


class Trips(ReadModel):
    schema = "create table trips (trip text, place text)"

    def project(self, event: Counted, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into trips values (?, ?)", event.trip, meta.key)

    async def answer(self, db: Any, query: HowMany) -> int:  # noqa: ARG002 (there is only one)
        ((count,),) = await db.execute_fetchall("select count(*) from trips")
        return int(count)


async def project(url: str, scale: float) -> Figures:
    """Events a second of a long journal into an SQLite read model, from opening on."""
    events = int(PROJECTED * scale)
    await fill(url, events, "Tally", "Counted", b'{"type":"Counted","trip":"t%d"}')
    with tempfile.TemporaryDirectory() as folder:
        if url.startswith("postgresql:"):
            url += f"&views={folder}"
        begun = time.perf_counter()
        async with Runtime(url, actors=[Tally, Trips]) as runtime:
            there = await runtime.ask(Trips.at(), HowMany(), consistent=True, timeout=600)
            seconds = time.perf_counter() - begun
    assert there == events // 1_000 * 1_000
    return {"projected_per_second": there / seconds}


async def fill(url: str, count: int, category: str, name: str, data: bytes) -> None:
    """Write many events, in streams of 1,000 each."""
    journal = journal_of(url)
    await journal.open()
    meta = b'{"causation":"c","correlation":"c"}'
    for first in range(0, count - 999, 1_000):
        new = [NewEvent(name, data % n, meta) for n in range(first, first + 1_000)]
        await journal.append([(Append((category, f"p{first}"), 0, new, 1),)])
    await journal.close()


# -- opening --------------------------------------------------------------------------------------------------------


class Wait(Command["Desk", int]):
    number: int


class Desk(Actor):
    """Somebody who takes his time: the first process waits in vain, the next one is answered."""

    answers = True

    async def receive(self, message: Wait) -> int:
        if not self.answers:
            await asyncio.Event().wait()
        return message.number


class Ask(Command["Errand", int]):
    number: int


class Errand(Saga[Ask, int]):
    async def run(self, command: Ask) -> int:
        return await self.ask("desk", Desk.at(self.key), Wait(command.number))


async def start(url: str, scale: float) -> Figures:
    """Seconds until a long journal with unfinished sagas is open, and until these have ended."""
    await fill(url, int(PAST * scale), "Tally", "Counted", b'{"type":"Counted","trip":"t%d"}')
    Desk.answers = False
    async with Runtime(url, actors=[Tally, Desk, Errand], shutdown_timeout=3) as runtime:
        for n in range(OPEN):
            await runtime.tell(Errand.at(f"e{n}"), Ask(n))
    script = [sys.executable, "-m", "benchmarks.journals", "--opened", url]
    done = await asyncio.to_thread(subprocess.run, script, cwd=ROOT, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


async def opened(url: str) -> Figures:
    """What opening takes, told by the process that does it."""
    begun = time.perf_counter()
    async with Runtime(url, actors=[Tally, Desk, Errand]) as runtime:
        there = time.perf_counter() - begun
        for n in range(OPEN):
            assert await runtime.result(Errand.at(f"e{n}")) == n
        ended = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"open_s": there, "sagas_ended_s": ended, "peak_mb": memory}


# -- conditions -----------------------------------------------------------------------------------------------------


async def conditions(url: str, scale: float) -> Figures:
    """Appends a second that hold only if no event has their tag, with 100,000 tagged events there."""
    figures: Figures = {}
    async with writing(url) as (journal, writer):
        there = int(100_000 * scale)
        for first in range(0, there, 4_000):
            new = [NewEvent("Registered", b"{}", b"{}", tags=(f"mail:{n}",)) for n in range(first, first + 4_000)]
            await journal.append([(Append(("Users", f"{first}"), 0, new, 1),)])
        for in_flight, count in CONDITIONS:
            count = max(in_flight, int(count * scale))
            numbers = iter(range(count))

            async def client(in_flight: int = in_flight, numbers: Any = numbers) -> None:
                for n in numbers:
                    mail = f"mail:new-{in_flight}-{n}"
                    new = NewEvent("Registered", b"{}", b"{}", tags=(mail,))
                    condition = Unless((Match(("Registered",), (mail,)),))
                    outcome = writer.submit((Append(("Users", mail), ANY, [new], 1, unless=condition),))
                    writer.kick()
                    await outcome

            begun = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(in_flight)))
            figures[f"conditional_{in_flight}_per_second"] = count / (time.perf_counter() - begun)
    return figures


@asynccontextmanager
async def writing(url: str) -> AsyncGenerator[tuple[Journal, Writer]]:
    journal = journal_of(url)

    async def failed(error: BaseException) -> None:
        raise error

    await journal.open()
    writer = Writer(journal, lambda _batches, _first: None, failed)
    running = asyncio.create_task(writer.run())
    try:
        yield journal, writer
    finally:
        running.cancel()
        await asyncio.wait([running])
        await journal.close()


Work = Callable[[str, float], Coroutine[Any, Any, Figures]]
WORKS: dict[str, Work] = {
    "hot": hot,
    "back": back,
    "project": project,
    "start": start,
    "conditions": conditions,
}
