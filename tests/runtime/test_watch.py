"""Watching: who is told of an end, why, once, and behind all that the one who ended had sent."""

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, Address, Group, Refused, RestartPolicy, Stopped
from runtime import ManualClock, Runtime
from tests.runtime.cast import Begin, Desk, Held, Note, Play, Room
from tests.runtime.company import (
    COMPANY,
    FAST,
    LOG,
    Ledger,
    Quick,
    Say,
    Slow,
    SlowParent,
    Stage,
    a_while,
    crash,
    passes,
)
from tests.runtime.playing import hold
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

WATCHERS: list[Any] = [Quick.at("w"), Slow.at("w")]
WATCHED: list[Any] = [Quick.at("x"), Slow.at("x"), Ledger.at("x")]
EITHER = pytest.mark.parametrize("watcher", WATCHERS)
BOTH = pytest.mark.parametrize(("watcher", "other"), [(watcher, other) for watcher in WATCHERS for other in WATCHED])


def hears(watcher: Address[Any]) -> list[str]:
    """What the watcher was told of the ends of others."""
    begin = f"{watcher} hears "
    return [line.removeprefix(begin) for line in LOG if line.startswith(begin)]


async def watch(runtime: Runtime, watcher: Address[Any], *others: Address[Any]) -> None:
    for other in others:
        await runtime.ask(watcher, Say("watch", other))


@BOTH
async def test_it_is_told_of_a_crash_a_kill_and_a_finish_once_each(watcher: Any, other: Any) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(other, Say("hello"))
        await watch(runtime, watcher, other, other)  # twice is once
        if other.actor == "Ledger":
            await runtime.kill(other)
            await quiet(runtime)
            assert hears(watcher) == ["Ledger/x killed"]
            return
        await crash(runtime, other)
        assert hears(watcher) == [f"{other} crashed"]
        await passes(runtime, clock, 1.1)
        await crash(runtime, other)  # nobody watches any more
        await passes(runtime, clock, 2.1)
        assert len(hears(watcher)) == 1
        await watch(runtime, watcher, other)
        await runtime.ask(other, Say("stop"))
        await quiet(runtime)
        assert hears(watcher)[1:] == [f"{other} finished"]
        await runtime.ask(other, Say("hello"))
        await watch(runtime, watcher, other)
        await runtime.kill(other)
        await quiet(runtime)
        assert hears(watcher)[2:] == [f"{other} killed"]


class Frail(Quick):
    restart = RestartPolicy(restarts=0)


class SlowFrail(Slow):
    restart = RestartPolicy(restarts=0)


class FrailLedger(Ledger):
    restart = RestartPolicy(restarts=0)


@EITHER
@pytest.mark.parametrize("cls", [Frail, SlowFrail])
async def test_it_is_told_that_one_is_parked_also_when_it_was_before(watcher: Any, cls: Any) -> None:
    one = cls.at("x")
    async with Runtime("memory:", [*COMPANY, cls], clock=ManualClock()) as runtime:
        await runtime.ask(one, Say("hello"))
        await watch(runtime, watcher, one)
        await crash(runtime, one)
        assert hears(watcher) == [f"{one} parked"]
        await watch(runtime, watcher, one)
        await quiet(runtime)
        assert hears(watcher) == [f"{one} parked"] * 2


@EITHER
async def test_the_error_is_told(watcher: Any) -> None:
    told: list[Stopped] = []

    class Curious(Actor):
        async def receive(self, message: Say | Stopped) -> str | None:
            if isinstance(message, Stopped):
                told.append(message)
                return None
            assert message.to is not None
            self.watch(message.to)
            return ""

    async with Runtime("memory:", [*COMPANY, Curious], clock=ManualClock()) as runtime:
        await runtime.ask(watcher, Say("hello"))
        await runtime.ask(Curious.at(), Say("", watcher))
        await crash(runtime, watcher)
        (stopped,) = told
        assert (stopped.address, stopped.reason) == (watcher, "crashed")
        assert f"{watcher} trips" in stopped.error


@EITHER
async def test_a_whole_groups_ends_are_told(watcher: Any) -> None:
    members: tuple[Any, ...] = (Quick.at("a"), Slow.at("b"), Ledger.at("c"))
    group = Group(members, "one_for_all", RestartPolicy(restarts=1, backoff=FAST))
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock, groups=[group]) as runtime:
        await quiet(runtime)
        await watch(runtime, watcher, *members)
        await crash(runtime, members[0])
        assert sorted(hears(watcher)) == ["Ledger/c killed", "Quick/a crashed", "Slow/b killed"]
        await passes(runtime, clock, 1.1)
        LOG.clear()
        await watch(runtime, watcher, *members)
        await crash(runtime, members[1])
        assert sorted(hears(watcher)) == ["Ledger/c parked", "Quick/a parked", "Slow/b crashed"]


