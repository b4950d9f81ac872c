"""A reminder that kills the process each time is given up, and its actor gets the others. Failure 22; P13, P14."""

from datetime import timedelta
from typing import Any

import pytest

from actors.reminders import Remind
from runtime import Runtime
from runtime.reminders import reminders_for
from tests.runtime.cast import ALL, DOWN, Begin, Desk, Held, Hold, Note, Play, Room
from tests.runtime.ending import Stage, counted
from tests.runtime.playing import PLAY
from tests.runtime.poisoning import INNOCENTS, deadly_stage
from tests.runtime.reminding import EVERYBODY, Bell, Strike, check_never_early, strike, wind
from tests.runtime.tools import check_once, content, of, quiet


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return deadly_stage(monkeypatch)


def names_of(stage: Stage) -> dict[str, list[str]]:
    """Return how each firing of each reminder was settled, by the reminder's name."""
    found: dict[str, list[str]] = {}
    for record in of(stage.records, "service.reminded"):
        found.setdefault(content(record)["name"], []).append(content(record).get("refused", ""))
    return found


@pytest.mark.parametrize("whose", ["own", "actor", "saga"])
@pytest.mark.parametrize("every", [None, timedelta(hours=1)])
async def test_a_reminder_that_kills_the_process_is_given_up(
    whose: str, every: timedelta | None, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.actors = EVERYBODY
    decide = Bell.decide

    def deadly(self: Bell, state: Any, command: Any) -> Any:
        return stage.end() if command == Strike("poison") else decide(self, state, command)

    async def code(self: Play, command: Begin) -> Held:
        stage.end()
        return Held(1)

    monkeypatch.setattr(Bell, "decide", deadly)
    monkeypatch.setattr(Play, "script", code)
    seconds = timedelta(seconds=10)

    async def begin(runtime: Runtime) -> None:
        for key in INNOCENTS:
            await runtime.remind(Room.at(key), key, Hold("t"), after=seconds)
            await wind(runtime, strike(key, 10), address=Bell.at("b"))
        if whose == "own":
            one = Remind("poison", Strike("poison"), seconds if every is None else None, None, every)
            await wind(runtime, one, address=Bell.at("b"))
        elif whose == "actor":
            after = seconds if every is None else None
            await runtime.remind(Desk.at("d"), "poison", Note("poison"), after=after, every=every)
        else:
            await runtime.remind(PLAY, "poison", Begin(), after=seconds if every is None else None, every=every)

    assert await stage.process(begin, seconds=0)
    stage.clock.step(10 if every is None else 3_600)
    assert await stage.processes() == 5
    assert counted(stage.records, "poison") == [1, 2, 3, 4, 5]
    settled = names_of(stage)
    assert settled.pop("poison") == ["PoisonMessage: the process crashed 6 times in a row while it was under way"]
    assert settled == {key: ["", ""] for key in INNOCENTS}  # one for a room, and one of the bell's own
    assert max(max(counted(stage.records, key), default=0) for key in INNOCENTS) <= 3
    assert of(stage.records, "saga.parked") == []
    check_once(stage.records)
    # One with an interval goes on with its next time, and is counted from the beginning.
    count = len(stage.records)
    if every is not None:
        stage.clock.step(3_600)
        assert not await stage.process()
        assert counted(stage.records[count:], "poison") == [1]
    else:
        assert await stage.process()
        assert len(stage.records) == count


async def test_a_reminder_is_counted_durably_before_and_not_after_a_close(stage: Stage) -> None:
    await stage.process(lambda runtime: runtime.remind(Room.at("poison"), "r", Hold("t"), after=timedelta(seconds=1)))
    assert stage.left is not None
    assert not await stage.process(crashed=False)
    assert counted(stage.records, "r") == []
    for ends in range(1, 6):
        assert not await stage.process()
        assert counted(stage.records, "r") == [*range(1, ends + 1)]
        assert stage.records[-1].type == "service.resent"
        assert not await stage.process(crashed=False)
    assert await stage.process()
    assert len(names_of(stage)["r"]) == 1


async def test_a_reminder_that_fails_has_come_back(stage: Stage) -> None:
    DOWN.add("hotel")
    await stage.process(
        lambda runtime: runtime.remind(Room.at("hotel"), "r", Hold("t"), after=timedelta(seconds=1)), seconds=2
    )
    for _ in range(10):
        assert await stage.process(seconds=0)
    assert counted(stage.records, "r") == [1, 0] * 10
    assert await stage.process(seconds=300)  # many attempts in one process
    assert counted(stage.records, "r") == [1, 0] * 11
    DOWN.clear()
    assert await stage.process(seconds=100)
    assert names_of(stage) == {"r": [""]}
    check_never_early(stage.records)


async def test_a_reminder_that_is_not_due_yet_is_not_suspect(stage: Stage) -> None:
    await stage.process(
        lambda runtime: runtime.remind(Room.at("hotel"), "r", Hold("t"), after=timedelta(seconds=20)), seconds=0
    )
    assert await stage.process()
    assert counted(stage.records, "r") == []
    assert names_of(stage) == {"r": [""]}


async def test_a_reminder_in_the_line_can_be_forgotten_and_its_keeper_killed(stage: Stage) -> None:
    async def begin(runtime: Runtime) -> None:
        for name in ("a", "b"):
            await runtime.remind(Room.at("poison"), name, Hold(name), after=timedelta(seconds=1))

    await stage.process(begin)
    for _ in range(3):
        assert not await stage.process()
    DOWN.add("poison")

    async def drop(runtime: Runtime) -> None:
        for _ in range(3):
            await runtime.kill(reminders_for(Room.at("poison")))
            await quiet(runtime)
        await runtime.forget(Room.at("poison"), "b")

    assert await stage.process(drop, seconds=100)
    DOWN.clear()
    stage.actors = ALL
    assert await stage.processes() <= 6
    assert list(names_of(stage)) == ["a"]
    assert len(of(stage.records, "service.forgotten")) == 1
