"""Failure 24: a node that closes ends what is under way, and loses nothing of it."""

import asyncio

from actors import Command, Decision, Event, Mailbox, Service, State
from runtime import Runtime
from runtime.cluster import MemoryNetwork
from runtime.simulation.clock import SimulatedClock
from tests.cluster.cast import Book, Booked, Flight, Mailer, Payments, Trip
from tests.cluster.virtual import play
from tests.runtime.tools import HeldJournal, comes, content, of, restart_of


class Note(Command["Diary", None]):
    text: int


class Noted(Event):
    text: int


class Diary(Service[State, Note, Noted]):
    initial = State()
    mailbox = Mailbox(limit=3)

    def decide(self, state: State, command: Note) -> Decision:
        return command.reply(None, Noted(command.text))

    def evolve(self, state: State, event: Noted) -> State:
        return state


async def test_a_saga_under_way_over_nodes_comes_to_its_end() -> None:
    network = MemoryNetwork()
    Mailer.sent.clear()
    async with Runtime("memory:", [Flight, Payments, Mailer], network=network):
        async with Runtime("memory:", [Trip], remote=[Flight, Payments, Mailer], network=network) as front:
            before = network.sent
            asked = asyncio.ensure_future(front.ask(Trip.at("t"), Book("LH1")))
            await comes(lambda: network.sent > before)
            assert not asked.done()
        assert await asked == Booked(1, "receipt-t")


async def test_all_that_was_told_arrives_in_order() -> None:
    network = MemoryNetwork()
    async with Runtime("memory:", [Diary], network=network) as there:
        async with Runtime("memory:", [], remote=[Diary], network=network) as front:
            for text in range(200):
                front.tell(Diary.at(), Note(text))
        assert [entry.event async for entry in there.history(Diary.at())] == [Noted(text) for text in range(200)]


def test_nodes_that_take_turns_under_load_do_each_thing_once() -> None:
    async def story(clock: SimulatedClock) -> None:
        network, journal, told = MemoryNetwork(), HeldJournal(), list[int]()
        next_turn, turns = asyncio.Event(), 0
        async with Runtime("memory:", [], remote=[Diary], network=network, clock=clock) as front:

            async def work(worker: int) -> None:
                for text in range(100 * worker, 100 * worker + 20):
                    await front.ask(Diary.at(str(worker % 3)), Note(text))
                    told.append(text)
                    if len(told) % 30 == 0 or len(told) == 200:
                        next_turn.set()

            works = [asyncio.ensure_future(work(worker)) for worker in range(10)]
            while len(told) < 200:
                journal = restart_of(journal.records, crashed=False)
                next_turn.clear()
                turns += 1
                async with Runtime(journal, [Diary], network=network, clock=clock):
                    await next_turn.wait()
            await asyncio.gather(*works)
        assert turns > 3
        noted = [content(record)["text"] for record in of(journal.records, "Noted")]
        assert sorted(noted) == sorted(told) == sorted(set(told))

    play(story)
