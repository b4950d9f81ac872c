"""Events that were written by old classes are read by today's: by services, sagas, read models and who looks back."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import new_class
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Event, JournalMismatch, Meta, Parked, RestartPolicy, Service, Statement, Upcast, upcast
from actors.messages import MessageMeta
from persistence import Journal, Record
from persistence.codec import encode
from persistence.opening import journal_of
from runtime import ManualClock, Runtime
from runtime.kinds import EventMeta, Kind
from tests.runtime.ages import first, today
from tests.runtime.tools import HeldJournal, quiet, restart_of

OLD, NEW = first.Flight.at("f"), today.Flight.at("f")
PAST = (
    first.SeatTaken("a", 12),
    first.Noted("hello"),
    first.SeatTaken("b", 34),
    first.SeatsSwapped("a", 34, "b", 12),
    first.SeatReleased("b"),
)
"""What happened to the flight in the first age: positions 1 to 5."""
ROWS = [
    (1, "SeatHeld", "a", "12"),
    (3, "SeatHeld", "b", "34"),
    (4, "SeatReleased", "a", "swap"),
    (4, "SeatReleased", "b", "swap"),
    (4, "SeatHeld", "a", "34"),
    (4, "SeatHeld", "b", "12"),
    (5, "SeatReleased", "b", ""),
]


class Place:
    """Where a journal is kept between two runtimes."""

    def __init__(self, folder: Path | None) -> None:
        self._url = "" if folder is None else f"sqlite:{folder / 'journal.db'}"
        self._journal = HeldJournal()

    @property
    def journal(self) -> Journal:
        """The journal, as one that comes anew finds it."""
        if self._url:
            return journal_of(self._url, "full")
        self._journal = restart_of(self._journal.records)
        return self._journal

    async def records(self) -> list[Record]:
        journal = self.journal
        await journal.open()
        try:
            return await journal.read_all()
        finally:
            await journal.close()


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path if request.param == "sqlite" else None)


async def live(place: Place, events: Sequence[Any] = PAST) -> None:
    """Let the first age happen."""
    async with Runtime(place.journal, first.ALL) as runtime:
        for event in events:
            await runtime.ask(OLD, first.Do(event))


async def test_a_service_folds_what_old_classes_wrote(place: Place) -> None:
    await live(place)
    async with Runtime(place.journal, today.ALL) as runtime:
        assert await runtime.ask(NEW, today.Act()) == 1
        assert (await runtime.state_of(NEW)).seats == {"a": (3, "4")}
        assert (await runtime.state_of(NEW, version=3)).seats == {"a": (1, "2"), "b": (3, "4")}
        assert (await runtime.state_of(NEW, version=4)).seats == {"a": (3, "4"), "b": (1, "2")}


async def test_todays_revision_is_stored_and_read_back(place: Place) -> None:
    await live(place)
    async with Runtime(place.journal, today.ALL) as runtime:
        await runtime.ask(NEW, today.Act(held=today.SeatHeld("c", "F", 9)), id="id")
    async with Runtime(place.journal, today.ALL) as runtime:
        assert (await runtime.state_of(NEW)).seats == {"a": (3, "4"), "c": (9, "F")}
        assert await runtime.ask(NEW, today.Act(held=today.SeatHeld("c", "F", 9)), id="id") == 1
    *_, released, held = await place.records()
    assert b"revision" not in released.meta
    assert msgspec.json.decode(released.meta)["reply"] == 1
    assert msgspec.json.decode(held.meta)["revision"] == 3
    assert (held.type, msgspec.json.decode(held.data)["row"]) == ("SeatHeld", 9)


async def test_a_rebuilt_read_model_is_equal_to_the_live_one(place: Place) -> None:
    await live(place)
    async with Runtime(place.journal, today.ALL) as runtime:
        await runtime.ask(NEW, today.Act(held=today.SeatHeld("c", "F", 9)))
        rows = await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        assert rows == [*ROWS, (6, "SeatReleased", "nobody", ""), (7, "SeatHeld", "c", "9F")]
    anew = Place(None)
    anew._journal = HeldJournal(await place.records())  # pyright: ignore[reportPrivateUsage]
    async with Runtime(anew.journal, today.ALL) as runtime:
        assert await runtime.ask(today.Table.at(), today.Rows(), consistent=True) == rows


async def test_of_several_events_a_read_model_gets_those_that_it_follows(place: Place) -> None:
    class Releases(today.Table):
        def project(self, event: today.SeatReleased, meta: Meta) -> Iterator[Statement]:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
            yield from super().project(event, meta)

    Releases.__name__ = "Table"
    await live(place)
    async with Runtime(place.journal, [today.Flight, Releases]) as runtime:
        rows = await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        assert rows == [row for row in ROWS if row[1] == "SeatReleased"]


async def test_the_history_tells_what_became_of_what_was_stored(place: Place) -> None:
    await live(place)
    async with Runtime(place.journal, today.ALL) as runtime:
        entries = [entry async for entry in runtime.history(NEW)]
    assert [(entry.meta.version, entry.meta.position, type(entry.event).__name__) for entry in entries] == [
        (position, position, name) for position, name, *_ in ROWS
    ]
    assert [entry.type for entry in entries][:3] == ["SeatTaken", "SeatTaken", "SeatsSwapped"]
    assert entries[4].event == today.SeatHeld("a", "4", 3)
    assert len({entry.meta.event_id for entry in entries[2:6]}) == 1


async def test_a_saga_that_is_under_way_goes_on_in_todays_code(place: Place) -> None:
    clock = ManualClock()
    async with Runtime(place.journal, first.ALL, clock=clock) as runtime:
        await runtime.tell(first.Book.at("t"), first.Begin("t"))
        await runtime.tell(OLD, first.Do(first.Noted("later")))
        await quiet(runtime)
    async with Runtime(place.journal, today.ALL, clock=clock) as runtime:
        assert await runtime.unfinished() == [today.Book.at("t")]
        await quiet(runtime)
        clock.advance(3_601)
        await quiet(runtime)
        assert await runtime.result(today.Book.at("t")) == today.TripBooked("t", 7)
        assert await runtime.ask(today.Book.at("t"), today.Start("t")) == today.TripBooked("t", 7)
        await quiet(runtime)
        assert await runtime.reminders(NEW) == []
        rows = await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        assert [row[1:] for row in rows] == [("SeatHeld", "t", "11"), ("TripBooked", "t", "7")]
        trail = await runtime.trail(today.Book.at("t"))
        assert trail[-1].event == today.TripBooked("t", 7)
        assert today.SeatHeld("t", "1", 1) in [entry.event for entry in trail]
        assert runtime.parked() == {}
    booked = next(record for record in await place.records() if record.type == "TripBooked")
    assert msgspec.json.decode(booked.meta)["revision"] == 2


async def test_a_saga_that_goes_back_undoes_with_what_old_code_wrote_down(place: Place) -> None:
    clock = ManualClock()
    hurried = type("Book", (first.Book,), {"deadline": timedelta(minutes=1)})
    async with Runtime(place.journal, [hurried, first.Flight], clock=clock) as runtime:
        await runtime.tell(first.Book.at("t"), first.Begin("t"))
        await quiet(runtime)
    async with Runtime(place.journal, today.ALL, clock=clock) as runtime:
        await quiet(runtime)
        clock.advance(61)
        await quiet(runtime)
        assert await runtime.unfinished() == []
        assert (await runtime.state_of(NEW)).seats == {}


async def test_the_result_of_an_old_saga_is_an_event_of_todays(place: Place) -> None:
    clock = ManualClock()
    async with Runtime(place.journal, first.ALL, clock=clock) as runtime:
        await runtime.tell(first.Book.at("t"), first.Begin("t"))
        await quiet(runtime)
        clock.advance(3_601)
        assert await runtime.result(first.Book.at("t")) == first.Booked("t")
    async with Runtime(place.journal, today.ALL, clock=clock) as runtime:
        rows = await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        assert rows[-1][1:] == ("TripBooked", "t", "0")


async def test_a_renamed_command_that_comes_again_gets_its_first_reply(place: Place) -> None:
    async with Runtime(place.journal, first.ALL) as runtime:
        await runtime.ask(OLD, first.Do(first.SeatTaken("a", 1)))
        assert await runtime.ask(OLD, first.Do(first.SeatTaken("b", 2)), id="id") == 1
    async with Runtime(place.journal, today.ALL) as runtime:
        assert await runtime.ask(NEW, today.Act(first.SeatTaken("b", 2)), id="id") == 1


# -- trouble ------------------------------------------------------------------------------------------------------


def flight(**body: Any) -> Any:
    """Return another version of today's flight."""
    body = {"restart": RestartPolicy(restarts=0), "__module__": __name__, **body}
    return type("Flight", (today.Flight,), body)


