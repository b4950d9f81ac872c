"""Histograms of a fixed size: how often a value fell between two powers of two."""

from bisect import bisect_left

import msgspec


class HistogramStats(msgspec.Struct, frozen=True):
    """How values are spread. ``counts[n]`` of them were at most ``bounds[n]`` and above the bound before it.

    The last of the ``counts``, one more than there are bounds, is of those above all bounds. ``total`` is their sum.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    count: int
    total: float
    max: float


class Histogram:
    """Counts values in buckets from ``2 ** lowest`` to ``2 ** highest``."""

    def __init__(self, lowest: int, highest: int) -> None:
        self._bounds = [2.0**power for power in range(lowest, highest + 1)]
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._max = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value
        self._max = max(self._max, value)

    def stats(self) -> HistogramStats:
        """Return what has been counted so far."""
        counts = tuple(self._counts)
        return HistogramStats(tuple(self._bounds), counts, sum(counts), self._total, self._max)
