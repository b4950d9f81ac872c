"""When nothing stands for what was erased: no snapshot fits, it is said, and nothing is made up."""

from datetime import timedelta
from pathlib import Path

import pytest

from actors import DeletedForGood, EventsErased, Parked, Refused, ReplyErased, RestartPolicy
from actors.reminders import Forget, Remind
from persistence import Snapshot
from runtime import ManualClock, Runtime, check_journal
from runtime import seen as seen_ids
from tests.runtime.cast import ALL, BookTrip, Hold, Look, Room, Trip
from tests.runtime.keeping import ROOM, back, cell_of, fill, left, set_snapshot, snapshot_of, undo
from tests.runtime.reminding import BELL, EVERYBODY, Bell, Strike, Wind, strike, wind
from tests.runtime.tools import HeldJournal, quiet

STREAM = ("Room", "r")


@pytest.fixture(params=["memory:", "sqlite:"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param if request.param == "memory:" else f"sqlite:{tmp_path}/journal.db"


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
