"""Senders who wait for room: who is let in and does not come leaves the place to the next, and the line has an end."""

import asyncio

import pytest

from actors import Mailbox, MailboxFull, Parked, RestartPolicy
from runtime import ManualClock, Runtime, mailbox
from tests.runtime.cast import ALL, Hold, Look, Room
from tests.runtime.crew import CREW, HEARD, Agent, Say
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

FREE, STUCK = Room.at("free"), Room.at("stuck")


@pytest.fixture(autouse=True)
def room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Room, *CREW):
        monkeypatch.setattr(cls, "mailbox", Mailbox(limit=1))


async def test_a_transaction_that_waits_elsewhere_holds_nobody_up() -> None:
    """Let in at one mailbox, it waits at the next, maybe for ever: those behind it must come in."""
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        await runtime.ask(FREE, Look())
        journal.unreadable.add(("Room", "stuck"))
        runtime.tell(STUCK, Look())
        await quiet(runtime)
        moved = asyncio.create_task(runtime.transact((FREE, Hold("t")), (STUCK, Hold("t")), timeout=60))
        behind = [asyncio.create_task(runtime.ask(FREE, Look())) for _ in range(3)]
        runtime.tell(FREE, Look())  # before any of them, so that all must wait
        await comes(lambda: all(asked.done() for asked in behind))
        assert not moved.done()
        clock.advance(61)
        with pytest.raises(MailboxFull, match="Room/stuck"):
            await moved
        assert await runtime.ask(FREE, Look()) == 0


async def test_who_lines_up_while_others_learn_that_it_is_parked_learns_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is not closed for good when it is back."""
    monkeypatch.setattr(Room, "restart", RestartPolicy(restarts=0))
    async with Runtime("memory:", ALL, clock=ManualClock()) as runtime:
        await runtime.ask(FREE, Look())
        told = [runtime.tell(FREE, Look()) for _ in range(2)]
        node_of(runtime).cell(FREE).crashed(ValueError("broken"))
        told.append(runtime.tell(FREE, Look()))  # those before it are on their way in
        await quiet(runtime)
        asked = asyncio.create_task(runtime.ask(FREE, Look()))
        async with asyncio.timeout(60):
            await asyncio.gather(*told)
            with pytest.raises(Parked):
                await asked
            runtime.unpark(FREE)
            assert await runtime.ask(FREE, Look()) == 0


async def test_the_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: who tells and never waits for room must not fill the memory with what waits."""
    monkeypatch.setattr(mailbox, "MOST_WAITING", 5)
    going_on = asyncio.Event()

    async def wait(agent: Agent, message: Say) -> str:
        await going_on.wait()
        return message.text

    Agent.script = wait
    async with Runtime("memory:", [*ALL, *CREW]) as runtime:
        told = [runtime.tell(Agent.at("a"), Say("first"))]
        await comes(lambda: HEARD)
        told += [runtime.tell(Agent.at("a"), Say(str(n))) for n in range(6)]
        with pytest.raises(MailboxFull, match="too many senders wait for room in the mailbox of Agent/a already"):
            runtime.tell(Agent.at("a"), Say("x"))
        with pytest.raises(MailboxFull):
            await runtime.ask(Agent.at("a"), Say("x"))
        going_on.set()
        await asyncio.gather(*told)
        await runtime.tell(Agent.at("a"), Say("again"))
        await quiet(runtime)
    assert [text for _, text in HEARD] == ["first", "0", "1", "2", "3", "4", "5", "again"]
