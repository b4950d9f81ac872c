"""Truncating and deleting: what is erased is gone, what was promised about it still holds, and it is said."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actors import (
    CommandIdReused,
    DeletedForGood,
    EventsErased,
    NotTaken,
    OutcomeUnknown,
    Parked,
    Refused,
    ReplyErased,
    RestartPolicy,
)
from actors.reminders import Forget, Remind
from persistence import ERASED, Snapshot
from runtime import HistoryEntry, ManualClock, Runtime, check_journal
from runtime import retention as module
from runtime import seen as seen_ids
from runtime.mailbox import Envelope
from runtime.service_mail import Erase
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
    Play,
    Release,
    Room,
    Trip,
    Withdraw,
)
from tests.runtime.crew import Agent
from tests.runtime.keeping import back, cell_of, set_snapshot, snapshot_of, undo
from tests.runtime.reminding import BELL, EVERYBODY, Bell, Strike, Wind, strike, wind
from tests.runtime.tools import HeldJournal, comes, node_of, quiet, types_of

ROOM = Room.at("r")
STREAM = ("Room", "r")


@pytest.fixture(params=["memory:", "sqlite:"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/journal.db"


async def fill(runtime: Runtime, count: int = 10, address: Any = ROOM) -> list[Held]:
    return [await runtime.ask(address, Hold(f"t{n}"), id=f"id {n}") for n in range(1, count + 1)]


async def history_of(runtime: Runtime, address: Any = ROOM) -> list[HistoryEntry]:
    return [entry async for entry in runtime.history(address)]


async def left(runtime: Runtime, address: Any = ROOM) -> list[int]:
    """The versions of the events that can be read."""
    return [record.version for record in await node_of(runtime).journal.read((address.actor, address.key))]


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


# -- looking back -----------------------------------------------------------------------------------------------------


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


# -- deleting ---------------------------------------------------------------------------------------------------------


async def test_one_that_is_deleted_begins_anew(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 5)
        await runtime.delete(ROOM)
        for _ in range(2):
            assert await left(runtime) == [6]
            assert await runtime.ask(ROOM, Look()) == 0
            with pytest.raises(ReplyErased):
                await runtime.ask(ROOM, Hold("t3"), id="id 3")
            await runtime.kill(ROOM)
        assert (await runtime.ask(ROOM, Hold("new"), id="new")).number == 1
        await runtime.kill(ROOM)
        assert (await runtime.ask(ROOM, Hold("new"), id="new")).number == 1
        assert (await runtime.state_of(ROOM)).held == ("new",)
        assert cell_of(runtime, ROOM).version == 7
        await runtime.delete(Room.at("never"))
        assert await left(runtime, Room.at("never")) == []


async def test_nothing_of_the_state_is_left_anywhere() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for verb in ({}, {"for_good": True}):
            await runtime.ask(ROOM, Hold("a secret"))
            await runtime.snapshot(ROOM)
            assert any(b"a secret" in record.data for record in journal.records)
            await runtime.delete(ROOM, **verb)
            snapshot = await snapshot_of(journal, ROOM)
            assert snapshot is not None
            assert b"a secret" not in (snapshot.data or b"")
            assert not any(b"a secret" in record.data + record.meta for record in journal.records)


async def test_its_reminders_go_with_it() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, strike("a", 10.0))
        await runtime.delete(BELL)
        assert await runtime.reminders(BELL) == []
        clock.advance(20)
        await quiet(runtime)
        assert await runtime.state_of(BELL) == Bell.initial
        await wind(runtime, strike("b", 10.0))
        await back(runtime, BELL)
        clock.advance(20)
        await quiet(runtime)
        assert (await runtime.state_of(BELL)).texts == ("b",)


async def test_one_that_is_deleted_for_good_refuses_everything(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 3)
        await runtime.delete(ROOM, for_good=True)
        await runtime.delete(ROOM, for_good=True)
        await runtime.delete(ROOM)
        for _ in range(2):
            assert await left(runtime) == [4]
            for command, command_id in ((Hold("x"), None), (Hold("x"), "new"), (Hold("t1"), "id 1"), (Look(), None)):
                request: Any = command
                with pytest.raises(DeletedForGood, match="Room/r was deleted for good; use another key"):
                    await runtime.ask(ROOM, request, id=command_id)
            with pytest.raises(Refused, match="Room/r: Room/r was deleted for good"):
                await runtime.transact((ROOM, Hold("x")), (Account.at("a"), Withdraw(1)), id="tx")
            assert await undo(runtime, ROOM, "t1", "id 1", "undo").wait(0) is None
            assert await undo(runtime, ROOM, "t9", "never", "undo 2").wait(0) is None
            await runtime.snapshot(ROOM)
            await runtime.truncate(ROOM, 4)
            assert await runtime.state_of(ROOM) == Room.initial
            await runtime.kill(ROOM)
        assert runtime.position == 4


async def test_a_saga_goes_back_where_a_step_meets_one_that_was_deleted_for_good() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Room.at("hotel"), Hold("x"))
        await runtime.delete(Room.at("hotel"), for_good=True)
        with pytest.raises(Refused, match="hotel was deleted for good"):
            await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        assert (await runtime.state_of(Room.at("flight"))).held == ()


async def test_a_saga_can_be_deleted_when_it_has_ended(url: str) -> None:
    async with Runtime(url, ALL) as runtime:
        await runtime.ask(Trip.at("t"), BookTrip(["flight", "hotel"]))
        with pytest.raises(Refused):
            await runtime.ask(Trip.at("back"), BookTrip(["flight", "full"]))
        flights = await left(runtime, Room.at("flight"))
        for key in ("t", "back"):
            await runtime.delete(Trip.at(key))
            await runtime.delete(Trip.at(key))
            for _ in range(2):
                with pytest.raises(DeletedForGood, match=f"Trip/{key} was deleted; use another key"):
                    await runtime.ask(Trip.at(key), BookTrip(["flight", "hotel"]))
                with pytest.raises(DeletedForGood):
                    await runtime.result(Trip.at(key))
                await runtime.kill(Trip.at(key))
            gone, buried = await history_of(runtime, Trip.at(key))
            assert (gone.type, buried.type) == (ERASED, "journal.buried")
            assert gone.event["last"] == buried.meta.version - 1
        assert await left(runtime, Room.at("flight")) == flights
        assert await runtime.unfinished() == []
        with pytest.raises(Refused, match="Trip/never has not ended"):
            await runtime.delete(Trip.at("never"))
        assert (await runtime.ask(Trip.at("never"), BookTrip(["flight"]))).trip == "never"


async def test_a_saga_that_has_not_ended_is_not_deleted() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("desk", Desk.at(), Note("x"))
        return Held(1)

    gate = asyncio.Event()

    async def answer(_desk: Desk, _note: Note) -> str:
        await gate.wait()
        return ""

    Play.script, Desk.script = story, answer
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await comes(lambda: Desk.inbox)
        with pytest.raises(Refused, match="Play/p has not ended, so it can't be deleted"):
            await runtime.delete(Play.at("p"))
        gate.set()
        assert await asked == Held(1)
        await runtime.delete(Play.at("p"))
        assert types_of(journal.records, Play.at("p"))[-1] == "journal.buried"


async def test_only_services_and_sagas_are_deleted() -> None:
    async with Runtime("memory:", [*ALL, Agent]) as runtime:
        for address in (Desk.at(), Board.at(), Agent.at("a")):
            with pytest.raises(NotTaken, match="is no service"):
                await runtime.delete(address)


# -- when nothing stands for what was erased --------------------------------------------------------------------------


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "restart", RestartPolicy(restarts=0))


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("wrong", ["form", "damaged"])
async def test_one_whose_snapshot_doesn_t_fit_any_more_is_parked_and_says_so(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14: neither a wrong state nor a silent loss."""
    monkeypatch.setattr(seen_ids, "RECENT", 2)
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 10)
        await undo(runtime, ROOM, "t", "late step", "undo").wait(0)
        await runtime.truncate(ROOM, 8)
    snapshot = await snapshot_of(journal, ROOM)
    assert snapshot is not None
    other = Snapshot(11, "other/fold/1", snapshot.data if wrong == "form" else None)
    set_snapshot(journal, STREAM, other)
    async with Runtime(journal, ALL) as runtime:
        for _ in range(2):
            with pytest.raises(Parked, match="up to version 7 were erased, and no snapshot stands for them whose"):
                await runtime.ask(ROOM, Look())
            assert "await runtime.delete(Room/r)" in runtime.parked()[ROOM]
            runtime.unpark(ROOM)
        with pytest.raises(EventsErased):
            await runtime.state_of(ROOM)
        with pytest.raises(Parked):
            await runtime.truncate(ROOM, 9)
        with pytest.raises(Parked):
            await runtime.snapshot(ROOM)
    if wrong == "form":  # the code that made it is back
        set_snapshot(journal, STREAM, snapshot)
        async with Runtime(journal, ALL) as runtime:
            assert (await runtime.ask(ROOM, Hold("t11"))).number == 11


