"""When schedules come: one time, grids, and cron expressions over changes of the clock in summer and winter."""

import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import ExtraMissing, planned_time
from actors.schedules import run_key
from runtime.schedule_times import COUNTED, LATEST, Cron, Due, Interval, Once, Times, check_cron
from tests.extras import need

need("cronsim")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def told(moment: int) -> str:
    return (EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")


def next_of(times: Times, after: str, count: int) -> list[str]:
    found, moment = list[str](), micros(after)
    for _ in range(count):
        moment = times.after(moment)
        found.append(told(moment))
    return found


def content(due: Due) -> tuple[list[int], int, int, int, bool]:
    return (due.kept, due.missed, due.first, due.until, due.more)


def all_between(times: Times, first: int, now: int) -> list[int]:
    found, moment = list[int](), first
    while 0 < moment <= now:
        found.append(moment)
        moment = times.after(moment)
    return found


# -- one, and grids ---------------------------------------------------------------------------------------------------


def test_one_time_comes_once() -> None:
    once = Once(5)
    assert [once.after(4), once.after(5)] == [5, 0]
    assert content(once.due(5, 4, 1)) == ([], 0, 0, 0, False)
    assert content(once.due(5, 9, 1)) == ([5], 0, 0, 0, False)
    assert content(once.due(5, 9, 0)) == ([], 1, 5, 5, False)


def test_a_grid_goes_on_from_its_first_time() -> None:
    grid = Interval(100, 10)
    assert [grid.after(moment) for moment in (-50, 99, 100, 109, 110)] == [100, 100, 110, 110, 120]
    assert Interval(100, LATEST).after(100) == 0


@given(
    anchor=st.integers(1, 1_000),
    every=st.integers(1, 50),
    first=st.integers(0, 50),
    span=st.integers(-5, 5_000),
    keep=st.integers(0, 9),
)
def test_a_grid_is_counted_as_if_one_by_one(anchor: int, every: int, first: int, span: int, keep: int) -> None:
    grid = Interval(anchor, every)
    begin = anchor + first * every
    due = grid.due(begin, begin + span, keep)
    every_one = all_between(grid, begin, begin + span)
    missed = every_one[: len(every_one) - len(due.kept)]
    assert due.kept == (every_one[-keep:] if keep else [])
    assert (due.missed, due.more) == (len(missed), False)
    assert (due.first, due.until) == ((missed[0], missed[-1]) if missed else (0, 0))


# -- cron -------------------------------------------------------------------------------------------------------------


def test_an_hour_that_is_left_out_in_spring() -> None:
    """Berlin, 2026-03-29: after 01:59 comes 03:00. What was to run in between runs at once; hours go on as they are."""
    night = Cron("30 2 * * *", "Europe/Berlin")
    assert next_of(night, "2026-03-28T00:00:00Z", 3) == [
        "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z",
    ]  # fmt: skip
    both = Cron("0,30 2 * * *", "Europe/Berlin")  # both at the same moment: once
    assert next_of(both, "2026-03-28T12:00:00Z", 2) == ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]
    half_hours = Cron("*/30 * * * *", "Europe/Berlin")
    assert next_of(half_hours, "2026-03-29T00:30:00Z", 3) == [
        "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z",
    ]  # fmt: skip


def test_an_hour_that_comes_twice_in_autumn() -> None:
    """Berlin, 2026-10-25: after 02:59 comes 02:00 again. What runs at a time runs once; half-hours go on."""
    night = Cron("30 2 * * *", "Europe/Berlin")
    first = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    assert next_of(night, "2026-10-24T12:00:00Z", 2) == first
    for begun in ("2026-10-25T00:45:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:45:00Z"):  # also from in between
        assert next_of(night, begun, 1) == first[1:]
    half_hours = Cron("*/30 * * * *", "Europe/Berlin")
    assert next_of(half_hours, "2026-10-24T23:45:00Z", 5) == [
        "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z",
        "2026-10-25T02:00:00Z",
    ]  # fmt: skip


EXPRESSIONS = [
    "*/20 * * * *",
    "30 2 * * *",
    "0,30 2,3 * * *",
    "7 */5 * * *",
    "15 1 * * 0",
    "0 0 L * *",
    "*/30 * 1 * * *",
]


