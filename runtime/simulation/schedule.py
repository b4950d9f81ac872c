"""Schedules: which of several that could be next is next. Each choice is kept, so that it can be made again."""

from collections.abc import Hashable, Mapping, Sequence
from random import Random
from typing import Protocol

PATIENCE = 64
"""So often in a row may a lane be preferred to others that are ready too, before it goes behind them."""

LENGTH = 200
"""About how many choices a run has, where no run before has told."""
MOST_CHANGES = 3
"""So many times in a run priorities change, or fewer: by the seed, for a bug that needs one is hidden by three."""


class Schedule(Protocol):
    """Chooses."""

    choices: dict[int, int]
    """What was chosen, by the number of the choice, where it was not the first."""
    count: int
    """How many choices there were."""

    def choose(self, lanes: Sequence[Hashable], /) -> int:
        """Return the place of the next one, of several lanes in the order in which they became ready."""
        ...


class Uniform:
    """Each is as likely as any other."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.choices: dict[int, int] = {}
        self.count = 0

    def choose(self, lanes: Sequence[Hashable], /) -> int:
        """Return the place of the next one."""
        place = int(self._random.random() * len(lanes))
        if place:
            self.choices[self.count] = place
        self.count += 1
        return place


class Priorities:
    """Probabilistic concurrency testing: lanes have random priorities, and the highest one that is ready runs.

    At up to three random moments the one that would run falls behind all others. A bug that needs so many orderings to
    be in a certain way is found with a probability that depends on how long the run is, and not on how many lanes
    there are. Prior art: Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs"
    (ASPLOS 2010).
    """

    def __init__(self, seed: int, length: int = LENGTH) -> None:
        """``length`` is about how many choices a run has: a change behind its end is none."""
        self._random = Random(seed)
        self._priority: dict[Hashable, float] = {}
        changes = self._random.randrange(MOST_CHANGES + 1)
        self._changes = {self._random.randrange(max(length, 1)) for _ in range(changes)}
        self._lowest = 0.0
        self._last: Hashable = None
        self._in_a_row = 0
        self.choices: dict[int, int] = {}
        self.count = 0

    def choose(self, lanes: Sequence[Hashable], /) -> int:
        """Return the place of the next one."""
        priority = self._priority
        for lane in lanes:
            if lane not in priority:
                priority[lane] = self._random.random()
        place = max(range(len(lanes)), key=lambda at: priority[lanes[at]])
        self._in_a_row = self._in_a_row + 1 if lanes[place] == self._last else 0
        if self.count in self._changes or self._in_a_row >= PATIENCE:
            self._lowest -= 1.0
            priority[lanes[place]] = self._lowest
            self._in_a_row = 0
            place = max(range(len(lanes)), key=lambda at: priority[lanes[at]])
        self._last = lanes[place]
        if place:
            self.choices[self.count] = place
        self.count += 1
        return place


class Replayed:
    """The choices of another run, or some of them; where there is none, the first one is next."""

    def __init__(self, choices: Mapping[int, int]) -> None:
        self.choices: dict[int, int] = {}
        self.count = 0
        self._given = choices

    def choose(self, lanes: Sequence[Hashable], /) -> int:
        """Return the place of the next one."""
        place = min(self._given.get(self.count, 0), len(lanes) - 1)
        if place:
            self.choices[self.count] = place
        self.count += 1
        return place
