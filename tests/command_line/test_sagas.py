"""sagas and timeline: where sagas have come to, and what happened in one."""

import asyncio
from pathlib import Path

import pytest

from actors import Refused
from demos.trip import ACTORS
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime import Runtime
from tests.command_line.conftest import Run


@pytest.fixture
def two(tmp_path: Path) -> str:
    """A journal with a trip that was booked and one that was refused, and one that is parked."""
    url = f"sqlite:{tmp_path / 'two.db'}"

    async def book() -> None:
        async with Runtime(url, ACTORS) as runtime:
            await runtime.ask(Flight.at("F"), OpenFlight(1))
            await runtime.ask(Hotel.at("H"), OpenHotel(2))
            await runtime.ask(Cab.at("C"), OpenCab(2))
            await runtime.ask(TripSaga.at("one"), BookTrip("ana", "F", "H", "C"))
            with pytest.raises(Refused):
                await runtime.ask(TripSaga.at("two"), BookTrip("bob", "F", "H", "C"))

    asyncio.run(book())
    return url


def test_sagas_are_listed_with_where_they_have_come_to(process: Run, two: str) -> None:
    done = process("sagas", two)
    heading, *rows = done.lines
    assert heading.split() == ["saga", "status", "started", "steps", "why"]
    assert [row.split()[:2] for row in rows] == [["TripSaga/one", "completed"], ["TripSaga/two", "compensated"]]
    assert "full" in rows[1] or "sold" in rows[1] or "no" in rows[1]


def test_sagas_are_chosen_by_status_and_class(process: Run, two: str) -> None:
    (found,) = process("sagas", two, "--status", "completed", "--json").objects
    assert (found["category"], found["key"], found["status"]) == ("TripSaga", "one", "completed")
    assert [step["name"] for step in found["steps"]] == ["flight", "hotel", "cab"]
    assert {step["status"] for step in found["steps"]} == {"done"}
    assert found["steps"][0]["to"] == "Flight/F"
    assert len(process("sagas", two, "--type", "TripSaga", "--json").objects) == 2
    assert process("sagas", two, "--type", "Flight", "--json").objects == []
    assert process("sagas", two, "--status", "parked", "--json").objects == []
    assert "invalid choice: 'odd'" in process("sagas", two, "--status", "odd").err


def test_the_timeline_of_a_saga(process: Run, two: str) -> None:
    heading, *rows = process("timeline", two, "TripSaga/one").lines
    assert heading.split() == ["time", "after", "step", "what", "who"]
    column = heading.index("what")
    assert {row[column - 1] for row in rows} == {" "}, "columns stand below one another"
    assert rows[-1][column:].rstrip() == "completed"
    assert [row.split()[-1] for row in rows[1:3]] == ["Flight/F", "Flight/F"]
    assert rows[-1].rstrip().endswith("completed")
    found = process("timeline", two, "TripSaga/two", "--json").objects
    assert [one["mark"] for one in found][-1] == "end"
    assert found[-1]["what"] == "compensated"
    assert found[1] == {**found[1], "step": "flight", "mark": "sent", "what": "HoldSeat", "who": "Flight/F"}


def test_the_timeline_as_a_diagram(process: Run, two: str) -> None:
    lines = process("timeline", two, "TripSaga/one", "--mermaid").lines
    assert lines[0] == "sequenceDiagram"
    assert lines[1:3] == ["    participant saga as TripSaga/one", "    participant actor1 as Flight/F"]


def test_what_is_no_saga_is_told(process: Run, two: str) -> None:
    assert process("timeline", two, "Flight/F").complaint == (
        "Flight/F is no saga; the command sagas lists those that there are"
    )
    assert "there is no stream TripSaga/nine" in process("timeline", two, "TripSaga/nine").complaint
