"""P3: what a subscriber asks and tells takes effect once, however often its event comes, and none of it is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import (
    Actor,
    ActorMisuse,
    Backoff,
    Command,
    Meta,
    Query,
    ReadModel,
    ReadModelBehind,
    Refused,
    RetryPolicy,
    Saga,
    Statement,
    Subscriber,
    UnknownActor,
    context,
    current_context,
    sql,
)
from persistence.sqlite_view import SqliteView
from runtime import ManualClock, Runtime
from runtime import reactions as reactions_module
from tests.runtime.asking import ASKED, Add, Added, Asker, Mood, Sum, Tally, Total, Totals
from tests.runtime.cast import DOWN, Account, Deposit, Hold, Room, WasHeld
from tests.runtime.subscribing import PATIENT, in_time, tell
from tests.runtime.tools import HeldJournal, comes, node_of, restart_of


class Ship(Command["Shipping", str]):
    trip: str


class Shipping(Saga[Ship, str]):
    """Takes a day."""

    async def run(self, command: Ship) -> str:
        await self.sleep("night", timedelta(days=1))
        return command.trip


class Reacts(Subscriber):
    """Does what the test says for each room that is held, except for those that it holds itself."""

    since = "beginning"
    does: ClassVar[Callable[["Reacts", WasHeld], Awaitable[None]]]
    begun: ClassVar[list[str]]
    done: ClassVar[list[str]]
    gate: ClassVar[asyncio.Event]

    async def handle(self, event: WasHeld, meta: Meta) -> None:
        if not event.trip.startswith("by "):
            self.begun.append(event.trip)
            await type(self).does(self, event)
            await self.gate.wait()
            self.done.append(event.trip)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("begun", "done"):
        monkeypatch.setattr(Reacts, name, list[str](), raising=False)
    gate = asyncio.Event()
    gate.set()
    monkeypatch.setattr(Reacts, "gate", gate, raising=False)


def doing(monkeypatch: pytest.MonkeyPatch, does: Callable[[Reacts, WasHeld], Awaitable[None]]) -> None:
    monkeypatch.setattr(Reacts, "does", does, raising=False)


async def asks(self: Reacts, event: WasHeld) -> None:
    await self.ask(Room.at("z"), Hold(f"by {event.trip}"))
    await self.ask(Room.at("z"), Hold(f"by {event.trip} too"))


async def tells(self: Reacts, event: WasHeld) -> None:
    self.tell(Room.at("z"), Hold(f"by {event.trip}"))
    self.tell(Room.at("z"), Hold(f"by {event.trip} too"))


def held_by_it(journal: HeldJournal) -> list[tuple[str | None, bytes]]:
    return [(record.command, record.data) for record in journal.records if record.stream == ("Room", "z")]


@pytest.mark.parametrize("does", [asks, tells])
async def test_what_comes_again_takes_effect_once(
    does: Callable[[Reacts, WasHeld], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    doing(monkeypatch, does)
    journal = HeldJournal()
    async with Runtime(journal, [Room, Reacts]) as runtime:
        Reacts.gate.clear()
        await tell(runtime, "a1")
        await comes(lambda: len(held_by_it(journal)) == 2)
        for n in range(1, 4):
            await comes(lambda n=n: len(Reacts.begun) == n)  # type: ignore[misc]
            if n < 3:
                await runtime.kill(Reacts.at())
        Reacts.gate.set()
        await runtime.caught_up(Reacts.at())
        assert Reacts.done == ["a1"]
    assert [command for command, _ in held_by_it(journal)] == ["Room/a@1>Reacts>1", "Room/a@1>Reacts>2"]


@pytest.mark.parametrize("does", [asks, tells])
async def test_whatever_dies_what_it_told_takes_effect(
    does: Callable[[Reacts, WasHeld], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every prefix of the journal, with a checkpoint of before, leads to the same."""
    doing(monkeypatch, does)
    journal = HeldJournal()
    async with Runtime(journal, [Room, Reacts]) as runtime:
        await tell(runtime, "a1", "b1")
        await runtime.caught_up(Reacts.at())
    assert len(held_by_it(journal)) == 4
    first = next(n for n, record in enumerate(journal.records) if record.type == "WasHeld")
    for crash in range(first + 1, len(journal.records) + 1):
        again = restart_of(journal.records[:crash])
        async with Runtime(again, [Room, Reacts]) as runtime:
            await tell(runtime, *(["b1"] if not any(record.stream[1] == "b" for record in again.records) else []))
            await runtime.caught_up(Reacts.at())
        assert sorted(held_by_it(again)) == sorted(held_by_it(journal))


