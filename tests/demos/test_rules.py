"""The companies' rules, the read model's tables and the mailer, each alone."""

from pathlib import Path
from typing import Any

import pytest

from actors import Failed, Service
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
    TripBooked,
)
from demos.trip.read_models import FlightSales, KnownTrips, SalesOf, Sellers, TripRow, Trips, TripsOf
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
from runtime.simulation import given

COMPANIES = [
    (Flight, OpenFlight, HoldSeat, ReleaseSeat, FlightOpened, SeatHeld, SeatReleased),
    (Hotel, OpenHotel, HoldRoom, ReleaseRoom, HotelOpened, RoomHeld, RoomReleased),
    (Cab, OpenCab, HoldCar, ReleaseCar, CabsOpened, CarHeld, CarReleased),
]
COMPANY = ("company", "open_it", "hold", "release", "opened", "held", "released")


@pytest.mark.parametrize(COMPANY, COMPANIES)
def test_what_companies_sell(
    company: type[Service[Any, Any, Any]], open_it: Any, hold: Any, release: Any, opened: Any, held: Any, released: Any
) -> None:
    one = opened(2), held("t", 1)
    given(company).when(open_it(2)).then(opened(2)).when(hold("t")).replies(1).then(held("t", 1))
    given(company, *one).when(hold("u")).replies(2).then(held("u", 2))
    given(company, *one).when(hold("t")).replies(1).nothing_happens()  # one to a trip
    given(company, *one).when(release("t")).then(released("t", 1))
    given(company, opened(2)).when(release("t")).nothing_happens()
    given(company, *one, held("u", 2), released("t", 1)).when(hold("v")).replies(1).then(held("v", 1))


@pytest.mark.parametrize(COMPANY, COMPANIES)
def test_what_companies_refuse(
    company: type[Service[Any, Any, Any]], open_it: Any, hold: Any, release: Any, opened: Any, held: Any, released: Any
) -> None:
    given(company).when(hold("t")).refuses("is not open for booking")
    given(company, opened(1), held("t", 1)).when(hold("u")).refuses("has no car left" if company is Cab else "is full")
    given(company, opened(2)).when(open_it(2)).refuses("is open already")
    given(company).when(open_it(0)).refuses("nothing to sell").when(open_it(-1)).refuses("nothing to sell")


def test_a_closed_desk_is_a_failure_and_no_refusal() -> None:
    closed = given(Cab, CabsOpened(1), CarHeld("t", 1), DeskClosed()).when(HoldCar("t")).fails(DeskUnreachable)
    closed.when(HoldCar("u")).fails(DeskUnreachable).when(ReleaseCar("t")).then(CarReleased("t", 1))
    given(Cab, CabsOpened(1), DeskClosed(), DeskOpened()).when(HoldCar("t")).then(CarHeld("t", 1))
    given(Cab).when(CloseDesk()).then(DeskClosed()).when(CloseDesk()).nothing_happens()
    given(Cab, DeskClosed()).when(OpenDesk()).then(DeskOpened()).when(OpenDesk()).nothing_happens()


def test_the_way_of_a_trip() -> None:
    saga = given(TripSaga, "t").when(BookTrip("Ana", "F", "H", "C"))
    saga.sends("flight", Flight.at("F"), HoldSeat("t")).undo(ReleaseSeat("t"))
    saga.replies("flight", 1).sends("hotel", Hotel.at("H"), HoldRoom("t")).undo(ReleaseRoom("t"))
    saga.replies("hotel", 2).sends("cab", Cab.at("C"), HoldCar("t")).undo(ReleaseCar("t"))
    saga.fails("cab", DeskUnreachable("closed")).retries("cab").replies("cab", 3)
    saga.ends_with(TripBooked("t", "Ana", "F", 1, "H", 2, "C", 3))


def test_the_travel_agencys_tables() -> None:
    tables = given(Trips).events(Flight.at("F"), FlightOpened(3), SeatHeld("t", 1), SeatHeld("u", 2))
    tables.events(Flight.at("F"), SeatReleased("u", 2))
    tables.events(TripSaga.at("t"), TripBooked("t", "Ana", "F", 1, "H", 1, "C", 1))
    tables.asks(TripsOf("Ana")).answers([TripRow("t", "F", 1, "H", "C")]).asks(TripsOf("Ben")).answers([])
    tables.asks(SalesOf("F")).answers(FlightSales("F", 3, 1)).asks(SalesOf("G")).answers(None)
    tables.asks(Sellers()).answers([("Flight", "F")]).asks(KnownTrips()).answers(["t", "u"])


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
