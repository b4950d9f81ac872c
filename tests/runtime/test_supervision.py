"""Supervision: who is started again after a crash, when, how often, and what becomes of the others."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import Address, Backoff, DefinitionError, Failed, Group, NotTaken, Parked, RestartPolicy, UnknownActor
from runtime import ManualClock, Runtime
from tests.runtime.cast import Board
from tests.runtime.company import (
    BROKEN,
    COMPANY,
    FAST,
    LOG,
    MADE,
    Ledger,
    Quick,
    QuickWorker,
    Say,
    Slow,
    SlowWorker,
    crash,
    in_memory,
    passes,
)
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

A, B, C = Quick.at("a"), Slow.at("b"), Ledger.at("c")
ABC: tuple[Any, ...] = (A, B, C)
ONCE = RestartPolicy(restarts=1, backoff=FAST, parked_for=timedelta(seconds=30))


async def heard(runtime: Runtime, *addresses: Address[Any]) -> list[str]:
    return [await runtime.ask(address, Say("?")) for address in addresses]


# -- one actor ------------------------------------------------------------------------------------------------------


class Frail(Quick):
    restart = RestartPolicy(
        restarts=3,
        within=timedelta(seconds=20),
        backoff=Backoff(timedelta(seconds=1), 2.0, timedelta(seconds=3), jitter=0.0),
        parked_for=timedelta(seconds=30),
    )


class SlowFrail(Slow):
    restart = Frail.restart


class Jittery(Quick):
    restart = RestartPolicy(restarts=10_000, backoff=Backoff(timedelta(seconds=1), 1.0, jitter=0.5))


@pytest.mark.parametrize("cls", [Frail, SlowFrail])
async def test_the_pauses_grow_up_to_the_cap_and_then_the_budget_is_spent(cls: Any) -> None:
    clock, one = ManualClock(), cls.at("x")
    async with Runtime("memory:", [cls], clock=clock) as runtime:
        for crashes, pause in enumerate((1, 2, 3), 1):
            await crash(runtime, one)
            waits = asyncio.create_task(runtime.ask(one, Say("hello")))
            await passes(runtime, clock, pause - 0.001)
            assert MADE[str(one)] == crashes
            assert not waits.done()
            await passes(runtime, clock, 0.001 + 1e-5)
            assert MADE[str(one)] == crashes + 1
            assert await waits == "hello"
        await crash(runtime, one)
        for _ in range(2):
            with pytest.raises(Parked, match=f"{one} is parked: .*{one} trips"):
                await runtime.ask(one, Say("hello"))
        await passes(runtime, clock, 29)
        assert MADE[str(one)] == 4
        await passes(runtime, clock, 2)
        assert await runtime.ask(one, Say("hello")) == "hello"
        await crash(runtime, one)  # with a new budget
        await passes(runtime, clock, 1.1)
        assert await runtime.ask(one, Say("hello")) == "hello"


@pytest.mark.parametrize("cls", [Frail, SlowFrail])
async def test_crashes_further_apart_than_the_window_cost_no_more_than_the_first(cls: Any) -> None:
    clock, one = ManualClock(), cls.at("x")
    async with Runtime("memory:", [cls], clock=clock) as runtime:
        for crashes in range(10):
            await crash(runtime, one)
            await passes(runtime, clock, 1.1)
            assert await runtime.ask(one, Say("there")) == "there"
            assert MADE[str(one)] == crashes + 2
            await passes(runtime, clock, 19)


async def test_jitter_makes_pauses_shorter_by_its_share_at_most_and_not_all_alike() -> None:
    clock = ManualClock()
    many = [Jittery.at(str(number)) for number in range(200)]
    async with Runtime("memory:", [Jittery], clock=clock) as runtime:
        for one in many:
            runtime.tell(one, Say("crash"))
        await quiet(runtime)
        back: list[int] = []
        for _ in range(20):
            await passes(runtime, clock, 0.05)
            back.append(sum(MADE[str(one)] == 2 for one in many))
    assert back[8] == 0
    assert len(set(back[9:19])) > 5


@pytest.mark.parametrize("base", [Quick, Slow, Ledger])
async def test_one_that_can_never_begin_is_tried_a_bounded_number_of_times(base: Any) -> None:
    """No restart loop, however much time passes and mail comes."""
    clock, tries = ManualClock(), 0

    class Never(base):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
        restart = RestartPolicy(restarts=3, backoff=FAST, parked_for=timedelta(days=1))

        def __init__(self, key: str) -> None:
            nonlocal tries
            tries += 1
            raise ConnectionError("never")

    address: Any = Never.at("x")
    async with Runtime("memory:", [Never], clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(address, Say("hello")))
        for _ in range(60):
            await passes(runtime, clock, 10)
        with pytest.raises(Parked, match="never"):
            await asked
        for _ in range(10):
            with pytest.raises(Parked, match="never"):
                await runtime.ask(address, Say("hello"))
        assert tries == 4
        runtime.unpark(address)
        runtime.tell(address, Say("hello"))
        for _ in range(60):
            await passes(runtime, clock, 10)
        assert tries == 8


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_journal_that_can_not_be_read_for_a_while_costs_no_restarts(grouped: bool) -> None:
    class Once(Ledger):
        restart = ONCE

    clock, journal, one = ManualClock(), HeldJournal(), Once.at("c")
    groups = [Group((one,), restart=ONCE)] if grouped else []
    async with Runtime(journal, [Once], clock=clock, groups=groups) as runtime:
        assert await runtime.ask(one, Say("1")) == "1"
        journal.unreadable.add(("Once", "c"))
        await runtime.kill(one)
        asked = asyncio.create_task(runtime.ask(one, Say("2")))
        for _ in range(20):
            await passes(runtime, clock, 0.5)
        assert not asked.done()
        journal.unreadable.clear()
        await passes(runtime, clock, 61)
        assert await asked == "1 2"
        journal.unreadable.add(("Once", "c"))
        await runtime.kill(one)
        runtime.tell(one, Say("3"))
        for _ in range(3):
            await passes(runtime, clock, 0.5)
        journal.unreadable.clear()
        BROKEN.add("c")
        await passes(runtime, clock, 5.1)
        BROKEN.clear()
        await passes(runtime, clock, 5.1)
        assert await runtime.ask(one, Say("4")) == "1 2 3 4"  # the one restart was left for the one crash


# -- groups ---------------------------------------------------------------------------------------------------------


async def test_members_are_started_in_order_when_the_runtime_opens() -> None:
    for order in ([A, Quick.at("b"), Quick.at("c")], [B, Slow.at("c"), Slow.at("a")]):
        LOG.clear()
        async with Runtime("memory:", COMPANY, groups=[Group(tuple(order))]) as runtime:
            await quiet(runtime)
            assert [f"{one} begins" for one in order] == LOG


STRATEGIES: dict[str, list[set[Any]]] = {
    "one_for_one": [{A}, {B}, {C}],
    "one_for_all": [{A, B, C}, {A, B, C}, {A, B, C}],
    "rest_for_one": [{A, B, C}, {B, C}, {C}],
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("crashes", ABC)
async def test_a_crash_harms_whom_the_strategy_says_and_nobody_else(strategy: Any, crashes: Any) -> None:
    clock = ManualClock()
    affected = STRATEGIES[strategy][ABC.index(crashes)]
    groups = [Group(ABC, strategy, RestartPolicy(backoff=FAST)), Group((Quick.at("elsewhere"),))]
    async with Runtime("memory:", COMPANY, clock=clock, groups=groups) as runtime:
        everyone = [*ABC, Quick.at("elsewhere"), Slow.at("alone")]
        for one in everyone:
            await runtime.ask(one, Say("before"))
        await crash(runtime, crashes)
        waiting = {one: asyncio.create_task(runtime.ask(one, Say("after"))) for one in everyone}
        await quiet(runtime)
        assert {one for one, asked in waiting.items() if not asked.done()} == affected
        LOG.clear()
        await passes(runtime, clock, 1.1)
        replies = {one: await asked for one, asked in waiting.items()}
        for one in everyone:
            assert MADE[str(one)] == (2 if one in affected else 1), one
            if one is C:
                assert replies[one] in ("before after", "before wake up after")
            else:
                assert replies[one] == ("after" if one in affected else "before after")


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_two_that_crash_one_after_the_other_are_started_again_once_all_are_down(strategy: Any) -> None:
    clock = ManualClock()
    group = Group((A, B), strategy, RestartPolicy(backoff=Backoff(timedelta(seconds=1), 1.0, jitter=0.0)))
    async with Runtime("memory:", COMPANY, clock=clock, groups=[group]) as runtime:
        await quiet(runtime)
        await crash(runtime, B)
        await passes(runtime, clock, 0.5)
        if strategy == "rest_for_one":
            await crash(runtime, A)
        else:
            await runtime.kill(A)  # it waits for the others, killed or not
            assert MADE["Quick/a"] == 1
        await passes(runtime, clock, 0.6)
        await passes(runtime, clock, 0.5)
        assert (MADE["Quick/a"], MADE["Slow/b"]) == (2, 2)
        assert await heard(runtime, A, B) == ["?", "?"]


async def test_the_budget_of_a_group_is_its_own_and_spent_all_members_are_parked_together() -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock, groups=[Group(ABC, restart=ONCE)]) as runtime:
        await quiet(runtime)
        await crash(runtime, A)
        await passes(runtime, clock, 1.1)
        assert await heard(runtime, *ABC) == ["?", "?", "?"]
        await crash(runtime, B)
        for one in ABC:
            with pytest.raises(Parked, match=f"{one} is parked: .*Slow/b trips"):
                await runtime.ask(one, Say("hello"))
        assert await runtime.ask(Quick.at("elsewhere"), Say("hello")) == "hello"
        await passes(runtime, clock, 29)
        with pytest.raises(Parked):
            await runtime.ask(C, Say("hello"))
        await passes(runtime, clock, 2)  # by itself, when the group's own time has come, and not its members'
        assert await heard(runtime, *ABC) == ["?", "?", "? ?"]
        await crash(runtime, A)
        await passes(runtime, clock, 1.1)
        assert await heard(runtime, A) == ["?"]


@pytest.mark.parametrize("through", ABC)
async def test_unpark_of_one_member_brings_the_whole_group_back(through: Any) -> None:
    clock = ManualClock()
    others = tuple(Quick.at(str(number)) for number in range(600))  # more than Python can call into each other
    group = Group((*ABC, Group(others)), restart=ONCE)
    async with Runtime("memory:", COMPANY, clock=clock, groups=[group]) as runtime:
        await quiet(runtime)
        for _ in range(2):
            await crash(runtime, A)
            await passes(runtime, clock, 1.1)
        with pytest.raises(Parked):
            await runtime.ask(others[-1], Say("hello"))
        LOG.clear()
        runtime.unpark(through)
        await quiet(runtime)
        assert {f"{one} begins" for one in (*ABC, *others)} == set(LOG)
        assert all(MADE[str(one)] == 2 for one in others)
        runtime.unpark(through)
        await passes(runtime, clock, 100)  # nothing is left of the time that it was to be parked for
        assert all(MADE[str(one)] == 2 for one in others)


async def test_a_group_inside_asks_the_outer_one_and_begins_with_a_new_budget() -> None:
    clock = ManualClock()
    inside = Group((B, Quick.at("in")), "one_for_all", ONCE)
    outside = Group((A, inside, C), "rest_for_one", RestartPolicy(restarts=2, backoff=FAST))
    async with Runtime("memory:", COMPANY, clock=clock, groups=[outside]) as runtime:
        await quiet(runtime)

        def made() -> list[int]:
            return [MADE[one] for one in ("Quick/a", "Slow/b", "Quick/in", "Ledger/c")]

        assert made() == [1, 1, 1, 1]
        await crash(runtime, B)
        await passes(runtime, clock, 1.1)
        assert made() == [1, 2, 2, 1]
        await crash(runtime, Quick.at("in"))  # one too many for the group inside: it and what comes behind begin anew
        await passes(runtime, clock, 1.1)
        assert made() == [1, 3, 3, 2]
        await crash(runtime, B)  # that is the group's own affair again
        await passes(runtime, clock, 1.1)
        assert made() == [1, 4, 4, 2]
        await crash(runtime, B)
        await passes(runtime, clock, 2.1)
        assert made() == [1, 5, 5, 3]
        for _ in range(2):
            await crash(runtime, B)
            await passes(runtime, clock, 4.1)
        for one in (A, B, Quick.at("in"), C):
            with pytest.raises(Parked, match="Slow/b trips"):
                await runtime.ask(one, Say("hello"))
        runtime.unpark(Quick.at("in"))
        assert await heard(runtime, A, B, C) == ["?", "?", "?"]


async def test_a_member_that_is_killed_is_there_again_at_once_and_costs_nothing() -> None:
    group = Group(ABC, "one_for_all", RestartPolicy(restarts=0))
    async with Runtime("memory:", COMPANY, groups=[group]) as runtime:
        await quiet(runtime)
        for times in range(2, 12):
            for one in ABC:
                await runtime.kill(one)
            await quiet(runtime)
            assert [MADE[str(one)] for one in ABC] == [times] * 3


async def test_a_member_that_has_finished_stays_away_until_mail_comes() -> None:
    async with Runtime("memory:", COMPANY, groups=[Group((A, B))]) as runtime:
        for one in (A, B):
            await runtime.ask(one, Say("stop"))
        await quiet(runtime)
        assert in_memory(runtime) == set()
        assert await heard(runtime, A, B) == ["?", "?"]
        await crash(runtime, A)
        await comes(lambda: MADE["Quick/a"] == 3)  # it is supervised as before: in the system's time, soon


@pytest.mark.parametrize("cls", [QuickWorker, SlowWorker])
async def test_a_pools_workers_are_members_one_by_one(cls: Any) -> None:
    clock = ManualClock()
    group = Group((A, cls.at("p"), B), "rest_for_one", RestartPolicy(restarts=1, backoff=FAST))
    workers = [f"{cls.__name__}#{number}/p" for number in range(3)]
    async with Runtime("memory:", COMPANY, clock=clock, groups=[group]) as runtime:
        await quiet(runtime)
        assert {"Quick/a": 1, "Slow/b": 1, f"{cls.__name__}/p": 3} == MADE
        assert set(workers) < in_memory(runtime)
        await crash(runtime, Address(f"{cls.__name__}#1", "p"))
        await passes(runtime, clock, 1.1)
        assert {"Quick/a": 1, "Slow/b": 2, f"{cls.__name__}/p": 5} == MADE
        await crash(runtime, A)
        with pytest.raises(Parked):
            await runtime.ask(cls.at("p"), Say("hello"))
        runtime.unpark(cls.at("p"))
        assert await runtime.ask(cls.at("p"), Say("hello")) == "hello"
        assert await runtime.ask(A, Say("hello")) == "hello"


async def test_a_group_that_can_not_be_is_refused_when_the_runtime_opens() -> None:
    class Stranger(Quick):
        pass

    for group, error, why in (
        (Group((A, Stranger.at("x"))), UnknownActor, "no actor 'Stranger' here"),
        (Group((A, Group((Stranger.at("x"),)))), UnknownActor, "no actor 'Stranger' here"),
        (Group((Board.at(),)), NotTaken, "Board can't be in a group"),
        (Group((A, Group((B, A)))), DefinitionError, "Quick/a is in two groups"),
    ):
        with pytest.raises(error, match=why):
            async with Runtime("memory:", [*COMPANY, Board], groups=[group]):
                raise AssertionError("it opened")
    with pytest.raises(DefinitionError, match="Quick/a is in two groups"):
        async with Runtime("memory:", COMPANY, groups=[Group((A,)), Group((A,))]):
            raise AssertionError("it opened")


async def test_an_empty_group_does_nothing() -> None:
    async with Runtime("memory:", COMPANY, groups=[Group(), Group((Group(),))]) as runtime:
        assert await runtime.ask(A, Say("hello")) == "hello"


@pytest.mark.parametrize("parked", [False, True])
async def test_when_the_journal_was_lost_groups_are_there_again(parked: bool) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, COMPANY, clock=clock, groups=[Group(ABC, restart=ONCE)]) as runtime:
        await runtime.ask(C, Say("safe"))
        if parked:
            for _ in range(2):
                await crash(runtime, A)
                await passes(runtime, clock, 1.1)
        else:
            await runtime.ask(B, Say("b"))
        MADE.clear()
        journal.fail = ["before"]
        with pytest.raises(Exception, match="unknown"):
            await runtime.ask(Ledger.at("other"), Say("lost"))
        await comes(lambda: node_of(runtime).idle)
        await quiet(runtime)
        # The async one rests on nothing that was lost, so it was not dropped.
        expected = {"Quick/a": 1, "Ledger/c": 1} | ({"Slow/b": 1} if parked else {})
        assert {one: times for one, times in MADE.items() if one != "Ledger/other"} == expected
        assert await heard(runtime, *ABC) == ["?", "?" if parked else "b ?", "safe ?"]


async def test_failed_members_are_no_task_of_the_one_who_asks() -> None:
    """An asker is told of the failure at once, and need not wait for the restart."""
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock, groups=[Group(ABC, "one_for_all")]) as runtime:
        for one in (A, B):
            with pytest.raises(Failed, match="trips"):
                await runtime.ask(one, Say("crash"))
            await passes(runtime, clock, 10)
