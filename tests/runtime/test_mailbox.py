"""P12: mailboxes are bounded, and say so as their class likes; nobody deadlocks over a full one."""

import asyncio
from typing import Any

import pytest

from actors import Address, Mailbox, MailboxFull
from actors.policies import Overflow
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Begin, Held, Hold, Look, Play, Room
from tests.runtime.crew import CREW, HEARD, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, comes, content, node_of, of, quiet

EVERYONE = [*ALL, *CREW]
LIMIT = 4


@pytest.fixture
def held() -> HeldJournal:
    return HeldJournal()


def limited(monkeypatch: pytest.MonkeyPatch, overflow: Overflow = "wait", limit: int = LIMIT) -> None:
    for cls in (Room, Clerk, Agent):
        monkeypatch.setattr(cls, "mailbox", Mailbox(limit, overflow))


class Stage:
    """An actor that can't take its mail before :meth:`release`."""

    def __init__(self, runtime: Runtime, journal: HeldJournal, address: Address[Any]) -> None:
        self.runtime, self.journal, self.address = runtime, journal, address

    async def block(self) -> None:
        """Keep the actor from its mail: it can't come back before its last event is durable."""
        if self.address.actor == "Room":
            self.journal.hold()
            self.runtime.tell(self.address, Hold("first"))
            await self.journal.arrived.wait()
            await self.runtime.kill(self.address)
        else:
            self.going_on = going_on = asyncio.Event()

            async def wait(agent: Agent, message: Say) -> str:
                await going_on.wait()
                return message.text

            Agent.script = wait
            self.runtime.tell(self.address, Say("first"))
            await comes(lambda: HEARD)

    def release(self) -> None:
        if self.address.actor == "Room":
            self.journal.gate.set()
        else:
            self.going_on.set()

    def message(self, text: str) -> Any:
        return Hold(text) if self.address.actor == "Room" else Say(text)

    @property
    def waiting(self) -> int:
        return len(node_of(self.runtime).directory.cell(self.address).mail)

    def taken(self) -> list[str]:
        if self.address.actor == "Room":
            return [content(record)["trip"] for record in of(self.journal.records, "WasHeld")]
        return [text for _, text in HEARD]


async def rounds(count: int = 10) -> None:
    """Let what can go on now go on."""
    for _ in range(count):
        await asyncio.sleep(0)


PLACES = [Room.at("r"), Agent.at("a")]


@pytest.mark.parametrize("address", PLACES, ids=str)
async def test_wait_senders_outside_come_in_as_there_is_room_in_the_order_of_their_coming(
    address: Address[Any], monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch)
    async with Runtime(held, EVERYONE) as runtime:
        stage = Stage(runtime, held, address)
        await stage.block()
        sent: list[Any] = []
        for number in range(30):
            if number % 2:
                sent.append(runtime.tell(address, stage.message(f"{number}")))
            else:
                sent.append(asyncio.create_task(runtime.ask(address, stage.message(f"{number}"))))
                await asyncio.sleep(0)
        await rounds()
        assert stage.waiting == LIMIT
        stage.release()
        for one in sent:
            await one
        await quiet(runtime)
        assert stage.taken() == ["first", *map(str, range(30))]
        assert node_of(runtime).dead_letters.count == 0


@pytest.mark.parametrize("overflow", ["refuse", "drop"])
@pytest.mark.parametrize("address", PLACES, ids=str)
async def test_senders_outside_are_refused_or_dropped_at_once(
    address: Address[Any], overflow: Overflow, monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch, overflow)
    async with Runtime(held, EVERYONE) as runtime:
        stage = Stage(runtime, held, address)
        await stage.block()
        for number in range(LIMIT):
            runtime.tell(address, stage.message(f"{number}"))
        with pytest.raises(MailboxFull, match=rf"the mailbox of {address} is full \(4 messages\)"):
            await runtime.ask(address, stage.message("asked"))
        if overflow == "refuse":
            with pytest.raises(MailboxFull):
                runtime.tell(address, stage.message("told"))
        else:
            await runtime.tell(address, stage.message("told"))
        letters = node_of(runtime).dead_letters
        assert [letter.address for letter in letters.recent] == ([address] if overflow == "drop" else [])
        stage.release()
        await quiet(runtime)
        assert stage.taken() == ["first", *map(str, range(LIMIT))]
        await runtime.ask(address, stage.message("there is room again"))


