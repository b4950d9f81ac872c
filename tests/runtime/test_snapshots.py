"""Snapshots of services: when they are taken, that they are never ahead, and that one that doesn't fit does no harm."""

import asyncio
import logging
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from actors import (
    Command,
    Decision,
    DefinitionError,
    Event,
    Failed,
    NotTaken,
    OutcomeUnknown,
    Passivation,
    Refused,
    Service,
    State,
)
from persistence import Record, Snapshot
from runtime import ManualClock, Runtime
from runtime.seen import EVERY_ID
from runtime.service_cell import ServiceCell
from tests.runtime.cast import ALL, Account, Deposit, Hold, Look, Room, Trip, Withdraw
from tests.runtime.keeping import back, cell_of, keep_often, set_snapshot, snapshot_of, undo
from tests.runtime.reminding import BELL, EVERYBODY, Wind, strike, wind
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

ROOM = Room.at("r")
STREAM = ("Room", "r")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_often(monkeypatch)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of events that services have read back."""
    versions: list[int] = []
    replay = Room.evolve

    def noted(self: Any, state: Any, event: Any) -> Any:
        versions.append(state.count)
        return replay(self, state, event)

    monkeypatch.setattr(Room, "evolve", noted)
    return versions


async def hold(runtime: Runtime, *numbers: int) -> None:
    for number in numbers:
        await runtime.ask(ROOM, Hold(f"t{number}"), id=f"id {number}")


@pytest.mark.parametrize("url", ["memory:", "sqlite:"])
async def test_every_few_events_with_the_events(url: str, tmp_path: Path, replayed: list[int]) -> None:
    async with Runtime(url if url == "memory:" else f"{url}{tmp_path}/j.db", ALL) as runtime:
        journal = node_of(runtime).journal
        kept: list[int] = []
        for number in range(1, 8):
            await hold(runtime, number)
            snapshot = await snapshot_of(journal, ROOM)
            kept.append(snapshot.version if snapshot is not None else 0)
        assert kept == [0, 0, 3, 3, 3, 6, 6]
        replayed.clear()
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 7
        assert replayed == [6]
        assert (await runtime.state_of(ROOM)).count == 7


async def test_a_snapshot_rides_with_the_events_that_it_is_of() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await asyncio.gather(*(runtime.ask(ROOM, Hold(f"t{n}")) for n in range(7)))
    appends = [append for group in journal.groups for batch in group for append in batch]
    kept = [(append.expected + len(append.events), append.snapshot.version) for append in appends if append.snapshot]
    assert kept == [(3, 3), (6, 6)]
    assert len(journal.groups) == 1


async def test_nothing_is_kept_that_was_not_written() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, 1, 2)
        journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await hold(runtime, 3)
        assert await snapshot_of(journal, ROOM) is None
        assert await runtime.ask(ROOM, Look()) == 2
        await hold(runtime, 4)
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 3
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 3
        assert (await runtime.state_of(ROOM)).held == ("t1", "t2", "t4")


async def test_on_demand() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.snapshot(ROOM)
        assert await snapshot_of(journal, ROOM) is None
        await hold(runtime, 1)
        told = runtime.tell(ROOM, Hold("t2"))
        await runtime.snapshot(ROOM)
        await told
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 2
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Trip/t is no service"):
            await anyone.snapshot(Trip.at("t"))


async def test_only_on_demand(monkeypatch: pytest.MonkeyPatch, replayed: list[int]) -> None:
    monkeypatch.setattr(Room, "snapshot_every", None)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(10))
        assert await snapshot_of(journal, ROOM) is None
        await runtime.snapshot(ROOM)
        await hold(runtime, 11)
        replayed.clear()
        await runtime.kill(ROOM)
        assert await runtime.ask(ROOM, Look()) == 11
        assert replayed == [10]


async def test_when_it_leaves_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "snapshot_every", 100)
    monkeypatch.setattr(Room, "passivation", Passivation(idle=timedelta(minutes=1)))
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:

        async def leave() -> int:
            for _ in range(10):
                clock.advance(30)
                await quiet(runtime)
            assert node_of(runtime).find(ROOM) is None
            snapshot = await snapshot_of(journal, ROOM)
            return snapshot.version if snapshot is not None else 0

        await hold(runtime, *range(24))
        assert await leave() == 0  # not worth it
        await hold(runtime, 24)
        assert await leave() == 25
        await hold(runtime, *range(25, 49))
        assert await leave() == 25
        await hold(runtime, 49)
        assert await leave() == 50


async def test_a_large_state_is_kept_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.snapshots.EVENT_WEIGHT", 100)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await asyncio.gather(*(runtime.ask(ROOM, Hold(f"t{n:0100}")) for n in range(1_000)))
    appends = [append for group in journal.groups for batch in group for append in batch]
    kept = [append.snapshot for append in appends if append.snapshot is not None]
    assert 5 < len(kept) < 15
    for before, after in pairwise(kept):
        assert after.version - before.version == max(3, len(before.data or b"") // 100)


# -- what doesn't fit -------------------------------------------------------------------------------------------------


def damaged(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, None)


def of_another_form(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, "1-other", b'{"state":{"held":["wrong"]}}')


def not_as_it_says(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":{"held":"wrong"}}')


def no_snapshot_at_all(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b"[1, 2")


def too_deep(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def with_a_broken_filter(snapshot: Snapshot) -> Snapshot:
    return Snapshot(snapshot.version, snapshot.fingerprint, b'{"state":{},"seen":{"older":["AAAA"]}}')


def ahead(snapshot: Snapshot) -> Snapshot:
    return Snapshot(99, snapshot.fingerprint, snapshot.data)


@pytest.mark.parametrize(
    "wrong", [damaged, of_another_form, not_as_it_says, no_snapshot_at_all, too_deep, with_a_broken_filter, ahead]
)
async def test_one_that_doesn_t_fit_is_ignored_with_a_warning(
    wrong: Any, replayed: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(1, 8))
    snapshot = await snapshot_of(journal, ROOM)
    assert snapshot is not None
    set_snapshot(journal, STREAM, wrong(snapshot))
    replayed.clear()
    caplog.set_level(logging.WARNING)
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(ROOM, Look()) == 7
        assert replayed == list(range(7))
        warnings = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
        assert len(warnings) == 1
        assert "Room/r" in warnings[0]
        assert (await runtime.state_of(ROOM)).count == 7
        await hold(runtime, 1, 8)  # the first one is known
        assert (await runtime.state_of(ROOM)).count == 8
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert snapshot.version == 8
        assert snapshot.fingerprint != "1-other"


@pytest.mark.parametrize("change", ["snapshot_version", "initial"])
async def test_another_number_and_another_first_state_need_other_snapshots(
    change: str, monkeypatch: pytest.MonkeyPatch, replayed: list[int]
) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await hold(runtime, *range(1, 8))
    match change:
        case "snapshot_version":
            monkeypatch.setattr(Room, "snapshot_version", 2)
        case _:
            monkeypatch.setattr(Room, "initial", type(Room.initial)(count=100))
    replayed.clear()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(ROOM, Look()) == 7
        assert len(replayed) == 7


class Odd(State):
    what: Any = None


class OddEvent(Event):
    pass


class DoOdd(Command[Any, None]):
    pass


class Strange(Service[Odd, DoOdd, OddEvent]):
    initial = Odd()
    next_state: ClassVar[Any] = None

    def decide(self, state: Odd, command: DoOdd) -> Decision:
        return command.reply(None, OddEvent())

    def evolve(self, state: Odd, event: OddEvent) -> Odd:
        return Odd(Strange.next_state)


class Sneaky:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("state", [object(), (1, 2), {1: 2}, float("nan"), {"a": Sneaky()}, "\ud800"])
async def test_a_state_that_would_not_read_back_is_not_kept(
    state: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Strange, "snapshot_every", 2)
    monkeypatch.setattr(Strange, "next_state", state)
    journal = HeldJournal()
    caplog.set_level(logging.WARNING)
    async with Runtime(journal, [Strange]) as runtime:
        for key in ("a", "b"):
            for _ in range(5):
                await runtime.ask(Strange.at(key), DoOdd())
        assert await snapshot_of(journal, Strange.at("a")) is None
        warnings = [record.getMessage() for record in caplog.records if "no snapshot" in record.getMessage()]
        assert len(warnings) == 1
        with pytest.raises(Failed, match="can't be kept in a snapshot"):
            await runtime.snapshot(Strange.at("a"))
        with pytest.raises(Failed, match="can't be kept in a snapshot"):
            await runtime.truncate(Strange.at("a"), 3)
        assert len(await journal.read(("Strange", "a"))) == 5
        await runtime.kill(Strange.at("a"))
        await runtime.ask(Strange.at("a"), DoOdd())
        await runtime.delete(Strange.at("a"))
        await runtime.kill(Strange.at("a"))
        assert cell_of(runtime, Strange.at("a")).version == 0
        await runtime.ask(Strange.at("a"), DoOdd())
        assert [record.version for record in await journal.read(("Strange", "a"))] == [7, 8]


class Unstorable(State):
    value: complex = 1j


class Complex(Service[Unstorable, DoOdd, OddEvent]):
    initial = Unstorable()
    snapshot_every = 1

    def decide(self, state: Unstorable, command: DoOdd) -> Decision:
        return command.reply(None, OddEvent())

    def evolve(self, state: Unstorable, event: OddEvent) -> Unstorable:
        return state


async def test_a_state_that_msgspec_doesn_t_know_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    journal = HeldJournal()
    async with Runtime(journal, [Complex]) as runtime:
        for _ in range(3):
            await runtime.ask(Complex.at("c"), DoOdd())
        await runtime.kill(Complex.at("c"))
        await runtime.ask(Complex.at("c"), DoOdd())
        assert (await runtime.state_of(Complex.at("c"))).value == 1j
    assert len([record for record in caplog.records if "no snapshot" in record.getMessage()]) == 1


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_how_often_must_be_a_number_of_events(every: Any) -> None:
    with pytest.raises(DefinitionError, match="snapshot_every of 1 or more"):
        type("Bad", (Strange,), {"snapshot_every": every})


# -- what is in one ---------------------------------------------------------------------------------------------------


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
