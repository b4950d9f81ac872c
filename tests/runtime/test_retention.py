"""Truncating: what is erased is gone, what was promised about it still holds, and it is said."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import CommandIdReused, EventsErased, NotTaken, OutcomeUnknown, Refused, ReplyErased
from persistence import ERASED, Snapshot
from runtime import ManualClock, Runtime
from runtime import retention as module
from runtime import seen as seen_ids
from runtime.mailbox import Envelope
from runtime.service_mail import Erase
from tests.runtime.cast import (
    ALL,
    Account,
    Board,
    BookTrip,
    Deposit,
    Desk,
    Hold,
    Lines,
    Look,
    Release,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.keeping import ROOM, back, cell_of, fill, history_of, left, set_snapshot, undo
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

STREAM = ("Room", "r")


@pytest.fixture(params=["memory:", "sqlite:"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/journal.db"


async def test_what_is_truncated_is_gone_and_all_else_is_as_it_was(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        first = await fill(runtime)
        await runtime.truncate(ROOM, 8)
        assert await left(runtime) == [8, 9, 10]
        for _ in range(2):
            assert (await runtime.state_of(ROOM)).count == 10
            assert (await runtime.ask(ROOM, Hold("t9"), id="id 9")) == first[8]
            with pytest.raises(ReplyErased, match=r"Room/r has handled this Hold before, once.*version 3"):
                await runtime.ask(ROOM, Hold("t3"), id="id 3")
            assert await runtime.ask(ROOM, Look()) == 10
            await runtime.kill(ROOM)
        assert (await runtime.ask(ROOM, Hold("new"))).number == 11
        assert runtime.position == 11


async def test_truncating_comes_in_its_turn_and_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 3)
        journal.hold()
        asked = asyncio.create_task(runtime.ask(ROOM, Hold("t4")))
        done = asyncio.create_task(runtime.truncate(ROOM, 4))
        await journal.arrived.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not done.done()
        assert await left(runtime) == [1, 2, 3]
        journal.gate.set()
        await asyncio.gather(asked, done)
        assert await left(runtime) == [4]
        assert (await back(runtime, ROOM)).state.count == 4


async def test_nothing_is_erased_that_no_snapshot_stands_for() -> None:
    """Whoever asks for it, and whatever happened to the snapshot that was taken for it."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 5)
        cell = cell_of(runtime, ROOM)
        cell.put(Envelope(Erase(3, 3)))
        await quiet(runtime)
        assert await left(runtime) == [3, 4, 5]
        assert (await back(runtime, ROOM)).state.count == 5


async def test_many_events_are_erased_in_steps_with_turns_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ERASED_AT_ONCE", 4)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 20)
        journal.groups.clear()
        done = asyncio.create_task(runtime.truncate(ROOM, 18))
        await comes(lambda: len(journal.groups) == 2)
        asked = asyncio.create_task(runtime.ask(ROOM, Hold("between")))
        await asyncio.gather(done, asked)
        appends = [append for group in journal.groups for batch in group for append in batch]
        assert [append.erase_before for append in appends if append.erase_before] == [5, 9, 13, 17, 18]
        assert [bool(append.snapshot) for append in appends][:2] == [True, False]
        assert len(appends) == 7
        assert appends[-1].erase_before
        await runtime.truncate(ROOM, 20)
        assert await left(runtime) == [20, 21]
        await runtime.delete(ROOM)
        assert await left(runtime) == [22]