@pytest.mark.parametrize("overflow", ["wait", "refuse", "drop"])
@pytest.mark.parametrize("sender", [Clerk.at("s"), Agent.at("s")], ids=str)
@pytest.mark.parametrize("to", [Room.at("r"), Clerk.at("c"), Agent.at("a")], ids=str)
async def test_actors_never_wait_to_tell(
    to: Address[Any], sender: Address[Any], overflow: Overflow, monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch, overflow)

    def tell_many(actor: Any) -> str:
        full = 0
        for number in range(LIMIT + 3):
            try:
                actor.tell(to, Hold(f"{number}") if to == Room.at("r") else Say(f"{number}"))
            except MailboxFull:
                full += 1
        return f"{full} full"

    async def tell_many_at_once(agent: Any, message: Say) -> str:
        return tell_many(agent) if agent.key == "s" else ""

    Clerk.script = lambda clerk, _: tell_many(clerk) if clerk.key == "s" else ""
    Agent.script = tell_many_at_once
    async with Runtime(held, EVERYONE) as runtime:
        reply = await runtime.ask(sender, Say("go"))
        await quiet(runtime)
        letters = node_of(runtime).dead_letters
        assert (reply, letters.count) == (("0 full", 3) if overflow == "drop" else ("3 full", 0))
        if to == Room.at("r"):
            assert await runtime.ask(Room.at("r"), Look()) == LIMIT
        else:
            assert [text for key, text in HEARD if key == to.key] == list(map(str, range(LIMIT)))


@pytest.mark.parametrize("overflow", ["wait", "refuse", "drop"])
async def test_a_sagas_step_to_a_full_mailbox_is_tried_again(
    overflow: Overflow, monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch, overflow)

    async def story(self: Play, command: Begin) -> Held:
        steps = [self.ask(f"{n}", Room.at("r"), Hold(f"{n}")) for n in range(LIMIT + 2)]
        return Held(len(await self.parallel(*steps)))

    Play.script = story
    clock = ManualClock()
    async with Runtime(held, EVERYONE, clock=clock) as runtime:
        asked = asyncio.create_task(runtime.ask(Play.at("p"), Begin()))
        await quiet(runtime)
        assert not asked.done()
        failed = of(held.records, "saga.failed")
        assert [content(record)["step"] for record in failed] == ["4", "5"]
        assert all("MailboxFull: the mailbox of Room/r is full" in content(record)["error"] for record in failed)
        clock.advance(2)
        assert await asked == Held(LIMIT + 2)
        assert node_of(runtime).dead_letters.count == 0
    assert len(of(held.records, "WasHeld")) == LIMIT + 2


# -- senders that wait ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PLACES, ids=str)
async def test_waiting_ends_at_the_deadline_and_others_come_in(
    address: Address[Any], monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch)
    clock = ManualClock()
    async with Runtime(held, EVERYONE, clock=clock) as runtime:
        stage = Stage(runtime, held, address)
        await stage.block()
        for number in range(LIMIT):
            runtime.tell(address, stage.message(f"{number}"))
        late = [asyncio.create_task(runtime.ask(address, stage.message("late"), timeout=5)) for _ in range(10)]
        patient = asyncio.create_task(runtime.ask(address, stage.message("patient"), timeout=50))
        await rounds()
        clock.advance(6)
        await comes(lambda: all(one.done() for one in late))
        for one in late:
            with pytest.raises(MailboxFull):
                await one
        stage.release()
        await patient
        assert stage.taken() == ["first", *map(str, range(LIMIT)), "patient"]


