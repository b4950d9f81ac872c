"""Policies: pauses grow, are capped, jitter downwards only, and never overflow."""

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import UNDO_RETRY, Backoff, RestartPolicy, RetryPolicy

SECOND = timedelta(seconds=1)
ATTEMPTS = st.integers(1, 10**9)


def pauses(backoff: Backoff, attempts: int) -> list[float]:
    return [backoff.pause(attempt, random.Random(1)) for attempt in range(1, attempts + 1)]


def test_pauses_grow_by_the_factor_up_to_the_cap() -> None:
    assert pauses(Backoff(SECOND, 2.0, 6 * SECOND, jitter=0.0), 5) == [1.0, 2.0, 4.0, 6.0, 6.0]
    assert pauses(Backoff(SECOND, 1.0, 6 * SECOND, jitter=0.0), 3) == [1.0, 1.0, 1.0]


@given(
    attempt=ATTEMPTS,
    factor=st.floats(1.0, 1e300),
    jitter=st.floats(0.0, 1.0, exclude_max=True),
    seed=st.integers(),
)
def test_a_pause_is_within_its_bounds(attempt: int, factor: float, jitter: float, seed: int) -> None:
    backoff = Backoff(SECOND, factor, 60 * SECOND, jitter)
    pause = backoff.pause(attempt, random.Random(seed))
    full = Backoff(SECOND, factor, 60 * SECOND, jitter=0.0).pause(attempt, random.Random(seed))
    assert 1.0 <= full <= 60.0
    assert full * (1.0 - jitter) <= pause <= full
    assert pause > 0


def test_jitter_takes_away_at_random() -> None:
    rng = random.Random(1)
    drawn = {Backoff(SECOND, jitter=0.5).pause(1, rng) for _ in range(1_000)}
    assert len(drawn) > 900
    assert 0.5 <= min(drawn) < 0.51
    assert 0.99 < max(drawn) <= 1.0


def test_the_same_randomness_gives_the_same_pauses() -> None:
    assert pauses(Backoff(), 10) == pauses(Backoff(), 10)


@pytest.mark.parametrize("factor", [1.5, 2, 2.0, 1e10, 1e300, math.inf])
@pytest.mark.parametrize("attempt", [10**3, 10**6, 10**400])
def test_after_many_attempts_it_is_the_cap(factor: float, attempt: int) -> None:
    assert Backoff(factor=factor, jitter=0.0).pause(attempt, random.Random(1)) == 60.0


def test_a_slow_factor_reaches_the_cap_as_well() -> None:
    slow = Backoff(SECOND, 1.01, 10 * SECOND, jitter=0.0)
    assert slow.pause(200, random.Random(1)) == pytest.approx(1.01**199)
    assert slow.pause(300, random.Random(1)) == 10.0


@pytest.mark.parametrize(
    ("first", "factor", "cap", "jitter"),
    [
        (timedelta(0), 2.0, SECOND, 0.2),
        (-SECOND, 2.0, SECOND, 0.2),
        (2 * SECOND, 2.0, SECOND, 0.2),
        (SECOND, 0.99, SECOND, 0.2),
        (SECOND, math.nan, SECOND, 0.2),
        (SECOND, 2.0, SECOND, -0.1),
        (SECOND, 2.0, SECOND, 1.0),
        (SECOND, 2.0, SECOND, math.nan),
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused(
    first: timedelta, factor: float, cap: timedelta, jitter: float
) -> None:
    with pytest.raises(ValueError, match=r"0 < first <= cap, factor >= 1 and 0 <= jitter < 1, not Backoff"):
        Backoff(first, factor, cap, jitter)


def test_a_budget_is_never_negative() -> None:
    assert RetryPolicy(budget=timedelta(0)).budget == timedelta(0)
    with pytest.raises(ValueError, match="budget of 0 or more"):
        RetryPolicy(budget=-SECOND)
    assert RetryPolicy(crashes=0).crashes == 0
    with pytest.raises(ValueError, match="crashes >= 0"):
        RetryPolicy(crashes=-1)


@pytest.mark.parametrize(("restarts", "within"), [(-1, SECOND), (1, timedelta(0)), (1, -SECOND)])
def test_restarts_that_make_no_sense_are_refused(restarts: int, within: timedelta) -> None:
    with pytest.raises(ValueError, match="restarts >= 0, within > 0 and parked_for > 0"):
        RestartPolicy(restarts, within)


def test_the_defaults_are_those_that_are_promised() -> None:
    assert RetryPolicy().budget == timedelta(minutes=10)
    assert RetryPolicy().crashes == UNDO_RETRY.crashes == 5
    assert RetryPolicy().backoff == Backoff(timedelta(milliseconds=100), 2.0, timedelta(seconds=60))
    assert RetryPolicy().backoff.jitter > 0
    assert UNDO_RETRY.budget == timedelta(hours=24)
    assert RestartPolicy(restarts=0).restarts == 0
