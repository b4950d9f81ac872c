"""Locks beside reminders, conditions, transactions, priorities, plain actors and checks of the journal."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from actors import Actor, Command, Deadlock, Failed, Refused
from actors.policies import Mailbox
from persistence import SqliteJournal
from runtime import BaseInstrument, ManualClock, Runtime, check_journal, service_locks
from tests.runtime.locking import (
    PAGES,
    A,
    B,
    C,
    Later,
    Nod,
    Page,
    Queued,
    Read,
    Write,
    asks,
    check_locks,
    in_line,
    release,
    step,
    waiting,
)
from tests.runtime.tools import HeldJournal, comes, quiet, types_of


async def test_a_reminder_that_meets_a_lock_comes_again() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, PAGES, clock=clock) as runtime:
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
    async with Runtime(journal, PAGES, clock=clock) as runtime:
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
    async with Runtime(journal, PAGES) as runtime:
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
    async with Runtime("memory:", [Clerk, *PAGES]) as runtime:
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
    async with Runtime("memory:", [Clerk, *PAGES]) as runtime:
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
    async with Runtime(url, PAGES, instruments=[BaseInstrument()]) as runtime:
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
        report = await check_journal(journal, PAGES)
        assert report.ok, str(report)
        assert {one.type: one.count for one in report.stored}["service.locked"] == 1
    finally:
        await journal.close()


@pytest.mark.parametrize("bound", [0, 1])
async def test_so_many_locks_may_be_held_at_one_service(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_locks, "MOST_LOCKS", 2 + bound)
    async with Runtime("memory:", PAGES) as runtime:
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
