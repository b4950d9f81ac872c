"""Children: started by an actor, supervised as it says, and gone when it is."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors import ActorMisuse, Address, Failed, Group, NotTaken, Passivation, RestartPolicy, UnknownActor
from runtime import ManualClock, Runtime
from tests.runtime.cast import Board, Desk, Trip
from tests.runtime.company import (
    BROKEN,
    COMPANY,
    FAST,
    LOG,
    MADE,
    Ledger,
    Quick,
    QuickParent,
    QuickWorker,
    Say,
    Slow,
    SlowParent,
    Stage,
    a_while,
    crash,
    in_memory,
    passes,
    supervised,
)
from tests.runtime.tools import HeldJournal, comes, quiet

PARENTS: list[Any] = [QuickParent.at("p"), SlowParent.at("p")]
CHILDREN: list[Any] = [Quick.at("c"), Slow.at("c")]
EITHER = pytest.mark.parametrize("parent", PARENTS)
BOTH = pytest.mark.parametrize(("parent", "child"), [(parent, child) for parent in PARENTS for child in CHILDREN])


async def spawn(runtime: Runtime, parent: Address[Any], *children: Address[Any]) -> None:
    for child in children:
        await runtime.ask(parent, Say("spawn", child))
    await quiet(runtime)


def gone(runtime: Runtime, *addresses: Address[Any]) -> bool:
    """Whether nothing is left of these but the addresses."""
    names = {str(address) for address in addresses}
    return not names & in_memory(runtime) and not names & supervised(runtime)


@EITHER
async def test_they_begin_in_order_before_any_mail_and_are_supervised(parent: Any) -> None:
    async with Runtime("memory:", COMPANY, clock=ManualClock()) as runtime:
        children = [Quick.at("1"), Quick.at("2"), Quick.at("3")]
        await spawn(runtime, parent, *children)
        assert [line for line in LOG if "begins" in line] == [f"{one} begins" for one in (parent, *children)]
        assert supervised(runtime) == {str(child) for child in children}


@BOTH
async def test_a_crash_is_mended_and_the_parent_and_its_other_children_do_not_notice(parent: Any, child: Any) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await spawn(runtime, parent, child, Quick.at("sibling"))
        await runtime.ask(Quick.at("sibling"), Say("here"))
        await crash(runtime, child)
        waits = asyncio.create_task(runtime.ask(child, Say("again")))
        await quiet(runtime)
        assert not waits.done()
        await passes(runtime, clock, 1.1)
        assert await waits == "again"
        assert await runtime.ask(Quick.at("sibling"), Say("still")) == "here still"
        assert await runtime.ask(parent, Say("?")) == "spawn spawn ?"
        assert MADE[str(child)] == 2


class Together(QuickParent):
    children = Group(strategy="one_for_all", restart=RestartPolicy(backoff=FAST))


class Rest(SlowParent):
    children = Group(strategy="rest_for_one", restart=RestartPolicy(backoff=FAST))


@pytest.mark.parametrize(("cls", "made"), [(Together, [2, 2, 2]), (Rest, [1, 2, 2])])
async def test_the_parent_says_with_which_strategy(cls: Any, made: list[int]) -> None:
    clock = ManualClock()
    children = [Quick.at("1"), Slow.at("2"), Quick.at("3")]
    async with Runtime("memory:", [*COMPANY, cls], clock=clock) as runtime:
        await spawn(runtime, cls.at("p"), *children)
        await crash(runtime, children[1])
        LOG.clear()
        await passes(runtime, clock, 1.1)
        assert [MADE[str(child)] for child in children] == made
        assert MADE[f"{cls.__name__}/p"] == 1


@BOTH
async def test_what_can_not_be_mended_crashes_the_parent_with_the_childs_error(parent: Any, child: Any) -> None:
    clock = ManualClock()
    others = [Quick.at("1"), Slow.at("2")]
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await spawn(runtime, parent, others[0], child, others[1])
        await runtime.ask(Quick.at("w"), Say("watch", parent))
        for _ in range(2):
            await crash(runtime, child)
            await passes(runtime, clock, 1.1 * 2)
        assert MADE[str(child)] == 3
        await crash(runtime, child)
        assert f"Quick/w hears {parent} crashed" in LOG
        assert gone(runtime, child, *others)
        waits = asyncio.create_task(runtime.ask(parent, Say("?")))
        await passes(runtime, clock, 1.1)
        assert await waits == "?"
        assert MADE[str(parent)] == 2
        await spawn(runtime, parent, child)
        assert await runtime.ask(child, Say("?")) == "?"


async def test_the_parents_current_message_comes_again_when_a_child_takes_it_down() -> None:
    clock, parent = ManualClock(), SlowParent.at("p")
    tries: list[str] = []

    async def play(actor: Any, message: Say) -> str:
        tries.append(actor.message_id)
        if len(tries) == 1:
            await asyncio.Event().wait()
        return "done"

    Stage.play = play
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await spawn(runtime, parent, Quick.at("c"))
        asked = asyncio.create_task(runtime.ask(parent, Say("work")))
        await comes(lambda: tries)
        for _ in range(3):
            runtime.tell(Quick.at("c"), Say("crash"))
            await a_while()
            clock.advance(2.1)
            await a_while()
        assert await asked == "done"
        assert len(tries) == 2
        assert len(set(tries)) == 1


@BOTH
@pytest.mark.parametrize("end", ["stop", "crash", "kill", "close"])
async def test_they_end_with_their_parent_and_their_mail_is_answered(parent: Any, child: Any, end: str) -> None:
    clock, release = ManualClock(), asyncio.Event()

    async def play(actor: Any, message: Say) -> str:
        await release.wait()
        return "handled"

    grandchild = Slow.at("busy")
    runtime = Runtime("memory:", COMPANY, clock=clock)
    async with runtime:
        await spawn(runtime, parent, child, grandchild)
        Stage.play = play
        busy = asyncio.create_task(runtime.ask(grandchild, Say("in the middle")))
        await a_while()
        behind = asyncio.create_task(runtime.ask(grandchild, Say("behind")))
        await a_while()
        if end == "kill":
            await runtime.kill(parent)
        elif end != "close":
            runtime.tell(parent, Say(end))
        await comes(lambda: end == "close" or behind.done())
        release.set()
        Stage.play = None
        if end == "close":
            await behind
        else:
            with pytest.raises(Failed, match=f"{grandchild} has ended with its parent"):
                await behind
            await quiet(runtime)
            assert gone(runtime, child, grandchild)
        assert await busy == "handled"  # what it was in the middle of it may end
    ends = [line for line in LOG if line in (f"{child} ends", f"{grandchild} ends")]
    assert sorted(ends) == sorted([f"{child} ends", f"{grandchild} ends"])
    assert MADE[str(child)] == MADE[str(grandchild)] == 1


@BOTH
async def test_stashed_mail_of_a_child_is_answered_when_its_parent_ends(parent: Any, child: Any) -> None:
    def play(actor: Any, message: Say) -> str:
        actor.stash()
        return ""

    async with Runtime("memory:", COMPANY) as runtime:
        await spawn(runtime, parent, child)
        Stage.play = play
        asked = [asyncio.create_task(runtime.ask(child, Say("later"))) for _ in range(3)]
        await quiet(runtime)
        runtime.tell(parent, Say("stop"))
        for waits in asked:
            with pytest.raises(Failed, match="has ended with its parent"):
                await waits
        await quiet(runtime)
        assert gone(runtime, child, parent)


@BOTH
async def test_a_child_that_finishes_is_let_go_and_may_be_started_again(parent: Any, child: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        for times in range(1, 4):
            await spawn(runtime, parent, child)
            assert MADE[str(child)] == times
            await runtime.ask(child, Say("stop"))
            await quiet(runtime)
            assert gone(runtime, child)


@BOTH
async def test_a_child_that_finishes_with_mail_waiting_begins_again_as_a_child(parent: Any, child: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        await spawn(runtime, parent, child)
        stopped = asyncio.create_task(runtime.ask(child, Say("stop")))
        waits = asyncio.create_task(runtime.ask(child, Say("more")))
        assert (await stopped, await waits) == ("stop", "more")
        await quiet(runtime)
        assert str(child) in supervised(runtime)
        runtime.tell(parent, Say("stop"))
        await quiet(runtime)
        assert gone(runtime, child)


@BOTH
async def test_a_killed_child_is_there_again_and_still_a_child(parent: Any, child: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        await spawn(runtime, parent, child)
        for times in range(2, 6):
            await runtime.kill(child)
            await quiet(runtime)
            assert MADE[str(child)] == times
        runtime.tell(parent, Say("stop"))
        await quiet(runtime)
        assert gone(runtime, child)


@BOTH
async def test_a_new_parent_starts_its_child_where_the_old_one_is_still_ending(parent: Any, child: Any) -> None:
    """As in a supervisor of Erlang's: a parent that is started again starts the same children."""
    async with Runtime("memory:", COMPANY) as runtime:
        await spawn(runtime, parent, child)
        for times in range(2, 6):
            runtime.tell(child, Say("busy"))
            await runtime.kill(parent)
            spawned = asyncio.create_task(runtime.ask(parent, Say("spawn", child)))
            watched = asyncio.create_task(runtime.ask(parent, Say("watch", child)))
            await spawned
            await watched
            await quiet(runtime)
            assert MADE[str(child)] == times
            assert str(child) in supervised(runtime)
            assert not [line for line in LOG if "hears" in line]  # the end of the old one is no end of the new one
        runtime.tell(child, Say("stop"))
        await quiet(runtime)
        assert LOG[-1] == f"{parent} hears {child} finished"


