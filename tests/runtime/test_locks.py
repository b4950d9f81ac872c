"""Isolation of sagas: locks that they take with their steps, and hold until they have ended; whatever dies."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import Command, Locked, OutcomeUnknown, Parked, Refused, Saga, SagaKilled
from persistence import Record
from runtime import Chaos, ManualClock, Runtime
from runtime.lock_mail import Unlock
from runtime.mailbox import Envelope
from runtime.saga_locks import AGAIN
from runtime.service_cell import ServiceCell
from runtime.service_locks import ServiceLocks
from tests.runtime.locking import (
    ALL,
    A,
    B,
    Collect,
    HeldOn,
    Page,
    Pending,
    Queued,
    Read,
    Tale,
    Tell,
    Write,
    check_tales,
    step,
)
from tests.runtime.playing import later
from tests.runtime.striking import StrikeAt
from tests.runtime.tales import TALES, begun, results, tell_on
from tests.runtime.tools import HeldJournal, ends, node_of, of, quiet, restart_of, types_of

DEADLOCK = "each would wait for the next for ever"


# -- one at a time ----------------------------------------------------------------------------------------------


async def test_a_saga_holds_its_locks_until_it_has_ended_and_then_gives_them_back() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p", "q"], of="Page", nap=5))
        await quiet(runtime)
        with pytest.raises(Locked, match="Page/p is locked: Tale/a is in the middle of something"):
            await runtime.ask(Page.at("p"), Write("one x"))
        clock.advance(5)
        await quiet(runtime)
        (held,) = await runtime.locks(Page.at("q"))
        assert (held.holder, held.lock, held.stale) == (Tale.at("a"), "one", False)
        clock.advance(5)
        assert await asked["a"] == 2
        assert await runtime.ask(Page.at("p"), Write("one x")) == 2  # at once: nobody has to wait for the release
        await quiet(runtime)
        assert types_of(journal.records, Tale.at("a"))[-2:] == ["saga.completed", "saga.released"]
        assert await runtime.unfinished() == []
        assert len(node_of(runtime).directory) == 2  # the saga is gone
        check_tales([record for record in journal.records if "one x" not in str(record.data)])


async def test_also_what_was_undone_stays_locked_until_the_end() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p", "q"], of="Page", ends="badly"))
        assert await results(asked) == {"a": "badly"}
        await quiet(runtime)
        order = [(record.stream[1], record.type) for record in journal.records]
        undone, unlocked = order.index(("p", "Tore")), order.index(("p", "service.unlocked"))
        assert undone < order.index(("a", "saga.compensated")) < unlocked
        assert order[-1] == ("a", "saga.released")
        check_tales(journal.records)


async def test_a_saga_without_locks_has_nothing_to_give_back() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(Tale.at("a"), Tell(["p"], lock=False)) == 1
        await step(runtime, Page.at("p"), Write("one x"), A)
        with pytest.raises(Refused, match="Page/p is locked"):
            await runtime.ask(Tale.at("b"), Tell(["p"], of="Page"))
        await quiet(runtime)
        for name in "ab":
            assert "saga.released" not in types_of(journal.records, Tale.at(name))
        assert await runtime.unfinished() == []


async def test_only_services_have_locks() -> None:
    class Wrongly(Command["Wrong", int]):
        pass

    class Wrong(Saga[Wrongly, int]):
        async def run(self, command: Wrongly) -> int:
            return await self.ask("tale", Tale.at("t"), Tell([]), undo=None, lock=True)

    async with Runtime("memory:", [Wrong, *ALL]) as runtime:
        with pytest.raises(Parked, match="only services have locks"):
            await runtime.ask(Wrong.at("w"), Wrongly())


async def test_two_sagas_that_meet_at_a_service_that_refuses() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p", "q"], of="Page", nap=5), b=Tell(["q", "p"], of="Page", nap=5))
        await ends(runtime, clock)
        found = await results(asked)
        assert "Page/q is locked" in found["a"]
        assert "Page/p is locked" in found["b"]  # who refuses can't tell who came first
        check_tales(journal.records)


async def test_those_that_queue_go_one_after_the_other() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, **{name: Tell(["p", "q"], nap=5) for name in "abcdefgh"})
        await ends(runtime, clock)
        assert await results(asked) == dict.fromkeys("abcdefgh", 2)
        lines = await runtime.ask(Queued.at("p"), Read())
        assert lines == await runtime.ask(Queued.at("q"), Read()) == tuple(f"one {name}" for name in "abcdefgh")
        check_tales(journal.records)


async def test_a_service_that_tells_marks_what_is_pending() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p"], of="Told", nap=5), b=Tell(["p"], of="Told", line="one if free", nap=5))
        c = begun(runtime, c=Tell(["p"], of="Told", nap=5))
        await ends(runtime, clock)
        assert await results(asked) == {"a": 1, "b": "taken by Tale/a"}
        assert await results(c) == {"c": 1}
        check_tales(journal.records, exclusive=False)


async def test_read_models_show_what_is_pending(tmp_path: Path) -> None:
    clock = ManualClock()
    async with Runtime(f"sqlite:{tmp_path}/tales.db", ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p", "q"], of="Page", nap=5), b=Tell(["p"], line="two", nap=60))
        await quiet(runtime)
        clock.advance(5)
        await quiet(runtime)
        assert await runtime.ask(Pending.at(), HeldOn(), consistent=True) == [
            ("Page/p", "one", "Tale/a"),
            ("Page/q", "one", "Tale/a"),
            ("Queued/p", "two", "Tale/b"),
        ]
        clock.advance(5)
        assert await asked["a"] == 2
        await quiet(runtime)
        assert await runtime.ask(Pending.at(), HeldOn(), consistent=True) == [("Queued/p", "two", "Tale/b")]
        asked["b"].cancel()
    for view in os.listdir(tmp_path):
        if "Pending" in view:
            os.unlink(tmp_path / view)
    async with Runtime(f"sqlite:{tmp_path}/tales.db", ALL, clock=clock) as runtime:  # built anew, from the journal
        assert await runtime.ask(Pending.at(), HeldOn(), consistent=True) == [("Queued/p", "two", "Tale/b")]


# -- circles ----------------------------------------------------------------------------------------------------


async def test_of_two_that_wait_for_each_other_one_is_refused() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p", "q"], nap=5), b=Tell(["q", "p"], nap=5))
        await ends(runtime, clock)
        found = await results(asked)
        assert found["a"] == 2
        assert found["b"].startswith(DEADLOCK)
        assert "Tale/b waits at Queued/p for lock 'one' of Tale/a waits at Queued/q" in found["b"]
        check_tales(journal.records)


async def test_of_three_in_a_circle_one_is_refused() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        tales = {
            name: Tell(pages, nap=5) for name, pages in zip("abc", (["p", "q"], ["q", "r"], ["r", "p"]), strict=True)
        }
        asked = begun(runtime, **tales)
        await ends(runtime, clock)
        found = await results(asked)
        assert [found["a"], found["b"]] == [2, 2]
        assert found["c"].startswith(DEADLOCK)
        check_tales(journal.records)


async def test_a_circle_through_steps_that_run_at_once() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(
            runtime, x=Tell(["r"], nap=60), a=Tell(["p", "r"], at_once=True), b=Tell(["r", "p"], at_once=True)
        )
        await ends(runtime, clock)
        found = await results(asked)
        assert found["x"] == 1
        # In line for r: a, then b; b waits at p for a, who stands before it. That is no circle: both can be served.
        assert [found["a"], found["b"]] == [2, 2]
        check_tales(journal.records)


async def test_a_circle_through_sagas_that_were_asked() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Collect(["p"], [Tell(["r", "q"], nap=5)]), b=Tell(["q", "p"], nap=5))
        await ends(runtime, clock)
        found = await results(asked)
        assert found["b"] == 2
        assert found["a"].startswith(DEADLOCK)
        circle = "Tale/a.0 waits at Queued/q for lock 'one' of Tale/b waits at Queued/p for lock 'one' of Anthology/a"
        assert found["a"].endswith(f"{circle}, which waits for Tale/a.0")
        check_tales(journal.records)


async def test_the_locks_of_a_saga_are_open_to_those_that_it_asks() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Collect(["p", "q"], [Tell(["p"], nap=5), Tell(["p", "q"])], ends="badly"))
        await ends(runtime, clock)
        assert await results(asked) == {"a": "badly"}
        check_tales(journal.records)


# -- ends -------------------------------------------------------------------------------------------------------


async def test_going_back_while_a_step_waits_fences_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tale, "deadline", timedelta(seconds=30))
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        held = await step(runtime, Queued.at("p"), Write("one x"), A)
        asked = begun(runtime, b=Tell(["q", "p"]))
        await quiet(runtime)
        assert held == 1
        clock.advance(31)
        await quiet(runtime)
        assert await results(asked) == {"b": "the deadline has passed"}
        types = types_of(journal.records, Queued.at("p"))
        assert types == ["Wrote", "service.locked", "service.fenced"]
        cell = node_of(runtime).cell(Queued.at("p"))
        assert isinstance(cell, ServiceCell)
        assert len(cell.locking.lines) == 0
        assert await runtime.unfinished() == []


@pytest.mark.parametrize("waits", [False, True])
async def test_a_saga_that_is_killed_gives_back_its_locks_and_what_is_on_its_way_takes_none(waits: bool) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        if waits:
            await step(runtime, Queued.at("q"), Write("one x"), B)
        asked = begun(runtime, a=Tell(["p", "q"], nap=0 if waits else 60))
        await quiet(runtime)
        await runtime.saga(Tale.at("a")).kill(by="ana", reason="enough")
        with pytest.raises(SagaKilled):
            await asked["a"]
        await quiet(runtime)
        assert await runtime.locks(Queued.at("p")) == []
        assert await runtime.ask(Queued.at("p"), Write("one y")) == 2
        assert types_of(journal.records, Tale.at("a"))[-2:] == ["saga.killed", "saga.released"]
        assert types_of(journal.records, Queued.at("q"))[2:] == (["service.fenced"] if waits else [])


async def test_a_completed_saga_that_is_compensated_later_has_no_locks_to_give_back_again() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.ask(Tale.at("a"), Tell(["p"])) == 1
        await quiet(runtime)
        await step(runtime, Queued.at("p"), Write("one x"), B)
        await runtime.saga(Tale.at("a")).compensate(by="ana", reason="it was a mistake")  # an undo waits for nobody
        await quiet(runtime)
        assert types_of(journal.records, Tale.at("a")).count("saga.released") == 1
        assert await runtime.unfinished() == []
        await runtime.delete(Tale.at("a"))


async def test_past_the_pivot_a_lock_is_waited_for() -> None:
    class Seal(Command["Sealed", int]):
        pass

    class Sealed(Saga[Seal, int]):
        async def run(self, command: Seal) -> int:
            await self.pivot("first", Page.at("p"), Write("one s", "Tale/s"))
            return await self.ask("second", Page.at("q"), Write("one s", "Tale/s"))

    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [Sealed, *ALL], clock=clock) as runtime:
        held = begun(runtime, a=Tell(["q"], of="Page", nap=20))
        await quiet(runtime)
        asked = asyncio.create_task(runtime.ask(Sealed.at("s"), Seal()))
        await ends(runtime, clock)
        assert await asked == 2
        assert await held["a"] == 1
        assert len(of(journal.records, "saga.failed")) > 0


async def test_a_parked_service_takes_its_locks_back_when_it_is_there_again() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        asked = begun(runtime, a=Tell(["p"], of="Page", nap=5))
        await quiet(runtime)
        node_of(runtime).cell(Page.at("p")).crashed(RuntimeError("the disk is odd"))
        with pytest.raises(Parked):
            await runtime.ask(Page.at("p"), Read())
        clock.advance(5)
        assert await asked["a"] == 1  # its end does not wait for that
        await quiet(runtime)
        assert await runtime.unfinished() == [Tale.at("a")]
        with pytest.raises(Refused, match="has locks to give back"):
            await runtime.delete(Tale.at("a"))
        clock.advance(70)
        await quiet(runtime)
        assert await runtime.unfinished() == []
        check_tales(journal.records)
        await runtime.delete(Tale.at("a"))


async def test_a_saga_that_is_killed_while_it_waits_to_ask_a_service_again_asks_it_in_its_next_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn, failures = ServiceLocks.turn, [1]

    def fails(self: ServiceLocks, envelope: Envelope) -> None:
        if isinstance(envelope.message, Unlock) and envelope.reply is not None and failures:
            failures.pop()
            envelope.reply.failed(OutcomeUnknown("the disk is odd"))
        else:
            turn(self, envelope)

    monkeypatch.setattr(ServiceLocks, "turn", fails)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        assert await runtime.ask(Tale.at("a"), Tell(["p"], of="Page")) == 1
        await quiet(runtime)
        assert await runtime.unfinished() == [Tale.at("a")]
        reads, readable = journal.read, asyncio.Event()

        async def slowly(*where: Any) -> list[Record]:
            await readable.wait()
            return await reads(*where)

        monkeypatch.setattr(journal, "read", slowly)
        node_of(runtime).cell(Tale.at("a")).kill()
        clock.advance(AGAIN + 1)  # the time to ask again comes while it has no story
        for _ in range(20):
            await asyncio.sleep(0)
        readable.set()
        await ends(runtime, clock)
    check_tales(journal.records)


# -- whatever dies ----------------------------------------------------------------------------------------------


async def run_from(records: list[Record], tales: dict[str, Tell | Collect], chaos: Chaos | None = None) -> list[Record]:
    """Restart from these records, let all come to its end, ask for everything again, and return the journal."""
    journal = restart_of(records)
    await tell_on(journal, later(records), tales, chaos)
    return journal.records


@pytest.mark.parametrize("name", TALES)
async def test_every_prefix_is_brought_to_its_end(name: str) -> None:
    tales = TALES[name]
    first = await run_from([], tales)
    check_tales(first)
    for crash in range(len(first)):
        check_tales(await run_from(first[:crash], tales))


@pytest.mark.parametrize("name", TALES)
async def test_a_kill_before_and_after_each_message(name: str) -> None:
    at = 0
    while True:
        at += 1
        chaos = StrikeAt(at)
        check_tales(await run_from([], TALES[name], chaos))
        if not chaos.struck:
            assert at > 8
            return


@pytest.mark.parametrize("seed", range(8))
async def test_kills_and_crashes_of_the_process(seed: int) -> None:
    random = Random(seed)
    tales: dict[str, Tell | Collect] = {
        f"{name[:2]}{n}{key}": tale for n, (name, some) in enumerate(TALES.items()) for key, tale in some.items()
    }
    records = await run_from([], tales, Chaos(seed, 0.2))
    for round_ in range(4):
        records = await run_from(records[: random.randrange(len(records))], tales, Chaos(round_, 0.2))
        check_tales(records)


@pytest.mark.parametrize("fate", ["before", "after"])
@pytest.mark.parametrize("group", range(1, 9))
async def test_a_lost_group(fate: str, group: int) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.fail = [*[""] * (group - 1), fate]
        tales = TALES["circle of three"]
        asked = begun(runtime, **tales)
        await ends(runtime, clock)
        again = {name for name, end in (await results(asked)).items() if isinstance(end, OutcomeUnknown)}
        asked = begun(runtime, **{name: tales[name] for name in again})
        await ends(runtime, clock)
        await results(asked)
    check_tales(journal.records)
