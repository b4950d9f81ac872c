"""What kills the process each time is counted before it is begun again, and parked in the end. Failure 22; P13, P14."""

from datetime import timedelta
from typing import Any

import pytest

from actors import Parked, Refused, RetryPolicy
from runtime import Chaos, Runtime
from tests.runtime.cast import ALL, DOWN, Begin, BookTrip, Desk, Held, Hold, Note, Play, Release, Room, Trip
from tests.runtime.ending import Stage, counted
from tests.runtime.playing import PLAY
from tests.runtime.poisoning import INNOCENTS, ROOMS, deadly_stage, ended, in_flight
from tests.runtime.tools import check_books, check_once, content, of, quiet, restart_of, types_of


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return deadly_stage(monkeypatch)


def check_innocents(stage: Stage) -> None:
    """All have come to their end; none was counted more than all together, with some others, and alone."""
    assert {key: ended(stage)[key] for key in INNOCENTS} == dict.fromkeys(INNOCENTS, "completed")
    assert max(max(counted(stage.records, key), default=0) for key in INNOCENTS) <= 3
    check_once(stage.records)


async def told_parked(runtime: Runtime, saga: Any, text: str) -> None:
    with pytest.raises(Parked, match=text):
        await runtime.result(saga)
    assert await runtime.unfinished() == [saga]
    assert (await runtime.ask(Trip.at("later"), BookTrip(ROOMS))).trip == "later"