async def test_it_has_not_handled_an_event_before_what_it_told_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    doing(monkeypatch, tells)
    journal = HeldJournal()
    async with Runtime(journal, [Room, Reacts]) as runtime:
        Reacts.gate.clear()
        await tell(runtime, "a1")
        await comes(lambda: len(held_by_it(journal)) == 2)
        await runtime.kill(Reacts.at())  # and begin again, with what it tells held up
        await comes(lambda: len(Reacts.begun) == 2)
        before = node_of(runtime).deliverers["Reacts"].view.checkpoint
        Reacts.gate.set()
        await runtime.caught_up(Reacts.at())
        journal.hold()
        asked = asyncio.create_task(runtime.ask(Room.at("b"), Hold("b1")))
        await journal.arrived.wait()
        journal.arrived.clear()
        journal.gate.set()
        await asked
        journal.hold()  # b1 is durable, what is told because of it is not
        await comes(lambda: "b1" in Reacts.done)
        await journal.arrived.wait()
        reached = node_of(runtime).deliverers["Reacts"].view.checkpoint
        place = next(record.position for record in journal.records if record.stream == ("Room", "b"))
        assert before < reached < place
        journal.gate.set()
        await runtime.caught_up(Reacts.at())
        assert node_of(runtime).deliverers["Reacts"].view.checkpoint >= place


async def test_a_saga_need_only_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ships(self: Reacts, event: WasHeld) -> None:
        self.tell(Shipping.at(event.trip), Ship(event.trip))

    doing(monkeypatch, ships)
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, [Room, Shipping, Reacts], clock=clock) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Reacts.at())
        assert [record.type for record in journal.records if record.stream[0] == "Shipping"][:1] == ["saga.started"]
        assert [str(one) for one in await runtime.unfinished()] == ["Shipping/a1"]


async def test_what_fails_makes_the_event_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    doing(monkeypatch, tells)
    monkeypatch.setattr(Reacts, "retry", PATIENT)
    clock = ManualClock()
    DOWN.add("z")
    try:
        async with Runtime("memory:", [Room, Reacts], clock=clock) as runtime:
            await tell(runtime, "a1")
            await comes(lambda: node_of(runtime).deliverers["Reacts"].kind.counts.failures)
            assert await runtime.parked_events(Reacts.at()) == []
            DOWN.clear()
            await in_time(
                clock, lambda: len(Reacts.done) >= 2 and not node_of(runtime).deliverers["Reacts"].under_way, 61
            )
            await runtime.caught_up(Reacts.at())
            assert (await runtime.state_of(Room.at("z"))).count == 2
    finally:
        DOWN.clear()


async def test_a_refusal_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(self: Reacts, event: WasHeld) -> None:
        self.tell(Room.at("full"), Hold(f"by {event.trip}"))
        with pytest.raises(Refused):
            await self.ask(Room.at("full"), Hold(f"by {event.trip} too"))

    doing(monkeypatch, refused)
    async with Runtime("memory:", [Room, Reacts]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Reacts.at())
        (letter,) = runtime.dead_letters()
        assert (str(letter.address), letter.message) == ("Room/full", "Hold")
        assert await runtime.parked_events(Reacts.at()) == []


async def test_what_it_must_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions_module, "MOST_TOLD", 2)
    errors = list[Exception]()
    left = list[Reacts]()

    async def wrong(self: Reacts, event: WasHeld) -> None:
        left.append(self)
        for address in ("z", "z", "z"):
            try:
                self.tell(Room.at(address), Hold(f"by {event.trip}"), id=f"mine {len(errors)} {len(left)}")
                errors.append(Exception("none"))
            except ActorMisuse as error:
                errors.append(error)

    class Nobody(Actor):
        async def receive(self, message: Hold) -> None: ...

    async def unknown(self: Reacts, event: WasHeld) -> None:
        with pytest.raises(UnknownActor):
            self.tell(Nobody.at(), Hold("?"))  # type: ignore[misc] # pyright: ignore[reportArgumentType]

    doing(monkeypatch, wrong)
    async with Runtime("memory:", [Room, Reacts]) as runtime:
        await tell(runtime, "a1")
        await runtime.caught_up(Reacts.at())
        assert [str(error)[:40] for error in errors] == ["none", "none", "Room/a@1 has led to 2 commands already; "]
        doing(monkeypatch, unknown)
        await tell(runtime, "a2")
        await runtime.caught_up(Reacts.at())
        with pytest.raises(ActorMisuse, match="Reacts handles no event now"):
            left[0].event_id  # noqa: B018 (a property)
    with pytest.raises(ActorMisuse, match="Reacts is not run by a runtime, or has ended"):
        left[0].event_id  # noqa: B018
    assert RetryPolicy() == Reacts.retry


async def test_it_acts_in_the_request_context_of_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []

    async def looks(self: Reacts, event: WasHeld) -> None:
        seen.append(dict(current_context()))
        await self.ask(Room.at("y"), Hold(f"by {event.trip}"))
        with context(step="2"):
            self.tell(Room.at("z"), Hold(f"by {event.trip}"))

    doing(monkeypatch, looks)
    async with Runtime("memory:", [Room, Reacts]) as runtime:
        with context(user="ana"):
            await runtime.ask(Room.at("x"), Hold("t1"))
        await runtime.ask(Room.at("x"), Hold("t2"))
        await runtime.caught_up(Reacts.at())
        written = {
            (key, record.event.trip): dict(record.meta.context)
            for key in ("y", "z")
            async for record in runtime.history(Room.at(key))
            if isinstance(record.event, WasHeld)
        }
    assert sorted(seen, key=len) == [{}, {"user": "ana"}]
    assert written == {
        ("y", "by t1"): {"user": "ana"},
        ("z", "by t1"): {"user": "ana", "step": "2"},
        ("y", "by t2"): {},
        ("z", "by t2"): {"step": "2"},
    }