@pytest.mark.parametrize("back_to", [12, 700])
async def test_what_only_a_snapshot_knows_is_used_though_the_code_has_changed(
    back_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new event class, say, or another snapshot_version: where events are left they are read again, else not."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for number in range(800):
            await runtime.tell(ROOM, Hold(f"t{number}"))
        await runtime.truncate(ROOM, back_to)
        await runtime.ask(ROOM, Hold("last"))
        before = await runtime.state_of(ROOM)
        assert before.count == 801
    monkeypatch.setattr(Room, "snapshot_version", 2)
    async with Runtime(journal, ALL) as runtime:
        assert (await back(runtime, ROOM)).state == before
        assert await runtime.state_of(ROOM) == before
        assert (await runtime.diff(ROOM, 800)).changes != ()
        with pytest.raises(EventsErased):
            await runtime.diff(ROOM, 750)
        await runtime.delete(ROOM)
        await runtime.ask(ROOM, Hold("anew"))
        difference = await runtime.diff(ROOM, 802)
        assert (difference.before, difference.after.held) == (Room.initial, ("anew",))


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("damaged", [False, True])
async def test_one_that_is_parked_can_be_deleted(for_good: bool, damaged: bool) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 10)
        await undo(runtime, ROOM, "t", "late step", "undo").wait(0)
        await runtime.ask(ROOM, Hold("t11"))
        await runtime.truncate(ROOM, 12)
        await undo(runtime, ROOM, "t", "another late step", "another undo").wait(0)
    snapshot = await snapshot_of(journal, ROOM)
    assert snapshot is not None
    set_snapshot(journal, STREAM, Snapshot(12, "other/fold/1", None if damaged else snapshot.data))
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Parked):
            await runtime.ask(ROOM, Look())
        await runtime.delete(ROOM, for_good=for_good)
        assert await left(runtime) == [14]
        for _ in range(2):
            if for_good:
                with pytest.raises(DeletedForGood):
                    await runtime.ask(ROOM, Look())
            else:
                assert await runtime.ask(ROOM, Look()) == 0
                with pytest.raises(ReplyErased):
                    await runtime.ask(ROOM, Hold("t"), id="id 3")
                for step in ("another late step",) if damaged else ("late step", "another late step"):
                    with pytest.raises(Refused, match="undone before it arrived"):
                        await runtime.ask(ROOM, Hold("t"), id=step)
            await runtime.kill(ROOM)
        if not for_good:
            for number in range(3):
                assert (await runtime.ask(ROOM, Hold("x"), id=f"new {number}")).number == number + 1
                await back(runtime, ROOM)
        snapshot = await snapshot_of(journal, ROOM)
        assert snapshot is not None
        assert b"t10" not in (snapshot.data or b"")


