"""``python -m demos.trip --trips N``: totals, kills, and journals that are carried on with."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from demos.killing import HALF_WAY
from demos.trip import ACTORS
from demos.trip.load import CAPACITY, sellers_for, wishes
from demos.trip.services import Cab, CloseDesk, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime import Runtime
from tests.demos.conftest import Run, Start, kill_at_work, kill_half_way, stop_by_signal, totals


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'trips.db'}"


async def open_for_finn(journal: str) -> None:
    """Open what the doomed process needs, with the desk closed."""
    async with Runtime(journal, ACTORS) as runtime:
        await runtime.ask(Flight.at("F"), OpenFlight(1))
        await runtime.ask(Hotel.at("H"), OpenHotel(1))
        await runtime.ask(Cab.at("C"), OpenCab(1))
        await runtime.ask(Cab.at("C"), CloseDesk())


def test_the_totals_as_json(trip: Run, journal: str) -> None:
    found = totals(trip, "--trips", "200", "--seed", "7", "--journal", journal)
    assert set(found) >= {"booked", "compensated", "parked", "events", "trips_per_second", "books_balance", "journal"}
    assert found["booked"] + found["compensated"] == 200
    assert found["booked"] > found["compensated"] > 0
    assert (found["parked"], found["resumed"], found["books_balance"], found["journal"]) == (0, 0, True, journal)
    assert found["events"] > 200 * 10
    assert found["trips_per_second"] > 0


def test_killed_actors_change_nothing(trip: Run) -> None:
    found = totals(trip, "--trips", "300", "--kill", "0.05", "--seed", "7")
    assert found["booked"] + found["compensated"] == 300
    assert (found["parked"], found["books_balance"]) == (0, True)
    assert found["journal"].startswith("sqlite:")


def test_the_totals_for_people(trip: Run) -> None:
    done = trip("--trips", "50", "--kill", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\033" not in done.stdout
    assert "\r" not in done.stdout
    for word in ("Journal: sqlite:", "booked", "compensated", "parked", "trips a second", "p50", "p99", "were killed"):
        assert word in done.stdout


def test_a_bar_on_a_terminal(on_a_terminal: Callable[..., str]) -> None:
    shown = on_a_terminal("--trips", "50")
    assert "█ 50 of 50 trips" in shown


def test_no_trips_at_all(trip: Run) -> None:
    found = totals(trip, "--trips", "0")
    assert (found["booked"], found["compensated"], found["trips_per_second"]) == (0, 0, 0.0)
    assert trip("--trips", "0").returncode == 0


def test_the_story_as_json(trip: Run) -> None:
    found = totals(trip)
    assert (found["booked"], found["compensated"], found["parked"], found["books_balance"]) == (6, 2, 0, True)


def test_a_journal_is_carried_on_with(trip: Run, journal: str) -> None:
    first = totals(trip, "--trips", "100", "--seed", "1", "--journal", journal)
    second = totals(trip, "--trips", "100", "--seed", "1", "--journal", journal)
    for name in ("booked", "compensated", "books_balance"):  # the same again, and not the trips of the first run
        assert second[name] == first[name]


async def test_an_unfinished_trip_is_finished_first(trip: Run, start: Start, journal: str) -> None:
    await open_for_finn(journal)
    kill_half_way(start, "demos.trip.doomed", journal, "finn", "Finn", "F", "H", "C")
    found = totals(trip, "--trips", "10", "--journal", journal)
    assert (found["resumed"], found["booked"], found["books_balance"]) == (1, 11, True)


async def test_the_story_finishes_what_is_unfinished_too(trip: Run, start: Start, journal: str) -> None:
    await open_for_finn(journal)
    kill_half_way(start, "demos.trip.doomed", journal, "finn", "Finn", "F", "H", "C")
    done = trip("--journal", journal)
    assert (done.returncode, done.stderr) == (0, "")
    assert "unfinished trip, finn" in done.stdout
    assert "Done: 1 booked, 0 compensated, 0 parked." in done.stdout


async def test_the_doomed_process_ends_with_the_one_that_started_it(start: Start, journal: str) -> None:
    await open_for_finn(journal)
    with start("demos.trip.doomed", journal, "finn", "Finn", "F", "H", "C") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == f"{HALF_WAY}\n"
        process.stdin.close()
        process.wait()
    assert process.returncode == 0


def test_killed_at_work(trip: Run, start: Start, journal: str) -> None:
    kill_at_work(start, "demos.trip", journal, "--trips", "5000", word="trips are booked")
    found = totals(trip, "--trips", "10", "--journal", journal)
    assert found["books_balance"]
    assert found["parked"] == 0
    assert found["booked"] + found["compensated"] == found["resumed"] + 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("more", [(), ("--trips", "5000")])
def test_stopped_by_a_signal(
    start: Start, trip: Run, journal: str, more: tuple[str, ...], number: signal.Signals
) -> None:
    stop_by_signal(start, "demos.trip", journal, *more, number=number)
    assert totals(trip, "--trips", "10", "--journal", journal)["books_balance"]


def test_stopped_by_ctrl_c_twice(start: Start, trip: Run, journal: str) -> None:
    with start("demos.trip", "--journal", journal, "--trips", "5000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any("trips are booked" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode in (130, -signal.SIGINT)  # in good order already, or at once
    assert "Traceback" not in said
    assert totals(trip, "--trips", "10", "--journal", journal)["books_balance"]


def test_wishes_follow_from_the_seed() -> None:
    assert list(wishes(50, 7, "run0")) == list(wishes(50, 7, "run0"))
    assert list(wishes(50, 7, "run0")) != list(wishes(50, 8, "run0"))
    assert {wish.trip for wish in wishes(50, 7, "run0")}.isdisjoint(wish.trip for wish in wishes(50, 7, "run9"))
    assert [sellers_for(trips) * CAPACITY for trips in (0, 1, 20, 21)] == [0, 20, 20, 40]
