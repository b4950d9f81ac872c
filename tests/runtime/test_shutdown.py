"""Entering and leaving: what was acknowledged is there, nothing is left behind, and errors come out as they are."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import anyio
import pytest

from actors import DefinitionError, OutcomeUnknown, RuntimeClosed
from persistence import BadJournalUrl, JournalError, JournalInUse, JournalUnusable, MemoryJournal, Stream
from persistence import sqlite as engine
from persistence.sqlite_group import Group, write_all
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Board, BookTrip, Desk, Held, Hold, Lines, Look, Note, Room, TakeTour, Tour, Trip
from tests.runtime.tools import HeldJournal, check_books, comes, node_of, of, quiet, restart_of


async def test_everything_that_was_sent_is_done_before_it_closes(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, ALL) as runtime:
        for number in range(500):
            await runtime.tell(Room.at(f"r{number % 9}"), Hold(f"t{number}"))
        for number in range(50):
            await runtime.tell(Trip.at(f"t{number}"), BookTrip(["a", "b", "full" if number % 2 else "c"]))
        await runtime.tell(Desk.at(), Note("bye"))
    assert [text for _, text in Desk.inbox] == ["bye"]
    async with Runtime(url, ALL) as runtime:
        assert runtime.groups == 0
        assert await runtime.unfinished() == []
        lines = await runtime.ask(Board.at(), Lines())  # the read model had caught up, too
        assert sum(line.startswith("TripBooked") for _, line in lines) == 25
        assert sum([await runtime.ask(Room.at(f"r{n}"), Look()) for n in range(9)]) == 500
        assert await runtime.ask(Room.at("a"), Look()) == 25


async def test_a_plain_actor_finishes_what_it_does() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        begun.set()
        await go.wait()
        return (await desk.ask(Room.at("r"), Hold("late"))).__class__.__name__

    Desk.script = play
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        asked = asyncio.create_task(runtime.ask(Desk.at(), Note("x")))
        await begun.wait()
        asyncio.get_running_loop().call_soon(go.set)
    assert await asked == "Held"
    assert len(of(journal.records, "WasHeld")) == 1


async def test_a_plain_actor_that_does_not_end_is_cut_off_in_time() -> None:
    ended = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    Desk.script = play
    async with Runtime("memory:", ALL, shutdown_timeout=0.05) as runtime:
        asked = asyncio.create_task(runtime.ask(Desk.at(), Note("x")))
        await comes(lambda: Desk.inbox)
    with pytest.raises(OutcomeUnknown):
        await asked
    assert ended.is_set()


async def test_a_cancelled_scope_around_it_cuts_off_nothing_that_was_enqueued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has asked from outside of the scope hears what has become of it."""
    begun, go, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def held(db: sqlite3.Connection, group: Group) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(60)
        write_all(db, group)

    monkeypatch.setattr(engine, "write_all", held)
    asked: list[asyncio.Task[Held]] = []
    with anyio.CancelScope() as scope:
        async with Runtime(f"sqlite:{tmp_path / 'journal.db'}", ALL) as runtime:
            writer = node_of(runtime).writer
            asked.append(asyncio.create_task(runtime.ask(Room.at("written"), Hold("t"))))
            await begun.wait()
            asked.append(asyncio.create_task(runtime.ask(Room.at("enqueued"), Hold("t"))))
            await comes(lambda: writer.pending == 2)
            scope.cancel()
            go.set()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await asyncio.gather(*asked) == [Held(1), Held(1)]


async def test_an_error_of_the_body_passes_as_it_is() -> None:
    journal = HeldJournal()

    async def body() -> None:
        async with Runtime(journal, ALL) as runtime:
            await runtime.tell(Room.at("r"), Hold("t"))
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        await body()
    assert len(journal.records) == 1


async def test_a_body_that_is_cancelled_closes_in_good_order() -> None:
    journal, inside = HeldJournal(), asyncio.Event()

    async def body() -> None:
        async with Runtime(journal, ALL) as runtime:
            await runtime.tell(Trip.at("t"), BookTrip(["a", "b"]))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    check_books(journal.records)


