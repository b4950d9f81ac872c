"""The demos under every single fault, and under pairs of them and other schedules within a budget."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from actors import Refused
from demos.bank import ACTORS as BANK_ACTORS
from demos.bank import books as bank_books
from demos.bank.account import Account, OpenAccount
from demos.bank.transfers import Transfer, TransferSaga, transfer_at_once
from demos.orders import ACTORS as ORDER_ACTORS
from demos.orders import books as order_books
from demos.orders.checkout import Sold
from demos.orders.postman import Deliver, Postman
from demos.trip import ACTORS as TRIP_ACTORS
from demos.trip import books as trip_books
from demos.trip.mailer import Confirm, Mailer
from demos.trip.messages import TripBooked
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime.simulation import Effects, Simulation, World, finally_
from tests.demos.shop import SHIPPED, open_shop, order


class Post:
    """The letters of a run, in place of folders."""

    letters: ClassVar[Effects] = Effects()


def post() -> Effects:
    Post.letters = Effects()
    return Post.letters


@pytest.fixture(autouse=True)
def letters_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def confirm(self: Mailer, message: Confirm) -> bool:
        return Post.letters.do(self.message_id, message.trip)

    async def deliver(self: Postman, message: Deliver) -> bool:
        return Post.letters.do(self.message_id, message.text)

    monkeypatch.setattr(Mailer, "receive", confirm)
    monkeypatch.setattr(Postman, "receive", deliver)


async def two_trips_for_one_room(world: World) -> None:
    runtime = world.runtime
    await runtime.ask(Flight.at("LH441"), OpenFlight(2), id="open")
    await runtime.ask(Hotel.at("Aurora"), OpenHotel(1), id="open")
    await runtime.ask(Cab.at("Rossio"), OpenCab(2), id="open")

    async def book(customer: str) -> None:
        with suppress(Refused):
            wish = BookTrip(customer, "LH441", "Aurora", "Rossio")
            booked = await runtime.ask(TripSaga.at(customer), wish, id=customer)
            await runtime.ask(Mailer.at("post"), Confirm(customer, booked.trip), id=f"letter to {customer}")

    await asyncio.gather(book("ana"), book("ben"))
    assert (await trip_books.audit(runtime)).problems == []


def one_trip_and_its_letter(world: World) -> None:
    booked = [event.trip for event in world.events(TripBooked)]
    assert len(booked) <= 1
    assert world.outside.done == booked


def test_trips(simulation: Simulation) -> None:
    explored = simulation.explore(
        two_trips_for_one_room,
        actors=TRIP_ACTORS,
        invariants=[finally_(one_trip_and_its_letter)],
        outside=post,
        depth=2,
        runs=150,
    )
    assert explored.runs == 1 or explored.runs > 150  # 1: a replay


@pytest.mark.parametrize("name", ["gift", "poor", "rejected"])
def test_orders(simulation: Simulation, name: str) -> None:
    async def buys(world: World) -> None:
        await open_shop(world.runtime)
        end = await order(world.runtime, name, Path("letters"))
        assert isinstance(end, Sold) is (name in SHIPPED)
        books = await order_books.audit(world.runtime)
        assert (books.problems, books.open) == ([], 0)

    def letters(world: World) -> None:
        # A step that isn't answered for an hour parks its saga, and a person has to see to it: no letter then.
        shipped = [saga.key for saga, story in world.sagas().items() if saga.actor == "Checkout" and story.result]
        assert len(world.outside.done) == len(shipped) <= (name in SHIPPED)

    simulation.explore(
        buys,
        actors=ORDER_ACTORS,
        invariants=[finally_(letters)],
        outside=post,
        depth=1,
        runs=60,
    )


async def transfers_in_both_ways(world: World) -> None:
    runtime = world.runtime
    await runtime.ask(Account.at("bank"), OpenAccount(None), id="open")
    for name in ("ana", "ben"):
        await runtime.ask(Account.at(name), OpenAccount(), id="open")
    await transfer_at_once(runtime, "wages", "bank", "ana", 100_00)

    async def by_saga(name: str, cents: int) -> None:
        with suppress(Refused):
            await runtime.ask(TransferSaga.at(name), Transfer("ana", "ben", cents), id=name)

    async def at_once() -> None:
        with suppress(Refused):
            await transfer_at_once(runtime, "present", "ana", "ben", 50_00)

    await asyncio.gather(by_saga("rent", 70_00), by_saga("car", 5000_00), at_once())
    assert (await bank_books.audit(runtime)).problems == []


def test_bank(simulation: Simulation) -> None:
    simulation.explore(transfers_in_both_ways, actors=BANK_ACTORS, depth=2, runs=60)