async def test_a_check_tells_whose_snapshot_would_not_fit() -> None:
    """Before a deployment, and not by actors that are parked after it."""
    journal = HeldJournal()
    other = Room.at("other")
    async with Runtime(journal, EVERYBODY) as runtime:
        await fill(runtime, 5)
        await fill(runtime, 5, other)
        await wind(runtime, strike("a", 10.0))
        await runtime.ask(BELL, Wind("noted"))
        for address, version in ((ROOM, 3), (other, 3), (BELL, 3)):
            await runtime.truncate(address, version)
        await wind(runtime, Forget("a"), strike("b", 10.0))
        await runtime.delete(Room.at("never"))
        await runtime.ask(Trip.at("t"), BookTrip(["flight"]))
        await runtime.delete(Trip.at("t"))
        await fill(runtime, 2, Room.at("deleted"))
        await runtime.delete(Room.at("deleted"))
    assert (await check_journal(journal, EVERYBODY)).ok
    snapshot = await snapshot_of(journal, other)
    assert snapshot is not None
    for wrong in (None, snapshot.data):
        set_snapshot(journal, ("Room", "other"), Snapshot(5, "other/fold/1", wrong))
        (problem,) = (await check_journal(journal, EVERYBODY)).problems
        assert (problem.actor, problem.key, problem.what, problem.position) == ("Room", "other", "what was erased", 6)


async def test_a_snapshot_of_a_journal_that_was_set_back_is_not_used() -> None:
    """14: a snapshot ahead of the journal."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await fill(runtime, 10)
        await runtime.snapshot(ROOM)
    older = HeldJournal(journal.records[:6])
    snapshot = await snapshot_of(journal, ROOM)
    assert snapshot is not None
    set_snapshot(older, STREAM, snapshot)
    async with Runtime(older, ALL) as runtime:
        assert (await runtime.ask(ROOM, Hold("x"))).number == 7


async def test_truncate_append_restart(tmp_path: Path) -> None:
    """14, in the order in which it is told."""
    url = f"sqlite:{tmp_path}/journal.db"
    async with Runtime(url, ALL) as runtime:
        await fill(runtime, 10)
        await runtime.snapshot(ROOM)
        await runtime.truncate(ROOM, 10)
        await runtime.ask(ROOM, Hold("t11"), id="id 11")
        assert await left(runtime) == [10, 11]
    async with Runtime(url, ALL) as runtime:
        assert (await runtime.ask(ROOM, Hold("t12"))).number == 12
        assert (await runtime.ask(ROOM, Hold("t11"), id="id 11")).number == 11
        assert (await runtime.state_of(ROOM)).held == tuple(f"t{n}" for n in range(1, 13))


async def test_a_reminder_that_had_arrived_and_was_erased_there_is_done() -> None:
    """One that is sent again, for nobody heard of its outcome, has not to be sent for ever."""
    other = Bell.at("other")
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYBODY, clock=clock) as runtime:
        await wind(runtime, Remind("a", Strike("a"), timedelta(seconds=10), to=other))
        (pending,) = cell_of(runtime, BELL).pending.values()
        await runtime.ask(other, Strike("a"), id=pending.id_at("Bell/big"))
        await runtime.ask(other, Wind("noted"))
        await runtime.truncate(other, 2)
        clock.advance(11)
        await quiet(runtime)
        assert not cell_of(runtime, BELL).pending
        assert (await runtime.state_of(other)).texts == ("a",)
