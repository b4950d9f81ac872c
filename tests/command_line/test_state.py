"""state and check: what a service's events come to, with the actors' classes, which only the runtime knows."""

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from actors import Personal
from demos.trip import ACTORS
from demos.trip.services import Flight
from runtime import KeyFile, Runtime
from tests.command_line.conftest import Run
from tests.extras import need
from tests.runtime.people import ALL as PEOPLE
from tests.runtime.people import ANA, SECRET, Customer, SignUp


@pytest.fixture
def flight(trips: str) -> tuple[str, dict[str, int]]:
    """A flight of the journal, and who sits where in it."""

    async def look() -> dict[str, int]:
        async with Runtime(trips, ACTORS) as runtime:
            return (await runtime.state_of(Flight.at("run0-F1"))).held

    return "Flight/run0-F1", asyncio.run(look())


@pytest.mark.parametrize("actors", ["demos.trip", "demos.trip:ACTORS", "demos.trip.services"])
def test_the_state_as_it_is(process: Run, trips: str, flight: tuple[str, dict[str, int]], actors: str) -> None:
    stream, held = flight
    (found,) = process("state", trips, stream, "--actors", actors, "--json").objects
    assert found == {"category": "Flight", "key": "run0-F1", "state": {"capacity": 20, "held": held}}


def test_the_state_as_it_was(process: Run, trips: str, flight: tuple[str, dict[str, int]]) -> None:
    stream, _ = flight
    third = process("show", trips, stream, "--from", "3", "--to", "3", "--json").objects[0]
    before = datetime.fromisoformat(third["time"]).astimezone(timezone(timedelta(hours=5))) - timedelta(days=1)
    states = [
        process("state", trips, stream, "--actors", "demos.trip", option, value, "--json").objects[0]["state"]["held"]
        for option, value in (
            ("--version", "3"),
            ("--position", str(third["position"])),
            ("--version", "2"),
            ("--position", str(third["position"] - 1)),
            ("--at", before.isoformat()),
        )
    ]
    assert states[0] == states[1] != states[2] == states[3]
    assert states[4] == {}
    done = process("state", trips, stream, "--actors", "demos.trip", "--version", "0")
    assert done.out == '{\n  "capacity": 0,\n  "held": {}\n}\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Flight/run0-F1",), "the following arguments are required: --actors"),
        (("Flight/run0-F1", "--actors", "no.such"), "can't import no.such: ModuleNotFoundError"),
        (("Flight/run0-F1", "--actors", "trips.py"), "trips.py is a file; give the module in it, without .py"),
        (("Flight/run0-F1", "--actors", "demos.trip:NOPE"), "demos.trip has no list NOPE"),
        (("Flight/run0-F1", "--actors", "demos.trip.messages"), "demos.trip.messages is not a list of actors"),
        (("Flight/run0-F1", "--actors", "demos.trip.mailer"), "demos.trip.mailer has no actor Flight, only Mailer"),
        (("Flight/nope", "--actors", "demos.trip"), "there is no stream Flight/nope"),
        (("TripSaga/run0-1", "--actors", "demos.trip"), "TripSaga is no service"),
        (("Flight/run0-F1", "--actors", "demos.trip", "--version", "999"), "Flight/run0-F1 has no version 999 yet"),
        (("Flight/run0-F1", "--actors", "demos.trip", "--position", "9999"), "the journal has no position 9999 yet"),
        (("Flight/run0-F1", "--actors", "demos.trip", "--at", "2999-01-01T00:00Z"), "at=2999-01-01 00:00:00+00:00 has"),
        (("Flight/run0-F1", "--actors", "demos.trip", "--at", "noon"), "argument --at: it must be a time"),
        (
            ("Flight/run0-F1", "--actors", "demos.trip", "--at", "2026-01-01", "--version", "1"),
            "argument --version: not",
        ),
    ],
)
def test_what_has_no_state(process: Run, trips: str, arguments: tuple[str, ...], said: str) -> None:
    done = process("state", trips, *arguments)
    assert done.code == 2
    assert done.complaint.startswith(said)


def test_a_journal_that_fits_the_classes(process: Run, trips: str) -> None:
    done = process("check", trips, "--actors", "demos.trip")
    position = process("info", trips, "--json").objects[0]["position"]
    assert (done.code, done.out) == (0, f"all {position:,} events would load\n")
    (found,) = process("check", trips, "--actors", "demos.trip", "--json").objects
    assert found == {"ok": True, "events": position, "problems": [], "left_out": 0}


def test_a_journal_that_does_not_fit_the_classes(process: Run, trips: str) -> None:
    done = process("check", trips, "--actors", "demos.trip.services")
    assert done.code == 1
    assert "would not load with today's code" in done.lines[0]
    assert any("there is no actor 'TripSaga' here" in line for line in done.lines)
    (found,) = process("check", trips, "--actors", "demos.trip.services", "--json").objects
    assert found["ok"] is False
    assert {problem["actor"] for problem in found["problems"]} == {"TripSaga"}


def test_it_is_listed_where_it_is_installed(process: Run) -> None:
    assert "\n  state " in process("--help").out
    assert "\n  check " in process("--help").out
    assert process("state", "--help").out.startswith("usage: python -m persistence state [URL] STREAM")


def test_what_is_sealed_stays_so(process: Run, tmp_path: Path) -> None:
    """There are no keys here; what the state is folded from is taken as forgotten."""
    need("cryptography")

    async def fill() -> None:
        async with Runtime(
            f"sqlite:{tmp_path / 'people.db'}", PEOPLE, keys=KeyFile(tmp_path / "people.keys")
        ) as runtime:
            await runtime.ask(Customer.at("c"), SignUp(Personal(ANA, SECRET)))

    asyncio.run(fill())
    place = ("sqlite:" + str(tmp_path / "people.db"), "--actors", "tests.runtime.people:ALL")
    done = process("state", place[0], "Customer/c", *place[1:], "--json")
    (found,) = done.objects
    assert found["state"]["email"].keys() == {"subject", "sealed"}
    assert (found["state"]["email"]["subject"], found["state"]["domain"]) == (ANA, "")
    assert SECRET not in done.out
    assert process("check", *place).code == 0