async def test_leaving_with_sagas_asleep_keeps_them_for_the_next_one() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(Tour.at("t"), TakeTour(["a"], "ana", nap=1_000))
    assert not of(journal.records, "saga.completed")
    clock.step(1_001)
    async with Runtime(journal := restart_of(journal.records), ALL, clock=clock) as runtime:
        assert await runtime.unfinished() == [Tour.at("t")]
        result = asyncio.create_task(runtime.result(Tour.at("t")))
        await quiet(runtime)
        clock.advance(0)
        assert (await result).left == 90
    check_books(journal.records)


async def test_a_runtime_is_entered_once() -> None:
    runtime = Runtime("memory:", ALL)
    async with runtime:
        with pytest.raises(RuntimeClosed, match="entered once; make another one"):
            async with runtime:
                raise AssertionError("not reached")
        assert await runtime.ask(Room.at("r"), Look()) == 0
    with pytest.raises(RuntimeClosed, match="entered once; make another one"):
        async with runtime:
            raise AssertionError("not reached")


async def test_use_before_and_after() -> None:
    runtime = Runtime("memory:", ALL)
    for entered in (False, True):
        if entered:
            async with runtime:
                pass
        with pytest.raises(RuntimeClosed, match="use it inside: async with Runtime"):
            await runtime.ask(Room.at("r"), Look())
        with pytest.raises(RuntimeClosed):
            await runtime.ask(Board.at(), Lines())
        with pytest.raises(RuntimeClosed):
            runtime.tell(Room.at("r"), Look())
        with pytest.raises(RuntimeClosed):
            await runtime.transact((Room.at("r"), Look()))
        with pytest.raises(RuntimeClosed):
            await runtime.kill(Room.at("r"))
        with pytest.raises(RuntimeClosed):
            await runtime.state_of(Room.at("r"))
        with pytest.raises(RuntimeClosed):
            _ = runtime.position


async def test_a_journal_that_is_in_use(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, ALL) as runtime:
        second = Runtime(url, ALL)
        with pytest.raises(JournalInUse, match="is in use by process"):
            async with second:
                raise AssertionError("not reached")
        await runtime.ask(Room.at("r"), Hold("t"))
    async with Runtime(url, ALL) as runtime:
        assert await runtime.ask(Room.at("r"), Look()) == 1


async def test_what_a_runtime_can_not_be_made_of(tmp_path: Path) -> None:
    with pytest.raises(BadJournalUrl, match="'mysql:x' is no journal's URL"):
        Runtime("mysql:x", ALL)
    with pytest.raises(DefinitionError, match="two classes Room"):
        async with Runtime("memory:", [Room, Room]):
            raise AssertionError("not reached")
    with pytest.raises(DefinitionError, match="is no actor"):
        async with Runtime("memory:", [Nothing]):
            raise AssertionError("not reached")
    with pytest.raises(JournalUnusable):
        async with Runtime(f"sqlite:{tmp_path / 'no folder' / 'journal.db'}", ALL):
            raise AssertionError("not reached")


class Nothing:
    pass


async def test_an_error_while_entering_comes_as_it_is_and_leaves_nothing_behind() -> None:
    class Unreadable(MemoryJournal):
        closed = False

        async def unfinished(self) -> list[Stream]:
            raise JournalError("can't read the index")

        async def close(self) -> None:
            self.closed = True

    journal = Unreadable()
    with pytest.raises(JournalError, match="can't read the index"):
        async with Runtime(journal, ALL):
            raise AssertionError("not reached")
    assert journal.closed


async def test_unfinished_work_of_a_class_that_is_not_here_waits() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.tell(Tour.at("t"), TakeTour(["a"], "ana", nap=1_000))
    clock.step(1_001)
    without = [actor for actor in ALL if actor is not Tour]
    async with Runtime(journal, without, clock=clock) as runtime:
        assert await runtime.unfinished() == [Tour.at("t")]
        assert (await runtime.ask(Trip.at("t"), BookTrip(["b"]))).trip == "t"
    async with Runtime(journal, ALL, clock=clock) as runtime:
        result = asyncio.create_task(runtime.result(Tour.at("t")))
        await quiet(runtime)
        clock.advance(0)
        assert (await result).left == 90
