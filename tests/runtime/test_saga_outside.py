"""P1, P8, P10: sagas from outside: start, result, queries, progress, lists and plans."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors import (
    CommandIdReused,
    Failed,
    NotTaken,
    OutcomeUnknown,
    Parked,
    Refused,
    RuntimeClosed,
    UnknownActor,
)
from tests.runtime.cast import (
    DOWN,
    Account,
    Approve,
    Begin,
    BookTrip,
    Held,
    Lines,
    Play,
    Release,
    Room,
    TakeTour,
    Tour,
    Trip,
    Where,
    Withdraw,
)
from tests.runtime.playing import PLAY, breaks, hold, house, stands
from tests.runtime.tools import comes, of, quiet, steps_of, types_of


async def two(self: Play, command: Begin) -> Held:
    self.scene = "at the first room"
    await hold(self, "a")
    self.scene = "asleep"
    await self.sleep("nap", timedelta(seconds=100))
    self.scene = "at the second room"
    held: Held = await hold(self, "b")
    self.scene = "at home"
    return held


# -- start --------------------------------------------------------------------------------------------------------


async def test_start_returns_when_the_start_is_durable_and_not_before() -> None:
    Play.script = two
    async with house() as at:
        at.journal.hold()
        started = asyncio.create_task(at.runtime.start(PLAY, Begin()))
        await at.journal.arrived.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not started.done()
        at.journal.gate.set()
        await started
        assert types_of(at.journal.records, PLAY)[0] == "saga.started"
        await quiet(at.runtime)
        assert await at.status() == "running"


async def test_a_start_whose_group_is_lost_is_unknown() -> None:
    Play.script = two
    async with house() as at:
        at.journal.fail = ["before"]
        with pytest.raises(OutcomeUnknown):
            await at.runtime.start(PLAY, Begin())
        await at.begin()
        assert await at.status() == "running"


async def test_to_start_again_is_no_start() -> None:
    Play.script = two
    async with house() as at:
        for _ in range(3):
            await at.begin()
        assert len(of(at.journal.records, "saga.started")) == 1
        with pytest.raises(CommandIdReused, match="Play/p was started with another command"):
            await at.runtime.start(PLAY, Begin("other"))
        await at.passes(100, step=20)
        assert await at.runtime.result(PLAY) == Held(1)
        await at.begin()
    async with house(at.journal.records, at.clock) as again:
        await again.begin()
        assert await again.runtime.ask(PLAY, Begin()) == Held(1)
        assert await again.runtime.result(PLAY) == Held(1)
    assert len(of(again.journal.records, "saga.started")) == 1


async def test_what_can_not_be_started() -> None:
    anyone: Any
    async with house() as at:
        anyone = at.runtime
        with pytest.raises(NotTaken, match="Withdraw starts nothing at Account/a"):
            await anyone.start(Account.at("a"), Withdraw(1))
        with pytest.raises(NotTaken, match="Where is a query"):
            await anyone.start(PLAY, Where())
        with pytest.raises(NotTaken, match="Play doesn't take BookTrip"):
            await anyone.start(PLAY, BookTrip([]))


async def test_start_of_one_that_is_parked_or_compensated_says_that_it_was_started() -> None:
    async with house() as at:
        await at.runtime.start(Trip.at("t"), BookTrip(["full"]))
        await at.runtime.start(Trip.at("t"), BookTrip(["full"]))
        with pytest.raises(Refused):
            await at.runtime.result(Trip.at("t"))


# -- queries ------------------------------------------------------------------------------------------------------


async def test_where_it_is_and_nothing_comes_of_asking() -> None:
    Play.script = two
    async with house() as at:
        with pytest.raises(UnknownActor, match="Play/p was never started"):
            await at.runtime.ask(PLAY, Where())
        assert not at.journal.records
        DOWN.add("a")
        await at.begin()
        await where(at, "at the first room")
        DOWN.clear()
        await at.passes(3)
        await where(at, "asleep")
        await at.runtime.kill(PLAY)
        await where(at, "asleep")
        DOWN.add("b")
        await at.passes(100, step=20)
        await where(at, "at the second room")
        await at.passes(90, step=10)
        assert await at.status() == "parked"
        await where(at, "at the second room")
    async with house(at.journal.records, at.clock) as again:
        await where(again, "at the second room")
        DOWN.clear()
        await again.runtime.saga(PLAY).retry(by="ana", reason="mended")
        assert await again.runtime.result(PLAY) == Held(1)
        await where(again, "at home")
    async with house(again.journal.records, at.clock) as again:
        await where(again, "at home")
        await again.runtime.saga(PLAY).compensate(by="ana", reason="back")
        await where(again, "at home")


async def where(at: Any, scene: str) -> None:
    before = list(at.journal.records)
    for _ in range(3):
        assert await at.runtime.ask(PLAY, Where()) == scene
    assert at.journal.records == before


async def test_it_is_asked_before_its_clean_up_code_has_run() -> None:
    async def story(self: Play, command: Begin) -> Held:
        try:
            self.scene = "inside"
            await self.receive(Approve)
        finally:
            self.scene = "out again"
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        assert await at.runtime.ask(PLAY, Where()) == "inside"
        await at.runtime.ask(PLAY, Approve())
        assert await at.runtime.ask(PLAY, Where()) == "out again"


async def test_a_query_changes_nothing_that_the_story_draws() -> None:
    drawn: list[Any] = []

    async def story(self: Play, command: Begin) -> Held:
        first = self.uuid()
        await self.receive(Approve)
        drawn.append((first, self.uuid(), self.random(), self.now()))
        await self.receive(Approve, name="second")
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        for name in "ab":
            await at.runtime.ask(PLAY, Where())
            await at.runtime.ask(PLAY, Approve(name))
            await at.runtime.ask(PLAY, Where())
    assert len(set(drawn)) == 1


def answers_5(*_: object) -> int:
    return 5


async def test_an_answer_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Play.script = two
    anyone: Any
    async with house() as at:
        anyone = at.runtime
        await at.begin()
        monkeypatch.setattr(Play, "answer", answers_5)
        with pytest.raises(Failed, match="Where declares the reply"):
            await at.runtime.ask(PLAY, Where())
        monkeypatch.setattr(Play, "answer", breaks)
        with pytest.raises(Failed, match="ZeroDivisionError"):
            await at.runtime.ask(PLAY, Where())
        with pytest.raises(NotTaken, match="Play/p answers no queries of this kind"):
            await anyone.ask(PLAY, Lines())
        assert await at.status() == "running"
        await at.passes(100, step=20)
        assert await at.runtime.result(PLAY) == Held(1)


async def test_to_ask_one_that_goes_back() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        self.scene = "at the full one"
        return await hold(self, "full")  # type: ignore[no-any-return]

    Play.script = story
    async with house() as at:
        DOWN.add("full")
        await at.begin()
        DOWN.add("a")
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="x"))
        await quiet(at.runtime)
        assert await at.status() == "compensating"
        await where(at, "at the full one")
        DOWN.clear()
        await at.passes(3)
        await told
        await where(at, "at the full one")


async def test_to_ask_a_parked_one_whose_code_was_mended_takes_it_no_further() -> None:
    async def broken(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        raise ZeroDivisionError

    async def mended(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        self.scene = "at the second room"
        return await hold(self, "b")  # type: ignore[no-any-return]

    Play.script = broken
    async with house() as at:
        await at.begin()
        assert await at.status() == "parked"
        Play.script = mended
        await where(at, "at the second room")
        await at.runtime.saga(PLAY).retry(by="ana", reason="mended")
        assert await at.runtime.result(PLAY) == Held(1)
    assert steps_of(at.journal.records, PLAY, "asked") == ["a", "b"]
    assert stands(at.journal.records) == {"a": 1, "b": 1}


# -- progress, lists and plans ------------------------------------------------------------------------------------


async def test_progress_of_each_status() -> None:
    Play.script = two
    async with house() as at:
        progress = await at.runtime.progress_of(PLAY)
        assert (progress.status, progress.steps, progress.version, progress.started) == ("new", (), 0, None)
        DOWN.add("a")
        await at.begin()
        await at.passes(1)
        (step,) = (await at.runtime.progress_of(PLAY)).steps
        assert (step.name, step.status, step.to) == ("a", "failing", Room.at("a"))
        assert step.failures >= 1
        DOWN.clear()
        await at.passes(5)
        a, nap = (await at.runtime.progress_of(PLAY)).steps
        assert (a.status, nap.status) == ("done", "waiting")
        assert nap.until is not None
        await at.runtime.ask(PLAY, Approve())
        progress = await at.runtime.progress_of(PLAY)
        assert (progress.messages, progress.version) == (1, len(types_of(at.journal.records, PLAY)))
        await at.runtime.saga(PLAY).compensate(by="ana", reason="back")
        progress = await at.runtime.progress_of(PLAY)
        assert (progress.status, progress.reason) == ("compensated", "back")
        assert [step.status for step in progress.steps] == ["undone", "given up"]
        with pytest.raises(NotTaken):
            await at.runtime.progress_of(Room.at("r"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_it_can_be_followed_to_its_end() -> None:
    Play.script = two
    seen: list[str] = []

    async def follow(at: Any) -> None:
        async for progress in at.runtime.saga(PLAY).follow():
            one = f"{progress.status} {len(progress.steps)}"
            seen.append(one)

    async with house() as at:
        following = asyncio.create_task(follow(at))
        await comes(lambda: seen == ["new 0"])
        await at.begin()
        await at.passes(100, step=50)
        await asyncio.wait_for(following, 60)
        assert seen[-1] == "completed 3"
        assert seen[1:-1] != []
        await asyncio.wait_for(follow(at), 60)  # one that has ended already
        assert seen[-2:] == ["completed 3", "completed 3"]


async def test_who_follows_when_the_runtime_closes_is_told() -> None:
    Play.script = two

    async def follow(at: Any) -> None:
        async for _ in at.runtime.saga(PLAY).follow():
            pass

    async with house() as at:
        await at.begin()
        following = asyncio.create_task(follow(at))
        await comes(lambda: True)
        await asyncio.sleep(0)
    with pytest.raises(RuntimeClosed, match="Play/p can't be followed any more"):
        await asyncio.wait_for(following, 60)


async def test_sagas_by_status_class_and_time() -> None:
    Play.script = two
    async with house() as at:
        await at.begin()
        await at.runtime.ask(Trip.at("done"), BookTrip(["r"]))
        at.clock.advance(10)
        with pytest.raises(Refused):
            await at.runtime.ask(Trip.at("back"), BookTrip(["full"]))
        with pytest.raises(Parked):
            await at.runtime.ask(Trip.at("parked"), BookTrip(["keeps", "full"]))
        await at.runtime.start(Tour.at("killed"), TakeTour(["x"], "ana", nap=3600))
        await at.runtime.saga(Tour.at("killed")).kill(by="ana", reason="x")
        middle = datetime.fromtimestamp(at.clock.now() / 1e6 - 5, UTC)

        async def keys(**which: Any) -> set[str]:
            return {one.saga.key async for one in at.runtime.sagas(**which)}

        assert await keys() == {"p", "done", "back", "parked", "killed"}
        assert await keys(status="running") == {"p"}
        assert await keys(status="completed") == {"done"}
        assert await keys(status="compensated") == {"back"}
        assert await keys(status="parked") == {"parked"}
        assert await keys(status="killed") == {"killed"}
        assert await keys(status="compensating") == set()
        assert await keys(type=Trip) == {"done", "back", "parked"}
        assert await keys(type=Trip, since=middle) == {"back", "parked"}
        assert await keys(type=Play, status="running", since=middle) == set()
        with pytest.raises(ValueError, match="could be any time zone"):
            await keys(since=datetime(2030, 1, 1))  # noqa: DTZ001
        with pytest.raises(NotTaken, match="Room is no saga"):
            await keys(type=Room)


async def test_a_plan_shows_what_going_back_would_send_now_and_in_which_order() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.ask("trip", Trip.at("kid"), BookTrip([]))
        await self.ask("kept", Room.at("kept"), Release("x")) if command.line else None
        return await hold(self, "b")  # type: ignore[no-any-return]

    Play.script = story
    async with house() as at:
        assert await at.runtime.plan_of(PLAY) == []
        DOWN.add("b")
        await at.begin()
        plan = await at.runtime.plan_of(PLAY)
        assert [(one.step, one.to, one.command, one.done) for one in plan] == [
            ("b", Room.at("b"), Release("p"), False),
            ("trip", Trip.at("kid"), None, True),
            ("a", Room.at("a"), Release("p"), True),
        ]
        told = asyncio.create_task(at.runtime.saga(PLAY).compensate(by="ana", reason="back"))
        await at.passes(3)
        await told
        assert await at.runtime.plan_of(PLAY) == []
    undone = [r.stream[1] for r in at.journal.records if r.type in ("service.fenced", "WasReleased")]
    assert undone == ["b", "a"]