@upcast("SeatHeld", 1)
def fails(stored: dict[str, Any]) -> dict[str, Any]:
    raise LookupError("no idea")


@upcast("SeatHeld", 1)
def is_odd(stored: dict[str, Any]) -> Any:
    return [1]


@upcast("SeatHeld", 1)
def does_not_fit(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "seat": "12", "trip": 5}


@upcast("SeatHeld", 1)
def can_not_be_stored(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "seat": "12", "trip": object()}


@upcast("SeatHeld", 1, into={"SeatReleased": 1})
def strays(stored: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("SeatHeld", stored)]


@upcast("SeatHeld", 1, into={"SeatReleased": 1})
def has_no_end(stored: dict[str, Any]) -> Any:
    while True:
        yield "SeatReleased", stored


WHERE = r"SeatTaken at version 1 of stream Flight/f \(position 1\)"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (fails, "the upcast fails of SeatHeld revision 1 failed: LookupError: no idea"),
        (is_odd, "the upcast is_odd of SeatHeld revision 1 must give the fields as a mapping, not a list"),
        (does_not_fit, "Expected `str`, got `int` - at `\\$.trip`"),
        (can_not_be_stored, "what the upcasts made of it, SeatHeld, can't be stored"),
        (strays, "leads to SeatHeld, which its into= doesn't name"),
        (has_no_end, "make more than 1,000 events of it"),
    ],
)
async def test_an_upcast_that_goes_wrong_parks_its_reader_alone(place: Place, wrong: Upcast, text: str) -> None:
    await live(place)
    async with Runtime(place.journal, first.ALL) as runtime:
        await runtime.ask(first.Flight.at("other"), first.Do(first.Noted("fine")))
    broken = flight(upcasts=(wrong, *today.Flight.upcasts[1:]))
    async with Runtime(place.journal, [broken, today.Book, today.Table]) as runtime:
        with pytest.raises(Parked, match=f"{WHERE} .*{text}"):
            await runtime.ask(NEW, today.Act())
        with pytest.raises(Parked, match=f"{WHERE} .*{text}"):
            await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        with pytest.raises(JournalMismatch, match=text):
            await runtime.state_of(NEW)
        assert await runtime.ask(broken.at("other"), today.Act()) == 0
        assert set(runtime.parked()) == {NEW, today.Table.at()}


