"""Trips and orders at full load for a while, in a process that is killed and paused again and again.

    python -m benchmarks.soak [--minutes 10] [--postgres URL] [--seed N] [--every 5 60]

Actors die, wait and lose replies on the way too. Beside it the journal is read and checked, event by event, and what
the process has acknowledged is kept. At the end all that is unfinished is finished, and the books are checked. Told are
figures for each minute, what the process takes, and what is wrong; the exit code is 1 where something is.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors import Parked
from benchmarks.contestants import ROOT
from benchmarks.databases import place
from benchmarks.soak_figures import Lives, Sample, merged, percentile
from benchmarks.soak_ledger import Ledger
from demos import orders, trip
from demos.orders import books
from demos.orders.checkout import Approve, Checkout
from demos.trip.read_models import FlightSales, SalesOf, Trips
from persistence.opening import journal_of
from runtime import Runtime
from runtime.simulation.monkey import ChaosMonkey

SIGNALS = ("KILL", "KILL", "KILL", "STOP")
GROWTH = 25.0
"""MB that a warm process may grow by in a minute. A leak of 100 bytes a trip would be 15 at 2,500 trips a second."""
FILES = 20.0
"""Files that may be opened and not closed again in a minute, by trend."""
WAL = 256.0
"""MB that the write-ahead log may take at any time."""
AUDITED_ORDERS = 20_000
"""The orders' whole books are checked at the end if there are no more; for all of them the ledger is."""
ROUNDS = 5
"""How often what is unfinished is looked for; a saga may have begun another one."""
FLIGHTS = 300
"""So many flights are asked of the read model at the end."""


class Soak:
    """One run."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.url = url
        self.options = options
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self.told: dict[str, str] = {}
        """What became of each trip, as it was acknowledged."""
        self.problems: list[str] = []
        self.begun = time.monotonic()
        self.behind = 0

    def heard(self, line: str) -> None:
        """Take in what the process says."""
        if line.startswith("{"):
            self.samples.append({"at": time.monotonic() - self.begun, **json.loads(line)})
            return
        end, _, name = line.partition(" ")
        if end == "parked" or self.told.setdefault(name, end) != end:
            self.problems.append(f"trip {name} is {end}; it was acknowledged as {self.told.get(name)}")

    async def read(self, *, to_the_end: bool = False) -> None:
        """Read the journal beside its owner, and check it."""
        journal = journal_of(self.url, watching=True)
        while True:  # until the process has made it
            try:
                await journal.open()
                break
            except Exception:
                if to_the_end:
                    raise
                await asyncio.sleep(0.2)
        try:
            while True:
                page = await journal.read_all(self.ledger.position)
                self.ledger.take(page)
                if not page:
                    if to_the_end:
                        return
                    await asyncio.sleep(0.2)
        finally:
            await journal.close()

    async def harm(self, letterboxes: str) -> ChaosMonkey:
        """Let the process run, and harm it, for the time that was asked for."""
        options = self.options
        load = ["--trips", f"{options.trips}", "--orders", f"{options.orders}", "--active", f"{options.active}"]
        command = [sys.executable, "-m", "benchmarks.soak_node", self.url, f"{options.seed}", letterboxes, *load]
        async with ChaosMonkey(
            command,
            seed=options.seed,
            every=tuple(options.every),
            signals=SIGNALS,
            pause=(0.1, 2.0),
            starts=100_000,
            on_line=self.heard,
            cwd=ROOT,
        ) as monkey:
            reading = asyncio.create_task(self.read())
            try:
                end = self.begun + options.minutes * 60
                while (left := end - time.monotonic()) > 0 or monkey.kills < options.kills or not self.told:
                    await asyncio.wait([reading], timeout=min(max(left, 0.1), 10.0))
                    if reading.done():
                        reading.result()
                    self.tell_how_it_goes(monkey)
                    if self.problems or self.ledger.problems:
                        break
            finally:
                reading.cancel()
                await asyncio.wait([reading])
        return monkey

    def tell_how_it_goes(self, monkey: ChaosMonkey) -> None:
        if self.samples and not self.options.quiet:
            last, seconds = self.samples[-1], time.monotonic() - self.begun
            print(
                f"  {seconds:5.0f} s  {len(self.told):9,} trips  rss {last['rss']:5.0f} MB  wal {last['wal']:4.0f} MB"
                f"  files {last['files']}  {monkey.kills} kills  read to {self.ledger.position:,}",
                flush=True,
            )

    async def finish(self) -> None:
        """Finish what is unfinished, in this process, and check all there is."""
        async with Runtime(self.url, [*trip.ACTORS, *orders.ACTORS], shutdown_timeout=120) as runtime:
            for _ in range(ROUNDS):
                unfinished = await runtime.unfinished()
                # Who would have said yes or no to an order is gone with his process.
                words = [
                    runtime.ask(saga, Approve("Olga"), id="last word", timeout=60)
                    for saga in unfinished
                    if saga.actor == Checkout.__name__
                ]
                await asyncio.gather(*words, return_exceptions=True)
                found = [runtime.result(saga, timeout=60) for saga in unfinished]
                ends = await asyncio.gather(*found, return_exceptions=True)
                for saga, end in zip(unfinished, ends, strict=True):
                    if isinstance(end, Parked):
                        await runtime.saga(saga).retry(by="soak", reason="what disturbed it is over")
            await self.read(to_the_end=True)
            self.check_ends()
            await self.check_read_model(runtime)
            checkouts = sum(number for (saga, _), number in self.ledger.ends.items() if saga == "Checkout")
            if checkouts <= AUDITED_ORDERS:
                self.problems += (await books.audit(runtime)).problems

    def check_ends(self) -> None:
        """Check that all have ended, and as it was acknowledged."""
        ledger = self.ledger
        self.problems += [f"{stream} has not ended" for stream in ledger.open[:10]]
        wrong = [name for name, end in self.told.items() if ledger.trips.get(name) != end]
        self.problems += [
            f"trip {name} was acknowledged as {self.told[name]}, and is {ledger.trips.get(name)}" for name in wrong[:10]
        ]
        for name in ledger.holding:
            if ledger.trips.get(name) != "completed":
                self.problems.append(f"trip {name} holds {ledger.holding[name]}, and is {ledger.trips.get(name)}")

    async def check_read_model(self, runtime: Runtime) -> None:
        """Check that the read model's rows are what the events say."""
        for key, (seats, sold) in list(self.ledger.flights().items())[-FLIGHTS:]:
            found = await runtime.ask(Trips.at(), SalesOf(key), consistent=True)
            if found != FlightSales(key, seats, sold):
                self.problems.append(f"flight {key} has {sold} of {seats} sold, and the read model says {found}")

    def check_figures(self) -> None:
        """Check that nothing grows without a limit."""
        lives = Lives(self.samples)
        for what, most in (("rss", GROWTH), ("files", FILES)):
            growth = lives.growth(what)
            if growth is not None and growth > most:
                self.problems.append(f"{what} grows by {growth:.1f} in a minute; more than {most:g} is a leak")
        highest = max((one["wal"] for one in self.samples), default=0.0)
        if highest > WAL:
            self.problems.append(f"the write-ahead log has taken {highest:,.0f} MB; more than {WAL:g} is too much")

    def tell(self, monkey: ChaosMonkey) -> None:
        """Print the figures."""
        print("minute   trips/s  p50 ms  p99 ms  orders/s  p50 ms  p99 ms      rss MB  wal MB  files")
        for minute in range(int(self.options.minutes + 0.999)):
            samples = [one for one in self.samples if minute * 60 <= one["at"] < minute * 60 + 60]
            if not samples:
                continue
            seconds = min(60.0, self.options.minutes * 60 - minute * 60)
            row = f"{minute + 1:6}"
            for what, width in (("trips", 10), ("orders", 10)):
                found = merged(samples, what)
                row += f"{sum(found.values()) / seconds:{width},.0f}"
                row += f"{percentile(found, 50):8.1f}{percentile(found, 99):8.1f}"
            rss = [one["rss"] for one in samples]
            row += f"{min(rss):8.0f}-{max(rss):.0f}{max(one['wal'] for one in samples):8.0f}"
            print(row + f"{max(one['files'] for one in samples):7}")
        lives, chaos = Lives(self.samples), [0, 0, 0]
        for one in {one["pid"]: one["chaos"] for one in self.samples}.values():
            chaos = [a + b for a, b in zip(chaos, one, strict=True)]
        print(
            f"{monkey.kills} kills and {monkey.harm['STOP']} pauses of the process; actors: {chaos[0]:,} kills, "
            f"{chaos[1]:,} delays, {chaos[2]:,} lost replies"
        )
        growth = {what: lives.growth(what) for what in ("rss", "files")}
        if growth["rss"] is not None and growth["files"] is not None:
            print(
                f"a warm process grows by {growth['rss']:+.1f} MB and {growth['files']:+.1f} files a minute "
                f"({len(lives.warm())} lives)"
            )
        first = lives.first("rss")
        if first:
            print(f"after its first second it took {first[0]:.0f} MB at the beginning, {first[-1]:.0f} MB at the end")
        print(
            f"{self.ledger.position:,} events; sagas: "
            + ", ".join(f"{number:,} {saga} {end}" for (saga, end), number in sorted(self.ledger.ends.items()))
            + "".join(f"; {saga} was parked {number:,} times" for saga, number in self.ledger.parked.items())
        )


