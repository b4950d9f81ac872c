"""P8 between nodes: attempts at steps that take too long or fail, are tried again with the same id, and given up."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import Backoff, Failed, Parked, Refused, RetryPolicy
from runtime.cluster import Fate, Sent
from tests.cluster.plays import NODES, PLAY, asks_for, end_of, open_all
from tests.cluster.village import Village, play
from tests.runtime.cast import Begin, Desk, Held, Hold, Note, Play, Release, Room
from tests.runtime.playing import stands
from tests.runtime.tools import content, of, steps_of

SECOND = timedelta(seconds=1)
WHO: Any = {"by": "ana", "reason": "the line is mended"}


def again(budget: int = 60, pause: int = 1, **more: Any) -> RetryPolicy:
    return RetryPolicy(Backoff(pause * SECOND, factor=1.0, jitter=0.0), budget=budget * SECOND, **more)


def hold_within(seconds: int, retry: RetryPolicy) -> Any:
    async def story(self: Play, command: Begin) -> Held:
        return await self.ask(
            "a", Room.at("a"), Hold(self.key), undo=Release(self.key), timeout=seconds * SECOND, retry=retry
        )

    return story


def rooms_of(village: Village) -> dict[str, int]:
    return stands(village.journals["rooms"].records)


@pytest.mark.parametrize("lost", ["ask", "done"])
def test_an_attempt_that_takes_too_long_is_made_again_and_takes_effect_once(lost: str) -> None:
    async def main(village: Village) -> None:
        Play.script = hold_within(2, again())
        await open_all(village)
        began, frame = village.clock.steady(), f'"type":"{lost}"'.encode()

        def fate(sent: Sent) -> Fate:
            return () if frame in sent.data and village.clock.steady() - began < 7e6 else (0.0,)

        village.fate = fate
        await village.ask_all({PLAY: Begin()})
        assert end_of(village) == "saga.completed"
        assert rooms_of(village) == {"a": 1}
        records = village.journals["front"].records
        assert steps_of(records, PLAY, "failed") == ["a", "a"]  # at 2 s and at 5 s; the third comes at 6 s
        assert all("no reply to step 'a' in time" in content(record)["error"] for record in of(records, "saga.failed"))

    play(main, NODES)


def test_an_attempt_that_has_expired_before_its_turn_is_not_done() -> None:
    async def main(village: Village) -> None:
        async def slow(desk: Desk, note: Note) -> str:
            if note.text == "slow":
                await asyncio.sleep(3)
            return note.text

        async def story(self: Play, command: Begin) -> Held:
            await self.ask("do", Desk.at(), Note("do"), timeout=2 * SECOND, retry=again(pause=10))
            return Held(1)

        Desk.script, Play.script = slow, story
        await open_all(village)
        front = village.runtimes["front"]
        await front.tell(Desk.at(), Note("slow"))
        began = village.clock.steady()
        assert await front.ask(PLAY, Begin()) == Held(1)
        assert 12e6 <= village.clock.steady() - began < 13e6
        assert [text for _, text in Desk.inbox] == ["slow", "do"]

    play(main, NODES)


def test_a_step_whose_budget_is_spent_parks_its_saga_and_a_person_has_it_go_on() -> None:
    async def main(village: Village) -> None:
        Play.script = hold_within(2, again(budget=20))
        await open_all(village)
        front = village.runtimes["front"]
        village.network.cut_off(village.links["rooms"])
        with pytest.raises(Parked, match=r"step 'a' was given up after \d+ failures in 0:00:20"):
            await front.ask(PLAY, Begin())
        village.network.let_in(village.links["rooms"])
        await front.saga(PLAY).retry(**WHO)
        assert await front.result(PLAY) == Held(1)
        assert rooms_of(village) == {"a": 1}

    play(main, NODES)


def test_without_a_timeout_patience_ends_an_attempt() -> None:
    """Nobody serves the class any more, and the saga is parked when the step's budget is spent."""

    async def main(village: Village) -> None:
        async def story(self: Play, command: Begin) -> Held:
            return await self.ask("a", Room.at("a"), Hold(self.key), retry=again(budget=40))

        Play.script = story
        await open_all(village)
        village.network.sever(village.links["rooms"])
        began = village.clock.steady()
        with pytest.raises(Parked, match=r"given up after 4 failures .* could not be reached for 15 seconds"):
            await village.runtimes["front"].ask(PLAY, Begin())
        assert 55e6 < village.clock.steady() - began < 80e6

    play(main, NODES)


class Broken(ValueError):
    pass


def test_an_error_that_no_retry_can_mend_is_known_by_its_name() -> None:
    async def main(village: Village) -> None:
        async def breaks(desk: Desk, note: Note) -> str:
            raise Broken("it broke")

        async def story(self: Play, command: Begin) -> Held:
            await self.ask("do", Desk.at(), Note("do"), retry=again(final=(Broken,)))
            return Held(1)

        Desk.script, Play.script = breaks, story
        await open_all(village)
        with pytest.raises(Parked, match=r"step 'do' was given up as no retry can help: .*Broken: it broke"):
            await village.runtimes["front"].ask(PLAY, Begin())
        assert len(Desk.inbox) == 1

    play(main, NODES)


def test_a_failure_on_another_node_is_tried_again_with_the_same_id() -> None:
    async def main(village: Village) -> None:
        async def works_in_the_end(desk: Desk, note: Note) -> str:
            if len(Desk.inbox) < 2:
                raise Failed("not yet")
            return note.text

        async def story(self: Play, command: Begin) -> Held:
            await self.ask("do", Desk.at(), Note("do"), retry=again())
            return Held(1)

        Desk.script, Play.script = works_in_the_end, story
        await open_all(village)
        assert await village.runtimes["front"].ask(PLAY, Begin()) == Held(1)
        assert Desk.inbox == [("Play/p#do", "do")] * 2

    play(main, NODES)


def test_a_refusal_of_an_attempt_that_was_given_up_does_not_count() -> None:
    """The first copy is held up on its way, and refused while the second one, which works, is under way."""

    async def main(village: Village) -> None:
        async def story(self: Play, command: Begin) -> Held:
            await self.ask("do", Desk.at(), Note("do"), timeout=2 * SECOND, retry=again())
            return Held(1)

        async def refuses_the_first(desk: Desk, note: Note) -> str:
            first = len(Desk.inbox) == 1
            await asyncio.sleep(0.3)
            if first:
                raise Refused("not today")
            return note.text

        def fate(sent: Sent) -> Fate:
            if not asks_for(sent, "Play/p#do") or village.clock.steady() - began > 2e6:
                return (0.0,)
            return (2.9,) if village.clock.steady() == began else ()

        Desk.script, Play.script = refuses_the_first, story
        await open_all(village)
        began, village.fate = village.clock.steady(), fate
        assert await village.runtimes["front"].ask(PLAY, Begin()) == Held(1)
        assert Desk.inbox == [("Play/p#do", "do")] * 2
        assert village.clock.steady() - began == pytest.approx(3.5e6, abs=1e4)

    play(main, NODES)
