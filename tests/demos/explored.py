"""What is explored of the demos: a scenario of each, what must hold, and how deep. Tests and ``__main__`` share it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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
from demos.profile import ACTORS as PROFILE_ACTORS
from demos.profile import books as profile_books
from demos.profile.profile import Look, Profile, RemoveProfile, SaveProfile
from demos.profile.search import CopyOf, Profiles, Search
from demos.trip import ACTORS as TRIP_ACTORS
from demos.trip import books as trip_books
from demos.trip.mailer import Confirm, Mailer
from demos.trip.messages import TripBooked
from demos.trip.sagas import BookTrip, TripSaga
from demos.trip.services import Cab, Flight, Hotel, OpenCab, OpenFlight, OpenHotel
from runtime.simulation import Effects, Explored, Invariant, Simulation, World, finally_
from tests.demos.shop import SHIPPED, open_shop, order


class Post:
    """The letters of a run, in place of folders."""

    letters: ClassVar[Effects] = Effects()


def post() -> Effects:
    """Return an outside world of this run's own."""
    Post.letters = Effects()
    return Post.letters


def letters_to_nobody(patch: pytest.MonkeyPatch) -> None:
    """Have those who write letters put them into this world's post."""

    async def confirm(self: Mailer, message: Confirm) -> bool:
        return Post.letters.do(self.message_id, message.trip)

    async def deliver(self: Postman, message: Deliver) -> bool:
        return Post.letters.do(self.message_id, message.text)

    patch.setattr(Mailer, "receive", confirm)
    patch.setattr(Postman, "receive", deliver)


class Exploration(NamedTuple):
    """A scenario of a demo, and what must hold at its end."""

    scenario: Callable[[World], Any]
    actors: Sequence[type]
    invariants: Sequence[Invariant] = ()
    depth: int = 2
    runs: int = 60
    """Of the tests, beyond the exhaustive ones."""

    def explore(self, simulation: Simulation, depth: int, runs: int) -> Explored:
        """Explore it."""
        return simulation.explore(
            self.scenario, actors=self.actors, invariants=self.invariants, outside=post, depth=depth, runs=runs
        )


# -- trip ---------------------------------------------------------------------------------------------------------


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


# -- orders -------------------------------------------------------------------------------------------------------


async def buys(name: str, world: World) -> None:
    await open_shop(world.runtime)
    end = await order(world.runtime, name, Path("letters"))
    assert isinstance(end, Sold) is (name in SHIPPED)
    books = await order_books.audit(world.runtime)
    assert (books.problems, books.open) == ([], 0)


def letters(name: str, world: World) -> None:
    # A step that isn't answered for an hour parks its saga, and a person has to see to it: no letter then.
    shipped = [saga.key for saga, story in world.sagas().items() if saga.actor == "Checkout" and story.result]
    assert len(world.outside.done) == len(shipped) <= (name in SHIPPED)


# -- bank ---------------------------------------------------------------------------------------------------------


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


# -- profile ------------------------------------------------------------------------------------------------------


async def profiles_change_and_are_found(world: World) -> None:
    runtime = world.runtime
    bread = SaveProfile("Ben Okafor", "Lagos", "Bakes bread")

    async def ana() -> None:
        ana = Profile.at("ana")
        assert await runtime.ask(ana, SaveProfile("Ana Reis", "Lisbon", "Sails"), id="first") == 1
        assert await runtime.ask(ana, SaveProfile("Ana Reis", "Porto", "Bakes"), id="second") == 2
        assert (await runtime.ask(ana, Look())).city == "Porto"
        copy = await runtime.ask(Profiles.at(), CopyOf("ana"), consistent=True)
        assert copy is not None
        assert (copy.city, copy.change) == ("Porto", 2)

    async def ben() -> None:
        await runtime.ask(Profile.at("ben"), bread, id="first")
        await runtime.ask(Profile.at("ben"), RemoveProfile(), id="gone")
        assert await runtime.ask(Profiles.at(), Search("Okafor"), consistent=True) == []

    await asyncio.gather(ana(), ben())
    books = await profile_books.audit(runtime)
    assert (books.problems, books.profiles, books.removed) == ([], 1, 1)


EXPLORED: dict[str, Exploration] = {
    "trip": Exploration(two_trips_for_one_room, TRIP_ACTORS, [finally_(one_trip_and_its_letter)], runs=150),
    **{
        f"orders ({name})": Exploration(
            partial(buys, name), ORDER_ACTORS, [finally_(partial(letters, name), "letters")], depth=1
        )
        for name in ("gift", "poor", "rejected")
    },
    "bank": Exploration(transfers_in_both_ways, BANK_ACTORS),
    "profile": Exploration(profiles_change_and_are_found, PROFILE_ACTORS),
}
