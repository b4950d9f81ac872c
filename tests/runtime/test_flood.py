"""P12: control messages never wait behind user messages, and a flood at one actor leaves the others their turns."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Address, Mailbox, MailboxFull, Stopped
from runtime import Chaos, ManualClock, Runtime
from runtime.dispatcher import TURNS_PER_CELL, TURNS_PER_SLICE
from runtime.mailbox import Envelope, PriorityMail
from tests.runtime.cast import ALL, Begin, Held, Hold, Look, Play, Room
from tests.runtime.crew import CREW, ENDED, HEARD, Agent, Clerk, Say, Shout
from tests.runtime.tools import HeldJournal, check_once, comes, content, node_of, of, quiet

EVERYONE = [*ALL, *CREW]
FLOOD = 10_000
BOTH = pytest.mark.parametrize("cls", CREW, ids=lambda cls: cls.__name__)


def scripted(cls: type[Actor], script: Callable[[Any, Any], Any]) -> None:
    """Give a class its script: a function without awaits, for both sorts."""

    async def later(actor: Any, message: Any) -> Any:
        return script(actor, message)

    if cls is Clerk:
        Clerk.script = script
    else:
        Agent.script = later


def flood(runtime: Runtime, address: Address[Any]) -> None:
    for _ in range(FLOOD):
        runtime.tell(address, Say("flood"))


@BOTH
async def test_a_kill_does_not_wait_behind_mail(cls: type[Any]) -> None:
    """And loses none of it. Failure 26."""
    alive: list[Any] = []
    scripted(cls, lambda actor, _: alive.append(actor))
    async with Runtime("memory:", EVERYONE) as runtime:
        flood(runtime, cls.at("m"))
        await comes(lambda: len(HEARD) > 100)
        seen = len(HEARD)
        await runtime.kill(cls.at("m"))
        assert len(HEARD) == seen < FLOOD // 2
        await quiet(runtime)
    first, last = alive[0], alive[-1]
    assert first is not last
    assert alive == [first] * seen + [last] * (FLOOD - seen)


@BOTH
async def test_a_timer_does_not_wait_behind_mail(cls: type[Any]) -> None:
    """Failure 26."""

    def begin(actor: Any, message: Any) -> str:
        if message.text == "begin":
            actor.after(timedelta(seconds=1), Say("tick"))
        return str(message.text)

    scripted(cls, begin)
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        await runtime.ask(cls.at("m"), Say("begin"))
        flood(runtime, cls.at("m"))
        await comes(lambda: len(HEARD) > 100)
        seen = len(HEARD)
        clock.advance(2)
        await quiet(runtime)
    assert HEARD.index(("m", "tick")) - seen <= TURNS_PER_CELL
    assert len(HEARD) == FLOOD + 2


@BOTH
async def test_the_end_of_one_that_is_watched_does_not_wait_behind_the_mail_of_others(cls: type[Any]) -> None:
    """Failure 26."""

    def begin(actor: Any, message: Any) -> str | None:
        if actor.key == "m" and getattr(message, "text", "") == "begin":
            actor.watch(Clerk.at("watched"))
        elif actor.key == "watched" and message.text == "end":
            actor.stop()
        return getattr(message, "text", None)

    Clerk.script = begin
    scripted(cls, begin)
    async with Runtime("memory:", EVERYONE) as runtime:
        await runtime.ask(Clerk.at("watched"), Say("begin"))
        await runtime.ask(cls.at("m"), Say("begin"))
        flood(runtime, cls.at("m"))
        await comes(lambda: len(HEARD) > 100)
        seen = len(HEARD)
        runtime.tell(Clerk.at("watched"), Say("end"))
        await quiet(runtime)
    assert ENDED == [("Clerk/watched", "finished")]
    mine = [text for key, text in HEARD if key == "m"]
    assert mine.index("Clerk/watched finished") - seen <= 2 * TURNS_PER_CELL
    assert len(mine) == FLOOD + 2


@BOTH
async def test_a_timer_that_is_cancelled_while_its_tick_waits_is_not_heard(cls: type[Any]) -> None:
    clock = ManualClock()

    def begin(actor: Any, message: Any) -> str:
        if message.text == "begin":
            timer = actor.after(timedelta(seconds=1), Say("tick"))
            clock.advance(2)
            timer.cancel()
        return str(message.text)

    scripted(cls, begin)
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        await runtime.ask(cls.at("m"), Say("begin"))
        await quiet(runtime)
    assert [text for _, text in HEARD] == ["begin"]


async def test_a_sagas_outcomes_do_not_wait_behind_those_who_ask_for_its_end() -> None:
    """Failure 26."""

    async def story(self: Play, command: Begin) -> Held:
        for step in range(10):
            await self.ask(f"{step}", Room.at("r"), Hold("t"))
        return Held(10)

    Play.script = story
    async with Runtime("memory:", EVERYONE) as runtime:
        first = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await asyncio.sleep(0)
        for _ in range(FLOOD - 2):
            runtime.tell(Play.at("p"), Begin())
        assert await first == Held(10)
        assert len(node_of(runtime).directory.cell(Play.at("p")).mail) > FLOOD // 2


# -- others ---------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_flood_at_one_actor_leaves_the_others_their_turns(cls: type[Any]) -> None:
    """Between a message to another actor and its turn, one with much mail has a few turns only: counted, not timed."""
    waited: list[int] = []
    scripted(cls, lambda actor, message: message.text)
    async with Runtime("memory:", EVERYONE) as runtime:
        flood(runtime, cls.at("flooded"))
        await comes(lambda: len(HEARD) > 100)
        for number in range(5):
            before = len(HEARD)
            await runtime.ask(Clerk.at(f"{number}"), Say("fair"))
            waited.append(len(HEARD) - before)
            before = len(HEARD)
            await runtime.ask(Room.at(f"{number}"), Look())
            waited.append(len(HEARD) - before)
        assert len(HEARD) < FLOOD // 2
        await quiet(runtime)
    assert max(waited) <= 4 * TURNS_PER_SLICE
    assert len(HEARD) == FLOOD + 5


async def test_a_flood_during_recovery_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 27."""
    limit = 100
    monkeypatch.setattr(Room, "mailbox", Mailbox(limit))
    journal = HeldJournal()
    async with Runtime(journal, EVERYONE) as runtime:
        journal.hold()
        runtime.tell(Room.at("r"), Hold("first"))
        await journal.arrived.wait()
        await runtime.kill(Room.at("r"))
        cell = node_of(runtime).directory.cell(Room.at("r"))

        async def send(sender: int) -> None:
            for number in range(100):
                await runtime.tell(Room.at("r"), Hold(f"{sender}-{number}"))

        senders = [asyncio.create_task(send(sender)) for sender in range(20)]
        for _ in range(50):
            await asyncio.sleep(0)
            assert len(cell.mail) <= limit
        assert len(cell.mail) == limit
        journal.gate.set()
        await asyncio.gather(*senders)
        assert await runtime.ask(Room.at("r"), Look()) == 2_001
    check_once(journal.records)


