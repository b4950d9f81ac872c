"""The journal's whole table: commands, one hot actor, reading back, a read model, opening, conditions.

    python -m benchmarks.journals [--postgres URL] [--peers PYTHON] [--scale 1.0] [--rounds 3] [--loop uvloop]
                                  [--fsync MS] [--json FILE]
                                  [--only commands hot back project start conditions]

Ours beside raw inserts in groups of as many rows (``executemany`` on SQLite, ``unnest`` and COPY on PostgreSQL) and
beside eventsourcing, in turns, all in one run. PYTHON is an interpreter that has eventsourcing installed. ``--scale``
says how many times as many events.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import commands, raw
from benchmarks.contestants import ROOT
from benchmarks.disk import add_fsync, print_fsync
from benchmarks.journal_works import LONG, PROJECTED, WORKS, Figures, Work, opened
from benchmarks.loops import add_loop

OURS, EXECUTEMANY, UNNEST, COPY, PEER = "Understudy", "executemany", "unnest", "COPY", "eventsourcing"
PEER_COUNTS = {"hot": 500, "back": LONG, "project": PROJECTED // 10, "conditions": 2_000}
"""How much of each work the peer does; of what it can't do at all there is nothing."""
LOWER_IS_BETTER = ("_ms", "_s", "_mb")
Table = dict[str, Figures]
"""Each contestant's figures."""


def best(rounds: list[Figures]) -> Figures:
    """Return the best of each figure."""
    return {name: (min if name.endswith(LOWER_IS_BETTER) else max)(one[name] for one in rounds) for name in rounds[0]}


class Engine:
    """One engine: where ours, raw inserts and the peer do their work."""

    def __init__(self, server: str | None, options: argparse.Namespace) -> None:
        self.name = "SQLite" if server is None else "PostgreSQL"
        self._server = server
        self._python: str | None = options.peers
        self._scale: float = options.scale
        self._rounds: int = options.rounds

    def measure(self, work: str) -> Table:
        """Return everybody's best figures of one work; in each round they take turns."""
        contestants = self._commands() if work == "commands" else {OURS: lambda: self._ours(WORKS[work])}
        if self._python is not None and work in PEER_COUNTS and (work != "conditions" or self._server):
            contestants[PEER] = lambda: self._peer(work)
        rounds = [{name: run() for name, run in contestants.items()} for _ in range(self._rounds)]
        return {name: best([one[name] for one in rounds]) for name in contestants}

    def _ours(self, work: Work) -> Figures:
        server = self._server
        if server is None:
            with tempfile.TemporaryDirectory() as folder:
                return asyncio.run(work(f"sqlite:{folder}/journal.db", self._scale))
        asyncio.run(raw.drop(server))
        try:
            return asyncio.run(work(f"{server}?schema={raw.SCHEMA}", self._scale))
        finally:
            asyncio.run(raw.drop(server))

    def _commands(self) -> dict[str, Callable[[], Figures]]:
        server, python = self._server, self._python
        if server is None:
            found: dict[str, Callable[[], Figures]] = {
                OURS: lambda: self._each(lambda at_once, n: commands.on_sqlite(at_once, n)["per_second"]),
                EXECUTEMANY: lambda: self._each(raw.executemany),
            }
        else:
            found = {
                OURS: lambda: self._each(lambda at_once, n: commands.on_postgres(server, at_once, n)["per_second"]),
                UNNEST: lambda: self._each(lambda at_once, n: asyncio.run(raw.unnest(server, at_once, n))),
                COPY: lambda: self._each(lambda at_once, n: asyncio.run(raw.copy(server, at_once, n))),
            }
        if python is not None:
            found[PEER] = lambda: self._peer_commands(python)
        return found

    def _each(self, run: Callable[[int, int], float]) -> Figures:
        return {
            f"commands_{in_flight}_per_second": run(
                in_flight, max(in_flight, int(count * self._scale)) // in_flight * in_flight
            )
            for in_flight, count in commands.RUNS
        }

    def _peer_commands(self, python: str) -> Figures:
        """The best of one thread and several; it has nothing that would be in flight."""
        count = int(commands.PEER_COMMANDS * self._scale)
        if self._server is None:
            rate = commands.peer_sqlite(python, count)
        else:
            rate = commands.peer_postgres(python, self._server, count)
        return {f"commands_{in_flight}_per_second": rate for in_flight, _ in commands.RUNS}

    def _peer(self, work: str) -> Figures:
        server = self._server
        with tempfile.TemporaryDirectory() as folder:
            if server is None:
                engine, place = "sqlite", f"{folder}/peer.db"
            else:
                engine, place = "postgres", commands.place_of(server)
                asyncio.run(raw.drop(server, make=True))
            count = str(max(100, int(PEER_COUNTS[work] * self._scale)))
            script = [str(self._python), "-m", "benchmarks.peers.eventsourcing_reading"]
            script += [engine, work, count, place, folder]
            done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
            if server is not None:
                asyncio.run(raw.drop(server))
        if done.returncode:
            raise RuntimeError(f"{' '.join(script)} failed:\n{done.stderr}")
        figures: Figures = json.loads(done.stdout)
        return figures


def show(engine: str, table: Table) -> None:
    """Print what was measured on one engine, and how many times as good ours is as each other."""
    others = [name for name in table if name != OURS]
    print(f"\n{engine:28}{OURS:>14}" + "".join(f"{name:>16}{'ratio':>8}" for name in others), flush=True)
    for name, ours in table[OURS].items():
        line = f"{name:28}{ours:14,.2f}"
        for other in others:
            theirs = table[other].get(name)
            if theirs is None:
                line += " " * 24
            else:
                ratio = theirs / ours if name.endswith(LOWER_IS_BETTER) else ours / theirs
                line += f"{theirs:16,.2f}{ratio:8.2f}"
        print(line.rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="what a journal does")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, in a schema of our own")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has eventsourcing installed")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many events")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    works = ["commands", *WORKS]
    parser.add_argument("--only", nargs="+", choices=works, default=works, help="these works")
    parser.add_argument("--opened", metavar="URL", help=argparse.SUPPRESS)
    add_loop(parser)
    add_fsync(parser)
    options = parser.parse_args()
    if options.opened:
        print(json.dumps(asyncio.run(opened(options.opened))))
        return
    print_fsync()
    found: dict[str, Table] = {}
    for server in [None, options.postgres] if options.postgres else [None]:
        engine = Engine(server, options)
        table = found.setdefault(engine.name, {})
        for work in options.only:
            for name, figures in engine.measure(work).items():
                table.setdefault(name, {}).update(figures)
        show(engine.name, table)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
