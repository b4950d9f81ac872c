"""P2, P3, P8 with snapshots: whatever prefix is left, and whatever was kept by then, it goes on as from the events."""

import asyncio
from typing import Any

import msgspec
import pytest

from actors import Address, Refused
from persistence import Record
from runtime import ManualClock, Runtime
from runtime.service_cell import ServiceCell
from tests.runtime.cast import ALL, Account, Deposit, Hold, Release, Room
from tests.runtime.keeping import as_of, back, batch_ends, keep_often, undo
from tests.runtime.reminding import BELL, EVERYBODY, Wind, strike, wind
from tests.runtime.test_prefixes import RUNS, end_all, start_all
from tests.runtime.tools import HeldJournal, as_stored, check_books, quiet, restart_of


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_often(monkeypatch)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of the snapshots from which services have started."""
    versions: list[int] = []
    restore = ServiceCell.restore

    def noted(self: ServiceCell, *args: Any) -> int:
        versions.append(restore(self, *args))
        return versions[-1]

    monkeypatch.setattr(ServiceCell, "restore", noted)
    return versions


async def go_on(journal: HeldJournal, names: list[str]) -> HeldJournal:
    """Let all come to its end, ask for everything again, and return the journal."""
    clock = ManualClock()
    clock.step(max((record.time for record in journal.records), default=clock.now()) / 1e6 - clock.now() / 1e6)
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await end_all(runtime, clock)
        await start_all(runtime, clock, names)
    return journal


@pytest.mark.parametrize("names", [RUNS[-2], RUNS[-1]], ids="+".join)
async def test_every_prefix_is_brought_to_its_end(names: list[str], restored: list[int]) -> None:
    first = await go_on(HeldJournal(), names)
    check_books(first.records)
    for crash in range(len(first.records)):
        again = await go_on(as_of(first, crash), names)
        check_books(again.records)
        assert as_stored(again.records[:crash]) == as_stored(first.records[:crash])
    assert len([version for version in restored if version]) > 10


ROOM, A, B = Room.at("r"), Account.at("a"), Account.at("b")
SERVICES: list[Address[Any]] = [ROOM, A, B, BELL]


async def busy_life() -> HeldJournal:
    """Everything that a service's memory can hold."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        for number in range(6):
            await runtime.ask(ROOM, Hold(f"t{number}"), id=f"hold {number}")
            await wind(runtime, strike(f"s{number}", 10.0 + number))
            await undo(runtime, ROOM, f"u{number}", f"never {number}", f"undo never {number}").wait(0)
            await runtime.transact((A, Deposit(1)), (B, Deposit(2)), (A, Deposit(3)), id=f"tx {number}")
            await runtime.ask(BELL, Wind("quiet", noted=False), id=f"quiet {number}")
            await asyncio.gather(*(runtime.ask(ROOM, Hold("x")) for _ in range(number)))
            clock.advance(3)
            await quiet(runtime)
        await undo(runtime, ROOM, "t0", "hold 0", "undo hold 0").wait(0)
        await runtime.ask(ROOM, Release("t4"), id="release")
        await runtime.snapshot(ROOM)
    return journal


async def memory_of(journal: HeldJournal) -> list[tuple[Any, ...]]:
    """Return what services have in memory when they were brought back, and what they know of ids."""
    found: list[tuple[Any, ...]] = []
    clock = ManualClock()
    ids = {f"{word} {n}" for word in ("hold", "never", "undo never", "tx", "quiet", "new") for n in range(6)}
    ids |= {f"tx {n}/{m}" for n in range(6) for m in range(2)}
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        for address in SERVICES:
            cell = await back(runtime, address)
            known: dict[str, int] = {}
            for one in ids:
                unsure = cell.seen.unsure(one)
                known[one] = (await journal.find(cell.stream, one) or 0) if unsure else cell.seen.get(one, 0)
            # What a snapshot holds says no more of a position than whether the event is another process's.
            pending = {
                name: msgspec.structs.replace(one, position=min(one.position, 1)) for name, one in cell.pending.items()
            }
            found.append((cell.state, cell.version, pending, known))
    return found


async def test_what_is_brought_back_from_a_snapshot_is_what_the_events_say(restored: list[int]) -> None:
    journal = await busy_life()
    for crash in range(len(journal.records) + 1):
        restored.clear()
        events = await memory_of(restart_of(journal.records[:crash]))
        assert not restored
        assert await memory_of(as_of(journal, crash)) == events
    assert len(restored) == len(SERVICES)
    assert all(restored)


async def test_every_prefix_takes_every_command_once(restored: list[int]) -> None:
    """P3: all that was asked before the crash is asked again after it."""
    journal = await busy_life()
    for crash in batch_ends(journal):
        left = as_of(journal, crash)
        before = {record.command: record for record in left.records if record.command is not None}
        async with Runtime(left, EVERYBODY) as runtime:
            for number in range(6):
                held = await runtime.ask(ROOM, Hold(f"t{number}"), id=f"hold {number}")
                if (record := before.get(f"hold {number}")) is not None:
                    assert held.number == _count(left.records, record)
                step = runtime.ask(ROOM, Hold(f"u{number}"), id=f"never {number}")
                if f"undo never {number}" in before:
                    with pytest.raises(Refused, match="undone"):
                        await step
                else:
                    await step
                await runtime.transact((A, Deposit(1)), (B, Deposit(2)), (A, Deposit(3)), id=f"tx {number}")
            assert (await runtime.state_of(A)).amount == 124
            assert (await runtime.state_of(B)).amount == 112
        commands = [(record.stream, record.command) for record in left.records if record.command is not None]
        assert len(commands) == len(set(commands))
    assert any(restored)


def _count(records: list[Record], until: Record) -> int:
    return sum(record.type == "WasHeld" and record.stream == until.stream for record in records[: until.position])