@asynccontextmanager
async def journal(options: argparse.Namespace) -> AsyncGenerator[str]:
    """The journal to work in, by its URL: that which was named, or one of our own."""
    if options.journal:
        yield options.journal
        return
    async with place(options.postgres) as url:
        if options.postgres is None:
            yield url
            return
        # In memory, read models would grow with what they hold, and be built anew after each kill.
        with tempfile.TemporaryDirectory(prefix="understudy-") as views:
            yield f"{url}&views={views}"


async def main(options: argparse.Namespace) -> int:
    logging.getLogger("understudy").addHandler(logging.NullHandler())  # what matters here is told as figures
    async with journal(options) as url:
        with tempfile.TemporaryDirectory(prefix="understudy-") as letterboxes:
            soak = Soak(url, options)
            monkey = await soak.harm(letterboxes)
            if not soak.problems and not soak.ledger.problems:
                await soak.finish()
            soak.check_figures()
    soak.tell(monkey)
    problems = [*soak.ledger.problems, *soak.problems]
    if problems:
        print(f"WRONG, with --seed {options.seed}:", *problems[:30], sep="\n  ")
        print(monkey.story)
        return 1
    print(f"all is well: {len(soak.told):,} trips were acknowledged, and each is there once")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="trips and orders at full load, in a process that is harmed")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in a schema of our own")
    parser.add_argument("--journal", metavar="URL", help="a new journal to work in, which is left there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, nargs=2, default=[5.0, 60.0], help="seconds between two harms")
    parser.add_argument("--kills", type=int, default=0, help="go on until the process was killed so often")
    parser.add_argument("--trips", type=int, default=300, help="trips under way")
    parser.add_argument("--orders", type=int, default=40, help="orders under way")
    parser.add_argument("--active", type=int, default=5_000, help="actors in memory")
    parser.add_argument("--quiet", action="store_true", help="tell only the outcome")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
