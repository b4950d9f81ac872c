"""Two owners of one PostgreSQL journal: what comes to the one and is for the other is passed on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest

from actors import Elsewhere, OutcomeUnknown, Refused, RuntimeClosed
from runtime import Runtime
from runtime.cluster import MemoryNetwork, NatsNetwork, Network
from tests import nats, postgres
from tests.cluster.cast import Board, Book, Booked, Flight, Held, HoldSeat, Mailer, Payments, SeatsOf, Taken, Trip
from tests.postgres import a_schema, url_of

pytestmark = postgres.needs_server
ALL = [Flight, Payments, Mailer, Trip, Board]


@pytest.fixture
async def schema() -> AsyncGenerator[str]:
    async with a_schema() as name:
        yield name


def owned(schema: str, owner: str, network: Network | None, **more: Any) -> Runtime:
    return Runtime(f"{url_of(schema)}&owner={owner}", ALL, network=network, **more)


@pytest.mark.parametrize("engine", ["memory", pytest.param("nats", marks=nats.needs_server)])
async def test_what_is_another_owners_is_passed_on(schema: str, engine: str) -> None:
    network = MemoryNetwork() if engine == "memory" else NatsNetwork(nats.new_url())
    Mailer.sent.clear()
    async with owned(schema, "ana", network) as ana, owned(schema, "bob", network) as bob:
        assert await ana.ask(Flight.at("LH1"), HoldSeat("a")) == Held(1)
        assert await bob.ask(Flight.at("LH1"), HoldSeat("b"), id="b") == Held(2)
        assert await bob.ask(Flight.at("LH1"), HoldSeat("b"), id="b") == Held(2)
        assert await bob.ask(Flight.at("LH1"), Taken()) == 2
        await bob.tell(Flight.at("LH1"), HoldSeat("c"))
        with pytest.raises(Refused, match="LH1 is full"):
            await bob.ask(Flight.at("LH1"), HoldSeat("c"))
        assert await bob.ask(Board.at(), SeatsOf(), consistent=True) == [("LH1", "a"), ("LH1", "b")]
        assert [dead.error for dead in bob.dead_letters()] == ["Refused('flight LH1 is full')"]
        with pytest.raises(Elsewhere, match="'ana'"):
            await bob.transact((Flight.at("LH1"), HoldSeat("d")))


async def test_a_saga_goes_over_both(schema: str) -> None:
    network = MemoryNetwork()
    Mailer.sent.clear()
    async with owned(schema, "ana", network) as ana, owned(schema, "bob", network) as bob:
        await ana.ask(Flight.at("LH1"), HoldSeat("a"))
        await bob.ask(Flight.at("LH2"), HoldSeat("a"))
        assert await bob.ask(Trip.at("t"), Book("LH1", back="LH2")) == Booked(2, "receipt-t")
        with pytest.raises(Refused, match="full"):
            await ana.ask(Trip.at("u"), Book("LH3", back="LH2"))
        assert await bob.ask(Flight.at("LH3"), Taken()) == 0
        again = await asyncio.gather(*(one.ask(Trip.at("t"), Book("LH1", back="LH2")) for one in (ana, bob)))
        assert again == [Booked(2, "receipt-t")] * 2
        assert {trip for _, trip in Mailer.sent} == {"t"}


async def test_a_node_without_the_journal_asks_any_of_them(schema: str) -> None:
    network = MemoryNetwork()
    async with (
        owned(schema, "ana", network) as ana,
        owned(schema, "bob", network) as bob,
        Runtime("memory:", [], remote=[Flight, Trip], network=network) as front,
    ):
        await ana.ask(Flight.at("a"), HoldSeat("1"))
        await bob.ask(Flight.at("b"), HoldSeat("1"))
        for key in "ab":
            assert await front.ask(Flight.at(key), HoldSeat("2")) == Held(2)
        await front.start(Trip.at("t"), Book("c"))
        assert await front.ask(Trip.at("t"), Book("c")) == Booked(1, "receipt-t")


async def test_who_was_replaced_is_asked_no_more(schema: str) -> None:
    """Two processes are known by one owner's name, and only the one that has the seat answers."""
    network = MemoryNetwork()
    async with owned(schema, "ana", network) as old:
        assert await old.ask(Flight.at("LH1"), HoldSeat("a")) == Held(1)
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where pid in (select pid from pg_locks "
        ended += f"where locktype = 'advisory' and classid = '{schema}'::regnamespace)"
        await postgres.run(ended)
        async with owned(schema, "ana", network), owned(schema, "bob", network) as bob:
            with suppress(OutcomeUnknown, RuntimeClosed):
                await old.ask(Flight.at("LH1"), HoldSeat("b"), id="b")
            await old.replaced()
            for number in range(10):
                assert await bob.ask(Flight.at("LH1"), Taken()) in (1, 2), number


async def test_without_a_network_one_is_told_where_it_lives(schema: str) -> None:
    async with owned(schema, "ana", None) as ana, owned(schema, "bob", None) as bob:
        await ana.ask(Flight.at("LH1"), HoldSeat("a"))
        with pytest.raises(Elsewhere, match="'ana'"):
            await bob.ask(Flight.at("LH1"), HoldSeat("b"))
