"""What a journal does beside taking commands: one hot actor, reading back, opening when it is long, conditions.

    python -m benchmarks.journals [--postgres URL] [--peers PYTHON] [--scale 1.0] [--rounds 3] [--json FILE]
                                  [--only hot back start conditions]

PYTHON is an interpreter that has eventsourcing installed. ``--scale`` says how many times as many events.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors import Actor, Command, Saga
from benchmarks.commands import SCHEMA, drop
from benchmarks.sagas import Hold, Places
from persistence import ANY, Append, Journal, Match, NewEvent, Unless
from persistence.opening import journal_of
from persistence.writer import Writer
from runtime import Runtime

LONG, PAST, OPEN = 10_000, 1_000_000, 1_000
"""Events of one actor to read back; events in a journal that is opened; sagas that are unfinished in it."""
HOT = ((1, 500), (100, 20_000), (1_000, 50_000))
CONDITIONS = ((1, 500), (10, 3_000), (100, 10_000))
"""In flight, and how many in all."""

Figures = dict[str, float]


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


async def back(url: str, scale: float) -> Figures:
    """Milliseconds until an actor of many events has answered, when it was not in memory."""
    events = int(LONG * scale)
    place = Places.at("long")

    async def asked() -> float:
        async with Runtime(url, actors=[Places]) as runtime:
            begun = time.perf_counter()
            await runtime.ask(place, Hold("once more"))
            return (time.perf_counter() - begun) * 1e3

    async with Runtime(url, actors=[Places]) as runtime:
        await asyncio.gather(*(runtime.ask(place, Hold(f"t{n}")) for n in range(events)))
    return {"read_ms": min([await asked() for _ in range(3)])}


async def start(url: str, scale: float) -> Figures:
    """Seconds until a long journal with unfinished sagas is open, and until these have ended."""
    journal = journal_of(url, "full")
    await journal.open()
    for first in range(0, int(PAST * scale), 4_000):
        stream = ("Places", f"p{first // 4_000}")
        new = [
            NewEvent(
                "PlaceHeld",
                b'{"type":"PlaceHeld","trip":"t%d","number":%d}' % (n, n),
                b'{"causation":"c","correlation":"c"}',
            )
            for n in range(4_000)
        ]
        await journal.append([(Append(stream, 0, new, first),)])
    await journal.close()
    Desk.answers = False
    async with Runtime(url, actors=[Places, Desk, Errand], shutdown_timeout=3) as runtime:
        for n in range(OPEN):
            await runtime.tell(Errand.at(f"e{n}"), Ask(n))
    script = [sys.executable, "-m", "benchmarks.journals", "--opened", url]
    done = await asyncio.to_thread(subprocess.run, script, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


async def opened(url: str) -> Figures:
    """What opening takes, told by the process that does it."""
    begun = time.perf_counter()
    async with Runtime(url, actors=[Places, Desk, Errand]) as runtime:
        there = time.perf_counter() - begun
        for n in range(OPEN):
            assert await runtime.result(Errand.at(f"e{n}")) == n
        ended = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"open_s": there, "sagas_ended_s": ended, "peak_mb": memory}


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
    journal = journal_of(url, "full")

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


WORKS: dict[str, Callable[[str, float], Coroutine[Any, Any, Figures]]] = {
    "hot": hot,
    "back": back,
    "start": start,
    "conditions": conditions,
}
LOWER_IS_BETTER = ("_ms", "_s", "_mb")


def best(rounds: list[Figures]) -> Figures:
    """Return the best of each figure."""
    return {name: (min if name.endswith(LOWER_IS_BETTER) else max)(one[name] for one in rounds) for name in rounds[0]}


def on_sqlite(work: Callable[[str, float], Coroutine[Any, Any, Figures]], scale: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(work(f"sqlite:{folder}/journal.db", scale))


def on_postgres(work: Callable[[str, float], Coroutine[Any, Any, Figures]], scale: float, server: str) -> Figures:
    asyncio.run(drop(server))
    try:
        return asyncio.run(work(f"{server}?schema={SCHEMA}", scale))
    finally:
        asyncio.run(drop(server))


def peer(python: str, scale: float) -> Figures:
    script = Path(__file__).parent / "peers" / "eventsourcing_reading.py"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, script, str(int(LONG * scale)), f"{folder}/peer.db"]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {
        "hot_1_per_second": told["hot_per_second"],
        "read_ms": told["read_s"] * 1e3,
        "snapshot_ms": told["snapshot_s"] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what a journal does beside taking commands")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in a schema of our own")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has eventsourcing installed")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many events")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), help="these works")
    parser.add_argument("--opened", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.opened:
        print(json.dumps(asyncio.run(opened(options.opened))))
        return
    table: dict[str, Figures] = {"sqlite": {}}
    for name in options.only:
        table["sqlite"] |= best([on_sqlite(WORKS[name], options.scale) for _ in range(options.rounds)])
        if options.postgres:
            rounds = [on_postgres(WORKS[name], options.scale, options.postgres) for _ in range(options.rounds)]
            table.setdefault("postgresql", {}).update(best(rounds))
    if options.peers:
        table["eventsourcing on SQLite"] = best([peer(options.peers, options.scale) for _ in range(options.rounds)])
    names = list(dict.fromkeys(name for figures in table.values() for name in figures))
    print(f"{'':28}" + "".join(f"{engine:>26}" for engine in table))
    for name in names:
        cells = [f"{figures[name]:,.2f}" if name in figures else "" for figures in table.values()]
        print(f"{name:28}" + "".join(f"{cell:>26}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
