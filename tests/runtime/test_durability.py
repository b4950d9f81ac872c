"""P1, P2, P10: nothing leaves before it is durable, groups are shared, and unknown is called unknown."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import Failed, OutcomeUnknown, Refused, RuntimeClosed
from persistence import AppendFailed, Batch, MemoryJournal, SqliteJournal
from runtime import ManualClock, Runtime
from tests.runtime.cast import (
    ALL,
    Account,
    Begin,
    Board,
    BookTrip,
    Deposit,
    Desk,
    Held,
    Hold,
    Lines,
    Look,
    Note,
    Odd,
    Play,
    Release,
    Room,
    TakeTour,
    Tour,
    Trip,
    Withdraw,
)
from tests.runtime.tools import HeldJournal, booked_in, check_books, check_once, of, quiet


class BrokenJournal(MemoryJournal):
    """Can't be written, and can't be mended, while it is ``broken``."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.tried = asyncio.Event()

    async def append(self, batches: Sequence[Batch]) -> int:
        if self.broken:
            raise AppendFailed("no space left on device")
        return await super().append(batches)

    async def recover(self) -> None:
        if self.broken:
            self.tried.set()
            raise AppendFailed("no space left on device")


# -- nothing leaves before it is durable --------------------------------------------------------------------------


async def test_no_reply_before_the_group_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t")))
        await journal.arrived.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.done()
        assert runtime.position == 0
        journal.gate.set()
        assert (await asked).number == 1
        assert runtime.position == 1


ASKS: dict[str, tuple[Callable[[Runtime], Awaitable[Any]], type[Exception] | None]] = {
    "reply": (lambda runtime: runtime.ask(Room.at("r"), Look()), None),
    "refusal": (lambda runtime: runtime.ask(Room.at("r"), Release("another")), Refused),
    "failure": (lambda runtime: runtime.ask(Room.at("r"), Odd("poison")), Failed),
    "saga": (lambda runtime: runtime.ask(Trip.at("t"), BookTrip(["full"])), Refused),
    "transaction": (lambda runtime: runtime.transact((Room.at("r"), Look())), None),
    "refused transaction": (lambda runtime: runtime.transact((Room.at("full"), Hold("t"))), Refused),
}


@pytest.mark.parametrize("name", ASKS)
async def test_what_rests_on_events_that_are_not_durable_waits_for_them(name: str) -> None:
    """A reply, a refusal or a failure that wrote nothing: it may rest on what was written before it."""
    ask, error = ASKS[name]
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("first"))
        journal.hold()
        first = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t")))
        second = asyncio.ensure_future(ask(runtime))
        await journal.arrived.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.done()
        assert not second.done()
        journal.gate.set()
        await first
        if error is None:
            await second
        else:
            with pytest.raises(error):
                await second


async def test_a_plain_actor_gets_no_mail_before_its_cause_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        held = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t")))
        await journal.arrived.wait()
        noted = asyncio.create_task(runtime.ask(Desk.at(), Note("held")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert Desk.inbox == []
        journal.gate.set()
        assert await noted == "HELD"
        assert (await held).number == 1


async def test_a_sagas_step_to_a_plain_actor_goes_out_when_its_intent_is_durable() -> None:
    """What the desk does can't be taken back; the journal must know of it first."""
    seen: list[list[str]] = []
    journal = HeldJournal()

    async def play(desk: Desk, note: Note) -> str:
        seen.append([record.type for record in journal.records])
        return "done"

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("hold", Room.at("r"), Hold(self.key), undo=Release(self.key))
        await self.ask("note", Desk.at(), Note("it is held"))
        return Held(1)

    Desk.script, Play.script = play, story
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(Play.at("p"), Begin()) == Held(1)
        assert seen == [["saga.started", "saga.asked", "WasHeld", "saga.answered", "saga.asked"]]
        assert Desk.inbox == [("Play/p#note", "it is held")]


async def test_no_row_before_its_event_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("first"))
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("second")))
        await journal.arrived.wait()
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == [(1, "WasHeld first")]
        journal.gate.set()
        await asked
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == 2


async def test_a_repeat_does_not_get_its_reply_before_the_first_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        both = [asyncio.create_task(runtime.ask(Room.at("r"), Hold("t"), id="same")) for _ in range(2)]
        await journal.arrived.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(one.done() for one in both)
        journal.gate.set()
        assert [(await one).number for one in both] == [1, 1]
    assert len(journal.records) == 1


# -- groups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_trip_alone_costs_one_append(tmp_path: Path, engine: str) -> None:
    journal = MemoryJournal() if engine == "memory" else SqliteJournal(tmp_path / "journal.db")
    async with Runtime(journal, ALL) as runtime:
        for number in range(5):
            await runtime.ask(Trip.at(f"t{number}"), BookTrip(["flight", "hotel", "cab"]))
            assert runtime.groups == number + 1
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("f"), BookTrip(["flight", "full"]))
        assert runtime.groups == 6


