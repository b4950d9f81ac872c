"""Who takes part in the actor benchmarks, in what they are measured, and what they can't do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import Figures

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0
"""Seconds for one measurement."""


class Work(NamedTuple):
    """Something to measure: how much of it, and which of its figures the table shows."""

    name: str
    amount: int
    figures: dict[str, str]
    """The rows of the table, by the figure that each shows."""
    less_is_better: bool = False
    again: bool = True
    """Whether it varies, and is worth doing once a round."""


RATE = "per_second"
WORKS = (
    Work("tell", 400_000, {RATE: "tell, messages/s"}),
    Work("ask", 40_000, {RATE: "ask one by one, /s"}),
    Work("ask_100", 150_000, {RATE: "ask 100 in flight, /s"}),
    Work("ring", 300_000, {RATE: "ring of 100, hops/s"}),
    Work("ping_pong", 100_000, {RATE: "ping-pong, round trips/s"}),
    Work("fan_in", 300_000, {RATE: "fan-in of 100, messages/s"}),
    Work("spawn", 20_000, {RATE: "spawn and reach, actors/s"}),
    Work("idle_traced", 100_000, {"bytes": "idle actor, bytes traced"}, less_is_better=True, again=False),
    Work("idle_resident", 100_000, {"bytes": "idle actor, bytes of RSS"}, less_is_better=True, again=False),
    Work("fair", 4_000, {"p50_us": "light beside flood, p50 us", "p99_us": "... p99 us"}, less_is_better=True),
)


class Contestant(NamedTuple):
    """One column of the table."""

    name: str
    module: str
    cannot: dict[str, str] = {}
    """Works that it is not measured at, and why."""
    python: str = sys.executable
    loops: bool = True
    """Whether it runs on an event loop that can be chosen."""
    share: float = 1.0
    """How much of each work it does; slow ones do less."""
    most_actors: int = 1_000_000

    def measure(self, work: Work, loop: str, scale: float) -> Figures:
        count = max(1_000, int(work.amount * scale * self.share))
        if work.name == "spawn" or work.name.startswith("idle"):
            # Memory is told by many actors, however short the run.
            count = min(work.amount if work.name.startswith("idle") else count, self.most_actors)
        command = [self.python, "-m", self.module, work.name, str(count), loop]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


BY_HAND = "by hand"
"""What all others are compared to."""
TALKING = ("ring", "ping_pong", "fan_in")
SERVICE = Contestant(
    "service", "benchmarks.understudy.services", dict.fromkeys(TALKING, "services send to nobody; sagas and actors do")
)
PLAIN = Contestant("plain actor", "benchmarks.understudy.plain")
HAND_ROLLED = Contestant(BY_HAND, "benchmarks.peers.hand_rolled")
QUEUE = Contestant(
    "queue+task",
    "benchmarks.peers.queue_and_task",
    dict.fromkeys(("fan_in", "spawn", "idle_traced", "idle_resident", "fair"), "left out: 'by hand' stands for both"),
)
OURS = (SERVICE, PLAIN)


def peers(python: str) -> tuple[Contestant, ...]:
    """Return those that are installed in the environment of this interpreter."""
    return (
        Contestant(
            "pykka",
            "benchmarks.peers.pykka_actors",
            {"idle_traced": "tracemalloc doesn't see the stack of a thread"},
            python,
            loops=False,
            share=0.2,
            most_actors=1_000,
        ),
        Contestant(
            "thespian",
            "benchmarks.peers.thespian_actors",
            {
                "ask_100": "its ask returns with the reply",
                "fair": "tell returns when all has been handled; nothing waits",
            },
            python,
            loops=False,
            share=0.3,
        ),
    )