async def test_a_truncation_that_was_cut_off_in_between_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2, 14: whatever was erased, the snapshot that stands for it was there before."""
    monkeypatch.setattr(module, "ERASED_AT_ONCE", 4)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 20)
    for verb in ("truncate", "delete"):
        async with Runtime(journal, ALL) as runtime:
            journal.hold()
            done = asyncio.create_task(runtime.truncate(ROOM, 18) if verb == "truncate" else runtime.delete(ROOM))
            await journal.arrived.wait()
            journal.fail = ["", "", "before"] if verb == "truncate" else ["before"]
            journal.gate.set()
            with pytest.raises(OutcomeUnknown):
                await done
            assert await left(runtime) == list(range(5, 21))
            assert (await runtime.state_of(ROOM)).count == 20
            assert await runtime.ask(ROOM, Look()) == 20
    async with Runtime(journal, ALL) as runtime:
        journal.fail = ["", "before"]
        with pytest.raises(OutcomeUnknown):
            await runtime.delete(ROOM)
        assert await left(runtime) == list(range(9, 22))
        assert await runtime.ask(ROOM, Look()) == 0
        assert await runtime.state_of(ROOM) == Room.initial
        set_snapshot(journal, STREAM, Snapshot(21, "of another form", None))
        assert (await back(runtime, ROOM)).state == Room.initial
        assert await runtime.state_of(ROOM) == Room.initial
        await runtime.delete(ROOM)
        assert await left(runtime) == [22]


async def test_how_far_can_be_truncated() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await fill(runtime, 3)
        await runtime.truncate(ROOM, 1)
        await runtime.truncate(ROOM, -5)
        assert await left(runtime) == [1, 2, 3]
        with pytest.raises(ValueError, match=r"Room/r is at version 3, .* before_version can't be 4"):
            await runtime.truncate(ROOM, 4)
        with pytest.raises(ValueError, match="is at version 0"):
            await runtime.truncate(Room.at("never"), 5)
        assert await left(runtime) == [1, 2, 3]
        await runtime.truncate(ROOM, 3)
        await runtime.truncate(ROOM, 3)
        assert await left(runtime) == [3]
        assert (await back(runtime, ROOM)).version == 3
        anyone: Any = runtime
        for address in (Trip.at("t"), Desk.at(), Board.at()):
            with pytest.raises(NotTaken, match="is no service"):
                await anyone.truncate(address, 1)


async def test_ids_are_known_after_truncation_and_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P3, failure 7: the memory of ids has no window that expires."""
    monkeypatch.setattr(seen_ids, "RECENT", 2)
    url = f"sqlite:{tmp_path}/journal.db"
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 30)
        await undo(runtime, ROOM, "t", "late step", "undo").wait(0)
        await runtime.ask(ROOM, Hold("last"))
        await runtime.truncate(ROOM, 32)
    for _ in range(2):
        async with Runtime(url, ALL) as runtime:
            for number in range(1, 31):
                with pytest.raises(ReplyErased):
                    await runtime.ask(ROOM, Hold(f"t{number}"), id=f"id {number}")
            with pytest.raises(Refused, match="was undone before it arrived"):
                await runtime.ask(ROOM, Hold("t"), id="late step")
            assert await undo(runtime, ROOM, "t", "late step", "undo").wait(0) is None
            assert (await runtime.state_of(ROOM)).count == 31


async def test_a_repeat_whose_reply_was_nothing_needs_none() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await fill(runtime, 2)
        await runtime.ask(ROOM, Release("t1"), id="release")
        await runtime.ask(ROOM, Hold("last"))
        await runtime.truncate(ROOM, 4)
        await runtime.ask(ROOM, Release("t1"), id="release")
        assert (await runtime.state_of(ROOM)).held == ("t2", "last")


async def test_a_transaction_whose_replies_were_erased() -> None:
    a, b = Account.at("a"), Account.at("b")
    async with Runtime("memory:", ALL) as runtime:
        await runtime.transact((a, Withdraw(1)), (b, Deposit(1)), id="pay")
        await runtime.ask(a, Deposit(0))
        await runtime.truncate(a, 2)
        with pytest.raises(ReplyErased):
            await runtime.transact((a, Withdraw(1)), (b, Deposit(1)), id="pay")
        with pytest.raises(CommandIdReused):
            await runtime.transact((a, Withdraw(1)), (Account.at("c"), Deposit(1)), id="pay")
        assert (await runtime.state_of(a)).amount == 99
        assert (await runtime.state_of(b)).amount == 101


