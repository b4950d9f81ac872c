"""P3, P8, P10: timeouts, retries and deadlines of a step and of a saga; replies that cross with them (failure 19)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import Backoff, Parked, Refused, RestartPolicy, RetryPolicy, SagaMisuse
from tests.runtime.cast import DOWN, Account, Begin, Desk, Held, Hold, Note, Play, Release, Room, Withdraw
from tests.runtime.playing import PLAY, hold, house, later, stands
from tests.runtime.tools import comes, content, node_of, of, quiet, steps_of, types_of

SECOND = timedelta(seconds=1)
QUICK = RetryPolicy(Backoff(SECOND, factor=1.0, jitter=0.0), budget=timedelta(minutes=5))


class Line:
    """A desk that answers when the test says so, copy by copy, undo by undo."""

    def __init__(self) -> None:
        self.gates = [asyncio.Event() for _ in range(10)]
        self.said: list[str] = []
        self.fate: dict[int, Exception] = {}
        Desk.script = self._play

    async def _play(self, desk: Desk, note: Note) -> str:
        number = len(Desk.inbox) - 1
        await self.gates[number].wait()
        if number in self.fate:
            raise self.fate[number]
        self.said.append(note.text)
        return f"{note.text} {number}"


def says(**how: Any) -> Any:
    async def story(self: Play, command: Begin) -> Held:
        said = await self.ask("say", Desk.at(), Note("do"), undo=Note("undo"), **how)
        return Held(int(said.split()[1]))

    return story


@pytest.fixture(autouse=True)
def desk_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Desk, "restart", RestartPolicy(restarts=100, backoff=Backoff(timedelta(milliseconds=1), jitter=0))
    )
    monkeypatch.setattr(Desk, "at_once", 10)


@pytest.mark.parametrize("of_the_saga", [False, True])
async def test_an_attempt_that_takes_too_long_is_made_again_and_a_late_reply_counts(
    of_the_saga: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if of_the_saga:
        monkeypatch.setattr(Play, "timeout", 5 * SECOND)
        monkeypatch.setattr(Play, "retry", QUICK)
    Play.script = says() if of_the_saga else says(timeout=5 * SECOND, retry=QUICK)
    line = Line()
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 1)
        at.clock.advance(4.9)
        await spin()
        assert len(Desk.inbox) == 1
        at.clock.advance(0.2)
        await comes(lambda: types_of(at.journal.records, PLAY)[-1] == "saga.failed")
        assert "no reply to step 'say' in time" in content(at.journal.records[-1])["error"]
        at.clock.advance(1.1)
        await comes(lambda: len(Desk.inbox) == 2)
        assert {message_id for message_id, _ in Desk.inbox} == {"Play/p#say"}
        line.gates[0].set()  # the late one
        assert await at.runtime.result(PLAY) == Held(0)
        line.gates[1].set()
        await quiet(at.runtime)
    assert types_of(at.journal.records, PLAY).count("saga.answered") == 1


async def spin() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.mark.parametrize("first", ["reply", "timeout"])
@pytest.mark.parametrize("reply", ["done", "refused", "failed"])
async def test_reply_and_timeout_cross(first: str, reply: str) -> None:
    """Both are in the control lane when the saga gets its turn, in either order."""
    Play.script = says(timeout=5 * SECOND, retry=QUICK)
    line = Line()
    if reply != "done":
        line.fate[0] = Refused("no") if reply == "refused" else ConnectionError("no line")
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 1)
        if first == "timeout":
            at.clock.advance(5.1)
            line.gates[0].set()
        else:
            line.gates[0].set()
            for _ in range(2):
                await asyncio.sleep(0)
            at.clock.advance(5.1)
        for gate in line.gates:
            gate.set()
        await spin()
        await at.passes(10)
        found = types_of(at.journal.records, PLAY)
        if reply == "refused" and "saga.compensated" in found:
            assert steps_of(at.journal.records, PLAY, "undone") == (["say"] if "saga.failed" in found else [])
        else:
            assert found[-1] == "saga.completed"
        # One copy for each failure and one more: a timer that was taken back has sent none.
        copies = [text for _, text in Desk.inbox].count("do")
        assert copies <= found.count("saga.failed") + 1
        assert found.count("saga.failed") <= 2


async def test_a_refusal_of_an_attempt_that_was_given_up_does_not_count_while_another_is_under_way() -> None:
    """Of a pivot there is no undo: to go back while its second copy may still work would charge for nothing."""

    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.pivot("pay", Desk.at(), Note("do"), timeout=5 * SECOND, retry=QUICK)
        return Held(1)

    Play.script = story
    line = Line()
    line.fate = {0: Refused("no money"), 2: Refused("no money")}
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 1)
        at.clock.advance(5.1)
        await spin()
        at.clock.advance(1.1)
        await comes(lambda: len(Desk.inbox) == 2)
        line.gates[0].set()
        await spin()
        assert await at.status() == "running"
        line.gates[1].set()
        assert await at.runtime.result(PLAY) == Held(1)
    assert stands(at.journal.records) == {"a": 1}


async def test_a_timer_that_was_taken_back_sends_nothing_more() -> None:
    """A failure comes, and with it the timeout of the same attempt: the pause before the next one is kept."""
    Play.script = says(timeout=5 * SECOND, retry=RetryPolicy(Backoff(20 * SECOND, jitter=0.0)))
    line = Line()
    line.fate = {0: ConnectionError("no line")}
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 1)
        line.gates[0].set()
        for _ in range(200):
            await asyncio.sleep(0)
            cell: Any = node_cell(at)
            if cell.control:
                break
        at.clock.advance(5.1)
        await spin()
        at.clock.advance(10)
        await spin()
        assert len(Desk.inbox) == 1
        line.gates[1].set()
        at.clock.advance(12)
        await comes(lambda: len(Desk.inbox) == 2)
        assert await at.runtime.result(PLAY) == Held(1)
    assert types_of(at.journal.records, PLAY).count("saga.failed") == 1


def node_cell(at: Any) -> Any:
    return node_of(at.runtime).directory.cell(PLAY)


async def test_a_timeout_of_an_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "timeout", 5 * SECOND)
    monkeypatch.setattr(Play, "undo_retry", QUICK)

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("say", Desk.at(), Note("do"), undo=Note("undo"))
        raise Refused("no")

    Play.script = story
    line = Line()
    line.gates[0].set()
    async with house() as at:
        await at.runtime.start(PLAY, Begin())
        await comes(lambda: len(Desk.inbox) == 2)
        at.clock.advance(5.1)
        await spin()
        at.clock.advance(1.1)
        await comes(lambda: len(Desk.inbox) == 3)
        line.gates[2].set()
        with pytest.raises(Refused, match="no"):
            await at.runtime.result(PLAY)
        line.gates[1].set()
        await quiet(at.runtime)
    assert [message_id for message_id, _ in Desk.inbox] == ["Play/p#say", "Play/p!say", "Play/p!say"]
    assert types_of(at.journal.records, PLAY).count("saga.undone") == 1


async def test_a_step_has_a_policy_of_its_own() -> None:
    async def story(self: Play, command: Begin) -> Held:
        return await self.ask(
            "a", Room.at("a"), Hold(self.key), retry=RetryPolicy(Backoff(7 * SECOND, jitter=0.0), budget=20 * SECOND)
        )

    Play.script = story
    DOWN.add("a")
    async with house() as at:
        await at.begin()
        await at.passes(6)
        assert len(of(at.journal.records, "saga.failed")) == 1
        await at.passes(2)
        assert len(of(at.journal.records, "saga.failed")) == 2
        await at.passes(20)
        with pytest.raises(Parked, match="step 'a' was given up after 3 failures in 0:00:20"):
            await at.runtime.result(PLAY)


@pytest.mark.parametrize("final", [ConnectionError, "ConnectionError", OSError])
async def test_a_final_error_is_not_tried_again(final: Any) -> None:
    async def story(self: Play, command: Begin) -> Held:
        return await self.ask("a", Room.at("a"), Hold(self.key), retry=RetryPolicy(final=(final,)))

    Play.script = story
    DOWN.add("a")
    async with house() as at:
        with pytest.raises(Parked, match=r"step 'a' was given up as no retry can help: .*a is down"):
            await at.runtime.ask(PLAY, Begin())


@pytest.mark.parametrize("restart", [False, True])
async def test_an_undo_has_a_policy_of_its_own_that_outlives_the_code(restart: bool) -> None:
    """Going back needs nothing of the author's code, so how the undo is retried stands in the journal."""

    async def story(self: Play, command: Begin) -> Held:
        own = RetryPolicy(Backoff(7 * SECOND, factor=1.0, jitter=0.0), budget=10 * SECOND, final=("KeyError",))
        await self.ask("a", Room.at("a"), Hold(self.key), undo=Release(self.key), undo_retry=own)
        return await hold(self, "full")  # type: ignore[no-any-return]

    async def gone(self: Play, command: Begin) -> Held:
        raise AssertionError("the code is not asked on the way back")

    Play.script = story
    async with house() as at:
        await at.begin()
    crash = next(r.position for r in at.journal.records if r.type == "saga.compensating")
    DOWN.add("a")
    Play.script = gone if restart else story
    records = at.journal.records[:crash]
    async with house(records, later(records)) as again:
        await again.passes(6)
        assert len(of(again.journal.records, "saga.failed")) == 1
        await again.passes(10)
        with pytest.raises(Parked, match="the undo of step 'a' was given up after 3 failures in 0:00:10"):
            await again.runtime.result(PLAY)


