"""What is in a snapshot beside the state: reminders, ids and fences, and what is no longer in memory."""

import asyncio
from functools import partial
from typing import Any

import msgspec
import pytest

from actors import Refused
from persistence import Record
from runtime import ManualClock, Runtime
from runtime.seen import EVERY_ID
from runtime.service_cell import ServiceCell
from tests.runtime.cast import ALL, Account, Deposit, Hold, Room, Withdraw
from tests.runtime.keeping import ROOM, back, cell_of, hold, keep_often, snapshot_of, undo
from tests.runtime.reminding import BELL, EVERYBODY, Wind, strike, wind
from tests.runtime.tools import HeldJournal, comes, node_of, quiet


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_often(monkeypatch)


async def test_reminders_that_are_pending_come_all_the_same() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10.0))
        await wind(runtime, strike("b", 20.0))
        for _ in range(5):
            await runtime.ask(BELL, Wind("noted"))
        before = cell_of(runtime, BELL).pending
        cell = await back(runtime, BELL)
        assert cell.kept_at > 4
        assert cell.pending == before
        clock.advance(11)
        await quiet(runtime)
        assert (await runtime.state_of(BELL)).texts == ("a",)
        cell = await back(runtime, BELL)
        assert list(cell.pending) == ["b"]
        clock.advance(11)
        await quiet(runtime)
        assert (await runtime.state_of(BELL)).texts == ("a", "b")
        assert not (await back(runtime, BELL)).pending


async def test_a_reminder_that_another_process_has_set_is_known_as_such() -> None:
    """It may be what ended that process (P13), also where its event is not read any more."""
    journal = HeldJournal()
    async with Runtime(journal, EVERYBODY) as runtime:
        await wind(runtime, strike("a", 10.0))
        for _ in range(5):
            await runtime.ask(BELL, Wind("noted"))
        cell = await back(runtime, BELL)
        assert cell.kept_at > 2
        assert [one.position for one in cell.pending.values()] == [0]
        await runtime.snapshot(BELL)
    for _ in range(2):
        async with Runtime(journal, EVERYBODY) as runtime:
            assert [one.position for one in (await back(runtime, BELL)).pending.values()] == [1]
            await runtime.snapshot(BELL)