# -- sagas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["step", "actor", "code", "code at its end", "undo", "undo by an actor"])
async def test_a_saga_that_kills_the_process_is_parked_alone(
    what: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask_desk(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at("d"), Note("poison"))
        return Held(1)

    async def code(self: Play, command: Begin) -> Held:
        if not DOWN and what == "code":
            stage.end()
        await self.ask("hotel", Room.at("hotel"), Hold("t"))
        stage.end()
        return Held(1)

    async def no_way_back(self: Play, command: Begin) -> Held:
        if what == "undo":
            await self.ask("flight", Room.at("undone"), Hold("t"), undo=Release("t"))
        else:
            await self.ask("flight", Desk.at("d"), Note("fine"), undo=Note("poison"))
        await self.ask("hotel", Room.at("hotel"), Hold("t"))
        raise Refused("enough")

    scripts = {"actor": ask_desk, "code": code, "code at its end": code}
    monkeypatch.setattr(Play, "script", scripts.get(what, no_way_back))
    if what == "undo":
        decide = Room.decide

        def deadly(self: Room, state: Any, command: Any) -> Any:
            return stage.end() if isinstance(command, Release) else decide(self, state, command)

        monkeypatch.setattr(Room, "decide", deadly)
    saga: Any = Trip.at("p") if what == "step" else PLAY
    await in_flight(stage, (saga, BookTrip(["poison"]) if what == "step" else Begin()))
    ends = await stage.processes()
    assert ends == (6 if what == "undo by an actor" else 5)  # that it has turned is progress, and durable
    assert counted(stage.records, "p")[-5:] == [1, 2, 3, 4, 5]
    assert ended(stage)["p"] == "parked"
    check_innocents(stage)
    (parked,) = of(stage.records, "saga.parked")
    assert content(parked)["error"].startswith(f"PoisonMessage: the process crashed 6 times in a row while {saga} was")
    # It stays so, as others that are parked do, and nothing more is written for it.
    count = len(types_of(stage.records, saga))
    assert await stage.process(lambda runtime: told_parked(runtime, saga, "PoisonMessage"))
    assert len(types_of(stage.records, saga)) == count


async def test_what_is_sent_again_was_counted_durably_before(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    for ends in range(1, 6):
        assert not await stage.process()  # what is left is the journal as it was when the handler was called
        assert types_of(stage.records, Trip.at("p"))[-1] == "saga.resumed"
        assert counted(stage.records, "p") == [*range(1, ends + 1)]


async def test_a_journal_that_was_closed_counts_nothing(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    DOWN.update([*ROOMS, "poison"])
    for _ in range(20):
        assert await stage.process(crashed=False, seconds=0)
    DOWN.clear()
    assert not await stage.process(crashed=False)
    assert counted(stage.records, "p") == []
    assert of(stage.records, "saga.resumed", "saga.parked") == []


async def test_the_count_outlives_a_journal_that_was_closed(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    for _ in range(3):
        assert not await stage.process()
    assert counted(stage.records, "p") == [1, 2, 3]
    assert not await stage.process(crashed=False)
    assert await stage.processes() == 2
    assert counted(stage.records, "p") == [1, 2, 3, 4, 5]
    assert ended(stage)["p"] == "parked"


async def test_progress_begins_the_count_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps; each ends the process at its first five attempts."""
    attempts: list[str] = []

    async def steps(self: Play, command: Begin) -> Held:
        for n in range(10):
            await self.ask(f"{n}", Desk.at("d"), Note(f"{n}"))
        return Held(1)

    async def deadly(self: Desk, message: Note) -> str:
        attempts.append(message.text)
        if attempts.count(message.text) <= 5:
            stage.end()
        return message.text

    monkeypatch.setattr(Play, "script", steps)
    monkeypatch.setattr(Play, "deadline", None)
    monkeypatch.setattr(Desk, "script", deadly)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    assert await stage.processes(most=100) == 49  # and once before
    assert ended(stage) == {"p": "completed"}
    assert max(counted(stage.records, "p")) == 5


async def test_a_failure_is_progress_too(stage: Stage) -> None:
    """The handler came back: it has not ended the process."""
    DOWN.add("hotel")
    await stage.process(lambda runtime: runtime.tell(Trip.at("t"), BookTrip(["hotel"])), seconds=0)
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "t") == [1] * 10
    DOWN.clear()
    assert await stage.process()
    assert ended(stage) == {"t": "completed"}


@pytest.mark.parametrize("child", [False, True])
async def test_a_saga_that_only_waits_has_no_hand_in_it(
    child: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its time, or for another saga: as many crashes as there may be in three weeks don't park it."""

    async def wait(self: Play, command: Begin) -> Held:
        if child and command.line == "":
            return await self.ask("wait", Play.at("child"), Begin("child"))
        await self.sleep("nap", timedelta(days=21))
        return Held(1)

    monkeypatch.setattr(Play, "script", wait)
    monkeypatch.setattr(Play, "deadline", None)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "p") == ([1, 0] * 10 if child else [])  # one that sleeps is not even woken
    stage.clock.step(21 * 24 * 3600)
    assert await stage.process()
    assert set(ended(stage).values()) == {"completed"}


@pytest.mark.parametrize("what", ["nap", "deadline"])
async def test_what_begins_at_once_when_its_time_has_come_is_no_waiting(
    what: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wake(self: Play, command: Begin) -> Held:
        await self.ask("hotel", Room.at("deadly undo"), Hold("t"), undo=Release("t"))
        await self.sleep("nap", timedelta(seconds=60 if what == "nap" else 3_600))
        stage.end()
        return Held(1)

    decide = Room.decide

    def deadly(self: Room, state: Any, command: Any) -> Any:
        return stage.end() if isinstance(command, Release) else decide(self, state, command)

    monkeypatch.setattr(Room, "decide", deadly)
    monkeypatch.setattr(Play, "script", wake)
    await stage.process(lambda runtime: runtime.tell(PLAY, Begin()), seconds=0)
    assert await stage.process(seconds=0)
    stage.clock.step(60 if what == "nap" else 301)
    assert await stage.processes() in (5, 6)
    assert ended(stage) == {"p": "parked"}
    assert counted(stage.records, "p")[-5:] == [1, 2, 3, 4, 5]


async def test_crashes_inside_the_process_count_nothing(stage: Stage) -> None:
    await in_flight(stage)

    async def kill_all(runtime: Runtime) -> None:
        DOWN.update(ROOMS)
        for _ in range(10):
            for key in INNOCENTS:
                await runtime.kill(Trip.at(key))
            await quiet(runtime)
        DOWN.clear()

    assert await stage.process(kill_all, chaos=Chaos(7, 0.1))
    assert {tuple(counted(stage.records, key)) for key in INNOCENTS} == {(1,)}
    check_books(stage.records)


@pytest.mark.parametrize("most", [0, 1, 2])
async def test_how_many_crashes_it_may_cost_is_the_policys(
    most: int, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trip, "retry", RetryPolicy(crashes=most))
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    assert await stage.processes() == most
    assert ended(stage)["p"] == "parked"
    if most:  # else there is nothing to tell them from it by
        check_innocents(stage)


# -- being seen ---------------------------------------------------------------------------------------------------


async def test_it_stands_in_the_history(stage: Stage) -> None:
    await in_flight(stage, (Trip.at("p"), BookTrip(["poison"])))
    await stage.processes()
    journal = restart_of(stage.records)
    async with Runtime(journal, ALL, clock=stage.clock) as runtime:
        entries = [entry async for entry in runtime.history(Trip.at("p"))]
        trail = await runtime.trail(Trip.at("p"))
        await quiet(runtime)
        assert runtime.stats().actors["Trip"].parked == 1
    assert [entry.event for entry in entries if entry.type == "saga.resumed"] == [{"crashes": n} for n in range(1, 6)]
    assert trail == entries