@pytest.mark.parametrize("first", CREW, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("second", CREW, ids=lambda cls: cls.__name__)
async def test_tells_in_a_circle_of_full_mailboxes_never_deadlock(
    first: type[Any], second: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = 0

    def twice(actor: Any, message: Say) -> str:
        nonlocal full
        other = second.at("b") if actor.key == "a" else first.at("a")
        for _ in range(2 if int(message.text) else 0):
            try:
                actor.tell(other, Say(f"{int(message.text) - 1}"))
            except MailboxFull:
                full += 1
        return message.text

    for cls in CREW:
        monkeypatch.setattr(cls, "mailbox", Mailbox(8))
        scripted(cls, twice)
    async with Runtime("memory:", EVERYONE) as runtime:
        asked = [asyncio.create_task(runtime.ask(first.at("a"), Say("40"))) for _ in range(20)]
        assert await asyncio.gather(*asked) == ["40"] * 20
        await quiet(runtime)
        assert all(not cell.mail for cell in node_of(runtime).directory)
    assert full > 100


# -- priority -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [0.0, 0.2])
async def test_priority_keeps_each_classs_order_whoever_is_killed(kill: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clerk, "mailbox", Mailbox(priority={Shout: 1}))
    monkeypatch.setattr(Room, "mailbox", Mailbox(priority={Hold: -1}))
    decide, decided = Room.decide, ""

    def noted(self: Room, state: Any, command: Any) -> Any:
        nonlocal decided
        decided += type(command).__name__[0]
        return decide(self, state, command)

    monkeypatch.setattr(Room, "decide", noted)
    journal, chaos = HeldJournal(), Chaos(7, kill)
    async with Runtime(journal, EVERYONE, chaos=chaos) as runtime:
        for number in range(300):
            runtime.tell(Clerk.at("c"), Shout(f"{number}!") if number % 3 == 0 else Say(f"{number}"))
            runtime.tell(Room.at("r"), Hold(f"{number}"))
            runtime.tell(Room.at("r"), Look())
        await quiet(runtime)
    heard = [text for _, text in HEARD]
    calm = [text for text in heard if "!" not in text]
    assert [text for text in heard if "!" in text] == [f"{n}!" for n in range(0, 300, 3)]
    assert calm == [f"{n}" for n in range(300) if n % 3]
    assert heard.index("297!") == 99
    assert [content(record)["trip"] for record in of(journal.records, "WasHeld")] == [f"{n}" for n in range(300)]
    assert decided == "L" * 300 + "H" * 300
    assert (chaos.kills > 100) == (kill > 0)


@given(st.lists(st.one_of(st.integers(0, 4), st.sampled_from(["pop", "back", "clear"])), max_size=60))
def test_mail_by_priority_is_a_sorted_list(steps: list[int | str]) -> None:
    """Against a model: a list that is sorted, and stable, by priority; what is put back goes before its equals."""
    classes: list[Any] = [int, str, bytes, float, list]
    ranks: dict[Any, int] = {int: 2, str: -1, bytes: 7, float: 2}
    mail = PriorityMail(ranks)
    model: deque[tuple[int, int, Envelope]] = deque()
    out: list[Envelope] = []
    for number, step in enumerate(steps):
        if isinstance(step, int):
            envelope = Envelope(classes[step]())
            mail.append(envelope)
            model.append((-ranks.get(classes[step], 0), number, envelope))
        elif step == "pop" and model:
            out.append(mail.popleft())
            assert out[-1] is model.popleft()[2]
        elif step == "back":
            put_back = out[-2:]
            mail.extendleft(reversed(put_back))
            model.extendleft(
                (-ranks.get(one.message.__class__, 0), -number * 100 + at, one)
                for at, one in reversed(list(enumerate(put_back)))
            )
            out.clear()
        elif step == "clear":
            mail.clear()
            model.clear()
        model = deque(sorted(model, key=lambda one: one[:2]))
        assert [id(one) for one in mail] == [id(one) for *_, one in model]
        assert len(mail) == len(model)
    if not model:
        with pytest.raises(IndexError):
            mail.popleft()


@given(st.lists(st.sampled_from([int, str, bytes]), max_size=20), st.data())
def test_mail_by_priority_takes_one_in_anywhere(classes: list[type], data: st.DataObject) -> None:
    mail = PriorityMail({int: 2, bytes: 1})
    for cls in classes:
        mail.append(Envelope(cls()))
    before = list(mail)
    place = data.draw(st.integers(0, len(before)))
    mail.insert(place, new := Envelope(Stopped(Clerk.at(), "finished")))
    before.insert(place, new)
    assert [id(one) for one in mail] == [id(one) for one in before]
    assert [id(mail.popleft()) for _ in before] == [id(one) for one in before]
