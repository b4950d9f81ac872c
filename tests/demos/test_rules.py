"""The companies' rules, the read model's tables and the mailer, each alone."""

from pathlib import Path
from typing import Any

import pytest

from actors import Command, Event, Failed, Refused, Service
from demos.trip import ACTORS
from demos.trip.mailer import Confirm, Mailer
from demos.trip.messages import (
    CabsOpened,
    CarHeld,
    CarReleased,
    DeskClosed,
    DeskOpened,
    FlightOpened,
    HotelOpened,
    RoomHeld,
    RoomReleased,
    SeatHeld,
    SeatReleased,
)
from demos.trip.read_models import FlightSales, SalesOf, TripRow, Trips, TripsOf
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import (
    Cab,
    CloseDesk,
    DeskUnreachable,
    Flight,
    HoldCar,
    HoldRoom,
    HoldSeat,
    Hotel,
    OpenCab,
    OpenDesk,
    OpenFlight,
    OpenHotel,
    ReleaseCar,
    ReleaseRoom,
    ReleaseSeat,
)
from runtime import Runtime

AnyCommand = Command[Any, Any]


def given(service: Service[Any, Any, Any], *history: Event) -> Any:
    """Return the state that these events lead to."""
    state = service.initial
    for event in history:
        state = service.evolve(state, event)
    return state


def decided(service: Service[Any, Any, Any], command: AnyCommand, *history: Event) -> tuple[Any, tuple[Event, ...]]:
    """Return the reply and the events that a command leads to."""
    decision = service.decide(given(service, *history), command)
    return decision.reply, decision.events


COMPANIES = [
    (Flight("x"), OpenFlight, HoldSeat, ReleaseSeat, FlightOpened, SeatHeld, SeatReleased),
    (Hotel("x"), OpenHotel, HoldRoom, ReleaseRoom, HotelOpened, RoomHeld, RoomReleased),
    (Cab("x"), OpenCab, HoldCar, ReleaseCar, CabsOpened, CarHeld, CarReleased),
]
COMPANY = ("company", "open_it", "hold", "release", "opened", "held", "released")


@pytest.mark.parametrize(COMPANY, COMPANIES)
def test_what_companies_sell(
    company: Any, open_it: Any, hold: Any, release: Any, opened: Any, held: Any, released: Any
) -> None:
    assert decided(company, open_it(2)) == (None, (opened(2),))
    assert decided(company, hold("t"), opened(2)) == (1, (held("t", 1),))
    assert decided(company, hold("u"), opened(2), held("t", 1)) == (2, (held("u", 2),))
    assert decided(company, hold("t"), opened(2), held("t", 1)) == (1, ())  # one to a trip
    assert decided(company, release("t"), opened(2), held("t", 1)) == (None, (released("t", 1),))
    assert decided(company, release("t"), opened(2)) == (None, ())
    sold_again = opened(2), held("t", 1), held("u", 2), released("t", 1)
    assert decided(company, hold("v"), *sold_again) == (1, (held("v", 1),))


@pytest.mark.parametrize(COMPANY, COMPANIES)
def test_what_companies_refuse(
    company: Any, open_it: Any, hold: Any, release: Any, opened: Any, held: Any, released: Any
) -> None:
    for command, history, reason in (
        (hold("t"), (), "is not open for booking"),
        (hold("u"), (opened(1), held("t", 1)), "is full|has no car left"),
        (open_it(2), (opened(2),), "is open already"),
        (open_it(0), (), "nothing to sell"),
        (open_it(-1), (), "nothing to sell"),
    ):
        with pytest.raises(Refused, match=reason):
            decided(company, command, *history)


def test_a_closed_desk_is_a_failure_and_no_refusal() -> None:
    cab = Cab("x")
    for command in (HoldCar("t"), HoldCar("u")):
        with pytest.raises(DeskUnreachable):
            decided(cab, command, CabsOpened(1), CarHeld("t", 1), DeskClosed())
    assert decided(cab, ReleaseCar("t"), CabsOpened(1), CarHeld("t", 1), DeskClosed())[1] == (CarReleased("t", 1),)
    assert decided(cab, HoldCar("t"), CabsOpened(1), DeskClosed(), DeskOpened())[1] == (CarHeld("t", 1),)
    assert decided(cab, CloseDesk()) == (None, (DeskClosed(),))
    assert decided(cab, CloseDesk(), DeskClosed()) == (None, ())
    assert decided(cab, OpenDesk(), DeskClosed()) == (None, (DeskOpened(),))
    assert decided(cab, OpenDesk()) == (None, ())


def test_a_state_is_not_changed_but_replaced() -> None:
    flight = Flight("x")
    before = given(flight, FlightOpened(2), SeatHeld("t", 1))
    flight.evolve(before, SeatHeld("u", 2))
    flight.evolve(before, SeatReleased("t", 1))
    assert before.held == {"t": 1}


async def test_the_travel_agencys_tables() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await runtime.ask(Flight.at("F"), OpenFlight(3))
        await runtime.ask(Hotel.at("H"), OpenHotel(1))
        await runtime.ask(Cab.at("C"), OpenCab(1))
        await runtime.ask(TripSaga.at("t"), BookTrip("Ana", "F", "H", "C"))
        with pytest.raises(Refused, match="hotel H is full"):
            await runtime.ask(TripSaga.at("u"), BookTrip("Ben", "F", "H", "C"))
        assert await runtime.ask(Trips.at(), TripsOf("Ana"), consistent=True) == [TripRow("t", "F", 1, "H", "C")]
        assert await runtime.ask(Trips.at(), TripsOf("Ben"), consistent=True) == []
        assert await runtime.ask(Trips.at(), SalesOf("F"), consistent=True) == FlightSales("F", 3, 1)
        assert await runtime.ask(Trips.at(), SalesOf("G"), consistent=True) is None


def mails(outbox: Path) -> dict[str, str]:
    return {mail.name: mail.read_text() for mail in outbox.iterdir()}


async def test_one_mail_for_one_id(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    mailer = Mailer.at(str(outbox))
    async with Runtime("memory:", ACTORS) as runtime:
        assert await runtime.ask(mailer, Confirm("Ana", "t"), id="a/b ../c")
        assert not await runtime.ask(mailer, Confirm("Ana", "t"), id="a/b ../c")
        assert await runtime.ask(mailer, Confirm("Ben", "u"), id="d")
    assert set(mails(outbox)) == {"a%2Fb%20..%2Fc.txt", "d.txt"}


async def test_a_mail_that_was_left_half_written_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_text("Dear A")
    async with Runtime("memory:", ACTORS) as runtime:
        assert await runtime.ask(Mailer.at(str(tmp_path)), Confirm("Ana", "t"), id="a")
    assert mails(tmp_path) == {"a.txt": "Dear Ana,\n\nyour trip t is booked.\n"}


async def test_an_outbox_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with Runtime("memory:", ACTORS) as runtime:
        with pytest.raises(Failed):
            await runtime.ask(Mailer.at(str(tmp_path / "file" / "outbox")), Confirm("Ana", "t"), id="a")
