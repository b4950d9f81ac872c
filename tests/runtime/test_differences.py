"""The difference between two moments of a service."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from actors import NotTaken
from runtime import Change, ManualClock, Position, Runtime
from runtime.differences import MOST_EVENTS, differences
from tests.runtime.cast import ALL, Hold, Look, Release, Room, Trip, WasHeld, WasReleased
from tests.runtime.tools import quiet

ROOM = Room.at("r")


async def test_between_versions_times_and_positions() -> None:
    clock = ManualClock()
    start = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        await runtime.ask(Room.at("other"), Hold("x"))
        for trip in ("a", "b"):
            await runtime.ask(ROOM, Hold(trip))
            clock.advance(60)
        await runtime.ask(ROOM, Look(), id="look")  # a version without an event of the author's
        await runtime.ask(ROOM, Release("a"))
        found = await runtime.diff(ROOM, 1, 4)
        assert found.versions == (1, 4)
        assert found.changes == (
            Change(("held", 0), "a", "b"),
            Change(("count",), 1, 2),
        )
        assert [entry.event for entry in found.events] == [WasHeld("b"), {}, WasReleased("a")]
        assert (found.before, found.after) == (
            await runtime.state_of(ROOM, version=1),
            await runtime.state_of(ROOM, version=4),
        )
        assert str(found) == "held[0]: 'a' -> 'b'\ncount: 1 -> 2"
        assert await runtime.diff(ROOM, start) == found
        assert await runtime.diff(ROOM, Position(2), Position(5)) == found
        assert await runtime.diff(ROOM, start + timedelta(seconds=59), 4) == found
        back = await runtime.diff(ROOM, 4, 1)
        assert back.events == found.events
        assert [(change.before, change.after) for change in back.changes] == [("b", "a"), (2, 1)]
        first = await runtime.diff(ROOM, start - timedelta(seconds=1), 1)
        assert first.changes == (Change(("held", 0), UNSET, "a"), Change(("count",), 0, 1))
        assert (first.versions, len(first.events)) == ((0, 1), 1)
        for same in (await runtime.diff(ROOM, 2, 2), await runtime.diff(ROOM, 4), await runtime.diff(Room.at("no"), 0)):
            assert (same.changes, same.events) == ((), ())


async def test_the_events_between_have_a_limit() -> None:
    async with Runtime("memory:", ALL) as runtime:
        for number in range(MOST_EVENTS + 5):
            await runtime.tell(ROOM, Hold(str(number)))
        await quiet(runtime)
        found = await runtime.diff(ROOM, 2)
        assert [entry.event.trip for entry in found.events] == [str(n) for n in range(2, MOST_EVENTS + 2)]
        assert found.after.count == MOST_EVENTS + 5


async def test_only_services_and_only_times_with_a_zone() -> None:
    async with Runtime("memory:", ALL) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="is no service"):
            await anyone.diff(Trip.at("t"), 1)
        with pytest.raises(ValueError, match="could be any time zone"):
            await runtime.diff(ROOM, datetime(2020, 1, 1))  # noqa: DTZ001


class Leg(msgspec.Struct):
    city: str
    stops: list[int] = []


class Plan(msgspec.Struct):
    legs: dict[str, Leg]
    more: Any = None


def test_the_smallest_parts_that_differ_are_named() -> None:
    before = Plan({"a": Leg("Rome", [1, 2]), "b": Leg("Oslo")}, more={"x": (1, 2)})
    after = Plan({"a": Leg("Rome", [1, 3, 4]), "c": Leg("Bonn")}, more={"x": [1, 2]})
    assert list(differences(before, after)) == [
        Change(("legs", "a", "stops", 1), 2, 3),
        Change(("legs", "a", "stops", 2), UNSET, 4),
        Change(("legs", "b"), Leg("Oslo"), UNSET),
        Change(("legs", "c"), UNSET, Leg("Bonn")),
        Change(("more", "x"), (1, 2), [1, 2]),
    ]
    assert str(next(differences(before, after))) == "legs['a'].stops[1]: 2 -> 3"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)


def put_back(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """Return a value with one part replaced."""
    if not path:
        return part
    key, rest = path[0], path[1:]
    parts: dict[Any, Any] = dict(value) if isinstance(value, dict) else dict(enumerate(value))  # pyright: ignore[reportUnknownArgumentType]
    parts[key] = put_back(parts.get(key), rest, part)
    return parts if isinstance(value, dict) else list(parts.values())


def without_gaps(value: Any) -> Any:
    """Return a value without the parts that are not there."""
    if value.__class__ is dict:
        return {key: without_gaps(part) for key, part in value.items() if part is not UNSET}
    if value.__class__ is list:
        return [without_gaps(part) for part in value if part is not UNSET]
    return value


@given(VALUES, VALUES)
def test_the_changes_lead_from_the_one_to_the_other(before: Any, after: Any) -> None:
    made = before
    for change in differences(before, after):
        made = put_back(made, change.path, change.after)
    assert without_gaps(made) == after