@BOTH
async def test_grandchildren_go_with_them(parent: Any, child: Any) -> None:
    middle = (SlowParent if child.actor == "Quick" else QuickParent).at("middle")
    async with Runtime("memory:", COMPANY, clock=ManualClock()) as runtime:
        await spawn(runtime, parent, middle)
        await spawn(runtime, middle, child)
        assert supervised(runtime) == {str(middle), str(child)}
        await crash(runtime, middle)  # it is started again later; its own children are gone for now
        assert supervised(runtime) == {str(middle)}
        runtime.tell(parent, Say("stop"))
        await quiet(runtime)
        assert in_memory(runtime) == set()


@EITHER
async def test_only_single_plain_actors_that_belong_to_nobody_can_be_children(parent: Any) -> None:
    group = Group((Quick.at("member"),))
    everyone = [*COMPANY, Board, Desk, Trip]
    others: list[Any] = [Ledger.at("x"), Trip.at("x"), Board.at(), QuickWorker.at("x")]
    taken: dict[Any, str] = {
        Quick.at("member"): "it belongs to the group of Quick/member",
        Quick.at("child"): f"it belongs to the children of {parent}",
        SlowParent.at("top"): "it is above",
    }

    def play(actor: Any, message: Say) -> str:
        with pytest.raises(ActorMisuse, match=r"it (belongs to|is above)"):
            actor.spawn(Address(type(actor).__name__, actor.key))
        with pytest.raises(UnknownActor):
            actor.spawn(Address("Nobody", "x"))
        for address in others:
            with pytest.raises(NotTaken, match="can't be a child; only single plain actors of this node can"):
                actor.spawn(address)
        for address, why in taken.items():
            with pytest.raises(ActorMisuse, match=f"{address} can't become a child of {parent}: {why}"):
                actor.spawn(address)
        assert actor.spawn(Slow.at("new")) == Slow.at("new")
        return "checked"

    async with Runtime("memory:", everyone, groups=[group]) as runtime:
        await spawn(runtime, SlowParent.at("top"), parent)
        await spawn(runtime, parent, Quick.at("child"))
        Stage.play = play
        assert await runtime.ask(parent, Say("check")) == "checked"


