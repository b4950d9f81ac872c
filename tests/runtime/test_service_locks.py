"""Semantic locks at the service: who is refused, who waits, who is told; in the journal, and whatever dies."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from actors import (
    Actor,
    Address,
    Command,
    CommandIdReused,
    Deadlock,
    Failed,
    Locked,
    MailboxFull,
    OutcomeUnknown,
    Parked,
    Refused,
)
from actors.policies import Mailbox
from persistence import Snapshot, SqliteJournal
from runtime import BaseInstrument, ManualClock, Runtime, check_journal, service_locks
from runtime.service_cell import ServiceCell
from tests.runtime.keeping import set_snapshot
from tests.runtime.locking import (
    A,
    B,
    C,
    D,
    Later,
    Nod,
    Page,
    Queued,
    Read,
    Tear,
    Told,
    Whom,
    Write,
    check_locks,
    release,
    step,
)
from tests.runtime.tools import HeldJournal, comes, content, node_of, of, quiet, types_of

ALL = [Page, Queued, Told]
POLICIES: list[type[Page]] = [Page, Queued, Told]


def in_line(runtime: Runtime, at: Address[Any]) -> int:
    cell = node_of(runtime).cell(at)
    assert isinstance(cell, ServiceCell)
    return len(cell.locking.lines)


async def waiting(runtime: Runtime, at: Address[Any], count: int) -> None:
    await quiet(runtime)
    assert in_line(runtime, at) == count


def asks(runtime: Runtime, at: Address[Any], command: Any) -> "asyncio.Future[Any]":
    """Ask as a caller outside, at once."""
    promise = node_of(runtime).send(at, command, None)
    assert promise is not None
    return promise.future


async def test_a_step_takes_its_lock_with_its_events_and_others_are_refused() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Page.at("p")
        assert await step(runtime, page, Write("one a", "Tale/a"), A) == 1
        assert types_of(journal.records, page) == ["Wrote", "service.locked"]
        assert len(journal.groups[0]) == 1  # both in one append
        for command_id in (None, "c1"):
            with pytest.raises(Locked, match=r"Page/p is locked: Tale/a .* holds the lock 'one'") as refused:
                await runtime.ask(page, Write("one b"), id=command_id)
            assert (refused.value.lock, refused.value.holder) == ("one", "Tale/a")
        with pytest.raises(Locked):
            await step(runtime, page, Write("one b"), B)
        with pytest.raises(Locked):
            await step(runtime, page, Write("one b"), B, lock=False, name="other")
        with pytest.raises(Refused, match="Page/p: Page/p is locked"):
            await runtime.transact((Page.at("q"), Write("one t")), (page, Write("one t")))
        assert await runtime.ask(Page.at("q"), Read()) == ()
        assert await runtime.ask(page, Read()) == ("one a",)
        assert await runtime.ask(page, Write("two b")) == 2
        assert await release(runtime, page, A) == 1
        assert await runtime.ask(page, Write("one b"), id="c1") == 3
        assert types_of(journal.records, page)[-2:] == ["service.unlocked", "Wrote"]
        check_locks(journal.records)


@pytest.mark.parametrize("cls", POLICIES)
async def test_the_holder_passes_and_so_do_its_undos_and_those_that_it_has_asked(cls: type[Page]) -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = cls.at("p")
        await step(runtime, page, Write("one a"), A)
        assert await step(runtime, page, Write("one again"), A, name="again") == 2
        assert await step(runtime, page, Write("one more"), A, name="more", lock=False) == 3
        assert await step(runtime, page, Write("one child"), A, B) == 4
        assert await step(runtime, page, Write("one child"), A, C, lock=False) == 5
        assert await step(runtime, page, Tear("one a"), A, lock=False, undoes="step") is None
        assert [(one.lock, str(one.holder)) for one in await runtime.locks(page)] == [
            ("one", "Tale/a"),
            ("one", "Tale/b"),  # it was asked by the first, and holds it as well
        ]
        assert await release(runtime, page, B) == 1
        assert await step(runtime, page, Write("one last"), A, name="last") == 5
        assert await release(runtime, page, A) == 1
        assert await runtime.ask(page, Write("one b")) == 6


@pytest.mark.parametrize("cls", POLICIES)
async def test_undos_of_others_pass_for_they_take_nothing(cls: type[Page]) -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = cls.at("p")
        await step(runtime, page, Write("one b"), B, lock=False)
        await step(runtime, page, Write("one a"), A)
        assert await step(runtime, page, Tear("one b"), B, lock=False, undoes="step") is None
        assert await step(runtime, page, Tear("one c"), C, lock=False, undoes="step") is None  # a fence
        with pytest.raises(Refused, match="undone before it arrived"):
            await step(runtime, page, Write("one c"), C)
        assert await runtime.ask(page, Read()) == ("one a",)


async def test_a_lock_of_the_whole_service_and_none() -> None:
    class Whole(Page):
        def lock_of(self, command: Any) -> str | None:
            return "" if isinstance(command, Write) else None

    async with Runtime("memory:", [Whole]) as runtime:
        page = Whole.at("p")
        await step(runtime, page, Nod("one"), A)
        assert await runtime.locks(page) == []  # it needs none
        await step(runtime, page, Write("one a"), A, name="write")
        with pytest.raises(Locked, match="holds its lock"):
            await runtime.ask(page, Write("two b"))
        await runtime.ask(page, Nod("two"))


async def test_a_step_without_events_takes_its_lock_and_a_refused_one_does_not() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Page.at("p")
        assert await step(runtime, page, Nod("one"), A) is None
        assert types_of(journal.records, page) == ["service.locked"]
        assert await step(runtime, page, Nod("one"), A) is None  # a repeat, answered from the lock's event
        with pytest.raises(Locked):
            await runtime.ask(page, Nod("one"))
        with pytest.raises(Refused, match="no"):
            await step(runtime, page, Write("two no"), B)
        assert await runtime.ask(page, Write("two c")) == 1


async def test_what_is_no_lock_is_a_failure() -> None:
    class Wrong(Page):
        def lock_of(self, command: Any) -> Any:
            return 7 if command.line == "seven" else command.line

    async with Runtime("memory:", [Wrong]) as runtime:
        with pytest.raises(Failed, match=r"Wrong.lock_of must return a text or None, not a int"):
            await step(runtime, Wrong.at("p"), Write("seven"), A)
        assert await runtime.ask(Wrong.at("p"), Write("seven")) == 1  # nobody asks while no lock is held
        await step(runtime, Wrong.at("p"), Write("one"), A)
        with pytest.raises(Failed, match="must return a text"):
            await runtime.ask(Wrong.at("p"), Write("seven"))


async def test_a_service_that_tells_lets_decide_say() -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = Told.at("p")
        await step(runtime, page, Write("one a"), A)
        assert await runtime.ask(page, Whom("one")) == ("Tale/a",)
        assert await step(runtime, page, Whom("one"), A, lock=False, name="whom") == ()  # it is its own
        with pytest.raises(Refused, match="taken by Tale/a"):
            await runtime.ask(page, Write("one if free"))
        assert await step(runtime, page, Write("one b"), B) == 2  # two are in the middle of something now
        assert await runtime.ask(page, Whom("one")) == ("Tale/a", "Tale/b")
        await release(runtime, page, A)
        with pytest.raises(Refused, match="taken by Tale/b"):
            await runtime.ask(page, Write("one if free"))
        await release(runtime, page, B)
        assert await runtime.ask(page, Whom("one")) == ()
        assert await runtime.ask(page, Write("one if free")) == 3


# -- waiting ----------------------------------------------------------------------------------------------------


async def test_others_wait_in_the_order_of_their_coming() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a", "Tale/a"), A)
        asked = [
            asyncio.ensure_future(one)
            for one in (
                asks(runtime, page, Write("one x")),
                step(runtime, page, Write("one b", "Tale/b"), B),
                asks(runtime, page, Write("one y")),
                step(runtime, page, Write("one c", "Tale/c"), C),
                asks(runtime, page, Write("one z")),
            )
        ]
        for one in asked:
            assert not one.done()
        await waiting(runtime, page, 5)
        assert await runtime.ask(page, Write("two d")) == 2
        assert [one.waiting for one in await runtime.locks(page)] == [5]
        assert await release(runtime, page, A) == 1
        assert await asyncio.gather(*asked[:2]) == [3, 4]
        await waiting(runtime, page, 3)
        assert await release(runtime, page, B) == 1
        assert await asyncio.gather(*asked[2:4]) == [5, 6]
        assert await release(runtime, page, C) == 1
        assert await asked[4] == 7
        assert (await runtime.ask(page, Read()))[2:] == ("one x", "one b", "one y", "one c", "one z")
        check_locks(journal.records)


async def test_who_is_refused_or_has_gone_lets_the_next_one_come() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        asked = [
            asyncio.ensure_future(one)
            for one in (
                runtime.ask(page, Write("one late"), timeout=5),
                step(runtime, page, Write("one no"), B),
                step(runtime, page, Write("one c"), C),
            )
        ]
        await waiting(runtime, page, 3)
        clock.advance(6)
        with pytest.raises(OutcomeUnknown):
            await asked[0]
        await release(runtime, page, A)
        with pytest.raises(Refused, match="no"):
            await asked[1]
        assert await asked[2] == 2
        assert await runtime.ask(page, Read()) == ("one a", "one c")


async def test_so_many_may_wait_as_the_mailbox_holds() -> None:
    class Small(Queued):
        mailbox = Mailbox(limit=2)

    clock = ManualClock()
    async with Runtime("memory:", [Small], clock=clock) as runtime:
        page = Small.at("p")
        await step(runtime, page, Write("one a"), A)
        first = asyncio.ensure_future(runtime.ask(page, Write("one b"), timeout=5))
        await quiet(runtime)
        second = asyncio.ensure_future(runtime.ask(page, Write("one c")))
        await waiting(runtime, page, 2)
        with pytest.raises(MailboxFull):
            await step(runtime, page, Write("one d"), D)
        clock.advance(6)
        with pytest.raises(OutcomeUnknown):
            await first
        third = step(runtime, page, Write("one d"), D)  # in the place of the one that has gone
        await waiting(runtime, page, 2)
        await release(runtime, page, A)
        assert await second == 2
        assert await third == 3


async def test_a_command_that_is_asked_again_while_it_waits_waits_once_and_all_are_answered() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        gone = asyncio.ensure_future(runtime.ask(page, Write("one b"), id="c1", timeout=5))
        again = asyncio.ensure_future(runtime.ask(page, Write("one b"), id="c1"))
        third = asyncio.ensure_future(runtime.ask(page, Write("one b"), id="c1"))
        await waiting(runtime, page, 1)
        other = asyncio.ensure_future(runtime.ask(page, Write("one other"), id="c1"))
        await waiting(runtime, page, 2)
        clock.advance(6)
        with pytest.raises(OutcomeUnknown):
            await gone
        await release(runtime, page, A)
        assert [await again, await third] == [2, 2]
        with pytest.raises(CommandIdReused):
            await other
        assert await runtime.ask(page, Write("one b"), id="c1") == 2
        assert await runtime.ask(page, Read()) == ("one a", "one b")


async def test_an_undo_of_a_step_that_waits_fences_it() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        late = step(runtime, page, Write("one b"), B)
        await waiting(runtime, page, 1)
        assert await step(runtime, page, Tear("one b"), B, lock=False, undoes="step") is None
        with pytest.raises(Refused, match="was undone while it waited"):
            await late
        await waiting(runtime, page, 0)
        await release(runtime, page, A)
        with pytest.raises(Refused, match="undone before it arrived"):
            await step(runtime, page, Write("one b"), B)
        assert types_of(journal.records, page).count("service.fenced") == 1


@pytest.mark.parametrize("cls", [Page, Queued])
async def test_a_late_step_of_a_saga_that_has_ended_takes_no_lock(cls: type[Page]) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = cls.at("p")
        if cls is Queued:
            await step(runtime, page, Write("one a"), A)
            late = step(runtime, page, Write("one b"), B)
            await waiting(runtime, page, 1)
            assert await release(runtime, page, B, "step") == 0
            with pytest.raises(Refused, match="undone while it waited"):
                await late
            await release(runtime, page, A)
        else:
            assert await release(runtime, page, B, "step") == 0
        with pytest.raises(Refused, match="undone before it arrived"):
            await step(runtime, page, Write("one b"), B)
        assert await runtime.locks(page) == []
        assert await release(runtime, page, B, "step") == 0  # said again, nothing is written
        assert len(of(journal.records, "service.fenced")) == 1


async def test_a_transaction_waits_and_holds_nobody_up_meanwhile() -> None:
    async with Runtime("memory:", ALL) as runtime:
        page, other = Queued.at("p"), Queued.at("q")
        await step(runtime, page, Write("one a"), A)
        asked = asyncio.ensure_future(
            runtime.transact((other, Write("one t")), (page, Write("one t")), (other, Write("one t")), id="t")
        )
        await waiting(runtime, page, 1)
        assert await step(runtime, other, Write("one a"), A, name="other") == 1  # what the holder needs to end
        await release(runtime, page, A)
        await waiting(runtime, page, 0)
        await waiting(runtime, other, 1)
        await release(runtime, other, A)
        assert await asked == (2, 2, 3)
        again = runtime.transact((other, Write("one t")), (page, Write("one t")), (other, Write("one t")), id="t")
        assert await again == (2, 2, 3)
        assert await runtime.ask(page, Read()) == ("one a", "one t")


async def test_a_transaction_that_gives_up_waiting_changes_nothing() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        page, other = Queued.at("p"), Queued.at("q")
        await step(runtime, page, Write("one a"), A)
        asked = asyncio.ensure_future(runtime.transact((other, Write("one t")), (page, Write("one t")), timeout=5))
        await waiting(runtime, page, 1)
        clock.advance(6)
        with pytest.raises(OutcomeUnknown):
            await asked
        await release(runtime, page, A)
        await waiting(runtime, page, 0)
        assert await runtime.ask(page, Read()) == ("one a",)
        assert await runtime.ask(other, Read()) == ()


# -- circles ----------------------------------------------------------------------------------------------------


async def test_two_that_wait_for_each_other() -> None:
    async with Runtime("memory:", ALL) as runtime:
        p, q = Queued.at("p"), Queued.at("q")
        await step(runtime, p, Write("one a"), A)
        await step(runtime, q, Write("one b"), B)
        waits = step(runtime, q, Write("one a"), A, name="second")
        await waiting(runtime, q, 1)
        circle = r"Tale/b waits at Queued/p for lock 'one' of Tale/a waits at Queued/q for lock 'one' of Tale/b"
        with pytest.raises(Deadlock, match=circle):
            await step(runtime, p, Write("one b"), B, name="second")
        await release(runtime, q, B)
        assert await waits == 2


@pytest.mark.parametrize("lock", [True, False])
async def test_three_in_a_circle(lock: bool) -> None:
    async with Runtime("memory:", ALL) as runtime:
        pages = [Queued.at(key) for key in "pqr"]
        for saga, page in zip((A, B, C), pages, strict=True):
            await step(runtime, page, Write("one"), saga)
        first = step(runtime, pages[1], Write("one"), A, name="second", lock=lock)
        second = step(runtime, pages[2], Write("one"), B, name="second", lock=lock)
        await waiting(runtime, pages[2], 1)
        with pytest.raises(Deadlock, match=r"Tale/c waits .* of Tale/a waits .* of Tale/b waits .* of Tale/c$"):
            await step(runtime, pages[0], Write("one"), C, name="second", lock=lock)
        assert not first.done()
        await release(runtime, pages[2], C)
        await second
        await release(runtime, pages[2], B)
        await release(runtime, pages[1], B)
        await first


async def test_a_circle_by_way_of_a_saga_that_was_asked() -> None:
    async with Runtime("memory:", ALL) as runtime:
        p, q = Queued.at("p"), Queued.at("q")
        await step(runtime, p, Write("one a"), A)
        await step(runtime, q, Write("one b"), B)
        waits = step(runtime, q, Write("one c"), A, C)  # a waits for c, which waits for b
        await waiting(runtime, q, 1)
        with pytest.raises(Deadlock, match=r"Tale/b waits at Queued/p .* of Tale/a waits at Queued/q .* of Tale/b"):
            await step(runtime, p, Write("one b"), B, name="second")
        await release(runtime, q, B)
        assert await waits == 2


async def test_who_stands_before_one_in_line_counts() -> None:
    """Nobody who holds a lock yet waits for one who stands behind him: but he would, as soon as his turn comes."""
    async with Runtime("memory:", ALL) as runtime:
        p, q = Queued.at("p"), Queued.at("q")
        await step(runtime, p, Write("one d"), D)
        await step(runtime, q, Write("one b"), B)
        first = step(runtime, p, Write("one a"), A)
        second = step(runtime, p, Write("one b"), B, name="second")
        await waiting(runtime, p, 2)
        with pytest.raises(Deadlock, match=r"Tale/a waits at Queued/q .* of Tale/b waits at Queued/p .* of Tale/a"):
            await step(runtime, q, Write("one a"), A, name="second")
        await release(runtime, p, D)
        assert await first == 2
        assert not second.done()
        await release(runtime, p, A)
        assert await second == 3


async def test_steps_of_one_saga_in_line_for_one_lock_are_no_circle_and_pass_together() -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one d"), D)
        asked = [
            step(runtime, page, Write("one a"), A, name="first"),
            step(runtime, page, Write("one b"), B),
            step(runtime, page, Write("one a"), A, name="second"),
            step(runtime, page, Write("one c"), A, C),
        ]
        await waiting(runtime, page, 4)
        await release(runtime, page, D)
        assert [await asked[n] for n in (0, 2, 3)] == [2, 3, 4]
        assert not asked[1].done()
        await release(runtime, page, C)
        await release(runtime, page, A)
        assert await asked[1] == 5


# -- whatever dies ----------------------------------------------------------------------------------------------


async def test_a_killed_service_knows_its_locks_and_who_waits() -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        await runtime.kill(page)
        first = step(runtime, page, Write("one b"), B)
        second = asyncio.ensure_future(runtime.ask(page, Write("one x")))
        await waiting(runtime, page, 2)
        for _ in range(2):
            await runtime.kill(page)
            await waiting(runtime, page, 2)
        await runtime.kill(page)  # an odd number of times in all, or an order that is turned round would be right again
        released = release(runtime, page, A)
        assert await first == 2
        assert await released == 1
        await runtime.kill(page)
        assert not second.done()
        await release(runtime, page, B)
        assert await second == 3


async def test_locks_stand_in_snapshots_and_outlive_truncation_and_deletion() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a"), A)
        await step(runtime, page, Write("two b"), B)
        await runtime.snapshot(page)
        await runtime.kill(page)
        with pytest.raises(Locked):
            await runtime.ask(page, Write("one x"))
        await runtime.truncate(page, 4)
        await runtime.kill(page)
        assert [one.lock for one in await runtime.locks(page)] == ["one", "two"]
        assert await release(runtime, page, B) == 1
        await runtime.delete(page)
        await runtime.kill(page)
        assert await runtime.ask(page, Read()) == ()
        with pytest.raises(Locked):
            await runtime.ask(page, Write("one x"))
        assert await runtime.ask(page, Write("two x")) == 1
        await runtime.delete(page, for_good=True)
        assert await runtime.locks(page) == []
        assert await release(runtime, page, A, "unknown") == 0


async def test_a_service_whose_state_is_lost_keeps_its_locks_when_it_is_deleted() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a"), A)
        await step(runtime, page, Write("two b"), B)
        await runtime.truncate(page, 4)
        await release(runtime, page, B)
        await step(runtime, page, Nod("three"), C)
    snapshot = (await journal.snapshots([("Page", "p")]))["Page", "p"]
    set_snapshot(journal, ("Page", "p"), Snapshot(snapshot.version, "other/fold/1", snapshot.data))
    async with Runtime(journal, ALL) as runtime:
        with pytest.raises(Parked, match="were erased"):
            await runtime.ask(page, Read())
        await runtime.delete(page)
        assert [one.lock for one in await runtime.locks(page)] == ["one", "three"]


async def test_a_lock_is_removed_by_hand_and_that_stands_in_the_stream() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        asked = asyncio.ensure_future(runtime.ask(page, Write("one x")))
        await waiting(runtime, page, 1)
        (held,) = await runtime.locks(page)
        assert (held.lock, held.holder, held.step, held.waiting, held.stale) == ("one", A, "Tale/a#step", 1, True)
        with pytest.raises(ValueError, match="say why"):
            await runtime.unlock(page, "one", reason="")
        assert await runtime.unlock(page, "one", reason="wrong one", holder=B) == 0
        assert await runtime.unlock(page, "one", reason="it never was", by="ana") == 1
        assert await asked == 2
        (event,) = of(journal.records, "service.unlocked")
        assert content(event) == {
            "type": "service.unlocked",
            "lock": "one",
            "holder": ["Tale", "a"],
            "reason": "it never was",
            "by": "ana",
        }
        assert await runtime.unlock(page, "one", reason="once more") == 0


async def test_closing_tells_those_who_wait_that_it_is_unknown() -> None:
    async with Runtime("memory:", ALL) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        asked = asyncio.ensure_future(runtime.ask(page, Write("one x")))
        await runtime.tell(page, Write("one y"))
        await waiting(runtime, page, 2)
    with pytest.raises(OutcomeUnknown):
        await asked


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_lost_journal_takes_back_what_was_not_durable(fate: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page = Queued.at("p")
        await runtime.ask(page, Read())
        journal.fail = [fate]
        with pytest.raises(OutcomeUnknown):
            await step(runtime, page, Write("one a"), A)
        assert len(await runtime.locks(page)) == (fate == "after")
        assert await step(runtime, page, Write("one a"), A) == 1
        assert len(await runtime.locks(page)) == 1
        assert node_of(runtime).lock_waits.tally == {A: 1}


# -- beside other features --------------------------------------------------------------------------------------


async def test_a_reminder_that_meets_a_lock_comes_again() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a", "Tale/a"), A)
        await runtime.ask(page, Later("one r"))
        await runtime.remind(page, "outside", Write("one o"), after=timedelta(seconds=1))
        clock.advance(2)
        await quiet(runtime)
        assert "service.reminded" not in types_of(journal.records, page)
        assert await runtime.ask(page, Read()) == ("one a",)
        await release(runtime, page, A)
        for _ in range(10):
            clock.advance(60)
            await quiet(runtime)
        assert sorted(await runtime.ask(page, Read())) == ["one a", "one o", "one r"]
        assert types_of(journal.records, page).count("service.reminded") == 1
        assert await runtime.reminders(page) == []


async def test_a_reminder_waits_in_line_and_comes_once() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        page = Queued.at("p")
        await step(runtime, page, Write("one a", "Tale/a"), A)
        await runtime.ask(page, Later("one r"))
        await runtime.remind(page, "outside", Write("one o"), after=timedelta(seconds=1))
        for _ in range(3):
            clock.advance(60)
            await waiting(runtime, page, 2)
            await runtime.kill(page)
        await waiting(runtime, page, 2)
        await release(runtime, page, A)
        clock.advance(60)
        await quiet(runtime)
        assert sorted(await runtime.ask(page, Read())) == ["one a", "one o", "one r"]
        assert await runtime.reminders(page) == []


async def test_a_lock_on_condition_is_taken_when_the_journal_says_yes() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        page, other = Queued.at("p"), Queued.at("q")
        assert await step(runtime, page, Write("one unique", "Tale/a"), A) == 1
        assert types_of(journal.records, page) == ["Wrote", "service.locked"]
        assert await step(runtime, page, Write("one a", "Tale/a"), A, name="second") == 2  # it knows of it at once
        with pytest.raises(Refused, match="one unique is there"):
            await step(runtime, other, Write("one unique"), B)
        assert await runtime.locks(other) == []
        journal.gate.clear()
        journal.arrived.clear()
        held = step(runtime, other, Write("two unique", "Tale/b"), B, name="two")
        await journal.arrived.wait()
        await runtime.kill(other)  # while the journal is asked
        behind = step(runtime, other, Write("two c", "Tale/c"), C)
        journal.gate.set()
        assert await held == 1
        await waiting(runtime, other, 1)
        assert [str(one.holder) for one in await runtime.locks(other)] == ["Tale/b"]
        assert await release(runtime, other, B) == 1
        assert await behind == 2
        await release(runtime, other, C)
        await release(runtime, page, A)
        check_locks(journal.records)


class Fetch(Command["Clerk", int]):
    line: str
    together: bool = False


class Clerk(Actor):
    """Writes for whoever asks."""

    runtime: ClassVar[Runtime]

    async def receive(self, message: Fetch) -> int:
        page = Queued.at("p")
        if message.together:
            return (await self.runtime.transact((page, Write(message.line)), (Queued.at("q"), Write(message.line))))[0]
        return await self.ask(page, Write(message.line))


async def test_who_works_for_the_holder_passes() -> None:
    async with Runtime("memory:", [Clerk, *ALL]) as runtime:
        Clerk.runtime = runtime
        page = Queued.at("p")
        await step(runtime, page, Write("one a"), A)
        await step(runtime, Queued.at("q"), Write("one a"), A, name="q")
        assert await step(runtime, Clerk.at(), Fetch("one clerk"), A, name="fetch", lock=False) == 2
        assert await step(runtime, Clerk.at(), Fetch("one both", together=True), A, name="both", lock=False) == 3
        other = step(runtime, Clerk.at(), Fetch("one for b"), B, name="fetch", lock=False)
        await comes(lambda: in_line(runtime, page) == 1)
        await release(runtime, page, A)
        assert await other == 4


async def test_a_circle_by_way_of_a_transaction_of_who_was_asked() -> None:
    async with Runtime("memory:", [Clerk, *ALL]) as runtime:
        Clerk.runtime = runtime
        p, q, r = (Queued.at(key) for key in "pqr")
        await step(runtime, p, Write("one b"), B)
        await step(runtime, r, Write("one a"), A)
        waits = step(runtime, Clerk.at(), Fetch("one", together=True), A, name="both", lock=False)  # for b, at p
        await comes(lambda: in_line(runtime, p) == 1)
        with pytest.raises(Deadlock, match=r"Tale/b waits at Queued/r .* of Tale/a waits at Queued/p .* of Tale/b"):
            await step(runtime, r, Write("one b"), B, name="second")
        await release(runtime, p, B)
        assert await waits == 2
        assert await runtime.ask(q, Read()) == ("one",)


async def test_priorities_of_mail_and_locks() -> None:
    class Urgent(Queued):
        mailbox = Mailbox(priority={Read: 2, Nod: 1})

    async with Runtime("memory:", [Urgent]) as runtime:
        page = Urgent.at("p")
        await step(runtime, page, Write("one a"), A)
        first = asks(runtime, page, Write("one x"))
        second = asks(runtime, page, Nod("one"))
        await waiting(runtime, page, 2)
        await runtime.kill(page)
        await waiting(runtime, page, 2)
        await release(runtime, page, A)
        await asyncio.gather(first, second)


async def test_what_stands_in_the_stream_can_be_read_and_checked(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/pages.db"
    async with Runtime(url, ALL, instruments=[BaseInstrument()]) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a"), A)
        await release(runtime, page, A)
        found = [(entry.type, entry.event) async for entry in runtime.history(page)]
        assert found[1] == (
            "service.locked",
            {"type": "service.locked", "lock": "one", "holder": ["Tale", "a"], "step": "Tale/a#step"},
        )
        assert found[2][0] == "service.unlocked"
        assert found[2][1]["holder"] == ["Tale", "a"]
        assert (await runtime.state_of(page, version=2)).lines == ("one a",)
    journal = SqliteJournal(tmp_path / "pages.db")
    await journal.open()
    try:
        report = await check_journal(journal, ALL)
        assert report.ok, str(report)
        assert {one.type: one.count for one in report.stored}["service.locked"] == 1
    finally:
        await journal.close()


@pytest.mark.parametrize("bound", [0, 1])
async def test_so_many_locks_may_be_held_at_one_service(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_locks, "MOST_LOCKS", 2 + bound)
    async with Runtime("memory:", ALL) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a"), A, name="one")
        await step(runtime, page, Write("two a"), A, name="two")
        third = step(runtime, page, Write("three a"), A, name="three")
        if bound:
            assert await third == 3
            return
        with pytest.raises(Failed, match="2 locks are held at Page/p"):
            await third
        assert await runtime.ask(page, Read()) == ("one a", "two a")
        await release(runtime, page, A)
        assert await step(runtime, page, Write("three a"), B) == 3