@pytest.mark.parametrize("address", PLACES, ids=str)
@pytest.mark.parametrize("let_in", [False, True])
async def test_senders_that_are_cancelled_take_no_place(
    let_in: bool, address: Address[Any], monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    """Also when they had been let in already, and had not come through the door."""
    limited(monkeypatch)
    async with Runtime(held, EVERYONE) as runtime:
        stage = Stage(runtime, held, address)
        await stage.block()
        for number in range(LIMIT):
            runtime.tell(address, stage.message(f"{number}"))

        async def told(text: str) -> None:
            await runtime.tell(address, stage.message(text))

        gone = [asyncio.create_task(runtime.ask(address, stage.message("gone"))) for _ in range(LIMIT)]
        gone += [asyncio.create_task(told("gone")) for _ in range(LIMIT)]
        await rounds()
        stays = [asyncio.create_task(runtime.ask(address, stage.message(f"stays {n}"))) for n in range(2 * LIMIT)]
        await rounds()
        cell = node_of(runtime).directory.cell(address)
        if let_in:
            cell.mail.clear()  # as if all had been taken at once
            cell.let_in()
        for one in gone:
            one.cancel()
        await rounds()
        assert stage.waiting == LIMIT
        stage.release()
        await asyncio.gather(*stays)
        assert cell.gate is None
        await quiet(runtime)
        before = [] if let_in else [*map(str, range(LIMIT))]
        assert stage.taken() == ["first", *before, *(f"stays {n}" for n in range(2 * LIMIT))]


@pytest.mark.parametrize("address", [Room.at("r"), Clerk.at("c"), Agent.at("a")], ids=str)
async def test_tell_is_backpressure(address: Address[Any], monkeypatch: pytest.MonkeyPatch, held: HeldJournal) -> None:
    """A slow consumer under flood: however many send at once, no more than the limit wait. Failure 26."""
    limit = 600
    limited(monkeypatch, limit=limit)
    most = 0
    async with Runtime(held, EVERYONE) as runtime:
        cell = node_of(runtime).directory.cell(address)
        put: Any = type(cell).put

        def watched(self: Any, envelope: Any) -> None:
            nonlocal most
            put(self, envelope)
            most = max(most, len(self.mail))

        monkeypatch.setattr(type(cell), "put", watched)

        async def send(sender: int) -> None:
            for number in range(50):
                text = f"{sender}-{number}"
                await runtime.tell(address, Look() if address == Room.at("r") else Say(text))

        await asyncio.gather(*(send(n) for n in range(2 * limit)))
        await quiet(runtime)
        assert limit // 2 < most <= limit
        assert cell.kind.counts.turns >= 100 * limit


@pytest.mark.parametrize("address", [Room.at("r"), Clerk.at("c"), Agent.at("a")], ids=str)
async def test_senders_that_wait_learn_that_the_actor_was_parked(
    address: Address[Any], monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    """All of them, also where they are more than there is room for."""
    limited(monkeypatch)
    async with Runtime(held, EVERYONE) as runtime:
        cell = node_of(runtime).directory.cell(address)
        message: Any = Hold("x") if address == Room.at("r") else Say("x")
        cell.limit = 0
        waiting = [asyncio.create_task(runtime.ask(address, message)) for _ in range(5 * LIMIT)]
        told = [runtime.tell(address, message) for _ in range(5 * LIMIT)]
        await rounds()
        cell.limit = LIMIT
        cell.stop("parked")
        cell.park(ValueError("no use"))
        await comes(lambda: all(one.done() for one in waiting))
        assert {repr(one.exception()) for one in waiting} == {f"Parked('{address} is parked: no use')"}
        await asyncio.gather(*told)
        await quiet(runtime)
        assert node_of(runtime).dead_letters.count == len(told)


async def test_senders_that_wait_come_in_when_all_mail_before_them_has_expired(
    monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch)
    async with Runtime(held, EVERYONE) as runtime:
        stage = Stage(runtime, held, Agent.at("a"))
        await stage.block()
        gone = [asyncio.create_task(runtime.ask(Agent.at("a"), Say("gone"))) for _ in range(LIMIT)]
        await rounds()
        patient = [asyncio.create_task(runtime.ask(Agent.at("a"), Say(f"{n}"))) for n in range(3)]
        await rounds()
        for one in gone:
            one.cancel()
        await rounds()
        stage.release()
        assert await asyncio.gather(*patient) == ["0", "1", "2"]


async def test_senders_that_wait_for_room_come_in_when_the_journal_breaks_under_mail_on_its_way(
    monkeypatch: pytest.MonkeyPatch, held: HeldJournal
) -> None:
    limited(monkeypatch)
    async with Runtime(held, EVERYONE) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
        held.hold()
        lost = asyncio.create_task(runtime.ask(Room.at("r"), Hold("u")))
        await held.arrived.wait()
        for _ in range(LIMIT):
            runtime.tell(Agent.at("a"), Say("on its way"))
        waiting = [asyncio.create_task(runtime.ask(Agent.at("a"), Say(f"{n}"))) for n in range(3 * LIMIT)]
        await rounds()
        held.fail = ["before"]
        held.gate.set()
        await comes(lambda: all(one.done() for one in waiting))
        assert [one.result() for one in waiting] == [f"{n}" for n in range(3 * LIMIT)]
        await asyncio.wait([lost])


async def test_closing_leaves_nobody_waiting_for_room(monkeypatch: pytest.MonkeyPatch, held: HeldJournal) -> None:
    limited(monkeypatch)
    async with Runtime(held, EVERYONE, shutdown_timeout=0.0) as runtime:
        stage = Stage(runtime, held, Agent.at("a"))
        await stage.block()
        told = [runtime.tell(Agent.at("a"), Say(f"{n}")) for n in range(LIMIT + 2)]

        async def awaited(one: Any) -> None:
            await one

        tasks = [asyncio.create_task(awaited(one)) for one in told]
        await rounds()
    done, left = await asyncio.wait(tasks, timeout=60)
    assert not left
    assert sum(one.exception() is not None for one in done) == 2


async def test_so_many_may_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: also those who tell and don't wait for it are bounded."""
    monkeypatch.setattr("runtime.mailbox.MOST_WAITING", 3)
    monkeypatch.setattr(Clerk, "mailbox", Mailbox(limit=2))
    async with Runtime("memory:", EVERYONE) as runtime:
        waiting = [runtime.tell(Clerk.at("c"), Say("x")) for _ in range(5)]
        with pytest.raises(MailboxFull):
            runtime.tell(Clerk.at("c"), Say("x"))
        with pytest.raises(MailboxFull):
            await runtime.ask(Clerk.at("c"), Say("x"))
        for sent in waiting:
            await sent
        await runtime.ask(Clerk.at("c"), Say("x"))
