"""Actors: messages a second, latency beside a flood, and memory, next to what users would pick instead.

    python -m benchmarks.actors [--peers PYTHON | --make-peers DIR] [--loop asyncio|uvloop|both] [--scale 1.0]
                                [--rounds 5] [--only WORK ...] [--base CONTESTANT] [--json FILE]

Each measurement is a process of its own. All contestants do one work one after the other, then the next work, and all
of that once a round. The table shows the best round of each, and a ratio to one of them (``--base``, by default the
hand-rolled actor, on the same loop): the median of the rounds' own ratios, for what disturbs a round disturbs both.
Understudy runs on ``Runtime("memory:")``.
"""

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contestants import BY_HAND, HAND_ROLLED, OURS, QUEUE, WORKS, Contestant, Work, peers
from benchmarks.measuring import Figures

PEERS = ("pykka", "thespian")
Runs = dict[tuple[str, str, str], list[Figures]]
"""By work, loop and contestant: the figures of each round."""


def make_peers(folder: Path) -> str:
    """Make an environment for the peers, where it isn't there yet; return its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return str(python)


def measured(
    works: Sequence[Work], contestants: Sequence[Contestant], loops: Sequence[str], scale: float, rounds: int
) -> Runs:
    runs: Runs = {}
    for number in range(rounds):
        for work in works:
            if number and not work.again:
                continue
            print(f"round {number + 1} of {rounds}: {work.name:20}", end="\r", file=sys.stderr, flush=True)
            for loop in loops:
                for contestant in contestants:
                    if work.name in contestant.cannot or (not contestant.loops and loop != loops[0]):
                        continue
                    figures = contestant.measure(work, loop, scale)
                    runs.setdefault((work.name, loop, contestant.name), []).append(figures)
    return runs


def cell(work: Work, figure: str, rounds: list[Figures] | None, base: list[Figures] | None) -> str:
    """Return the best of the rounds, and the median of their ratios to the base."""
    if rounds is None:
        return f"{'-':>18}"
    best = (min if work.less_is_better else max)(figures[figure] for figures in rounds)
    ratio = ""
    if base is not None:
        ratio = f"{median(ours[figure] / theirs[figure] for ours, theirs in zip(rounds, base, strict=True)):7.2f}x"
    return f"{best:10,.0f}{ratio:8}"


def table(
    works: Sequence[Work], contestants: Sequence[Contestant], loops: Sequence[str], runs: Runs, base: str
) -> list[str]:
    lines = [f"{'':26} {'loop':7}" + "".join(f"{contestant.name:>18}" for contestant in contestants)]
    for work in works:
        for loop in loops:
            for figure, row in work.figures.items():
                cells = (
                    cell(work, figure, runs.get((work.name, loop, one.name)), runs.get((work.name, loop, base)))
                    for one in contestants
                )
                lines.append(f"{row:26} {loop:7}" + "".join(cells))
    return lines


def notes(works: Sequence[Work], contestants: Sequence[Contestant]) -> list[str]:
    """Say why there are gaps in the table."""
    said = dict[str, list[str]]()
    for contestant in contestants:
        for work in works:
            if work.name in contestant.cannot:
                said.setdefault(f"{contestant.name}: {contestant.cannot[work.name]}", []).append(work.name)
    return [f"  {why} ({', '.join(names)})" for why, names in said.items()]


def report(runs: Runs, options: argparse.Namespace) -> dict[str, Any]:
    rows = [
        {"work": work, "loop": loop, "contestant": contestant, "runs": figures}
        for (work, loop, contestant), figures in runs.items()
    ]
    return {"python": sys.version.split()[0], "scale": options.scale, "rounds": options.rounds, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="actors, beside what users would pick instead")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--peers", metavar="PYTHON", help="an interpreter that has pykka and thespian installed")
    where.add_argument("--make-peers", metavar="DIR", type=Path, help="install them into a new environment first")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "both"), default="asyncio")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many messages")
    parser.add_argument("--rounds", type=int, default=5, help="how often all of it is done")
    parser.add_argument("--only", nargs="+", metavar="WORK", choices=[work.name for work in WORKS])
    parser.add_argument("--base", default=BY_HAND, choices=(BY_HAND, QUEUE.name), help="what ratios are to")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures of all rounds here")
    options = parser.parse_args()
    python = make_peers(options.make_peers.absolute()) if options.make_peers else options.peers
    contestants = (*OURS, HAND_ROLLED, QUEUE, *(peers(python) if python else ()))
    loops = ("asyncio", "uvloop") if options.loop == "both" else (options.loop,)
    works = [work for work in WORKS if not options.only or work.name in options.only]
    runs = measured(works, contestants, loops, options.scale, options.rounds)
    print("\n".join([*table(works, contestants, loops, runs, options.base), "", *notes(works, contestants)]))
    if options.json:
        options.json.write_text(json.dumps(report(runs, options), indent=2) + "\n")


if __name__ == "__main__":
    main()
