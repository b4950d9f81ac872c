"""Decisions on condition: rules across services hold in the moment in which the events are written, and no later."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import assert_never

import pytest

from actors import Command, CommandIdReused, Decision, Event, Failed, OutcomeUnknown, Refused, Saga, Service, State
from persistence import Match, Record, SqliteJournal, Stream
from persistence.journal import PAGE
from persistence.subscription import subscribe
from runtime import Chaos, ManualClock, Runtime
from tests.runtime.tools import HeldJournal, comes, quiet, restart_of


class Registered(Event):
    mail: str
    name: str


class Closed(Event):
    pass


class Register(Command["User", int]):
    """Take an address and a name that nobody else has."""

    mail: str
    name: str = ""
    after: int = 0


class Ask(Command["User", int]):
    """Tell how often this one has registered."""


class Check(Command["User", bool]):
    """Write nothing; is the address free?"""

    mail: str


class Later(Command["User", None]):
    mail: str


class Close(Command["User", None]):
    """Decide badly."""

    how: str


class Count(State):
    times: int = 0


class User(Service[Count, Register | Ask | Check | Later | Close, Registered | Closed]):
    initial = Count()

    def decide(self, state: Count, command: Register | Ask | Check | Later | Close) -> Decision:
        match command:
            case Register(mail, name, after):
                decision = command.reply(state.times + 1, Registered(mail, name))
                decision = decision.unless(f"{mail} is taken", Registered, tags=[f"mail:{mail}"], after=after)
                if name:
                    decision = decision.unless(f"{name} is taken", Registered, tags=[f"name:{name}"])
                return decision
            case Ask():
                return command.reply(state.times)
            case Check(mail):
                return command.reply(True).unless("no", tags=[f"mail:{mail}"])
            case Later(mail):
                return command.reply(None).remind("register", Register(mail), after=timedelta(seconds=1))
            case Close("without tags"):
                return command.reply(None, Closed()).unless("never", Closed, tags=())
            case Close():
                return command.reply(None, Closed())
            case _:
                assert_never(command)

    def tags(self, event: Registered | Closed) -> tuple[str, ...]:
        match event:
            case Registered(mail, name):
                return (f"mail:{mail}", *([f"name:{name}"] if name else []))
            case Closed():
                return (7,) if self.key == "odd" else ("x",) * 101 if self.key == "many" else ()  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    def evolve(self, state: Count, event: Registered | Closed) -> Count:
        return Count(state.times + isinstance(event, Registered))


class Join(Command["Joining", int]):
    first: str
    second: str


class Joining(Saga[Join, int]):
    async def run(self, command: Join) -> int:
        one = await self.ask("one", User.at(command.first), Register(command.first), undo=Close("again"))
        return one + await self.ask("two", User.at(command.second), Register("ana@x"))


ANA, BO, CY = User.at("ana"), User.at("bo"), User.at("cy")


async def times(runtime: Runtime, *users: str) -> list[int]:
    return [(await runtime.state_of(User.at(user))).times for user in users]


async def test_what_another_service_has_done_refuses_a_command() -> None:
    async with Runtime("memory:", [User]) as runtime:
        assert await runtime.ask(ANA, Register("ana@x")) == 1
        with pytest.raises(Refused, match=r"^ana@x is taken$"):
            await runtime.ask(BO, Register("ana@x"))
        assert await runtime.ask(BO, Register("bo@x")) == 1
        assert await times(runtime, "ana", "bo") == [1, 1]
        assert runtime.position == 2


async def test_of_several_conditions_the_one_that_fails_gives_the_reason() -> None:
    async with Runtime("memory:", [User]) as runtime:
        await runtime.ask(ANA, Register("ana@x", "Ana"))
        with pytest.raises(Refused, match=r"^Ana is taken$"):
            await runtime.ask(BO, Register("bo@x", "Ana"))
        with pytest.raises(Refused, match=r"^ana@x is taken$"):
            await runtime.ask(BO, Register("ana@x", "Bo"))
        with pytest.raises(Refused, match=r"^Ana is taken$"):
            await runtime.ask(BO, Register("ana@x", "Ana", after=1))  # that the address is taken is known
        assert await runtime.ask(BO, Register("bo@x", "Bo")) == 1


async def test_what_was_known_does_not_count() -> None:
    async with Runtime("memory:", [User]) as runtime:
        await runtime.ask(ANA, Register("ana@x"))
        assert await runtime.ask(BO, Register("ana@x", after=runtime.position)) == 1
        with pytest.raises(Refused):
            await runtime.ask(CY, Register("ana@x", after=1))


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_of_many_at_once_one_wins(engine: str, tmp_path: Path) -> None:
    url = "memory:" if engine == "memory" else f"sqlite:{tmp_path}/users.db"
    async with Runtime(url, [User]) as runtime:
        asked = [runtime.ask(User.at(f"u{n}"), Register(f"{n % 5}@x")) for n in range(100)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert Counter(type(one) for one in told) == {int: 5, Refused: 95}
        assert sum(await times(runtime, *(f"u{n}" for n in range(100)))) == 5


async def test_conditions_hold_in_the_next_process(tmp_path: Path) -> None:
    for name, fits in (("ana", True), ("bo", False)):
        async with Runtime(f"sqlite:{tmp_path}/users.db", [User]) as runtime:
            asked = runtime.ask(User.at(name), Register("ana@x"))
            if fits:
                await asked
            else:
                with pytest.raises(Refused):
                    await asked


async def test_a_repeat_gets_its_first_reply_and_not_its_own_refusal() -> None:
    async with Runtime("memory:", [User]) as runtime:
        assert await runtime.ask(ANA, Register("ana@x"), id="c1") == 1
        assert await runtime.ask(ANA, Register("ana@x"), id="c1") == 1
        with pytest.raises(CommandIdReused):
            await runtime.ask(ANA, Register("other@x"), id="c1")
        assert await times(runtime, "ana") == [1]


async def test_a_refused_command_can_come_again_with_its_id() -> None:
    async with Runtime("memory:", [User]) as runtime:
        await runtime.ask(ANA, Register("ana@x"))
        for mail in ("ana@x", "ana@x", "bo@x"):
            if mail == "bo@x":
                assert await runtime.ask(BO, Register(mail), id="c1") == 1
            else:
                with pytest.raises(Refused):
                    await runtime.ask(BO, Register(mail), id="c1")


async def test_a_decision_that_writes_nothing_can_have_a_condition() -> None:
    async with Runtime("memory:", [User]) as runtime:
        assert await runtime.ask(BO, Check("ana@x")) is True
        await runtime.ask(ANA, Register("ana@x"))
        with pytest.raises(Refused):
            await runtime.ask(BO, Check("ana@x"))
        with pytest.raises(Refused):
            await runtime.ask(BO, Check("ana@x"), id="c1")
        assert await runtime.ask(BO, Check("bo@x"), id="c1") is True
        assert await runtime.ask(BO, Check("bo@x"), id="c1") is True


async def test_mail_behind_it_waits_and_keeps_its_order() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [User]) as runtime:
        journal.gate.clear()
        asked = [
            asyncio.create_task(runtime.ask(ANA, request))
            for request in (Register("a@x"), Ask(), Register("b@x"), Ask())
        ]
        await asyncio.wait_for(journal.arrived.wait(), 30)
        assert len(journal.groups) == 1
        journal.gate.set()
        assert await asyncio.gather(*asked) == [1, 1, 2, 2]


async def test_nobody_is_told_before_it_is_durable() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [User]) as runtime:
        journal.gate.clear()
        asked = asyncio.create_task(runtime.ask(ANA, Register("a@x")))
        await asyncio.wait_for(journal.arrived.wait(), 30)
        await asyncio.wait([asked], timeout=0.01)
        assert not asked.done()
        journal.gate.set()
        assert await asked == 1


class SlowToRead(HeldJournal):
    """Takes its time to say what a stream holds."""

    async def read(self, stream: Stream, after: int = 0, limit: int = PAGE) -> list[Record]:
        for _ in range(20):
            await asyncio.sleep(0)
        return await super().read(stream, after, limit)


@pytest.mark.parametrize("taken", [False, True])
async def test_a_service_killed_while_it_waits_has_what_the_journal_has(taken: bool) -> None:
    journal = SlowToRead()
    async with Runtime(journal, [User]) as runtime:
        if taken:
            await runtime.ask(BO, Register("a@x"))
        journal.gate.clear()
        journal.arrived.clear()
        asked = asyncio.create_task(runtime.ask(ANA, Register("a@x")))
        await asyncio.wait_for(journal.arrived.wait(), 30)
        await runtime.kill(ANA)
        behind = asyncio.create_task(runtime.ask(ANA, Ask()))
        await asyncio.sleep(0)
        journal.gate.set()
        if taken:
            with pytest.raises(Refused):
                await asked
        else:
            assert await asked == 1
        assert await behind == (0 if taken else 1)
        assert await runtime.ask(ANA, Register("b@x")) == (1 if taken else 2)


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_lost_journal_is_called_unknown_and_asking_again_resolves_it(fate: str) -> None:
    journal = HeldJournal()
    async with Runtime(journal, [User]) as runtime:
        await runtime.ask(ANA, Ask())
        journal.fail = [fate]
        with pytest.raises(OutcomeUnknown):
            await runtime.ask(ANA, Register("a@x"), id="c1")
        assert await runtime.ask(ANA, Register("a@x"), id="c1") == 1
        with pytest.raises(Refused):
            await runtime.ask(BO, Register("a@x"))
        assert await times(runtime, "ana", "bo") == [1, 0]


async def test_a_transaction_on_condition_is_all_or_nothing() -> None:
    async with Runtime("memory:", [User]) as runtime:
        assert await runtime.transact((ANA, Register("a@x")), (BO, Register("b@x")), (ANA, Register("c@x"))) == (
            1,
            1,
            2,
        )
        with pytest.raises(Refused, match=r"^a@x is taken$"):
            await runtime.transact((ANA, Register("d@x")), (CY, Register("a@x")))
        assert await times(runtime, "ana", "bo", "cy") == [2, 1, 0]
        assert await runtime.ask(ANA, Register("d@x")) == 3
        for _ in range(2):
            assert await runtime.transact((BO, Register("e@x")), (CY, Close("well")), id="t1") == (2, None)
        assert await times(runtime, "bo") == [2]


@pytest.mark.parametrize("transaction_id", [None, "t1"])
async def test_a_participant_killed_while_it_waits_does_not_begin_the_transaction_again(
    transaction_id: str | None,
) -> None:
    journal = HeldJournal()
    async with Runtime(journal, [User]) as runtime:
        journal.gate.clear()
        asked = asyncio.create_task(runtime.transact((ANA, Register("a@x")), (BO, Register("b@x")), id=transaction_id))
        await asyncio.wait_for(journal.arrived.wait(), 30)
        await runtime.kill(ANA)
        await asyncio.sleep(0)
        journal.gate.set()
        assert await asked == (1, 1)
        assert [await runtime.ask(user, Ask()) for user in (ANA, BO)] == [1, 1]
        await quiet(runtime)
        assert await times(runtime, "ana", "bo") == [1, 1]


async def test_who_only_looks_in_a_transaction_and_is_killed_does_not_begin_it_again() -> None:
    journal = HeldJournal()
    async with Runtime(journal, [User]) as runtime:
        await runtime.ask(BO, Register("b@x"))
    journal = restart_of(journal.records)  # here it has written nothing, and its recovery waits for nobody
    async with Runtime(journal, [User]) as runtime:
        journal.gate.clear()
        asked = asyncio.create_task(runtime.transact((ANA, Register("a@x")), (BO, Ask())))
        await asyncio.wait_for(journal.arrived.wait(), 30)
        await runtime.kill(BO)
        for _ in range(50):
            await asyncio.sleep(0)  # it is back, though the group is not through
        journal.gate.set()
        assert await asked == (1, 1)
        await quiet(runtime)
        assert await times(runtime, "ana", "bo") == [1, 1]
        assert [await runtime.ask(user, Ask()) for user in (ANA, BO)] == [1, 1]


async def test_a_refused_step_compensates_its_saga() -> None:
    async with Runtime("memory:", [User, Joining]) as runtime:
        await runtime.ask(ANA, Register("ana@x"))
        with pytest.raises(Refused, match=r"^ana@x is taken$"):
            await runtime.ask(Joining.at("j1"), Join("bo", "cy"))
        assert [entry.type async for entry in runtime.history(BO)] == ["Registered", "Closed"]
        assert await times(runtime, "cy") == [0]


@pytest.mark.parametrize("taken", [False, True])
async def test_a_reminder_is_refused_where_its_condition_fails(taken: bool) -> None:
    clock = ManualClock()
    async with Runtime("memory:", [User], clock=clock) as runtime:
        await runtime.ask(ANA, Later("a@x"))
        if taken:
            await runtime.ask(BO, Register("a@x"))
        clock.advance(2)
        await comes(lambda: runtime.position >= 3)
        await quiet(runtime)
        assert await times(runtime, "ana") == [0 if taken else 1]
        types = [entry.type async for entry in runtime.history(ANA)]
        assert types == ["service.reminder", *([] if taken else ["Registered"]), "service.reminded"]


async def test_a_condition_without_tags_and_odd_tags_are_failures_and_harm_nobody() -> None:
    async with Runtime("memory:", [User]) as runtime:
        with pytest.raises(Failed, match="names no tags"):
            await runtime.ask(ANA, Close("without tags"))
        for key in ("odd", "many"):
            with pytest.raises(Exception, match="up to 100 texts"):
                await runtime.ask(User.at(key), Close("well"))
        assert runtime.position == 0
        assert await runtime.ask(ANA, Register("a@x")) == 1


async def test_events_are_followed_by_their_tags(tmp_path: Path) -> None:
    async with Runtime(f"sqlite:{tmp_path}/users.db", [User]) as runtime:
        for n in range(6):
            await runtime.ask(User.at(f"u{n}"), Register(f"{n}@x", "even" if n == 2 else ""))
    journal = SqliteJournal(tmp_path / "users.db")
    await journal.open()
    try:
        async for record in subscribe(journal, (Match(tags=("name:even",)),)):
            assert (record.stream, record.tags) == (("User", "u2"), ("mail:2@x", "name:even"))
            break
    finally:
        await journal.close()


@pytest.mark.parametrize("seed", range(6))
async def test_under_kills_and_lost_groups_no_address_is_taken_twice(seed: int) -> None:
    random = Random(seed)
    journal = HeldJournal()
    won: list[str] = []
    async with Runtime(journal, [User], chaos=Chaos(kill=0.1, seed=seed)) as runtime:

        async def client(n: int) -> None:
            mail = f"{random.randrange(8)}@x"
            while True:
                try:
                    await runtime.ask(User.at(f"u{n % 12}"), Register(mail), id=f"c{n}")
                except OutcomeUnknown:
                    continue
                except Refused:
                    return
                won.append(mail)
                return

        clients = [asyncio.create_task(client(n)) for n in range(60)]
        for _ in range(3):
            await asyncio.sleep(0)
            journal.fail.append(random.choice(["before", "after"]))
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        await quiet(runtime)
        written = [tag for record in journal.records for tag in record.tags]
        assert sorted(written) == sorted(f"mail:{mail}" for mail in set(won))
        assert len(written) == len(set(written)) == len(won) == 8
