"""Failure 22 between nodes: what ends each node that it comes to is not sent for ever, and harms no others."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from actors import OutcomeUnknown, Parked, PoisonMessage, RetryPolicy, Saga
from runtime import Runtime, retrying
from runtime.cluster import MemoryNetwork
from runtime.cluster.subjects import class_subject, life_subject
from runtime.simulation.clock import SimulatedClock
from tests.cluster.plays import NODES, PLAY, open_all
from tests.cluster.test_saga_late import TOURS
from tests.cluster.village import Nodes, Village, play
from tests.cluster.virtual import play as play_alone
from tests.runtime.cast import Begin, BookTrip, Desk, Held, Note, Play, Room, TakeTour, Tour, Trip, TripBooked
from tests.runtime.tools import content, of

MOST = RetryPolicy().crashes
WHO: Any = {"by": "ana", "reason": "the desk was mended"}
SAYS = rf"{MOST + 1} nodes in a row have ended while Note for Desk was under way with them"


def ends_the_node(village: Village, after: float = 0.0, times: int = 1_000) -> Callable[[Desk, Note], Awaitable[str]]:
    """Return what a desk does that ends its node at "poison", so many times, and is slow at what says so."""

    async def receive(desk: Desk, note: Note) -> str:
        if note.text == "poison" and len(village.kills) < times:
            await asyncio.sleep(after)
            village.kill("rooms")
            await asyncio.Event().wait()
        elif note.text.startswith("slow"):
            await asyncio.sleep(20)
        return note.text

    return receive


async def asks_the_desk(self: Play, command: Begin) -> Held:
    await self.ask("note", Desk.at(), Note("poison"))
    return Held(1)


@pytest.mark.parametrize("away", [2.0, 40.0], ids=["it is soon there again", "it is away for longer than patience"])
@pytest.mark.parametrize("after", [0.0, 0.5], ids=["at once", "when the asker knows that it is under way"])
def test_a_step_that_ends_each_node_is_parked(after: float, away: float) -> None:
    async def main(village: Village) -> None:
        Desk.script, Play.script, village.away = ends_the_node(village, after), asks_the_desk, away
        await open_all(village)
        with pytest.raises(Parked, match=f"step 'note' was given up as no retry can help: {SAYS}"):
            await village.runtimes["front"].ask(PLAY, Begin())
        assert len(village.kills) == MOST + 1
        await asyncio.sleep(3600)
        assert len(village.kills) == MOST + 1

    play(main, PATIENT)


class Patient(Play):
    deadline = timedelta(days=1)
    retry = RetryPolicy(budget=timedelta(hours=5))


Patient.__name__ = "Play"
PATIENT: Nodes = {**NODES, "front": ([Patient], [Room, Desk, Trip])}


def test_a_person_has_it_tried_again_as_often() -> None:
    async def main(village: Village) -> None:
        Desk.script, Play.script = ends_the_node(village, times=2 * MOST), asks_the_desk
        await open_all(village)
        front = village.runtimes["front"]
        with pytest.raises(Parked, match=SAYS):
            await front.ask(PLAY, Begin())
        await front.saga(PLAY).retry(**WHO)
        assert await front.result(PLAY) == Held(1)
        assert len(village.kills) == 2 * MOST

    play(main, PATIENT)


def test_as_many_ends_as_may_be_are_survived_and_begin_anew_with_an_answer() -> None:
    async def main(village: Village) -> None:
        Desk.script = ends_the_node(village, times=MOST)
        await open_all(village)
        front = village.runtimes["front"]
        assert await front.ask(Desk.at(), Note("poison"), id="one") == "poison"
        Desk.script = ends_the_node(village, times=2 * MOST)
        assert await front.ask(Desk.at(), Note("poison"), id="one") == "poison"
        assert len(village.kills) == 2 * MOST

    play(main, PATIENT)


def test_innocents_go_on() -> None:
    """Each saga asks a desk of its own, and a hundred of them do while one ends the node again and again."""

    class Asks(Saga[Begin, Held]):
        async def run(self, command: Begin) -> Held:
            await self.ask("note", Desk.at(self.key), Note(self.key))
            return Held(1)

    Asks.__name__ = "Play"

    async def main(village: Village) -> None:
        Desk.script = ends_the_node(village)
        await open_all(village)
        front = village.runtimes["front"]
        keys = [*(f"quick {n}" for n in range(80)), "poison", *(f"slow {n}" for n in range(20))]
        asked = [front.ask(Play.at(key), Begin()) for key in keys]
        ends = dict(zip(keys, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        assert isinstance(ends.pop("poison"), Parked)
        assert list(ends.values()) == [Held(1)] * 100
        assert len(village.kills) == MOST + 1

    play(main, {**NODES, "front": ([Asks], [Desk])})


def test_one_that_has_little_time_hesitates_less() -> None:
    """It has lived through so many ends that it would hesitate for up to half a minute, and has two seconds."""

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("note", Desk.at(), Note("poison"), timeout=timedelta(seconds=2))
        return Held(1)

    async def main(village: Village) -> None:
        Desk.script, Play.script, village.away = ends_the_node(village, times=MOST), story, 0.5
        await open_all(village)
        assert await village.runtimes["front"].ask(PLAY, Begin()) == Held(1)
        last = village.kills[-1][1]
        assert village.clock.steady() / 1e6 - last < 40

    play(main, PATIENT)


def test_how_often_is_for_the_sagas_policy_to_say() -> None:
    class Once(Patient):
        retry = RetryPolicy(crashes=0)
        undo_retry = RetryPolicy(crashes=2)

    Once.__name__ = "Play"

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("a", Desk.at(), Note("a"), undo=Note("poison"))
        await self.ask("note", Desk.at(), Note("poison"))
        return Held(1)

    async def main(village: Village) -> None:
        Desk.script, Play.script = ends_the_node(village), story
        await open_all(village)
        front = village.runtimes["front"]
        with pytest.raises(Parked, match="step 'note' was given up"):
            await front.ask(PLAY, Begin())
        assert len(village.kills) == 1
        with pytest.raises(Parked, match="the undo of step 'a' was given up as no retry can help: 3 nodes in a row"):
            await front.saga(PLAY).compensate(**WHO)
        assert len(village.kills) == 4

    play(main, {**NODES, "front": ([Once], [Desk])})


def test_who_asks_from_outside_is_told_and_what_is_told_is_a_dead_letter() -> None:
    async def main(village: Village) -> None:
        Desk.script = ends_the_node(village)
        await open_all(village)
        front = village.runtimes["front"]
        with pytest.raises(PoisonMessage, match=SAYS) as caught:
            await front.ask(Desk.at(), Note("poison"))
        assert isinstance(caught.value, OutcomeUnknown)
        assert len(village.kills) == MOST + 1
        await front.tell(Desk.at(), Note("poison"))
        await asyncio.sleep(300)
        assert len(village.kills) == 2 * (MOST + 1)
        assert [dead.error for dead in front.dead_letters()] == [f"PoisonMessage('{caught.value}')"]

    play(main, PATIENT)


def test_retrying_does_not_send_it_once_more() -> None:
    async def main(village: Village) -> None:
        Desk.script = ends_the_node(village)
        await village.start("rooms")
        more: Any = {"network": village.network, "clock": village.clock}
        policy = RetryPolicy(budget=timedelta(hours=1))
        async with Runtime("memory:", [], remote=[Desk], interceptors=[retrying(policy)], **more) as outside:
            with pytest.raises(PoisonMessage, match=SAYS):
                await outside.ask(Desk.at(), Note("poison"))
        assert len(village.kills) == MOST + 1

    play(main, {"rooms": NODES["rooms"]})


def test_a_reminder_is_given_up() -> None:
    async def main(village: Village) -> None:
        Desk.script = ends_the_node(village)
        await village.start("rooms")
        front = await village.start("front")
        await front.remind(Desk.at(), "later", Note("poison"), after=timedelta(seconds=1))
        await asyncio.sleep(600)
        assert len(village.kills) == MOST + 1
        assert await front.reminders(Desk.at()) == []
        (reminded,) = of(village.journals["front"].records, "service.reminded")
        assert content(reminded)["refused"].startswith(f"PoisonMessage: {MOST + 1} nodes in a row")

    play(main, {"rooms": NODES["rooms"], "front": ([], [Desk])})


def test_a_child_that_waits_while_its_node_ends_again_and_again_is_no_poison() -> None:
    async def story(self: Play, command: Begin) -> Held:
        await self.ask("tour", Tour.at("kid"), TakeTour(["x"], "ana", 600))
        return Held(1)

    async def main(village: Village) -> None:
        Play.script = story
        await open_all(village)
        asked = asyncio.ensure_future(village.runtimes["front"].ask(PLAY, Begin()))
        for _ in range(2 * MOST):
            await asyncio.sleep(30)
            village.kill("tours")
        assert await asked == Held(1)

    play(main, {**TOURS, "front": ([Patient], [Room, Tour])})


def test_a_child_that_ends_its_node_when_it_begins_is_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is in the journal of its own node by then."""

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("trip", Trip.at("kid"), BookTrip(["x"]))
        return Held(1)

    async def main(village: Village) -> None:
        async def run(_: Trip, command: BookTrip) -> TripBooked:
            village.kill("trips")
            return TripBooked("kid", command.rooms)

        monkeypatch.setattr(Trip, "run", run)
        Play.script = story
        await open_all(village)
        with pytest.raises(Parked, match=f"{MOST + 1} nodes in a row have ended while BookTrip for Trip/kid was"):
            await village.runtimes["front"].ask(PLAY, Begin())
        assert len(village.kills) == MOST + 1
        assert village.journals["trips"].records == []

    play(main, PATIENT)


def test_a_network_that_is_gone_for_a_moment_is_no_end() -> None:
    """The node itself lives on, and works at the request all the time."""

    async def story(clock: SimulatedClock) -> None:
        async def works(desk: Desk, note: Note) -> str:
            await asyncio.sleep(300)
            return note.text

        Desk.script = works
        network = MemoryNetwork()
        more: Any = {"network": network, "clock": clock}
        async with Runtime("memory:", [Desk], **more) as there, Runtime("memory:", [], remote=[Desk], **more) as front:
            cluster: Any = there._cluster  # pyright: ignore[reportPrivateUsage]
            asked = asyncio.ensure_future(front.ask(Desk.at(), Note("long")))
            for _ in range(2 * MOST):
                await asyncio.sleep(10)
                for subject in (life_subject(cluster.life), class_subject("Desk")):
                    network.leave(cluster._link, subject)
                await asyncio.sleep(3)
                for subject in (life_subject(cluster.life), class_subject("Desk")):
                    network.join(cluster._link, subject, "")
            assert await asked == "long"
            assert len(Desk.inbox) == 1

    play_alone(story)
