"""A journal with some of everything, and what must be equal in a copy of it."""

from collections.abc import Callable, Sequence
from typing import Any

from persistence import AT_ONCE, NEVER, Append, Journal, NewEvent, Stream, StreamState
from persistence.journal import BURIED, DELETED

NOON = 1_700_000_000_123_456
LH441, RITZ, TRIP, OLD, GONE, ODD = (
    ("Flight", "LH441"),
    ("Hotel", "Ritz/42"),
    ("TripSaga", "trip-7"),
    ("Flight", "old"),
    ("Flight", "gone"),
    ("", "\0\n🪑\u2028\x1b[31m"),
)


def event(n: int, name: str = "SeatHeld", id_: str | None = None, tags: tuple[str, ...] = ()) -> NewEvent:
    data = f'{{"n":{n},"text":"\\n é 🪑 \u2028"}}'
    return NewEvent(name, data.encode(), f'{{ "by": "test {n}" }}'.encode(), None, id_, tags)


def put(stream: Stream, expected: int, events: Sequence[NewEvent], command: str | None = None, **more: Any) -> Append:
    return Append(stream, expected, events, NOON + expected, command, **more)


async def fill(journal: Journal) -> None:
    """Write a bit of everything that a journal can hold."""
    await journal.append([(put(LH441, 0, [event(1), event(2, "SeatHeld", "two", ("a", "b\0"))], "c1", wake=NOON + 5),)])
    await journal.append([(put(TRIP, 0, [event(3, "Started")], "c2", wake=AT_ONCE), put(RITZ, 0, [event(4)]))])
    await journal.append([(put(ODD, 0, [event(5, "\n", "\n", ("", "é"))], "\0"),)])
    await journal.append([(put(LH441, 2, [event(6)], "c3"),), (put(LH441, 3, [event(7), event(8)], "c4"),)])
    old = [event(n, "SeatHeld", f"old {n}", ("x",)) for n in range(5)]
    await journal.append([(put(OLD, 0, old, "c5", wake=NEVER),)])
    await journal.append([(put(OLD, 5, [event(9)], erase_before=4),)])
    await journal.append([(put(GONE, 0, [event(10)], "c6"),), (put(GONE, 1, [event(0, DELETED)]),)])
    await journal.append([(put(GONE, 2, [event(11, BURIED)], "c7", erase_before=3),)])
    await journal.append([(put(TRIP, 1, [event(12)], "c8"), put(RITZ, 1, [event(13)], "c8", wake=NOON))])


async def grow(journal: Journal, count: int, pages: int = 250, make: Callable[[int], NewEvent] = event) -> None:
    """Write many events to many streams."""
    for begin in range(0, count, pages):
        await journal.append(
            [(put(("Flight", f"f{n}"), 0, [make(n)], f"c{n}"),) for n in range(begin, min(begin + pages, count))]
        )


async def everything(journal: Journal) -> dict[str, Any]:
    """Return all that must be the same in a copy."""
    records, position = list[Any](), 0
    while page := await journal.read_all(position):
        records += page
        position = page[-1].position
    for record in records:
        record.value = None
    states, number = list[StreamState](), 0
    while found := await journal.streams(number):
        states += found
        number = found[-1].number
    streams = [state.stream for state in states]
    return {
        "position": journal.position,
        "records": records,
        "streams": states,
        "heads": await journal.heads(streams),
        "read": {stream: [record.position for record in await journal.read(stream)] for stream in streams[:100]},
        "by id": await journal.by_ids(ids) if (ids := [each.id for each in records if each.id is not None]) else [],
        "found": [await journal.find(LH441, command) for command in ("c1", "c3", "c4", "no")],
        "unfinished": await journal.unfinished(),
        "sleeping": await journal.sleeping(),
    }
