"""The books find what doesn't balance."""

from typing import Any

import pytest

from actors import Address
from demos.trip import ACTORS
from demos.trip.books import Ending, audit, booked_in_vain, held_for_nobody, oversold
from demos.trip.messages import TripBooked
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import (
    Cab,
    Flight,
    HoldSeat,
    Hotel,
    OpenCab,
    OpenFlight,
    OpenHotel,
    ReleaseRoom,
    Stock,
)
from runtime import Runtime

BOOKED = TripBooked("t", "Ana", "F", 1, "H", 2, "C", 3)
RIGHT: dict[Address[Any], Stock] = {
    Flight.at("F"): Stock(3, {"t": 1}),
    Hotel.at("H"): Stock(3, {"t": 2}),
    Cab.at("C"): Stock(3, {"t": 3}),
}


def found(stocks: dict[Address[Any], Stock], endings: dict[str, Ending]) -> list[str]:
    """Return all that is wrong."""
    return [*held_for_nobody(stocks, endings), *booked_in_vain(stocks, endings), *oversold(stocks)]


def test_right_is_right() -> None:
    assert found(RIGHT, {"t": BOOKED}) == []
    assert found({}, {}) == []
    assert found({Flight.at("F"): Stock(3)}, {"t": "compensated"}) == []


@pytest.mark.parametrize(
    ("flight", "endings", "wrong"),
    [
        (Stock(3), {"t": BOOKED}, ["trip t is booked, but doesn't hold number 1 of Flight/F"]),
        (
            Stock(3, {"t": 2}),
            {"t": BOOKED},
            [
                "Flight/F holds number 2 for trip t, which was booked without it",
                "trip t is booked, but doesn't hold number 1 of Flight/F",
            ],
        ),
        (
            Stock(3, {"t": 1, "u": 2}),
            {"t": BOOKED, "u": "compensated"},
            ["Flight/F holds number 2 for trip u, which is compensated"],
        ),
        (
            Stock(3, {"t": 1, "u": 2}),
            {"t": BOOKED, "u": "parked"},
            ["Flight/F holds number 2 for trip u, which is parked"],
        ),
        (
            Stock(3, {"t": 1, "u": 2}),
            {"t": BOOKED},
            ["Flight/F holds number 2 for trip u, which is unfinished"],
        ),
    ],
)
def test_what_is_held_and_what_was_booked_must_agree(
    flight: Stock, endings: dict[str, Ending], wrong: list[str]
) -> None:
    assert found({**RIGHT, Flight.at("F"): flight}, endings) == wrong


def test_a_booked_trip_at_a_seller_that_nobody_knows() -> None:
    stocks = {address: stock for address, stock in RIGHT.items() if address.actor != "Cab"}
    assert found(stocks, {"t": BOOKED}) == ["trip t is booked, but doesn't hold number 3 of Cab/C"]


def test_what_is_sold_twice_or_does_not_exist() -> None:
    assert list(oversold({Flight.at("F"): Stock(2, {"t": 1, "u": 1})})) == ["Flight/F has sold number 1 to 2 trips"]
    assert list(oversold({Flight.at("F"): Stock(2, {"t": 3})})) == [
        "Flight/F has sold number 3, but has numbers 1 to 2"
    ]


async def test_the_journal_is_replayed() -> None:
    async with Runtime("memory:", ACTORS) as runtime:
        await runtime.ask(Flight.at("F"), OpenFlight(3))
        await runtime.ask(Hotel.at("H"), OpenHotel(3))
        await runtime.ask(Cab.at("C"), OpenCab(3))
        assert await audit(runtime) == (0, 0, 0, [])
        await runtime.ask(TripSaga.at("t"), BookTrip("Ana", "F", "H", "C"))
        assert await audit(runtime) == (3, 1, 0, [])
        await runtime.ask(Flight.at("F"), HoldSeat("nobody"))
        await runtime.ask(Hotel.at("H"), ReleaseRoom("t"))
        books = await audit(runtime)
    assert books.problems == [
        "Flight/F holds number 2 for trip nobody, which is unfinished",
        "trip t is booked, but doesn't hold number 1 of Hotel/H",
    ]