async def test_ids_are_known_when_they_have_left_the_memory() -> None:
    """P3: a repeat gets its first reply, and what is new is not taken for a repeat."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        first = [await runtime.ask(ROOM, Hold(f"t{n}"), id=f"id {n}") for n in range(20)]
        cell = cell_of(runtime, ROOM)
        assert len(cell.seen) <= 4
        for again in (False, True):
            if again:
                await runtime.kill(ROOM)
            assert [await runtime.ask(ROOM, Hold(f"t{n}"), id=f"id {n}") for n in range(20)] == first
        assert [(await runtime.ask(ROOM, Hold("new"), id=f"new {n}")).number for n in range(20)] == [*range(21, 41)]
        assert cell.version == len(journal.records) == 40


async def test_the_journal_is_asked_only_when_what_was_enqueued_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(10))
        journal.hold()
        asked = [asyncio.create_task(hold(runtime, number)) for number in range(10, 20)]
        asked.append(asyncio.create_task(hold(runtime, 10)))  # it has left the memory, and is not on the disk
        await comes(lambda: not cell_of(runtime, ROOM).runnable)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in asked)
        journal.gate.set()
        await asyncio.gather(*asked)
        assert (await runtime.state_of(ROOM)).count == 20


def _waits(cell: ServiceCell) -> bool:
    return not cell.runnable


async def test_mail_keeps_its_order_around_a_look_up() -> None:
    """P4: what comes behind a command that is looked up is handled behind it, also when the actor is killed then."""
    for kill in (False, True):
        journal = HeldJournal()
        async with Runtime(journal, ALL) as runtime:
            await hold(runtime, *range(10))
            journal.hold()
            holding = asyncio.create_task(runtime.ask(Room.at("other"), Hold("x")))
            await journal.arrived.wait()
            told = [
                runtime.tell(ROOM, Hold("t3"), id="id 3"),
                runtime.tell(ROOM, Hold("new 1"), id="new 1"),
                runtime.tell(ROOM, Hold("t4"), id="id 4"),
                runtime.tell(ROOM, Hold("new 2"), id="new 2"),
                runtime.tell(ROOM, Hold("new 3")),
            ]
            cell = cell_of(runtime, ROOM)
            await comes(partial(_waits, cell))
            if kill:
                await runtime.kill(ROOM)
            journal.gate.set()
            await asyncio.gather(holding, *told)
            await quiet(runtime)
            assert (await runtime.state_of(ROOM)).held[10:] == ("new 1", "new 2", "new 3")


async def test_what_is_new_after_all_is_handled_in_its_order() -> None:
    async with Runtime(HeldJournal(), ALL) as runtime:
        await hold(runtime, 0)
        cell_of(runtime, ROOM).seen.older = EVERY_ID
        told = [runtime.tell(ROOM, Hold(f"t{n}"), id=f"id {n}" if n % 3 else None) for n in range(1, 20)]
        await asyncio.gather(*told)
        await quiet(runtime)
        assert (await runtime.state_of(ROOM)).held == tuple(f"t{n}" for n in range(20))


async def test_an_answer_for_an_incarnation_that_is_gone_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """16: the next one takes no turns before it has read its stream."""
    journal = HeldJournal()
    gates = {"find": asyncio.Event(), "read": asyncio.Event()}
    find, read = journal.find, journal.read

    async def slow_find(*args: Any) -> int | None:
        await gates["find"].wait()
        return await find(*args)

    async def slow_read(*args: Any) -> list[Record]:
        await gates["read"].wait()
        return await read(*args)

    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(10))
        monkeypatch.setattr(journal, "find", slow_find)
        monkeypatch.setattr(journal, "read", slow_read)
        asked = asyncio.create_task(hold(runtime, 3))
        cell = cell_of(runtime, ROOM)
        await comes(partial(_waits, cell))
        await runtime.kill(ROOM)
        told = runtime.tell(ROOM, Hold("new"))
        gates["find"].set()
        for _ in range(100):
            await asyncio.sleep(0)
            assert not cell.runnable
        gates["read"].set()
        await asked
        await told
        await quiet(runtime)
        assert (await runtime.state_of(ROOM)).held[10:] == ("new",)


async def test_a_journal_that_can_t_be_read_for_a_look_up_loses_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, clock = HeldJournal(), ManualClock()
    find, broken = journal.find, [True]

    async def failing(stream: Any, command: str) -> int | None:
        if broken:
            raise OSError("disk I/O error")
        return await find(stream, command)

    monkeypatch.setattr(Room, "restart", type(Room.restart)(restarts=100))
    monkeypatch.setattr(journal, "find", failing)
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await hold(runtime, *range(10))
        asked = asyncio.create_task(runtime.ask(ROOM, Hold("t3"), id="id 3"))
        await comes(lambda: not cell_of(runtime, ROOM).runnable)
        await quiet(runtime)
        broken.clear()
        for _ in range(10):
            clock.advance(10)
            await quiet(runtime)
        assert (await asked).number == 4
        assert (await runtime.state_of(ROOM)).count == 10


async def test_fences_are_known_for_ever() -> None:
    """P9: an undo that came first wins, however long its step takes, and whatever was kept meanwhile."""
    async with Runtime(HeldJournal(), ALL) as runtime:
        assert await undo(runtime, ROOM, "t", "late step", "undo").wait(0) is None
        await hold(runtime, *range(20))
        for _ in range(2):
            with pytest.raises(Refused, match="was undone before it arrived"):
                await runtime.ask(ROOM, Hold("t"), id="late step")
            assert await undo(runtime, ROOM, "t", "late step", "undo").wait(0) is None
            await back(runtime, ROOM)
        assert (await runtime.state_of(ROOM)).count == 20


async def test_a_step_that_has_left_the_memory_is_undone_and_not_fenced() -> None:
    """P8: whether the step came is for the journal to say."""
    for kill in (False, True):
        journal = HeldJournal()
        async with Runtime(journal, ALL) as runtime:
            await hold(runtime, *range(20))
            if kill:
                await runtime.kill(ROOM)
            await undo(runtime, ROOM, "t3", "id 3", "undo 3").wait(0)
            assert "t3" not in (await runtime.state_of(ROOM)).held
            assert [record.type for record in journal.records].count("service.fenced") == 0
            for number in range(100):  # some of these are looked up and not found
                await undo(runtime, ROOM, "t", f"never {number}", f"undo never {number}").wait(0)
            assert [record.type for record in journal.records].count("service.fenced") == 100


async def test_a_transaction_is_known_when_its_ids_have_left_the_memory() -> None:
    a, b = Account.at("a"), Account.at("b")
    async with Runtime(HeldJournal(), ALL) as runtime:
        first = await runtime.transact((a, Withdraw(1)), (b, Deposit(1)), id="pay")
        for number in range(20):
            await runtime.ask(a, Deposit(1), id=f"a {number}")
            await runtime.ask(b, Deposit(1), id=f"b {number}")
        for _ in range(2):
            assert await runtime.transact((a, Withdraw(1)), (b, Deposit(1)), id="pay") == first
            await runtime.kill(b)
        for number in range(30):
            await runtime.transact((a, Withdraw(1)), (b, Deposit(1)), id=f"new {number}")
        assert (await runtime.state_of(a)).amount == 100 - 1 + 20 - 30
        assert (await runtime.state_of(b)).amount == 100 + 1 + 20 + 30


async def test_a_transaction_that_failed_leaves_no_snapshot_behind() -> None:
    """What was considered and taken back is neither kept nor thought to be."""
    a, b = Account.at("a"), Account.at("b")
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(a, Deposit(1))
        await runtime.ask(a, Deposit(1))
        with pytest.raises(Refused):
            await runtime.transact((a, Deposit(1)), (b, Withdraw(1_000)), id="no")
        assert await snapshot_of(journal, a) is None
        assert cell_of(runtime, a).kept_at == 0
        await runtime.transact((a, Deposit(1)), (a, Deposit(1)), (b, Withdraw(1)), id="yes")
        snapshot = await snapshot_of(journal, a)
        assert snapshot is not None
        assert snapshot.version == 4
        await runtime.kill(a)
        assert await runtime.ask(a, Deposit(0)) == 104


async def test_a_reminder_that_somebody_has_sent_by_hand_is_known() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 100.0))
        (pending,) = cell_of(runtime, BELL).pending.values()
        command: Any = node_of(runtime).kind("Bell").command(msgspec.Raw(pending.command))
        await runtime.ask(BELL, command, id=pending.id_at("Bell/big"))
        for number in range(20):
            await runtime.ask(BELL, Wind("noted"), id=f"id {number}")
        clock.advance(101)
        await quiet(runtime)
        assert (await runtime.state_of(BELL)).texts == ("a",)
        assert not cell_of(runtime, BELL).pending