@settings(deadline=None, max_examples=60)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    begin=st.integers(0, 400 * 24 * 3_600),
    hours=st.integers(0, 300),
    keep=st.integers(0, 7),
)
def test_it_tells_the_same_times_wherever_it_begins(
    expression: str, zone: str, begin: int, hours: int, keep: int
) -> None:
    """The last ones of many, which are looked for from the end, are what is found one by one."""
    times = Cron(expression, zone)
    first = times.after(micros("2026-01-01T00:00:00Z") + begin * SECOND)
    now = first + hours * HOUR
    every_one = all_between(times, first, now)
    assert every_one == sorted(set(every_one))
    due = times.due(first, now, keep)
    missed = every_one[: max(0, len(every_one) - keep)]
    assert due.kept == every_one[len(missed) :]
    assert (due.first, due.until) == ((missed[0], missed[-1]) if missed else (0, 0))
    assert due.more == (len(missed) > COUNTED)
    assert due.missed == (COUNTED if due.more else len(missed))


def test_many_that_were_missed_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A century of seconds, and seconds that ended eleven months ago: a few hundred are looked at."""
    looked = 0
    one = Cron._from  # pyright: ignore[reportPrivateUsage]

    def counting(self: Cron, moment: int) -> Any:
        nonlocal looked
        for time in one(self, moment):
            looked += 1
            yield time

    monkeypatch.setattr(Cron, "_from", counting)
    first = micros("2026-01-01T00:00:00Z")
    for expression, until in (("* * * * * *", "2126-01-01T00:00:00Z"), ("* * * * 1 *", "2026-12-31T00:00:00Z")):
        last = micros("2026-01-31T23:59:59Z") if " 1 " in expression else micros(until)
        due = Cron(expression, "UTC").due(first, micros(until), 100)
        assert due.kept == [last - n * SECOND for n in reversed(range(100))]
        assert (due.missed, due.more, due.until) == (COUNTED, True, last - 100 * SECOND)
    assert looked < 3_000


def test_what_never_comes_again() -> None:
    now = micros("2026-01-01T00:00:00Z")
    assert Cron("0 0 29 2 *", "Europe/Berlin").after(LATEST - HOUR) == 0
    with pytest.raises(ValueError, match="names no day in the next 50 years"):
        check_cron("* * */20 * 1L", "UTC", now)


@pytest.mark.parametrize(
    "wrong", ["", "hello", "* * * *", "60 * * * *", "0 0 31 2 *", "@daily", "1,,2 * * * *", "٣ * * * *", "0 0 * * ²L"]
)
def test_a_wrong_expression_is_one_clear_error(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"can't be read \(.+\); write minute, hour") as raised:
        check_cron(wrong, "UTC", 0)
    assert repr(wrong) in str(raised.value)


@pytest.mark.parametrize("wrong", ["", "Berlin", "../etc/passwd", "Europe", "Europe/Berlin\0", "x" * 5_000])
def test_a_wrong_time_zone_is_one_clear_error(wrong: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone") as raised:
        check_cron("0 3 * * *", wrong, 0)
    assert len(str(raised.value)) < 500


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'understudy\[cron\]'"):
        check_cron("0 3 * * *", "UTC", 0)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_says_when() -> None:
    moment = micros("2026-11-28T03:00:00Z")
    assert run_key("nightly", moment) == "nightly@2026-11-28T03:00:00Z"
    assert run_key("a@b", moment + 500_000) == "a@b@2026-11-28T03:00:00.500000Z"
    assert planned_time("nightly@2026-11-28T03:00:00Z") == datetime(2026, 11, 28, 3, tzinfo=timezone.utc)  # noqa: UP017


@given(st.text(max_size=20), st.integers(1, LATEST - 1))
def test_every_key_reads_back(name: str, moment: int) -> None:
    assert planned_time(run_key(name, moment)) == EPOCH + timedelta(microseconds=moment)


@pytest.mark.parametrize("key", ["", "nightly", "nightly@", "@", "nightly@2026-11-28T03:00:00", "nightly@yesterdayZ"])
def test_other_keys_have_no_time(key: str) -> None:
    with pytest.raises(ValueError, match="is no key of a scheduled run"):
        planned_time(key)
