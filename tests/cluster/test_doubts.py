"""P10, P14: what is told of a request of which several copies were sent, and who is asked when a node falls silent."""

from typing import Any

import pytest

from actors import Actor, Command, MailboxFull, OutcomeUnknown, Refused, Unreachable
from runtime import Runtime
from runtime.cluster import MemoryNetwork, frames
from runtime.cluster.network import Link
from runtime.cluster.subjects import class_subject, life_subject
from runtime.simulation.clock import SimulatedClock
from tests.cluster.cast import Flight, HoldSeat, Taken
from tests.cluster.virtual import play


class Pay(Command["Till", int]):
    pass


class Till(Actor):
    async def receive(self, message: Pay) -> int:
        return 1


class Hand:
    """A node that is played by hand: it answers the copies of one request in turn, each with some frames."""

    life = "hand"
    link: Link

    def __init__(self, *answers: tuple[frames.Frame, ...]) -> None:
        self.answers = list(answers)
        self.copies = 0

    async def join(self, network: MemoryNetwork, actor: str) -> None:
        self.link = network.link(self.life, self)
        await self.link.open()
        await self.link.listen(life_subject(self.life))
        await self.link.share(class_subject(actor), "hand")

    def arrived(self, data: bytes) -> None:
        frame: Any = frames.unpack(data)
        if isinstance(frame, frames.Who):
            here = frames.Here(frames.VERSION, frame.life, frame.number, "journal", self.life)
            self.link.send(life_subject(frame.life), frames.pack(here))
            return
        if isinstance(frame, frames.Ask):
            self.copies += 1
        for answer in self.answers.pop(0) if self.answers else ():
            answer.life, answer.number = frame.life, frame.number
            self.link.send(life_subject(frame.life), frames.pack(answer))

    def nobody(self, number: int) -> None:
        pass


def said(error: str) -> frames.Failed:
    return frames.Failed(frames.VERSION, "", 0, error, "so it is")


def lost(server: str = Hand.life) -> frames.Lost:
    return frames.Lost(frames.VERSION, "", 0, server)


FIRST: tuple[frames.Frame, ...] = ()
"""Nothing was heard of the first copy; it may have taken effect."""


@pytest.mark.parametrize("error", ["MailboxFull", "Failed", "Parked", "Elsewhere", "AskCycle", "DeletedForGood"])
@pytest.mark.parametrize("request_", [(Till.at(), Pay()), (Flight.at("a"), HoldSeat("t"))], ids=["actor", "service"])
def test_an_error_of_a_second_copy_does_not_say_what_became_of_the_first(request_: tuple[Any, Any], error: str) -> None:
    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand(FIRST, (said(error),))
        address, command = request_
        await hand.join(network, address.actor)
        async with Runtime("memory:", [], remote=[Till, Flight], network=network, clock=clock) as front:
            with pytest.raises(OutcomeUnknown, match=f"{error}.*so it is"):
                await front.ask(address, command)
        assert hand.copies == 2

    play(story)


def test_a_refusal_says_it_where_ids_are_known() -> None:
    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand(FIRST, (said("Refused"),))
        await hand.join(network, "Flight")
        async with Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front:
            with pytest.raises(Refused, match="so it is"):
                await front.ask(Flight.at("a"), HoldSeat("t"))

    play(story)


def test_a_query_has_no_outcome_that_could_be_unknown() -> None:
    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand(FIRST, (said("MailboxFull"),))
        await hand.join(network, "Flight")
        async with Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front:
            with pytest.raises(MailboxFull):
                await front.ask(Flight.at("a"), Taken())

    play(story)


@pytest.mark.parametrize("again", [(lost(), lost()), (lost(), lost("another"))], ids=["twice", "late"])
def test_what_is_told_twice_is_counted_once(again: tuple[frames.Frame, ...]) -> None:
    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand(FIRST, again, (said("Refused"),))
        await hand.join(network, "Till")
        async with Runtime("memory:", [], remote=[Till], network=network, clock=clock) as front:
            with pytest.raises(OutcomeUnknown, match=r"Refused.*so it is"):
                await front.ask(Till.at(), Pay())

    play(story)


def test_what_was_not_let_in_is_refused_as_if_it_were_sent_once() -> None:
    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand((lost(),), (said("Refused"),))
        await hand.join(network, "Till")
        async with Runtime("memory:", [], remote=[Till], network=network, clock=clock) as front:
            with pytest.raises(Refused):
                await front.ask(Till.at(), Pay())
        assert hand.copies == 2

    play(story)


def test_another_node_is_asked_when_one_falls_silent() -> None:
    """Its machine is gone, and the network has not found out: nobody says that nobody is there."""

    async def story(clock: SimulatedClock) -> None:
        network = MemoryNetwork()
        there = Runtime("memory:", [Flight], network=network, clock=clock)
        await there.__aenter__()
        async with Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front:
            assert await front.ask(Flight.at("a"), Taken()) == 0
            network.cut_off(network.names[0])
            async with Runtime("memory:", [Flight], network=network, clock=clock):
                assert (await front.ask(Flight.at("a"), HoldSeat("t"))).seat == 1
        await there.__aexit__(None, None, None)

    play(story)


def test_one_that_has_begun_is_asked_how_it_is_until_patience_ends() -> None:
    """It may well be at work; another node is asked by who comes next."""

    async def story(clock: SimulatedClock) -> None:
        network, hand = MemoryNetwork(), Hand((frames.Underway(frames.VERSION, "", 0, Hand.life),))
        await hand.join(network, "Flight")
        async with Runtime("memory:", [], remote=[Flight], network=network, clock=clock) as front:
            with pytest.raises(OutcomeUnknown, match="no node has answered for 15 seconds"):
                await front.ask(Flight.at("a"), HoldSeat("t"))
            assert hand.copies == 1
            network.cut_off(Hand.life)
            async with Runtime("memory:", [Flight], network=network, clock=clock):
                assert (await front.ask(Flight.at("a"), HoldSeat("t"))).seat == 1

    play(story)


def test_where_nobody_is_nothing_was_done() -> None:
    async def story(clock: SimulatedClock) -> None:
        async with Runtime("memory:", [], remote=[Flight], network=MemoryNetwork(), clock=clock) as front:
            with pytest.raises(Unreachable, match="nothing was done"):
                await front.ask(Flight.at("a"), HoldSeat("t"))

    play(story)
