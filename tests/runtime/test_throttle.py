"""A throttle by itself: no span has more than its rate; by priority, class by class, undos before all else."""

from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Rate
from runtime import ManualClock
from runtime.priorities import UNDO
from runtime.throttle import Throttle, Waiting
from runtime.timers import Timers
from tests.runtime.rating import at_once, most_in


def rate_of(burst: int, times: int, millis: int) -> Rate:
    return Rate(burst * times, timedelta(milliseconds=millis), burst)


RATES = st.builds(rate_of, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3000))


def add(throttle: Throttle, priority: int, going: list[Waiting]) -> Waiting:
    """Have something wait that is noted when it may go."""
    waiting = throttle.add(priority, "A", lambda: going.append(waiting))
    return waiting


def send(going: list[Waiting], gone: list[int], clock: ManualClock, random: Random) -> int:
    """Send some of what may go, later than it might have been; return how many were taken back instead."""
    back = 0
    while going and random.random() < 0.8:
        waiting = going.pop(random.randrange(len(going)))
        if random.random() < 0.1:
            waiting.cancel()
            back += 1
        else:
            waiting.sent()
            gone.append(clock.steady())
    return back


@given(rate=RATES, seed=st.integers(0, 10**6))
def test_no_span_has_more_than_the_rate(rate: Rate, seed: int) -> None:
    random, clock = Random(seed), ManualClock()
    throttle = Throttle(rate, Timers(clock, clock.steady))
    going: list[Waiting] = []
    gone: list[int] = []
    asked = 0
    for _ in range(100):
        for _ in range(random.choice([0, 0, 1, 2, 9])):
            asked += 1
            if throttle.take():
                gone.append(clock.steady())
            else:
                waiting = add(throttle, random.randrange(-9, UNDO + 1), going)
                if random.random() < 0.1:
                    waiting.cancel()
                    waiting.cancel()
                    asked -= 1
        clock.advance(random.choice([0, 0.001, 0.01, random.random()]))
        asked -= send(going, gone, clock, random)
        if random.random() < 0.05:
            clock.step(random.choice([-3600, 3600]))  # wall time has nothing to do with it
    while throttle.waiting or going:
        clock.advance(0.1)
        asked -= send(going, gone, clock, random)
    assert len(gone) == asked
    assert throttle.waiting == 0
    per = rate.per // timedelta(microseconds=1)
    assert most_in(gone, per) <= rate.limit
    assert most_in(gone, per * rate.at_a_moment // rate.limit) <= rate.at_a_moment


def test_a_flood_goes_as_fast_as_the_rate_allows() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(10), Timers(clock, clock.steady))
    gone: list[int] = []
    for _ in range(100):
        at_once(throttle, 0, "A", lambda: gone.append(clock.steady()))
    clock.advance(9)
    assert len(gone) == 100


def test_one_that_is_taken_back_costs_nothing_and_many_are_swept_out() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[int] = []
    assert throttle.take()
    many = [at_once(throttle, -9, "A", lambda: gone.append(0)) for _ in range(1000)]
    at_once(throttle, -9, "A", lambda: gone.append(1))
    for one in many:
        one.cancel()
    assert throttle.waiting == 1
    assert throttle._size < 200  # pyright: ignore[reportPrivateUsage]
    clock.advance(1)
    assert gone == [1]


def test_priorities_classes_and_undos() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[str] = []
    assert throttle.take()
    for number in range(3):
        for priority, sender in ((0, "A"), (0, "A"), (0, "B"), (5, "A"), (UNDO, "A")):
            at_once(throttle, priority, sender, partial(gone.append, f"{priority}{sender}{number}"))
    clock.advance(100)
    assert gone[:6] == ["11A0", "11A1", "11A2", "5A0", "5A1", "5A2"]
    assert [text[1] for text in gone[6:]] == ["A", "B", "A", "B", "A", "B", "A", "A", "A"]


def test_a_low_priority_does_not_wait_for_ever() -> None:
    clock = ManualClock()
    throttle = Throttle(Rate(1), Timers(clock, clock.steady))
    gone: list[int] = []
    assert throttle.take()
    for priority in [-9] * 5 + [9] * 100:
        at_once(throttle, priority, "A", partial(gone.append, priority))
    clock.advance(50)
    assert [number for number, priority in enumerate(gone, 1) if priority == -9] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"limit": 0}, r"limit >= 1 .*Rate\(100, per=timedelta\(seconds=1\)\)"),
        ({"limit": 1.5}, "limit >= 1"),
        ({"limit": True}, "limit >= 1"),
        ({"limit": 1, "per": timedelta(0)}, "per > 0"),
        ({"limit": 10, "burst": 3}, "whole part of its limit"),
        ({"limit": 10, "burst": 0}, "whole part of its limit"),
        ({"limit": 1_000_000}, "at most 100,000 .* smaller burst="),
    ],
)
def test_a_rate_that_can_not_be_meant(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rate(**values)