async def test_a_trip_to_actors_that_must_be_read_first_costs_one_append(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    for number in range(3):
        async with Runtime(url, ALL) as runtime:
            await runtime.ask(Trip.at(f"t{number}"), BookTrip(["flight", "hotel", "cab"]))
            assert runtime.groups == 1


async def test_five_hundred_trips_share_their_groups(tmp_path: Path) -> None:
    async with Runtime(f"sqlite:{tmp_path / 'journal.db'}", ALL) as runtime:
        asked = [runtime.ask(Trip.at(f"t{n}"), BookTrip([f"flight {n % 7}", "hotel", f"cab {n}"])) for n in range(500)]
        await asyncio.gather(*asked)
        assert runtime.position == 500 * 12
        assert runtime.groups <= 50


# -- a journal that can't be written ------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_an_append_that_fails_makes_outcomes_unknown_and_asking_again_resolves_it(fate: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t0"), id="id 0")
        journal.fail = [fate]
        asked = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"t{n}"), id=f"id {n}")) for n in (1, 2, 3)]
        for result in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(result, OutcomeUnknown)
            assert "Room/r has handled Hold is unknown" in str(result)
        again = [await runtime.ask(Room.at("r"), Hold(f"t{n}"), id=f"id {n}") for n in (0, 1, 2, 3)]
        assert [held.number for held in again] == [1, 2, 3, 4]
        assert await runtime.ask(Room.at("r"), Look()) == 4
        assert (await runtime.state_of(Room.at("r"))).held == ("t0", "t1", "t2", "t3")
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True)) == 4
    check_once(journal.records)


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("group", range(4))
async def test_sagas_go_on_when_the_journal_is_back(fate: str, group: int) -> None:
    """The sagas nobody waits for any more, too: their duty is in the journal."""
    journal, clock = HeldJournal(), ManualClock()
    journal.fail = ["fine"] * group + [fate] * 2
    commands = {f"t{n}": BookTrip(["a", "b", "full" if n % 3 == 0 else "c"]) for n in range(9)}
    async with Runtime(journal, ALL, clock=clock) as runtime:
        tour = asyncio.create_task(runtime.ask(Tour.at("tour"), TakeTour(["a", "b"], "ana", nap=5.0)))
        for key, command in commands.items():
            await runtime.tell(Trip.at(key), command)
            await asyncio.sleep(0)
        for _ in range(4):
            await quiet(runtime)
            clock.advance(5)
        await asyncio.gather(tour, return_exceptions=True)
        for _ in range(10):
            await quiet(runtime)
            clock.advance(5)
        assert await runtime.unfinished() == []
        for key, command in commands.items():  # those of which nothing was written begin now
            try:
                await insist(partial(runtime.ask, Trip.at(key), command))
            except Refused:
                assert "full" in command.rooms
        again = asyncio.create_task(runtime.ask(Tour.at("tour"), TakeTour(["a", "b"], "ana", nap=5.0)))
        await quiet(runtime)
        clock.advance(5)
        assert (await again).left == 90
    check_books(journal.records)


async def test_a_journal_that_stays_broken_is_tried_until_it_is_mended() -> None:
    journal = BrokenJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.broken = True
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("r"), Hold("t"), id="one")
        again = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t"), id="one"))
        await journal.tried.wait()
        journal.broken = False
        assert (await again).number == 1
    check_once(journal.records)


async def test_a_full_disk_is_tried_with_pauses_and_the_outside_world_is_asked_a_few_times_only() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("charge", Desk.at(), Note("charge the card"))
        return Held(1)

    Play.script = story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        await runtime.tell(Play.at("p"), Begin())
        await journal.arrived.wait()
        journal.gate.set()
        journal.hold()
        await journal.arrived.wait()  # the saga's intent is durable, the answer is not
        journal.full = True
        journal.gate.set()
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert len(journal.groups) <= 6
        for _ in range(100):  # ten seconds more
            clock.advance(0.1)
            for _ in range(20):
                await asyncio.sleep(0)
        assert len(journal.groups) <= 20
        assert len(Desk.inbox) <= 20
        journal.full = False
        for _ in range(20):
            clock.advance(1)
            for _ in range(20):
                await asyncio.sleep(0)
        assert await runtime.result(Play.at("p")) == Held(1)
    assert {message for message, _ in Desk.inbox} == {"Play/p#charge"}