# -- looking back -------------------------------------------------------------------------------------------------


async def test_the_history_shows_what_was_erased(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 5)
        await runtime.truncate(ROOM, 4)
        gone, *rest = await history_of(runtime)
        assert (gone.type, gone.event, gone.meta.version) == (ERASED, {"first": 1, "last": 3}, 3)
        assert [(entry.event.trip, entry.meta.version) for entry in rest] == [("t4", 4), ("t5", 5)]
        await runtime.truncate(ROOM, 5)
        gone, last = await history_of(runtime)
        assert (gone.event, last.meta.version) == ({"first": 1, "last": 4}, 5)
        await runtime.ask(ROOM, Hold("t6"))
        await runtime.delete(ROOM)
        gone, deleted = await history_of(runtime)
        assert gone.event == {"first": 1, "last": 6}
        assert (deleted.type, deleted.event, deleted.meta.version) == ("journal.deleted", {}, 7)


async def test_the_state_of_then_where_it_can_be_told() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        for number in range(1, 6):
            await runtime.ask(ROOM, Hold(f"t{number}"))
            clock.step(60)
        await runtime.snapshot(ROOM)
        await runtime.ask(ROOM, Hold("t6"))
        then = (await history_of(runtime))[4].meta
        moments: tuple[dict[str, Any], ...]
        moments = ({"version": 5}, {"at": then.time}, {"position": 5}, {"version": 3}, {"position": 2})
        for moment in moments:
            assert (await runtime.state_of(ROOM, **moment)).count == moment.get("version", moment.get("position", 5))
        assert (await runtime.state_of(ROOM, at=then.time - timedelta(seconds=1))).count == 4
        await runtime.truncate(ROOM, 5)
        await runtime.ask(ROOM, Hold("t7"))
        assert (await runtime.state_of(ROOM)).count == 7
        assert (await runtime.state_of(ROOM, version=6)).count == 6
        assert (await runtime.state_of(ROOM, position=6)).count == 6
        assert (await runtime.state_of(ROOM, at=then.time + timedelta(minutes=1))).count == 7
        assert await runtime.state_of(ROOM, version=0) == Room.initial
        moments = ({"version": 5}, {"version": 3}, {"position": 4}, {"at": then.time})
        for moment in moments:
            with pytest.raises(EventsErased, match="up to version 4 were erased"):
                await runtime.state_of(ROOM, **moment)
        await runtime.truncate(ROOM, 7)
        assert (await runtime.state_of(ROOM, version=7)).count == 7
        with pytest.raises(EventsErased):
            await runtime.state_of(ROOM, version=6)
        await runtime.delete(ROOM)
        assert await runtime.state_of(ROOM) == Room.initial
        assert await runtime.state_of(ROOM, version=8) == Room.initial


async def test_the_trail_of_a_saga_leaves_out_what_was_erased() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        await runtime.ask(Room.at("flight"), Hold("another"))
        before = await runtime.trail(Trip.at("t"))
        await runtime.truncate(Room.at("flight"), 2)
        after = await runtime.trail(Trip.at("t"))
        assert [entry for entry in before if entry.meta.key != "flight"] == after


async def test_read_models_pass_over_what_was_erased(url: str, tmp_path: Path) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 3)
        await runtime.ask(Room.at("other"), Hold("x"))
        live = await runtime.ask(Board.at(), Lines(), consistent=True)
        await runtime.truncate(ROOM, 3)
        await runtime.delete(Room.at("other"))
        await runtime.delete(Room.at("other"), for_good=True)
        await runtime.ask(ROOM, Hold("t4"))
        assert await runtime.ask(Board.at(), Lines(), consistent=True) == [*live, (7, "WasHeld t4")]
        if url != "memory:":
            return
        async with Runtime(node_of(runtime).journal, ALL) as another:  # a read model of its own: built anew
            assert await another.ask(Board.at(), Lines(), consistent=True) == [(3, "WasHeld t3"), (7, "WasHeld t4")]