async def test_rows_of_a_record_come_all_or_none(place: Place) -> None:
    """The third of the four events of one record can't be projected: no row of it is there, and no checkpoint."""

    class Table(today.Table):
        def project(self, event: today.SeatHeld | today.SeatReleased | today.TripBooked, meta: Any) -> Any:
            if event == today.SeatHeld("a", "4", 3):
                raise ValueError("not this one")
            yield from super().project(event, meta)

    Table.retry = msgspec.structs.replace(Table.retry, budget=timedelta(0))
    Table.parked_limit = 0
    await live(place)
    async with Runtime(place.journal, [today.Flight, Table], views="memory:") as runtime:
        with pytest.raises(Parked, match=r"behind position 3: .*: not this one"):
            await runtime.ask(Table.at(), today.Rows(), consistent=True)
        assert await runtime.ask(Table.at(), today.Rows()) == ROWS[:2]


async def test_what_no_class_takes_stops_its_reader(place: Place) -> None:
    await live(place)
    forgetful = flight(upcasts=today.Flight.upcasts[:2])
    async with Runtime(place.journal, [forgetful, today.Table]) as runtime:
        text = (
            r"stream Flight/f holds an event Noted at version 2 \(position 2\) that Flight doesn't know; add its class"
        )
        with pytest.raises(Parked, match=text):
            await runtime.ask(NEW, today.Act())
        with pytest.raises(Parked, match=text):
            await runtime.ask(today.Table.at(), today.Rows(), consistent=True)