class Rewards(Subscriber):
    async def handle(self, event: WasHeld, meta: Meta) -> None:
        self.tell(Account.at("x"), Deposit(1))
        await self.ask(Account.at("x"), Deposit(10))


class Bonus(Subscriber):
    async def handle(self, event: WasHeld, meta: Meta) -> None:
        self.tell(Account.at("x"), Deposit(1))
        await self.ask(Account.at("x"), Deposit(20))


async def test_what_two_subscribers_send_for_one_event_to_one_actor_are_two_things() -> None:
    async with Runtime("memory:", [Room, Account, Rewards, Bonus]) as runtime:
        await runtime.ask(Room.at("a"), Hold("t"))
        for subscriber in (Rewards, Bonus):
            await asyncio.wait_for(runtime.caught_up(subscriber.at()), 60)
            assert await runtime.parked_events(subscriber.at()) == []
        assert (await runtime.state_of(Account.at("x"))).amount == 132


class Looks(Subscriber):
    """Asks what there is, and notes it."""

    since = "beginning"
    seen: ClassVar[list[object]]

    async def handle(self, event: Added, meta: Meta) -> None:
        self.seen.append((await self.ask(Tally.at(meta.key), Sum()), await self.ask(Asker.at(), Mood()) != ""))
        if meta.version == 1:
            self.seen.append(await self.ask(Totals.at(), Total("nothing")))


async def test_it_asks_queries_of_services_actors_and_read_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Looks, "seen", list[object](), raising=False)
    async with Runtime("memory:", [*ASKED, Looks]) as runtime:
        for n in (1, 2):
            await runtime.ask(Tally.at("t"), Add(n))
            await asyncio.wait_for(runtime.caught_up(Looks.at()), 60)
        assert Looks.seen == [(1, True), 0, (3, True)]


class Trips(Query["Held", list[str]]):
    pass


class Held(ReadModel):
    schema = "create table held (position integer primary key, trip text not null)"

    def project(self, event: WasHeld, meta: Meta) -> Iterator[Statement]:
        yield sql("insert into held values (?, ?)", meta.position, event.trip)

    async def answer(self, db: Any, query: Trips) -> list[str]:
        async with db.execute("select trip from held order by position") as rows:
            return [trip async for (trip,) in rows]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Keep the read model's rows out of its table until it is set."""
    gate, apply = asyncio.Event(), SqliteView.apply

    async def held(view: SqliteView, statements: Sequence[Any], *told: Any, **more: Any) -> None:
        if statements and "held" in statements[0][0]:
            await gate.wait()
        await apply(view, statements, *told, **more)

    monkeypatch.setattr(SqliteView, "apply", held)
    return gate


@pytest.mark.parametrize("how", ["now", "after", "consistent"])
async def test_a_read_model_has_seen_the_event_if_it_is_asked_to(how: str, gate: asyncio.Event) -> None:
    asked, seen = asyncio.Event(), list[list[str]]()

    class Looks(Subscriber):
        async def handle(self, event: WasHeld, meta: Meta) -> None:
            position = meta.position if how == "after" else None
            asking = self.ask(Held.at(), Trips(), consistent=how == "consistent", after=position)
            asked.set()
            seen.append(await asking)

    async with Runtime("memory:", [Room, Held, Looks]) as runtime:
        await runtime.ask(Room.at("a"), Hold("a1"))
        await asked.wait()
        if how == "now":
            await runtime.caught_up(Looks.at())
        else:
            await node_of(runtime).journal.changed(0, 0)
            assert seen == []
        gate.set()
        await runtime.caught_up(Looks.at())
    assert seen == [[] if how == "now" else ["a1"]]


async def test_a_read_model_that_is_too_far_behind_fails_the_event(gate: asyncio.Event) -> None:
    """It is handled again, and then it is there."""
    raised = list[str]()

    class Looks(Subscriber):
        retry = RetryPolicy(Backoff(timedelta(milliseconds=1)))

        async def handle(self, event: WasHeld, meta: Meta) -> None:
            try:
                assert await self.ask(Held.at(), Trips(), timeout=0.001, after=meta.position) == ["a1"]
            except ReadModelBehind as error:
                raised.append(str(error))
                gate.set()
                raise

    async with Runtime("memory:", [Room, Held, Looks]) as runtime:
        await runtime.ask(Room.at("a"), Hold("a1"))
        await runtime.caught_up(Looks.at())
        assert await runtime.parked_events(Looks.at()) == []
    assert raised
    assert "Held" in raised[0]
