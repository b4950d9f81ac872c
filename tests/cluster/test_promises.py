"""P1, P4, P10, P12 between nodes: what leaves a node is durable there, in order, within limits, or called unknown."""

import asyncio

import pytest

from actors import (
    Actor,
    Command,
    Failed,
    Mailbox,
    MailboxFull,
    OutcomeUnknown,
    Refused,
    RuntimeClosed,
    Unreachable,
)
from runtime import ManualClock, Runtime
from runtime.cluster import Fate, MemoryNetwork, Sent, outgoing
from runtime.stats import NetworkStats
from tests.cluster.cast import Book, Flight, Held, HoldSeat, Mailer, Payments, Taken, Trip
from tests.runtime.tools import HeldJournal, comes, of, quiet


class Note(Command["Echo", int]):
    number: int


class Echo(Actor):
    """Notes what comes, and answers when the test lets it."""

    mailbox = Mailbox(limit=4)
    noted: list[int] = []
    gate = asyncio.Event()

    async def receive(self, message: Note) -> int:
        self.noted.append(message.number)
        await self.gate.wait()
        return message.number


@pytest.fixture(autouse=True)
def fresh() -> None:
    Mailer.sent.clear()
    Echo.noted.clear()
    Echo.gate = asyncio.Event()
    Echo.gate.set()


async def test_a_step_leaves_when_its_intent_is_durable() -> None:
    network, journal = MemoryNetwork(), HeldJournal()
    async with (
        Runtime("memory:", [Flight, Payments, Mailer], network=network),
        Runtime(journal, [Trip], remote=[Flight, Payments, Mailer], network=network) as front,
    ):
        journal.hold()
        before = network.sent
        asked = asyncio.ensure_future(front.ask(Trip.at("t"), Book("LH1")))
        await journal.arrived.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert network.sent == before
        journal.gate.set()
        assert (await asked).seat == 1


async def test_a_reply_leaves_when_what_led_to_it_is_durable() -> None:
    network, journal = MemoryNetwork(), HeldJournal()
    async with (
        Runtime(journal, [Flight], network=network),
        Runtime("memory:", [], remote=[Flight], network=network) as front,
    ):
        journal.hold()
        asked = asyncio.ensure_future(front.ask(Flight.at("LH1"), HoldSeat("t")))
        await journal.arrived.wait()
        seen = asyncio.ensure_future(front.ask(Flight.at("LH1"), Taken()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not asked.done()
        assert not seen.done()
        journal.gate.set()
        assert (await asked, await seen) == (Held(1), 1)


async def test_a_reply_whose_events_are_lost_is_called_unknown() -> None:
    network, journal = MemoryNetwork(), HeldJournal()
    async with (
        Runtime(journal, [Flight], network=network),
        Runtime("memory:", [], remote=[Flight], network=network) as front,
    ):
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown, match="the journal could not be written"):
            await front.ask(Flight.at("LH1"), HoldSeat("t"), id="once")
        assert await front.ask(Flight.at("LH1"), HoldSeat("t"), id="once") == Held(1)
        assert await front.ask(Flight.at("LH1"), Taken()) == 1


async def test_messages_of_one_sender_keep_their_order() -> None:
    network = MemoryNetwork()
    async with (
        Runtime("memory:", [Echo], network=network),
        Runtime("memory:", [], remote=[Echo], network=network) as front,
    ):
        for number in range(200):
            await front.tell(Echo.at(), Note(number))
        assert await front.ask(Echo.at(), Note(200)) == 200
        assert Echo.noted == list(range(201))


async def test_a_message_that_the_network_repeats_is_handled_once() -> None:
    network = MemoryNetwork(lambda _: (0.0, 0.0))
    async with (
        Runtime("memory:", [Echo], network=network),
        Runtime("memory:", [], remote=[Echo], network=network) as front,
    ):
        assert await asyncio.gather(*(front.ask(Echo.at(), Note(number)) for number in range(20))) == list(range(20))
        assert Echo.noted == list(range(20))


async def test_a_full_mailbox_lets_senders_wait_on_both_sides() -> None:
    network = MemoryNetwork()
    async with (
        Runtime("memory:", [Echo], network=network) as there,
        Runtime("memory:", [], remote=[Echo], network=network) as front,
    ):
        Echo.gate.clear()
        asked = [asyncio.ensure_future(front.ask(Echo.at(), Note(number))) for number in range(20)]
        other = [asyncio.ensure_future(there.ask(Echo.at(), Note(number))) for number in range(20, 40)]
        await comes(lambda: Echo.noted)
        with pytest.raises(MailboxFull, match="full"):
            await front.ask(Echo.at(), Note(99), timeout=0.01)
        Echo.gate.set()
        assert await asyncio.gather(*asked, *other) == list(range(40))
        assert sorted(Echo.noted) == list(range(40))
        assert [number for number in Echo.noted if number < 20] == list(range(20))


async def test_too_many_requests_under_way_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "MOST_UNDER_WAY", 2)
    network = MemoryNetwork()
    async with (
        Runtime("memory:", [Echo], network=network) as there,
        Runtime("memory:", [], remote=[Echo], network=network) as front,
    ):
        Echo.gate.clear()
        asked = [asyncio.ensure_future(front.ask(Echo.at(str(number)), Note(number))) for number in range(2)]
        await comes(lambda: len(Echo.noted) == 2)
        assert (front.stats().network, there.stats().network) == (NetworkStats(2, 0), NetworkStats(0, 2))
        with pytest.raises(MailboxFull, match="2 requests to other nodes are under way"):
            await front.ask(Echo.at("3"), Note(3))
        await front.tell(Echo.at("4"), Note(4))
        assert ["2 requests to other nodes" in dead.error for dead in front.dead_letters()] == [True]
        Echo.gate.set()
        assert await asyncio.gather(*asked) == [0, 1]