async def test_the_deadline_counts_for_sleeps_receives_and_selects_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Play, "deadline", 30 * SECOND)

    async def story(self: Play, command: Begin) -> Held:
        await hold(self, "a")
        await self.select(self.sleep("nap", timedelta(hours=1)), self.sleep("doze", timedelta(hours=2)))
        return Held(1)

    Play.script = story
    async with house() as at:
        await at.begin()
        await at.passes(29.5, step=9.5)
        assert await at.status() == "running"
        await at.passes(1)
        with pytest.raises(Refused, match="the deadline has passed"):
            await at.runtime.result(PLAY)
    assert stands(at.journal.records) == {}


async def test_loops_and_conditions_are_plain_python() -> None:
    async def story(self: Play, command: Begin) -> Held:
        rooms: list[int] = []
        while len(rooms) < 5:
            held = await self.ask(
                f"room {len(rooms)}", Room.at("a"), Hold(f"{len(rooms)}"), undo=Release(f"{len(rooms)}")
            )
            rooms.append(held.number)
            if held.number == 4:
                break
        for number in rooms:
            await self.sleep(f"nap {number}", timedelta(0))
        return Held(sum(rooms))

    Play.script = story
    async with house() as at:
        assert await at.runtime.ask(PLAY, Begin()) == Held(10)
    for crash in range(1, len(at.journal.records), 3):
        records = at.journal.records[:crash]
        async with house(records, later(records)) as again:
            await again.passes(1)
            assert await again.runtime.ask(PLAY, Begin()) == Held(10)
        assert stands(again.journal.records) == {"a": 4}


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_timeout_of_nothing_is_an_error(seconds: int) -> None:
    with pytest.raises(SagaMisuse, match="step 'a' needs a timeout of more than 0"):
        Play("p").ask("a", Room.at("a"), Hold("p"), timeout=timedelta(seconds=seconds))
    with pytest.raises(SagaMisuse, match="only an ask can be optional"):
        Play("p").optional(Play("p").pivot("pay", Account.at("a"), Withdraw(1)))
    with pytest.raises(SagaMisuse, match="select needs a step to wait for"):
        Play("p").select()


async def test_a_reply_that_can_not_be_stored_parks_it_and_a_retry_does_not_take_effect_twice() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("say", Desk.at(), Note("do"), undo=Note("undo"))
        return Held(1)

    async def rubbish(desk: Desk, note: Note) -> str:
        return "\udce9"

    Desk.script, Play.script = rubbish, story
    async with house() as at:
        with pytest.raises(Parked, match="the reply to step 'say' can't be stored"):
            await at.runtime.ask(PLAY, Begin())
        Desk.script = None
        await at.runtime.saga(PLAY).retry(by="ana", reason="mended")
        assert await at.runtime.result(PLAY) == Held(1)
    assert {message_id for message_id, _ in Desk.inbox} == {"Play/p#say"}
