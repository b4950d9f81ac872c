"""Given, when, then for read models: rows from events, in a database in memory, without a loop."""

from typing import Any

import pytest

from actors import DefinitionError, Fold, JournalMismatch, Meta, ReadModel, Service, State
from demos.trip.messages import FlightOpened, TripBooked
from demos.trip.messages import SeatHeld as Sold
from demos.trip.read_models import FlightSales, SalesOf, TripRow, Trips, TripsOf
from demos.trip.sagas import TripSaga
from demos.trip.services import Flight as Airline
from runtime.simulation import Stored, given
from tests.given.cast import Bell, Flight, Sales, SeatHeld, SeatReleased, SoldOn


class Narrow(Sales):
    categories = ("Flight",)


def told(make: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        make()
    return str(raised.value)


def test_rows_and_answers() -> None:
    lh = Flight.at("LH441")
    table = given(Sales).events(lh, SeatHeld("a", 1), SeatHeld("b", 2)).events(Flight.at("AF1"), SeatHeld("c", 1))
    table.then("select * from sales order by flight", ("AF1", 1), ("LH441", 2))
    table.then("select sold from sales where flight = ?", (2,), values=["LH441"]).then("select 1 where 1 = 2")
    table.events(lh, SeatReleased("a")).asks(SoldOn("LH441")).answers(1).asks(SoldOn("BA2")).answers(0).asks(
        SoldOn("loop")
    ).answers(2)
    assert table.rows("select sold from sales where flight = ?", "LH441") == [(1,)]


def test_the_trips_tables() -> None:
    booked = TripBooked("t", "Ana", "F", 1, "H", 1, "C", 1)
    table = (
        given(Trips, actors=[Airline])
        .events(Airline.at("F"), FlightOpened(3), Sold("t", 1))
        .events(TripSaga.at("t"), booked)
    )
    table.asks(TripsOf("Ana")).answers([TripRow("t", "F", 1, "H", "C")]).asks(TripsOf("Ben")).answers([])
    table.asks(SalesOf("F")).answers(FlightSales("F", 3, 1)).asks(SalesOf("G")).answers(None)


def test_events_that_it_does_not_follow_are_passed_over() -> None:
    foreign = given(Sales, actors=[Airline]).events(Airline.at("F"), FlightOpened(3), Sold("t", 1))
    foreign.then("select * from sales")
    table = given(Sales)
    with pytest.raises(JournalMismatch, match="doesn't know"):
        given(Narrow).events(Flight.at("F"), Stored("Gone"))
    table.events(Flight.at("F"), SeatHeld("t", 1)).then("select * from sales", ("F", 1))


def test_other_rows_or_another_answer() -> None:
    table = given(Sales).events(Flight.at("LH441"), SeatHeld("a", 1))
    assert told(lambda: table.then("select * from sales", ("LH441", 2))).splitlines()[:3] == [
        "Sales: select * from sales",
        "(- expected, + got)",
        "- ('LH441', 2)",
    ]
    assert "+ ('LH441', 1)" in told(lambda: table.then("select * from sales"))
    assert "Sales: the answer to SoldOn(flight='LH441')" in told(lambda: table.asks(SoldOn("LH441")).answers(5))
    assert told(lambda: table.asks(SoldOn("greedy")).answers(0)) == "Sales.answer changes rows; it must only read"


def test_what_can_not_be_projected() -> None:
    lh = Flight.at("LH441")
    assert "can't be projected: who is nobody?" in told(lambda: given(Sales).events(lh, SeatHeld("nobody", 1)))
    odd = told(lambda: given(Sales).events(lh, SeatHeld("odd", 1)))
    assert odd == "Sales: sql('insert into nowhere values (?)', 1) fails: no such table: nowhere"
    fickle = told(lambda: given(Sales).events(lh, SeatHeld("fickle", 1)))
    assert fickle.startswith("Sales.project is not pure: for the same SeatHeld it yields one thing and then another")


def test_what_is_no_table_or_nothing_to_test() -> None:
    class Bad(ReadModel):
        schema = "create table create table"

    assert "the schema of Bad can't be made" in told(lambda: given(Bad))
    wrongs: list[Any] = [Bell, Service, Fold, int, "Flight"]
    for wrong in wrongs:
        with pytest.raises(Exception, match=r"given\(\) takes a class of services, sagas or read models"):
            given(wrong)


class Held(State):
    count: int = 0


class Sums(Fold[Held]):
    initial = Held()

    def evolve(self, state: Held, event: SeatHeld, meta: Meta) -> Held:
        return Held(state.count + 1)


def test_a_fold_needs_none() -> None:
    with pytest.raises(DefinitionError, match=r"Sums is a fold, and pure: call Sums\(\)\.evolve"):
        given(Sums)
