"""A journal is checked against today's code: what would not load is named, counted and found."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import Command, DefinitionError, Event, Saga, Service, upcast
from persistence import Append, Journal, MemoryJournal, NewEvent
from runtime import CheckReport, ManualClock, Runtime, check_journal, journal_check
from tests.runtime.ages import first, today
from tests.runtime.test_evolution import OLD, PAST, Place, flight, live
from tests.runtime.tools import quiet


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path if request.param == "sqlite" else None)


async def checked(place: Place, actors: list[type]) -> CheckReport:
    journal = place.journal
    await journal.open()
    try:
        return await check_journal(journal, actors)
    finally:
        await journal.close()


async def test_all_is_well(place: Place) -> None:
    await live(place)
    for actors in (first.ALL, today.ALL):
        report = await checked(place, actors)
        assert report.ok
        assert str(report) == "all 5 events would load"
        assert [(one.actor, one.type, one.revision, one.count, one.position, one.key) for one in report.stored] == [
            ("Flight", "SeatTaken", 1, 2, 1, "f"),
            ("Flight", "Noted", 1, 1, 2, "f"),
            ("Flight", "SeatsSwapped", 1, 1, 4, "f"),
            ("Flight", "SeatReleased", 1, 1, 5, "f"),
        ]


async def test_each_sort_that_would_not_load_is_told_once(place: Place) -> None:
    @upcast("SeatHeld", 1)
    def loses_the_seat(stored: dict[str, Any]) -> dict[str, Any]:
        return {"trip": stored["trip"]}

    await live(place)
    async with Runtime(place.journal, [flight(), today.Book, today.Table]) as runtime:
        await runtime.ask(flight().at("g"), today.Act(held=today.SeatHeld("c", "F", 9)))
    broken = flight(upcasts=(loses_the_seat, *today.Flight.upcasts[1:3]))
    report = await checked(place, [broken])
    assert not report.ok
    where = [(one.actor, one.what, one.count, one.position, one.key) for one in report.problems]
    assert where == [
        ("Flight", "SeatTaken revision 1", 2, 1, "f"),
        ("Flight", "Noted revision 1", 1, 2, "f"),
        ("Flight", "SeatsSwapped revision 1", 1, 4, "f"),
    ]
    heading, taken, noted, _ = str(report).splitlines()
    assert heading == "these 3 types would not load with today's code (7 events were checked):"
    assert taken == (
        "  SeatTaken revision 1 of Flight: 2 times, first at position 1 in Flight/f: "
        "the upcast rows_are_apart of SeatHeld revision 2 failed: KeyError: 'seat'"
    )
    assert (
        "  Noted revision 1 of Flight: 1 time, first at position 2 in Flight/f: an event that Flight doesn't" in noted
    )
    assert [(one.type, one.revision, one.count) for one in report.stored][-1] == ("SeatHeld", 3, 1)


async def test_a_payload_that_no_longer_fits_is_found(place: Place) -> None:
    await live(place)

    class SeatTaken(Event):
        trip: str
        seat: int
        klass: str

    class Flight(Service[first.Seats, first.Do, SeatTaken | first.SeatReleased | first.SeatsSwapped | first.Noted]):
        initial = first.Seats()

    (problem,) = (await checked(place, [Flight])).problems
    assert (problem.what, problem.count) == ("SeatTaken revision 1", 2)
    assert problem.reason == "not a SeatTaken: Object missing required field `klass`"


async def test_a_journal_that_lives_in_memory_is_really_read() -> None:
    journal = MemoryJournal()
    async with Runtime(journal, first.ALL) as runtime:
        await runtime.ask(OLD, first.Do(PAST[0]))
        assert journal.records[0].value is not None
    assert (await check_journal(journal, [today.Flight])).ok

    @upcast("SeatHeld", 1)
    def fails(stored: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no idea")

    assert not (await check_journal(journal, [flight(upcasts=(fails, *today.Flight.upcasts[1:]))])).ok
    wrong = await check_journal(journal, [today.Book])
    assert [(one.what, one.key) for one in wrong.problems] == [("SeatTaken", "f")]
    assert "there is no actor 'Flight' here" in wrong.problems[0].reason


async def test_what_sagas_and_reminders_need_to_go_on_is_read(place: Place) -> None:
    clock = ManualClock()
    async with Runtime(place.journal, first.ALL, clock=clock) as runtime:
        await runtime.tell(first.Book.at("done"), first.Begin("done"))
        await quiet(runtime)
        clock.advance(3_601)
        await runtime.result(first.Book.at("done"))
        await runtime.tell(first.Book.at("open"), first.Begin("open"))
        await runtime.ask(OLD, first.Do(first.Noted("later")))
        await runtime.remind(OLD, "outside", first.Do(first.Noted("later")), after=timedelta(days=1))
        await quiet(runtime)
    assert str(await checked(place, today.ALL)) == str(await checked(place, first.ALL))

    class Other(Command["Flight", int]):
        """No alias for what is stored."""

    class Flight(Service[first.Seats, Other, first.SeatTaken | first.SeatReleased | first.Noted]):
        initial = first.Seats()

    report = await checked(place, [Flight, today.Book])
    assert [(one.actor, one.what, one.key, one.count) for one in report.problems] == [
        ("Book", "command of step 'take'", "open", 1),
        ("Book", "undo of step 'take'", "open", 1),
        ("Flight", "reminder 'later'", "f", 1),
        ("runtime.reminders", "reminder 'outside'", "Flight/f", 1),
    ]
    assert {one.reason for one in report.problems} == {"Flight takes no command Do"}
    stored = await place.records()
    assert all(stored[one.position - 1].stream == (one.actor, one.key) for one in report.problems)

    class Renamed(Command["Book", first.Booked]):
        trip: str

    class Act(Command["Flight", str], aliases=("Do",)):
        event: first.SeatTaken | first.SeatReleased | first.Noted

    class Book(Saga[Renamed, first.Booked]):
        """Its command has lost the name that is stored."""

    class Flight2(Service[first.Seats, Act, first.SeatTaken | first.SeatReleased | first.Noted]):
        initial = first.Seats()

    Flight2.__name__ = "Flight"
    report = await checked(place, [Flight2, Book])
    assert [(one.what, one.reason) for one in report.problems] == [
        ("command that it began with", "Book takes no command Begin"),
        ("reply to step 'take'", "not a str: Expected `str`, got `int`"),
    ]


async def test_progress_is_told_page_by_page(place: Place) -> None:
    async with Runtime(place.journal, first.ALL) as runtime:
        for number in range(1_200):
            await runtime.tell(first.Flight.at(str(number % 7)), first.Do(first.Noted("x")))
        await quiet(runtime)
    journal: Journal = place.journal
    await journal.open()
    told: list[tuple[int, int]] = []

    def progress(position: int, last: int) -> None:
        told.append((position, last))

    report = await check_journal(journal, first.ALL, progress)
    await journal.close()
    assert told == [(500, 1_200), (1_000, 1_200), (1_200, 1_200)]
    assert (report.events, report.stored[0].count) == (1_200, 1_200)


async def test_the_report_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_check, "MOST_SORTS", 2)
    journal = MemoryJournal()
    events = [NewEvent(f"Type{number}", b"{}", b"{}") for number in range(5)]
    await journal.append([(Append(("Flight", "f"), 0, events, 0),)])
    report = await check_journal(journal, first.ALL)
    assert (len(report.stored), len(report.problems), report.left_out, report.ok) == (2, 2, 3, False)
    assert str(report).endswith("\n  and 3 more")


async def test_code_that_can_not_work_is_told_at_once() -> None:
    late = flight()
    late.upcasts = ()
    with pytest.raises(DefinitionError, match="nothing leads on"):
        await check_journal(MemoryJournal(), [late])


async def test_what_is_erased_is_no_problem() -> None:
    journal = MemoryJournal()
    events = [NewEvent("Gone", b"{}", b"{}") for _ in range(3)]
    await journal.append([(Append(("Nobody", "n"), 0, events, 0),)])
    assert [one.count for one in (await check_journal(journal, first.ALL)).problems] == [3]
    await journal.append([(Append(("Nobody", "n"), 3, [], 0, erase_before=4),)])
    report = await check_journal(journal, first.ALL)
    assert report.events == 3
    assert [(one.count, one.position) for one in report.problems] == [(1, 3)]  # the last one is always kept
