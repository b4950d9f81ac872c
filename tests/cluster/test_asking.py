"""Requests reach actors of other nodes, and come back as they do from one's own."""

import pytest

from actors import Refused
from runtime import Runtime
from runtime.cluster import MemoryNetwork
from tests.cluster.cast import Board, Book, Booked, Flight, Held, HoldSeat, Mailer, Payments, SeatsOf, Taken, Trip


async def test_a_service_of_another_node_is_asked() -> None:
    network = MemoryNetwork()
    async with (
        Runtime("memory:", [Flight, Board], network=network),
        Runtime("memory:", [], remote=[Flight, Board], network=network) as front,
    ):
        assert await front.ask(Flight.at("LH1"), HoldSeat("t1")) == Held(1)
        await front.tell(Flight.at("LH1"), HoldSeat("t2"))
        with pytest.raises(Refused, match="full"):
            await front.ask(Flight.at("LH1"), HoldSeat("t3"))
        assert await front.ask(Flight.at("LH1"), Taken()) == 2
        assert await front.ask(Board.at(), SeatsOf(), consistent=True) == [("LH1", "t1"), ("LH1", "t2")]


async def test_a_saga_goes_over_three_nodes() -> None:
    network = MemoryNetwork()
    Mailer.sent.clear()
    async with (
        Runtime("memory:", [Flight], network=network),
        Runtime("memory:", [Payments, Mailer], network=network),
        Runtime("memory:", [Trip], remote=[Flight, Payments, Mailer], network=network) as front,
    ):
        booked = await front.ask(Trip.at("t1"), Book("LH1", back="LH2"))
        assert booked == Booked(1, "receipt-t1")
        with pytest.raises(Refused, match="declined"):
            await front.ask(Trip.at("t2"), Book("LH1", 1000))
        assert await front.ask(Flight.at("LH1"), Taken()) == 1
        assert Mailer.sent == [("Trip/t1#mail", "t1")]
