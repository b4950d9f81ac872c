"""What a reminder is made of: any name, command and time is set and comes in its time, or is an error of our own."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from persistence import MemoryJournal
from runtime import ManualClock, Runtime
from tests.fuzz.mutations import check_ours, examples, texts
from tests.runtime.cast import ALL, Desk, Hold, Look, Note, Room
from tests.runtime.tools import quiet

durations = st.none() | st.timedeltas() | st.sampled_from(
    [timedelta(0), timedelta(microseconds=1), timedelta(-1), timedelta.max, timedelta.min, timedelta(days=365_000)]
)  # fmt: skip
zones = st.none() | st.just(UTC) | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
moments = st.none() | st.datetimes(timezones=zones) | st.sampled_from(
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)]
)  # fmt: skip
commands: st.SearchStrategy[Any] = st.one_of(
    st.builds(Hold, texts), st.builds(Look), st.builds(Note, texts), st.none(), st.just("no command"), st.just(Hold)
)
places = st.builds(Room.at, texts) | st.builds(Desk.at, texts)


async def is_set(asked: Awaitable[None]) -> bool:
    """Return whether it was set, or refused as it should be."""
    try:
        await asked
    except ValueError:
        return False
    except Exception as error:  # noqa: BLE001 (looked at)
        check_ours(error)
        return False
    return True


async def set_and_read(to: Any, name: str, command: Any, times: dict[str, Any]) -> None:
    """Set a reminder, read it back, let time pass, and drop it."""
    clock = ManualClock()
    async with Runtime(journal := MemoryJournal(), ALL, clock=clock) as runtime:
        before = clock.now()
        if not await is_set(runtime.remind(to, name, command, **times)):
            assert journal.position == 0
            return
        (pending,) = await runtime.reminders(to)
        assert pending.name == name
        due = pending.due
        if times.get("after") is not None:
            assert due >= datetime.fromtimestamp(0, UTC) + timedelta(microseconds=before) + times["after"]
        clock.advance(10)
        await quiet(runtime)
        await runtime.forget(to, name)
        assert [one for one in await runtime.reminders(to) if one.name == name] == []


@given(places, texts, commands, durations, moments, durations)
@examples(150, slow=4)
def test_any_reminder(to: Any, name: str, command: Any, after: Any, at: Any, every: Any) -> None:
    times = {key: value for key, value in (("after", after), ("at", at), ("every", every)) if value is not None}
    asyncio.run(set_and_read(to, name, command, times))


@given(places, st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), durations, moments)
@examples(100, slow=4)
def test_any_time(to: Any, name: str, after: Any, at: Any) -> None:
    """With all else as it should be."""
    times = {"after": after} if at is None else {"at": at}
    asyncio.run(set_and_read(to, name, Hold("t") if to.actor == "Room" else Note("n"), times))
