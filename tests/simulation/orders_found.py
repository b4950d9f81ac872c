"""How soon both sorts of schedules find rare orders: ``python -m tests.simulation.orders_found`` prints the table.

Walkers take their steps beside each other, each step a turn; a bug shows in one order of them only. How many choices
of the schedule must go one way for it is the bug's depth. Nothing else goes wrong in these runs.
"""

import re
from typing import Any, ClassVar, NamedTuple

from actors import Actor, Command
from runtime.simulation import Plan, World, finally_
from runtime.simulation.run import Run, Setup

RUNS = 2_000
"""Of each sort, for each bug."""


class Step(Command["Walker", None]):
    left: int


class Walker(Actor):
    """Takes so many steps, each in a turn of its own."""

    path: ClassVar[list[str]] = []
    """Who has taken which step, in this run: a letter for each."""

    def receive(self, message: Step) -> None:
        Walker.path.append(self.key)
        if message.left > 1:
            self.tell(Walker.at(self.key), Step(message.left - 1))


class Bug(NamedTuple):
    """A bug that shows in one order."""

    depth: int
    what: str
    steps: dict[str, int]
    """Who takes how many steps."""
    path: str
    """The path on which it shows, as a pattern."""


def _last(steps: int) -> Bug:
    return Bug(1, f"b has taken {steps} steps before a takes one", {"a": 1, "b": steps}, "b+a")


def _between(steps: int) -> Bug:
    return Bug(2, f"b takes {steps} steps between two of a", {"a": 2, "b": steps}, f"a{'b' * steps}a")


def _one_after_the_other(steps: int) -> Bug:
    what = f"b takes {steps} steps between two of a, and c as many behind it"
    return Bug(3, what, {"a": 2, "b": steps, "c": steps}, f"a{'b' * steps}{'c' * steps}a")


def _in_turns(steps: int) -> Bug:
    what = f"a and b take {steps} steps each in turns"
    return Bug(2 * steps - 1, what, {"a": steps, "b": steps}, "ab" * steps)


BUGS = [
    *map(_last, (2, 8, 16)),
    *map(_between, (2, 8, 16)),
    *map(_one_after_the_other, (2, 4, 8)),
    *map(_in_turns, (2, 4)),
]


def hits(bug: Bug, sort: str, runs: int = RUNS) -> int:
    """Return in how many runs with schedules of this sort a bug shows."""

    async def walk(world: World) -> None:
        for key, steps in bug.steps.items():
            world.runtime.tell(Walker.at(key), Step(steps))

    def outside() -> Any:
        Walker.path.clear()

    def shows_not(_: World) -> bool:
        return re.fullmatch(bug.path, "".join(Walker.path)) is None

    setup = Setup([walk], [Walker], [finally_(shows_not)], outside)
    if sort == "pct":
        sort = f"pct-{Run(setup, Plan(0, 'random')).go().chosen}"  # as an exploration does
    return sum(Run(setup, Plan(seed, sort)).go().broken is not None for seed in range(runs))


def _told(found: int) -> str:
    return f"{RUNS / found:,.1f}" if found else f"none in {RUNS:,}"


if __name__ == "__main__":
    print("| depth | the bug shows when | runs until it is found, uniform | PCT |")
    print("|---|---|---|---|")
    for one in BUGS:
        print(f"| {one.depth} | {one.what} | {_told(hits(one, 'random'))} | {_told(hits(one, 'pct'))} |", flush=True)
