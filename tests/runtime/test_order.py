"""P4: one message at a time, in the order of each sender; and no actor keeps the others waiting."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from actors import Mailbox, MailboxFull
from runtime import Chaos, ManualClock, Runtime
from runtime.dispatcher import TURNS_PER_CELL
from tests.runtime.cast import ALL, Board, Desk, Held, Hold, Lines, Look, Note, Room
from tests.runtime.tools import HeldJournal, check_once, comes, content, node_of, of, quiet

MAILBOX_LIMIT = Mailbox().limit
SENDERS = 20
EACH = 50


def by_sender(texts: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for text in texts:
        sender, _, number = text.partition("-")
        found[sender].append(int(number))
    return found


@pytest.mark.parametrize("kill", [0.0, 0.1])
async def test_a_service_keeps_each_senders_order(kill: float) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL, chaos=Chaos(4, kill)) as runtime:

        async def send(sender: int) -> None:
            for number in range(EACH):
                if number % 5 == sender % 5:
                    await runtime.ask(Room.at("r"), Hold(f"{sender}-{number}"))
                else:
                    await runtime.tell(Room.at("r"), Hold(f"{sender}-{number}"))

        await asyncio.gather(*(send(n) for n in range(SENDERS)))
        assert await runtime.ask(Room.at("r"), Look()) == SENDERS * EACH
    orders = by_sender([content(record)["trip"] for record in of(journal.records, "WasHeld")])
    assert orders == {f"{n}": list(range(EACH)) for n in range(SENDERS)}
    check_once(journal.records)


async def test_a_plain_actor_takes_one_at_a_time_in_each_senders_order() -> None:
    inside = 0

    async def play(desk: Desk, note: Note) -> str:
        nonlocal inside
        assert not inside
        inside += 1
        for _ in range(hash(note.text) % 4):
            await asyncio.sleep(0)
        inside -= 1
        return note.text

    Desk.script = play
    async with Runtime(HeldJournal(), ALL) as runtime:

        async def send(sender: int) -> None:
            for number in range(EACH):
                if number % 3 == 0:  # what it is sent waits for durability, and stays in order all the same
                    await runtime.tell(Room.at("r"), Hold("t"))
                if number % 5 == sender % 5:
                    assert await runtime.ask(Desk.at(), Note(f"{sender}-{number}")) == f"{sender}-{number}"
                else:
                    await runtime.tell(Desk.at(), Note(f"{sender}-{number}"))

        await asyncio.gather(*(send(n) for n in range(SENDERS)))
    assert by_sender([text for _, text in Desk.inbox]) == {f"{n}": list(range(EACH)) for n in range(SENDERS)}


async def test_turns_of_a_service_never_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """However its turns are mixed with kills, each sees the state that the one before it left."""
    decide, inside = Room.decide, 0

    def watched(self: Room, state: Any, command: Any) -> Any:
        nonlocal inside
        assert not inside
        inside += 1
        try:
            return decide(self, state, command)
        finally:
            inside -= 1

    monkeypatch.setattr(Room, "decide", watched)
    async with Runtime("memory:", ALL, chaos=Chaos(2, 0.2)) as runtime:
        held = await asyncio.gather(*(runtime.ask(Room.at("r"), Hold(f"t{n}")) for n in range(300)))
        assert [one.number for one in held] == list(range(1, 301))


async def test_mail_survives_a_kill_and_keeps_its_order() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for number in range(100):
            await runtime.tell(Room.at("r"), Hold(f"a-{number}"))
            if number % 7 == 0:
                await runtime.kill(Room.at("r"))
            if number % 10 == 0:
                await asyncio.sleep(0)
        assert await runtime.ask(Room.at("r"), Look()) == 100
    assert by_sender([content(record)["trip"] for record in journal.records]) == {"a": list(range(100))}


async def test_a_plain_actors_mail_survives_a_kill() -> None:
    begun = asyncio.Event()

    async def play(desk: Desk, note: Note) -> str:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return note.text

    Desk.script = play
    async with Runtime("memory:", ALL) as runtime:
        for number in range(10):
            await runtime.tell(Desk.at(), Note(f"a-{number}"))
        await begun.wait()
        await runtime.kill(Desk.at())
        assert await runtime.ask(Desk.at(), Note("a-10")) == "a-10"
    assert [text for _, text in Desk.inbox] == ["a-0", *(f"a-{number}" for number in range(11))]


async def test_nobody_keeps_the_others_waiting() -> None:
    """A cell with much mail goes to the back of the queue after a bounded number of turns."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        for key in ("busy", "idle"):
            await runtime.ask(Room.at(key), Look())
        for number in range(1_000):
            await runtime.tell(Room.at("busy"), Hold(f"{number}"))
        await runtime.tell(Room.at("idle"), Hold("late"))
        await quiet(runtime)
    before = [record.stream[1] for record in journal.records].index("idle")
    assert before == TURNS_PER_CELL