async def test_nobody_there_is_told_when_patience_ends_and_nothing_was_done() -> None:
    network, clock = MemoryNetwork(), ManualClock()
    async with Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front:
        asked = asyncio.ensure_future(front.ask(Flight.at("LH1"), HoldSeat("t")))
        await quiet(front)
        for _ in range(20):
            clock.advance(1)
            await quiet(front)
        with pytest.raises(Unreachable, match="a node that serves Flight could not be reached for 15 seconds; nothing"):
            await asked
        again = asyncio.ensure_future(front.ask(Flight.at("LH1"), HoldSeat("t")))
        await quiet(front)
        async with Runtime("memory:", [Flight], network=network):
            for _ in range(5):
                clock.advance(1)
                await quiet(front)
            assert await again == Held(1)


async def test_silence_is_told_as_unknown() -> None:
    network, clock = MemoryNetwork(), ManualClock()
    async with (
        Runtime("memory:", [Flight], network=network) as there,
        Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front,
    ):
        assert await front.ask(Flight.at("LH1"), Taken()) == 0
        network.cut_off(network.names[0])
        asked = asyncio.ensure_future(front.ask(Flight.at("LH1"), HoldSeat("t"), id="once"))
        for _ in range(20):
            clock.advance(1)
            await quiet(front)
        with pytest.raises(OutcomeUnknown, match="no node has answered for 15 seconds; ask again with the same id"):
            await asked
        network.let_in(network.names[0])
        assert await front.ask(Flight.at("LH1"), HoldSeat("t"), id="once") == Held(1)
        assert await there.ask(Flight.at("LH1"), Taken()) == 1


async def test_a_refusal_after_two_copies_is_uncertain() -> None:
    """The first copy may have taken effect all the same, so its undo is sent: that it finds nothing does no harm."""
    network, clock, journal = MemoryNetwork(), ManualClock(), HeldJournal()
    async with (
        Runtime("memory:", [Flight, Payments], network=network) as there,
        Runtime(journal, [Trip], remote=[Flight, Payments, Mailer], network=network, clock=clock) as front,
    ):
        for trip in ("a", "b"):
            await front.ask(Flight.at("LH1"), HoldSeat(trip))
        answers: list[int] = []

        def lose(sent: Sent) -> Fate:
            if b'"Refused"' not in sent.data:
                return (0.0,)
            answers.append(sent.number)
            return () if len(answers) == 1 else (0.0,)

        network.decide = lose
        asked = asyncio.ensure_future(front.ask(Trip.at("t"), Book("LH1")))
        await quiet(front)
        clock.advance(0.6)
        with pytest.raises(Refused, match="full"):
            await asked
        (refused,) = of(journal.records, "saga.refused")
        assert b'"uncertain":true' in refused.data
        assert [entry.type async for entry in there.history(Flight.at("LH1"))][-1] == "service.fenced"


def closed(runtime: Runtime) -> bool:
    try:
        _ = runtime.position
    except RuntimeClosed:
        return True
    return False


async def test_a_node_that_closes_answers_what_it_has_begun() -> None:
    network = MemoryNetwork()
    async with Runtime("memory:", [], remote=[Echo], network=network) as front:
        there = await Runtime("memory:", [Echo], network=network).__aenter__()
        Echo.gate.clear()
        asked = asyncio.ensure_future(front.ask(Echo.at(), Note(1)))
        await comes(lambda: Echo.noted)

        async def let_go() -> None:
            await comes(lambda: closed(there))
            Echo.gate.set()

        letting = asyncio.ensure_future(let_go())
        await there.__aexit__(None, None, None)
        assert await asked == 1
        await letting


async def test_who_closes_tells_its_callers_that_the_outcome_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cluster.cluster.SETTLE", 0.01)
    network = MemoryNetwork()
    async with Runtime("memory:", [Echo], network=network):
        front = await Runtime("memory:", [], remote=[Echo], network=network).__aenter__()
        Echo.gate.clear()
        asked = asyncio.ensure_future(front.ask(Echo.at(), Note(1)))
        await comes(lambda: Echo.noted)
        await front.__aexit__(None, None, None)
        with pytest.raises(OutcomeUnknown, match="the runtime was closed"):
            await asked
        with pytest.raises(RuntimeClosed):
            await front.ask(Echo.at(), Note(2))
        Echo.gate.set()


async def test_what_is_too_large_for_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cluster.memory.MemoryLink.largest", 2_000)
    network = MemoryNetwork()
    async with (
        Runtime("memory:", [Flight], network=network),
        Runtime("memory:", [], remote=[Flight], network=network) as front,
    ):
        with pytest.raises(Failed, match=r"bytes, and the network carries 2,000; send less"):
            await front.ask(Flight.at("LH1"), HoldSeat("t" * 3_000))
        assert await front.ask(Flight.at("LH1"), Taken()) == 0
