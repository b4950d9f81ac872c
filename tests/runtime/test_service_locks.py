"""Semantic locks at the service: who takes one, who passes, who is refused, and what is no lock."""

import asyncio
from typing import Any

import pytest

from actors import Failed, Locked, OutcomeUnknown, Parked, Refused
from persistence import Snapshot
from runtime import Runtime
from tests.runtime.keeping import set_snapshot
from tests.runtime.locking import (
    PAGES,
    A,
    B,
    C,
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
    waiting,
)
from tests.runtime.tools import HeldJournal, content, node_of, of, types_of

POLICIES: list[type[Page]] = [Page, Queued, Told]


async def test_a_step_takes_its_lock_with_its_events_and_others_are_refused() -> None:
    journal = HeldJournal()
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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


# -- whatever dies ------------------------------------------------------------------------------------------------


async def test_a_killed_service_knows_its_locks_and_who_waits() -> None:
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
        page = Page.at("p")
        await step(runtime, page, Write("one a"), A)
        await step(runtime, page, Write("two b"), B)
        await runtime.truncate(page, 4)
        await release(runtime, page, B)
        await step(runtime, page, Nod("three"), C)
    snapshot = (await journal.snapshots([("Page", "p")]))["Page", "p"]
    set_snapshot(journal, ("Page", "p"), Snapshot(snapshot.version, "other/fold/1", snapshot.data))
    async with Runtime(journal, PAGES) as runtime:
        with pytest.raises(Parked, match="were erased"):
            await runtime.ask(page, Read())
        await runtime.delete(page)
        assert [one.lock for one in await runtime.locks(page)] == ["one", "three"]


async def test_a_lock_is_removed_by_hand_and_that_stands_in_the_stream() -> None:
    journal = HeldJournal()
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", PAGES) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
        page = Queued.at("p")
        await runtime.ask(page, Read())
        journal.fail = [fate]
        with pytest.raises(OutcomeUnknown):
            await step(runtime, page, Write("one a"), A)
        assert len(await runtime.locks(page)) == (fate == "after")
        assert await step(runtime, page, Write("one a"), A) == 1
        assert len(await runtime.locks(page)) == 1
        assert node_of(runtime).lock_waits.tally == {A: 1}
