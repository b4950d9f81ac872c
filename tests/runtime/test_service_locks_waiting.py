"""Who waits for a lock at a service comes in his order, and nobody waits in a circle."""

import asyncio

import pytest

from actors import CommandIdReused, Deadlock, MailboxFull, OutcomeUnknown, Refused
from actors.policies import Mailbox
from runtime import ManualClock, Runtime
from tests.runtime.locking import (
    PAGES,
    A,
    B,
    C,
    D,
    Page,
    Queued,
    Read,
    Tear,
    Write,
    asks,
    check_locks,
    release,
    step,
    waiting,
)
from tests.runtime.tools import HeldJournal, of, quiet, types_of

# -- waiting ------------------------------------------------------------------------------------------------------


async def test_others_wait_in_the_order_of_their_coming() -> None:
    journal = HeldJournal()
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", PAGES, clock=clock) as runtime:
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
    async with Runtime("memory:", PAGES, clock=clock) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES, clock=clock) as runtime:
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


# -- circles ------------------------------------------------------------------------------------------------------


async def test_two_that_wait_for_each_other() -> None:
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