async def test_the_loop_gets_its_turn() -> None:
    turns = 0

    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Room.at("r"), Look())
        for number in range(5_000):
            await runtime.tell(Room.at("r"), Hold(f"{number}"))
        before = node_of(runtime).dispatcher.turns
        while not node_of(runtime).idle:
            turns += 1
            assert node_of(runtime).dispatcher.turns - before <= 256 * (turns + 1)
            await asyncio.sleep(0)
        assert turns > 10


async def fill(runtime: Runtime, journal: HeldJournal) -> asyncio.Task[Held]:
    """Fill the mailbox of a room that can't come back before its last event is durable; return who asked for that."""
    await runtime.ask(Room.at("r"), Hold("t"))
    journal.hold()
    last = asyncio.create_task(runtime.ask(Room.at("r"), Hold("u")))
    await journal.arrived.wait()
    await runtime.kill(Room.at("r"))
    for _ in range(MAILBOX_LIMIT):
        await runtime.tell(Room.at("r"), Look())
    return last


async def test_a_full_mailbox_makes_senders_wait_first_come_first_served() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        last = await fill(runtime, journal)
        waiting = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"w-{n}"))) for n in range(50)]
        waiting[7].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(node_of(runtime).directory.cell(Room.at("r")).mail) == MAILBOX_LIMIT
        journal.gate.set()
        await last
        assert [(await one).number for one in waiting if one is not waiting[7]] == list(range(3, 52))


async def test_a_timeout_also_ends_the_wait_for_room() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        last = await fill(runtime, journal)
        waiting = asyncio.create_task(runtime.ask(Room.at("r"), Hold("late"), timeout=5))
        await asyncio.sleep(0)
        clock.advance(6)
        for _ in range(5):
            await asyncio.sleep(0)
        in_time = waiting.done()
        journal.gate.set()
        _, turned_away = await asyncio.gather(last, waiting, return_exceptions=True)
        assert in_time
        assert isinstance(turned_away, MailboxFull)


async def test_senders_that_wait_for_room_are_let_go_when_the_journal_breaks() -> None:
    """And what they then send goes to the actor that lives now: there is only one at an address."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        lost = await fill(runtime, journal)
        waiting = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"w-{n}"))) for n in range(20)]
        for _ in range(5):
            await asyncio.sleep(0)
        journal.fail = ["before"]
        journal.gate.set()
        await asyncio.wait([lost])
        others = [asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"v-{n}"))) for n in range(20)]
        await comes(lambda: all(one.done() for one in (*waiting, *others)))
        numbers = [one.result().number for one in (*waiting, *others)]
        assert sorted(numbers) == list(range(2, 42))
        assert await runtime.ask(Board.at(), Lines(), consistent=True)
    check_once(journal.records)


async def test_what_is_told_to_a_full_mailbox_and_not_awaited_comes_in_order() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        last = await fill(runtime, journal)
        asked: list[asyncio.Task[Any]] = []
        for number in range(30):
            if number % 3 == 0:
                asked.append(asyncio.create_task(runtime.ask(Room.at("r"), Hold(f"w-{number}"))))
                await asyncio.sleep(0)
            else:
                runtime.tell(Room.at("r"), Hold(f"w-{number}"))
        assert len(node_of(runtime).directory.cell(Room.at("r")).mail) == MAILBOX_LIMIT
        journal.gate.set()
        await last
        await asyncio.gather(*asked)
        await quiet(runtime)
    assert by_sender([content(record)["trip"] for record in journal.records[2:]]) == {"w": list(range(30))}


async def test_who_comes_later_does_not_overtake_those_who_wait_for_room() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        last = await fill(runtime, journal)
        early = asyncio.create_task(runtime.ask(Room.at("r"), Hold("w-0")))
        await asyncio.sleep(0)
        cell = node_of(runtime).directory.cell(Room.at("r"))
        cell.mail.popleft()  # there is room, but somebody was here first
        late = asyncio.create_task(runtime.ask(Room.at("r"), Hold("w-1")))
        await asyncio.sleep(0)
        journal.gate.set()
        await asyncio.gather(last, early, late)
    assert by_sender([content(record)["trip"] for record in journal.records[2:]]) == {"w": [0, 1]}


async def test_mail_for_a_plain_actor_that_waits_for_its_cause_counts_to_the_limit() -> None:
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, ALL, clock=clock) as runtime:
        journal.hold()
        held = asyncio.create_task(runtime.ask(Room.at("r"), Hold("t")))
        await journal.arrived.wait()
        for _ in range(MAILBOX_LIMIT):
            runtime.tell(Desk.at(), Note("x"))
        last = asyncio.create_task(runtime.ask(Desk.at(), Note("last")))
        late = asyncio.create_task(runtime.ask(Desk.at(), Note("late"), timeout=5))
        await asyncio.sleep(0)
        clock.advance(6)
        await comes(late.done)
        journal.gate.set()
        with pytest.raises(MailboxFull):
            await late
        assert await last == "LAST"
        await held
    assert len(Desk.inbox) == MAILBOX_LIMIT + 1