@EITHER
async def test_to_watch_one_that_is_not_alive_is_answered_at_once_and_a_resting_service_is_alive(watcher: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        await watch(runtime, watcher, Quick.at("x"), Slow.at("x"), Ledger.at("x"))
        await quiet(runtime)
        assert hears(watcher) == ["Quick/x finished", "Slow/x finished"]
        await runtime.ask(Ledger.at("x"), Say("hello"))
        await runtime.kill(Ledger.at("x"))
        await quiet(runtime)
        assert hears(watcher)[2:] == ["Ledger/x killed"]


@BOTH
async def test_unwatch_takes_it_back(watcher: Any, other: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        await runtime.ask(other, Say("hello"))
        await watch(runtime, watcher, other)
        await runtime.ask(watcher, Say("unwatch", other))
        await runtime.ask(watcher, Say("unwatch", other))
        await runtime.kill(other)
        await quiet(runtime)
        assert hears(watcher) == []
        assert not list(node_of(runtime).watches)


@BOTH
@pytest.mark.parametrize("end", ["crash", "stop", "kill"])
async def test_a_watcher_that_has_ended_is_told_nothing(watcher: Any, other: Any, end: str) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(other, Say("hello"))
        await watch(runtime, watcher, other)
        if end == "kill":
            await runtime.kill(watcher)
        else:
            runtime.tell(watcher, Say(end))
        await quiet(runtime)
        assert not list(node_of(runtime).watches)
        await passes(runtime, clock, 1.1)
        await runtime.ask(watcher, Say("hello"))
        await runtime.kill(other)
        await quiet(runtime)
        assert hears(watcher) == []


# -- sagas ----------------------------------------------------------------------------------------------------------

PLAY = Play.at("p")


async def completes(self: Play, command: Begin) -> Held:
    await hold(self, "r")
    return Held(1)


async def waits(self: Play, command: Begin) -> Held:
    await self.ask("wait", Desk.at(), Note("x"))
    return Held(1)


async def is_refused(self: Play, command: Begin) -> Held:
    await hold(self, "r")
    raise Refused("sorry")


async def breaks(self: Play, command: Begin) -> Held:
    await hold(self, "r")
    raise ValueError("a bug")


EVERYONE: list[type] = [*COMPANY, Play, Desk, Room]


@EITHER
@pytest.mark.parametrize(("story", "reason"), [(completes, "finished"), (is_refused, "finished"), (breaks, "parked")])
async def test_a_saga_ends_with_its_story_and_not_with_a_kill(watcher: Any, story: Any, reason: str) -> None:
    journal = HeldJournal()
    gate = asyncio.Event()

    async def play(desk: Any, note: Note) -> str:
        await gate.wait()
        return ""

    async def waits(self: Play, command: Begin) -> Held:
        await self.ask("wait", Desk.at(), Note("x"))
        held: Held = await story(self, command)
        return held

    Desk.script, Play.script = play, waits
    async with Runtime(journal, EVERYONE) as runtime:
        runtime.tell(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        await watch(runtime, watcher, PLAY)
        for _ in range(3):
            await runtime.kill(PLAY)
            await asyncio.sleep(0)
        for _ in range(3):
            await runtime.ask(watcher, Say("unwatch", PLAY))
            await watch(runtime, watcher, PLAY)
        assert hears(watcher) == []
        gate.set()
        await comes(lambda: hears(watcher))
        assert hears(watcher) == [f"Play/p {reason}"]
        await watch(runtime, watcher, PLAY)  # also when it has ended
        await quiet(runtime)
        assert hears(watcher) == [f"Play/p {reason}"] * 2


@EITHER
async def test_a_saga_that_was_never_started_has_ended(watcher: Any) -> None:
    async with Runtime("memory:", EVERYONE) as runtime:
        await watch(runtime, watcher, PLAY)
        await quiet(runtime)
        assert hears(watcher) == ["Play/p finished"]


async def test_watching_a_saga_again_and_again_takes_one_place_only() -> None:
    async def sleeps(self: Play, command: Begin) -> Held:
        await self.sleep("nap", timedelta(days=1))
        return Held(1)

    Play.script = sleeps
    watcher = Quick.at("w")
    async with Runtime("memory:", EVERYONE, clock=ManualClock()) as runtime:
        runtime.tell(PLAY, Begin())
        for _ in range(300):
            await watch(runtime, watcher, PLAY)
            await runtime.ask(watcher, Say("unwatch", PLAY))
        cell: Any = node_of(runtime).find(PLAY)
        assert len(cell._waiters._replies) <= 64


async def test_the_end_of_a_saga_is_told_when_it_is_durable() -> None:
    gate, watcher = asyncio.Event(), Slow.at("w")

    async def play(actor: Any, message: Say) -> str:
        await gate.wait()
        actor.watch(PLAY)
        LOG.append("watches")
        return ""

    Stage.play, Play.script = play, completes
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        runtime.tell(watcher, Say("watch it later"))
        await comes(lambda: "Slow/w: watch it later" in LOG)
        journal.hold()
        journal.fail = ["before"]
        runtime.tell(PLAY, Begin())
        await journal.arrived.wait()
        gate.set()
        await comes(lambda: "watches" in LOG)
        await a_while()
        assert hears(watcher) == []  # it has ended, but that is not durable
        journal.gate.set()
        await comes(lambda: hears(watcher))
        await quiet(runtime)
        assert hears(watcher) == ["Play/p finished"]  # for it was never started, as far as anybody knows
        assert await runtime.ask(PLAY, Begin()) == Held(1)


@pytest.mark.parametrize("fate", ["", "before"])
async def test_the_end_of_a_saga_that_is_watched_already_is_told_when_it_is_durable(fate: str) -> None:
    gate, again, watcher = asyncio.Event(), asyncio.Event(), Slow.at("w")

    async def play(desk: Any, note: Note) -> str:
        await (gate if len(Desk.inbox) == 1 else again).wait()
        return ""

    Desk.script, Play.script = play, waits
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        runtime.tell(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        await watch(runtime, watcher, PLAY)
        journal.hold()
        journal.fail = [fate]
        gate.set()
        await journal.arrived.wait()
        assert journal.enqueued[-1][1] == "saga.completed"
        await a_while()
        assert hears(watcher) == []
        journal.gate.set()
        if fate:  # it was never answered, as far as the journal knows, and is asked again
            await comes(lambda: len(Desk.inbox) == 2)
            await a_while()
            assert hears(watcher) == []
            again.set()
        await comes(lambda: hears(watcher))
        await quiet(runtime)
        assert hears(watcher) == ["Play/p finished"]


async def test_watches_of_a_saga_hold_over_a_lost_journal() -> None:
    gate, watcher = asyncio.Event(), Slow.at("w")

    async def play(desk: Any, note: Note) -> str:
        await gate.wait()
        return ""

    Desk.script, Play.script = play, waits
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        runtime.tell(PLAY, Begin())
        await comes(lambda: Desk.inbox)
        await watch(runtime, watcher, PLAY)
        journal.fail = ["before"]
        with pytest.raises(Exception, match="unknown"):
            await runtime.ask(Ledger.at("x"), Say("lost"))
        gate.set()
        await comes(lambda: hears(watcher))
        assert hears(watcher) == ["Play/p finished"]


class Lingerer(Slow):
    """Ends when the test says so."""

    going: ClassVar[asyncio.Event]

    async def stopped(self) -> None:
        await self.going.wait()


@pytest.mark.parametrize("end", ["finished", "parked", "killed"])
async def test_one_that_is_never_begun_again_is_told_as_ended_when_the_old_one_has(end: str) -> None:
    """Between a crash and the next beginning an end may come that is for good; no watch may outlive it."""
    Lingerer.going = asyncio.Event()
    one, sibling, parent = Lingerer.at("x"), Quick.at("sibling"), SlowParent.at("p")
    groups = [Group((one, sibling), restart=RestartPolicy(restarts=1))] if end == "parked" else []
    clock = ManualClock()
    async with Runtime("memory:", [*COMPANY, Lingerer], clock=clock, groups=groups) as runtime:
        if end != "parked":
            await runtime.ask(parent, Say("spawn", one))
        await watch(runtime, Quick.at("early"), one)
        runtime.tell(one, Say("crash"))
        await a_while()
        await watch(runtime, Quick.at("w"), one)
        if end == "parked":
            runtime.tell(sibling, Say("crash"))
        elif end == "killed":
            await runtime.kill(one)
        else:
            await runtime.ask(parent, Say("stop"))
        await a_while()
        if end != "killed":  # which cuts off the old one too
            assert hears(Quick.at("w")) == []  # the old one has not ended yet
        Lingerer.going.set()
        await quiet(runtime)
        assert hears(Quick.at("early")) == [f"{one} crashed"]
        assert hears(Quick.at("w")) == [f"{one} {end}"]
        assert one not in node_of(runtime).watches
