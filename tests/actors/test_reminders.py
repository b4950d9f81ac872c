"""Reminders as data: what decide may say, and what can't be meant."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from actors import Command, Decision, Event
from actors.reminders import NAME_LIMIT, Forget, Remind
from tests.runtime.cast import Hold, Room

HOLD = Hold("t")
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = 1_000_000_000_000_000


class Rung(Event):
    pass


class Ring(Command["Room", None]):
    pass


def test_a_decision_carries_its_reminders_in_order_and_stays_as_it_is() -> None:
    first = Ring().reply(None, Rung())
    second = first.remind("a", HOLD, after=MINUTE).forget("b").remind("c", HOLD, every=MINUTE, to=Room.at("r"))
    assert first == Decision(None, (Rung(),), ())
    assert second.events == (Rung(),)
    assert second.reminders == (
        Remind("a", HOLD, after=MINUTE),
        Forget("b"),
        Remind("c", HOLD, every=MINUTE, to=Room.at("r")),
    )
    with pytest.raises(AttributeError):
        second.reminders = ()  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("times", "first", "interval"),
    [
        ({"after": MINUTE}, NOW + 60_000_000, 0),
        ({"after": timedelta(0)}, NOW, 0),
        ({"after": timedelta(microseconds=1)}, NOW + 1, 0),
        ({"at": NOON}, 1_767_268_800_000_000, 0),
        ({"at": NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))}, 1_767_268_800_000_000, 0),
        ({"at": datetime(1969, 1, 1, tzinfo=UTC)}, 1, 0),
        ({"every": MINUTE}, NOW + 60_000_000, 60_000_000),
        ({"every": MINUTE, "after": timedelta(0)}, NOW, 60_000_000),
        ({"every": MINUTE, "at": NOON}, 1_767_268_800_000_000, 60_000_000),
    ],
)
def test_when_it_is_due(times: dict[str, Any], first: int, interval: int) -> None:
    reminder = Remind("a", HOLD, **times)
    assert (reminder.first(NOW), reminder.interval) == (first, interval)


@pytest.mark.parametrize(
    ("name", "times", "why"),
    [
        ("", {"after": MINUTE}, "needs a name of 1 to 200 characters, not ''"),
        ("x" * (NAME_LIMIT + 1), {"after": MINUTE}, "needs a name of 1 to 200 characters"),
        ("a", {}, "reminder 'a' doesn't say when; write after="),
        ("a", {"after": MINUTE, "at": NOON}, "both after= and at="),
        ("a", {"after": -MINUTE}, "must wait 0 or more"),
        ("a", {"after": timedelta.max}, "thousand years at the most"),
        ("a", {"at": datetime(2026, 1, 1)}, "could be any time zone"),  # noqa: DTZ001 (that is the mistake)
        ("a", {"at": datetime.max.replace(tzinfo=timezone(-MINUTE))}, "after the year 9998"),
        ("a", {"every": timedelta(0)}, "must repeat after more than 0"),
        ("a", {"every": -MINUTE, "after": MINUTE}, "must repeat after more than 0"),
        ("a", {"every": timedelta.max}, "thousand years at the most"),
    ],
)
def test_what_can_not_be_meant(name: str, times: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Ring().reply(None).remind(name, HOLD, **times)
    with pytest.raises(ValueError, match=why):
        msgspec.structs.replace(Remind("b", HOLD, after=MINUTE), **{"name": name, "after": None, **times})
