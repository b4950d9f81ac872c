"""Policies: how often, how soon and for how long something is tried again. All are bounded."""

import math
import random
from contextlib import suppress
from datetime import timedelta

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Growing pauses between attempts: ``first``, then ``factor`` times more each, up to ``cap``.

    ``jitter`` takes away up to that share of each pause at random, so that many who failed at once don't come
    back at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first: timedelta = timedelta(milliseconds=100)
    factor: float = 2.0
    cap: timedelta = timedelta(seconds=60)
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.first <= timedelta(0) or self.cap < self.first or not self.factor >= 1 or not 0 <= self.jitter < 1:
            raise ValueError(f"a backoff needs 0 < first <= cap, factor >= 1 and 0 <= jitter < 1, not {self!r}")

    def pause(self, attempt: int, rng: random.Random) -> float:
        """Return the seconds to wait after the ``attempt``-th failure (counted from 1)."""
        pause = self.cap.total_seconds()
        with suppress(OverflowError):  # so many attempts that no float holds the pause: the cap, then
            pause = min(self.first.total_seconds() * math.pow(self.factor, attempt - 1), pause)
        return pause * (1.0 - self.jitter * rng.random())


class RetryPolicy(msgspec.Struct, frozen=True):
    """How a saga repeats a step that failed; after ``budget`` since the first try the saga is parked."""

    backoff: Backoff = Backoff()
    budget: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        if self.budget < timedelta(0):
            raise ValueError(f"a retry needs a budget of 0 or more, not {self!r}")


UNDO_RETRY = RetryPolicy(budget=timedelta(hours=24))
"""The default for undo: money or seats hang on it, so it is tried for a day before a person is called."""


class RestartPolicy(msgspec.Struct, frozen=True):
    """How an actor that crashed is started again; more than ``restarts`` within ``within`` parks it.

    A parked actor refuses its mail. After ``parked_for`` it tries again by itself, with a new budget: an outage that
    ends needs nobody to come.
    """

    restarts: int = 5
    within: timedelta = timedelta(minutes=1)
    backoff: Backoff = Backoff(first=timedelta(milliseconds=50), cap=timedelta(seconds=5))
    parked_for: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if self.restarts < 0 or self.within <= timedelta(0) or self.parked_for <= timedelta(0):
            raise ValueError(f"a restart policy needs restarts >= 0, within > 0 and parked_for > 0, not {self!r}")