@BOTH
async def test_one_that_is_alive_already_is_taken_in_as_it_is(parent: Any, child: Any) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        await runtime.ask(child, Say("knows"))
        await spawn(runtime, parent, child)
        assert await runtime.ask(child, Say("it")) == "knows it"
        runtime.tell(parent, Say("stop"))
        await quiet(runtime)
        assert gone(runtime, parent, child)


@BOTH
async def test_a_child_that_can_not_begin_is_tried_as_often_as_the_group_says(parent: Any, child: Any) -> None:
    clock = ManualClock()
    async with Runtime("memory:", COMPANY, clock=clock) as runtime:
        BROKEN.add("c")
        await spawn(runtime, parent, child)
        for _ in range(5):
            await passes(runtime, clock, 2.1)
        assert gone(runtime, child)
        await passes(runtime, clock, 10)
        assert await runtime.ask(parent, Say("?")) == "?"
        assert MADE[str(parent)] == 2


@BOTH
async def test_one_that_was_parked_becomes_a_child_like_others(parent: Any, child: Any) -> None:
    class Frail(Quick):
        restart = RestartPolicy(restarts=0)

    clock, frail = ManualClock(), Frail.at("c")
    async with Runtime("memory:", [*COMPANY, Frail], clock=clock) as runtime:
        await crash(runtime, frail)
        await spawn(runtime, parent, frail)
        assert await runtime.ask(frail, Say("hello")) == "hello"
        await crash(runtime, frail)
        await passes(runtime, clock, 1.1)
        assert await runtime.ask(frail, Say("hello")) == "hello"  # its parent's policy goes now


@BOTH
async def test_children_outlive_the_loss_of_the_journal_or_go_with_their_parent(parent: Any, child: Any) -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, COMPANY, clock=clock) as runtime:
        await spawn(runtime, parent, child)
        journal.fail = ["before"]
        with pytest.raises(Exception, match="unknown"):
            await runtime.ask(Ledger.at("other"), Say("lost"))
        await quiet(runtime)
        assert await runtime.ask(Ledger.at("other"), Say("goes on")) == "goes on"
        await quiet(runtime)
        if parent.actor == "QuickParent":  # dropped, and its children with it
            assert gone(runtime, parent, child)
        else:
            assert str(child) in supervised(runtime)
            assert MADE[str(child)] == (2 if child.actor == "Quick" else 1)


@EITHER
async def test_a_parent_and_its_children_stay_in_the_memory(parent: Any) -> None:
    class Brief(Quick):
        passivation = Passivation(idle=timedelta(seconds=1))

    clock = ManualClock()
    async with Runtime("memory:", [*COMPANY, Brief], clock=clock) as runtime:
        await spawn(runtime, parent, Brief.at("c"))
        await runtime.ask(Brief.at("alone"), Say("hello"))
        for _ in range(10):
            await passes(runtime, clock, 1)
        assert in_memory(runtime) == {str(parent), "Brief/c"}


@EITHER
async def test_many_children_that_come_and_go_leave_nothing_behind(parent: Any) -> None:
    async with Runtime("memory:", COMPANY) as runtime:
        for number in range(300):
            child = (Quick if number % 2 else Slow).at(str(number))
            runtime.tell(parent, Say("spawn", child))
            runtime.tell(parent, Say("stop", child))
        await quiet(runtime)
        assert in_memory(runtime) == {str(parent)}
        assert supervised(runtime) == set()