async def test_a_plain_actor_goes_on_while_the_journal_is_broken() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        begun.set()
        await go.wait()
        return "said at last"

    Desk.script = play
    journal = HeldJournal()

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at(), Note("for the saga"))
        return Held(7)

    Play.script = story
    async with Runtime(journal, ALL) as runtime:
        await runtime.tell(Play.at("p"), Begin())
        await begun.wait()
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(Room.at("r"), Hold("t"))
        go.set()
        assert await runtime.result(Play.at("p")) == Held(7)
        assert {message for message, _ in Desk.inbox} == {"Play/p#note"}


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_transaction_whose_append_fails(fate: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.fail = [fate]
        parts = (Account.at("a"), Withdraw(30)), (Account.at("b"), Deposit(30))
        with pytest.raises(OutcomeUnknown):
            await runtime.transact(*parts, id="move")
        assert await runtime.transact(*parts, id="move") == (70, 130)
        assert (await runtime.state_of(Account.at("a"))).amount == 70
    assert [record.type for record in journal.records] == ["Withdrawn", "Deposited"]


async def test_the_journal_is_a_prefix_of_what_was_enqueued() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        asked = [runtime.ask(Trip.at(f"t{n}"), BookTrip(["a", "full" if n % 2 else "b"])) for n in range(40)]
        await asyncio.gather(*asked, return_exceptions=True)
        assert journal.written == journal.enqueued
        journal.hold()
        before = len(journal.written)
        late = [asyncio.create_task(runtime.ask(Trip.at(f"u{n}"), BookTrip(["a", "b"]))) for n in range(40)]
        await journal.arrived.wait()
        journal.fail = ["before"]
        journal.gate.set()
        results = await asyncio.gather(*late, return_exceptions=True)
        assert all(isinstance(result, OutcomeUnknown) for result in results)
        assert journal.written == journal.enqueued[:before]


async def test_a_commands_events_and_a_transactions_parts_are_one_batch() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        parts = [(Account.at(f"a{n}"), Deposit(1)) for n in range(20)]
        await runtime.transact(*parts)
        assert [len(batch) for group in journal.groups for batch in group] == [20]
        await runtime.ask(Trip.at("t"), BookTrip(["a"]))
        batches = [batch for group in journal.groups[1:] for batch in group]
        assert [[event.type for append in batch for event in append.events] for batch in batches] == [
            ["saga.started", "saga.asked"],
            ["WasHeld"],
            ["saga.answered", "saga.completed", "TripBooked"],
        ]


async def insist(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask again while the outcome is unknown."""
    while True:
        try:
            await ask()
            return
        except OutcomeUnknown:
            pass


# -- callers ------------------------------------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_changes_nothing() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t"), id="one"))
        trip = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["a", "b"])))
        await journal.arrived.wait()
        asked.cancel()
        trip.cancel()
        await asyncio.wait([asked, trip])
        assert asked.cancelled()
        assert trip.cancelled()
        journal.gate.set()
        assert (await runtime.ask(Room.at("r"), Hold("t"), id="one")).number == 1
        assert (await runtime.result(Trip.at("t"))).trip == "t"
    check_once(journal.records)


async def test_a_timeout_says_that_the_outcome_is_unknown() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t"), id="one", timeout=2.5))
        moved = asyncio.create_task(runtime.transact((Account.at("a"), Deposit(1)), id="two", timeout=2.5))
        trip = asyncio.create_task(runtime.ask(Trip.at("t"), BookTrip(["a"]), timeout=2.5))
        result = asyncio.create_task(runtime.result(Trip.at("t"), timeout=2.5))
        await journal.arrived.wait()
        clock.advance(2.5)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asked.done()
        clock.advance(0.1)
        for one in (asked, moved, trip, result):
            with pytest.raises(OutcomeUnknown, match=r"no reply came in time"):
                await one
        journal.gate.set()
        assert (await runtime.ask(Room.at("r"), Hold("t"), id="one", timeout=60)).number == 1
        assert await runtime.transact((Account.at("a"), Deposit(1)), id="two") == (101,)
    assert len(of(journal.records, "WasHeld")) == 2
    assert len(of(journal.records, "Deposited")) == 1


async def test_a_timeout_may_be_infinite() -> None:
    async with Runtime("memory:", ALL) as runtime:
        assert (await runtime.ask(Room.at("r"), Hold("t"), timeout=math.inf)).number == 1
        assert await runtime.transact((Account.at("a"), Deposit(1)), timeout=math.inf) == (101,)
        assert (await runtime.ask(Trip.at("t"), BookTrip(["a"]), timeout=math.inf)).trip == "t"
        assert (await runtime.result(Trip.at("t"), timeout=math.inf)).trip == "t"
        assert len(await runtime.ask(Board.at(), Lines(), consistent=True, timeout=math.inf)) == 3


async def test_closing_with_asks_outstanding_makes_what_was_begun_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        journal.hold()
        asked = [asyncio.create_task(runtime.ask(Trip.at(f"t{n}"), BookTrip(["a", "b"]))) for n in range(5)]
        sleeper = asyncio.create_task(runtime.ask(Tour.at("t"), TakeTour(["a"], "ana", nap=1e6)))
        await journal.arrived.wait()
        journal.gate.set()
    assert [(await one).trip for one in asked] == [f"t{n}" for n in range(5)]
    with pytest.raises(OutcomeUnknown, match="the runtime was closed"):
        await sleeper
    assert booked_in(journal.records) == {f"t{n}" for n in range(5)}
    with pytest.raises(RuntimeClosed):
        await runtime.ask(Room.at("a"), Look())


async def test_closing_when_the_disk_hangs_leaves_nobody_waiting() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL, shutdown_timeout=0.05) as runtime:
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t")))
        await journal.arrived.wait()
    with pytest.raises(OutcomeUnknown):
        await asked