async def test_code_that_is_older_than_the_journal_says_so(place: Place) -> None:
    async with Runtime(place.journal, today.ALL) as runtime:
        await runtime.ask(NEW, today.Act(held=today.SeatHeld("c", "F", 9)))

    class SeatHeld(Event):
        trip: str
        seat: int

    class Flight(Service[today.Seats, today.Act, SeatHeld | today.SeatReleased]):
        initial = today.Seats()
        restart = RestartPolicy(restarts=0)

        def evolve(self, state: today.Seats, event: Any) -> today.Seats:
            return state

    async with Runtime(place.journal, [Flight]) as runtime:
        text = (
            r"Flight/f holds an event SeatHeld revision 3 at version 2 \(position 2\) that Flight doesn't know; "
            "today's class is at revision 1; run the code that wrote it, or newer"
        )
        with pytest.raises(Parked, match=text):
            await runtime.ask(NEW, today.Act())


def views(folder: Path) -> set[Path]:
    return set(folder.glob("journal.db.Table-*[0-9a-f]"))


async def test_another_chain_builds_read_models_anew(tmp_path: Path) -> None:
    place = Place(tmp_path)
    await live(place)
    async with Runtime(place.journal, today.ALL) as runtime:
        await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
    files = views(tmp_path)
    async with Runtime(place.journal, today.ALL) as runtime:
        assert await runtime.ask(today.Table.at(), today.Rows(), consistent=True) == ROWS
    assert views(tmp_path) <= files  # those of older code are cleared away

    @upcast("Noted", 1, into={"SeatReleased": 1})
    def notes_release(stored: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        return [("SeatReleased", {"trip": "note"})]

    other = flight(upcasts=(*today.Flight.upcasts[:3], notes_release))
    async with Runtime(place.journal, [other, today.Book, today.Table]) as runtime:
        rows = await runtime.ask(today.Table.at(), today.Rows(), consistent=True)
        assert rows[1] == (2, "SeatReleased", "note", "")


def test_the_chain_is_checked_when_a_runtime_opens() -> None:
    late = flight()
    late.upcasts = ()  # behind the back of the definition
    with pytest.raises(TypeError, match="nothing leads on from revision 1"):
        Kind(late)


# -- chains of any length -----------------------------------------------------------------------------------------


def numbers(newest: int, adds: Sequence[int]) -> Kind:
    """Return a service whose event Number has so many revisions; each adds a number and renames the field."""
    fields = {"__annotations__": {f"value{newest}": int}, "__module__": __name__}
    event = MessageMeta("Number", (Event,), fields, revision=newest)

    def step(revision: int) -> Upcast:
        @upcast("Number", revision)
        def change(stored: dict[str, Any]) -> dict[str, Any]:
            return {f"value{revision + 1}": stored[f"value{revision}"] + adds[revision - 1]}

        return change

    service: Any = Service
    body = {"initial": first.Seats(), "upcasts": tuple(step(revision) for revision in range(1, newest))}
    return Kind(new_class("Numbers", (service[first.Seats, first.Do, event],), {}, lambda space: space.update(body)))


def written(revision: int, value: int) -> Record:
    """Return a record as the code of this revision wrote it."""
    kind = numbers(revision, [0] * revision)
    make: Any = kind.events["Number"]
    (new,) = kind.new_events([make(value)], encode(EventMeta("cause", "correlation")))
    kind.stamp([new])
    return Record(1, ("Numbers", "k"), 1, new.type, 0, None, new.data, new.meta)


@settings(deadline=None)
@given(st.lists(st.integers(-9, 9), max_size=6), st.lists(st.tuples(st.integers(0, 6), st.integers(-(2**60), 2**60))))
def test_events_of_all_revisions_come_to_the_same_as_events_written_new(
    adds: list[int], stored: list[tuple[int, int]]
) -> None:
    newest = len(adds) + 1
    kind = numbers(newest, adds)
    for at, value in stored:
        revision = min(at, len(adds)) + 1
        (old,) = kind.read(written(revision, value))
        make: Any = kind.events["Number"]
        assert old == make(value + sum(adds[revision - 1 :]))
