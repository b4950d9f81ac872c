"""What the soak measures: latencies a minute, and what the process takes, within one life of it and across lives."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp
from typing import Any

from benchmarks.soak_node import FINENESS

WARM = 40.0
"""Seconds after its start from which on a process must not grow any more: what it may keep in memory is there."""
ENOUGH = 15
"""Samples of one life that are needed to say whether it grows."""

Sample = dict[str, Any]


def percentile(buckets: Counter[int], percent: float) -> float:
    """Return what so many of a hundred took at most, in milliseconds; within a twentieth or so."""
    total, seen = sum(buckets.values()), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen * 100 >= total * percent:
            return exp(bucket / FINENESS) * 1e3
    return 0.0


def merged(samples: Iterable[Sample], what: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for sample in samples:
        found.update({int(bucket): count for bucket, count in sample[what].items()})
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits best."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points)


class Lives:
    """The lives of the process, each by the samples that it has told."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._lives: dict[int, list[Sample]] = {}
        for sample in samples:
            self._lives.setdefault(sample["pid"], []).append(sample)

    def warm(self) -> list[list[Sample]]:
        """Return of each life that was long enough what it told when it was warm."""
        lives = ([one for one in life if one["age"] > WARM] for life in self._lives.values())
        return [life for life in lives if len(life) >= ENOUGH]

    def growth(self, what: str) -> float | None:
        """Return by how much a warm process grows in a minute: the mean over all lives, by their length."""
        lives = self.warm()
        if not lives:
            return None
        slopes = [(len(life), slope([(one["age"], one[what]) for one in life])) for life in lives]
        return 60 * sum(length * each for length, each in slopes) / sum(length for length, _ in slopes)

    def first(self, what: str) -> list[float]:
        """Return what each life told first: it must not grow with the journal either."""
        return [life[0][what] for life in self._lives.values()]
