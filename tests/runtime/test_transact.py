"""Transactions: several services change together or not at all, in one append, and never deadlock."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors import Command, CommandIdReused, Decision, Event, Failed, NotTaken, OutcomeUnknown, Refused, Service, State
from actors.reminders import Remind
from runtime import Chaos, Runtime
from tests.runtime.cast import ALL, DOWN, Account, BookTrip, Deposit, Hold, Look, Odd, Room, Trip, Withdraw
from tests.runtime.crew import Agent, Say
from tests.runtime.reminding import BELL, EVERYBODY, Wind, wind
from tests.runtime.test_bad_input import Panic
from tests.runtime.tools import HeldJournal, check_once, comes, node_of, quiet, restart_of

A, B, C = Account.at("a"), Account.at("b"), Account.at("c")


class Fret(Command["Nervous", None]):
    pass


class Nervous(Service[State, Fret, Event]):
    """Panics."""

    initial = State()

    def decide(self, state: State, command: Fret) -> Decision:
        raise Panic("no")


async def balances(runtime: Runtime, *keys: str) -> list[int]:
    return [(await runtime.state_of(Account.at(key))).amount for key in keys]


async def test_both_change_in_one_group() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30))) == (70, 130)
        assert runtime.groups == 1
        assert await balances(runtime, "a", "b") == [70, 130]
        assert await runtime.transact() == ()
        assert await runtime.transact((A, Deposit(5))) == (75,)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_refusal_names_who_and_nothing_is_written(order: tuple[int, int]) -> None:
    async with Runtime("memory:", ALL) as runtime:
        parts: list[tuple[Any, Any]] = [(A, Withdraw(500)), (B, Deposit(500))]
        with pytest.raises(Refused, match=r"^Account/a: a has only 100$"):
            await runtime.transact(*(parts[n] for n in order), id="move")
        assert runtime.position == 0
        assert await runtime.ask(A, Withdraw(1)) == 99
        assert await runtime.ask(B, Withdraw(1)) == 99


async def test_a_failure_names_who_and_nothing_is_written() -> None:
    async with Runtime("memory:", ALL) as runtime:
        DOWN.add("down")
        with pytest.raises(Failed, match="Room/down failed at Hold: ConnectionError"):
            await runtime.transact((A, Withdraw(1)), (Room.at("up"), Hold("t")), (Room.at("down"), Hold("t")))
        with pytest.raises(Failed, match="Room/up failed at Odd"):
            await runtime.transact((A, Withdraw(1)), (Room.at("up"), Hold("t")), (Room.at("up"), Odd("poison")))
        assert await runtime.ask(Room.at("up"), Look()) == 0
        assert await runtime.ask(A, Withdraw(1)) == 99


async def test_the_same_service_twice_sees_its_own_change() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        replies = await runtime.transact((A, Deposit(50)), (B, Deposit(1)), (A, Withdraw(150)), id="twice")
        assert replies == (150, 101, 0)
        assert await runtime.transact((A, Deposit(50)), (B, Deposit(1)), (A, Withdraw(150)), id="twice") == replies
        with pytest.raises(Refused, match=r"Account/a: a has only 10$"):
            await runtime.transact((A, Deposit(10)), (A, Withdraw(11)))
        assert await runtime.ask(A, Withdraw(0)) == 0
    check_once(journal.records)


async def test_a_repeat_gets_the_first_replies(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'journal.db'}"
    async with Runtime(url, ALL) as runtime:
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move") == (70, 130)
        await runtime.ask(A, Deposit(7))
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move") == (70, 130)
        await runtime.kill(B)
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move") == (70, 130)
    async with Runtime(url, ALL) as runtime:
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move") == (70, 130)
        assert await balances(runtime, "a", "b") == [77, 130]


async def test_a_repeat_in_another_order_is_the_same_transaction() -> None:
    async with Runtime("memory:", ALL) as runtime:
        assert await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move") == (70, 130)
        assert await runtime.transact((B, Deposit(30)), (A, Withdraw(30)), id="move") == (130, 70)
        assert await balances(runtime, "a", "b") == [70, 130]


async def test_the_same_id_for_another_transaction_is_an_error() -> None:
    async with Runtime("memory:", ALL) as runtime:
        await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), id="move")
        with pytest.raises(CommandIdReused):
            await runtime.transact((A, Withdraw(31)), (B, Deposit(31)), id="move")
        with pytest.raises(CommandIdReused, match="another transaction with the id 'move'"):
            await runtime.transact((A, Withdraw(30)), (C, Deposit(30)), id="move")
        with pytest.raises(CommandIdReused, match="another transaction with the id 'move'"):
            await runtime.transact((C, Withdraw(30)), (B, Deposit(30)), id="move")
        with pytest.raises(CommandIdReused):
            await runtime.transact((A, Withdraw(30)), (B, Deposit(30)), (C, Deposit(30)), id="move")
        for part in ((A, Withdraw(30)), (B, Deposit(30))):
            anyone: Any = runtime
            with pytest.raises(CommandIdReused):
                await anyone.transact(part, id="move")
        assert await balances(runtime, "a", "b", "c") == [70, 130, 100]


async def test_only_services_change_together() -> None:
    async with Runtime("memory:", ALL) as runtime:
        anyone: Any = runtime
        with pytest.raises(NotTaken, match="Trip/t is no service; only services can change together"):
            await anyone.transact((A, Withdraw(1)), (Trip.at("t"), BookTrip([])))
        with pytest.raises(NotTaken, match="Account doesn't take Hold"):
            await anyone.transact((A, Withdraw(1)), (B, Hold("t")))
        assert await runtime.ask(A, Withdraw(1)) == 99


@pytest.mark.parametrize("kill", [0.0, 0.2])
async def test_crossing_transactions_do_not_deadlock_and_conserve_the_total(kill: float) -> None:
    journal, random, keys = HeldJournal(), Random(3), [f"k{n}" for n in range(6)]
    moved: Counter[str] = Counter()

    async def move(number: int) -> None:
        source, target, third = random.sample(keys, 3)
        amount = random.randrange(1, 40)
        requests = [(Account.at(source), Withdraw(amount)), (Account.at(target), Deposit(amount))]
        if number % 3 == 0:
            requests += [(Account.at(third), Deposit(amount)), (Account.at(source), Withdraw(amount))]
        random.shuffle(requests)
        try:
            await runtime.transact(*requests, id=f"move {number}")
        except Refused:
            moved["refused"] += 1
        else:
            moved["done"] += 1

    async with Runtime(journal, ALL, chaos=Chaos(1, kill)) as runtime:
        await asyncio.gather(*(move(n) for n in range(400)), *(runtime.ask(Account.at(k), Deposit(0)) for k in keys))
        assert sum(await balances(runtime, *keys)) == 600
        assert min(await balances(runtime, *keys)) >= 0
        assert moved["done"] > 50
        assert moved["refused"] > 10
    check_once(journal.records)


async def test_a_transaction_waits_its_turn_between_other_commands() -> None:
    async with Runtime("memory:", ALL) as runtime:
        asked = [
            runtime.ask(A, Withdraw(100)),
            runtime.transact((A, Deposit(5)), (B, Withdraw(5))),
            runtime.ask(A, Withdraw(5)),
            runtime.ask(B, Withdraw(95)),
        ]
        assert await asyncio.gather(*asked) == [0, (5, 95), 0, 0]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_participant_killed_while_it_waits_comes_again(times: int) -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(A, Deposit(0))
        journal.hold()
        # B's own event is not durable, so B, killed, can't come back yet, and A waits in the transaction.
        late = asyncio.create_task(runtime.ask(B, Deposit(1)))
        await journal.arrived.wait()
        await runtime.kill(B)
        moved = asyncio.create_task(runtime.transact((A, Withdraw(10)), (B, Deposit(10)), id="move"))
        behind = asyncio.create_task(runtime.ask(A, Deposit(1)))
        await comes(lambda: not node_of(runtime).directory.cell(A).runnable)
        for _ in range(times):
            await runtime.kill(A)
            await asyncio.sleep(0)
        journal.gate.set()
        assert await late == 101
        assert await moved == (90, 111)
        assert await behind == 91
    check_once(journal.records)


async def test_a_participant_killed_while_it_waits_alone_comes_again() -> None:
    """With nothing else in its mailbox, it is the transaction that brings it back."""
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(A, Deposit(0))
        journal.hold()
        late = asyncio.create_task(runtime.ask(B, Deposit(1)))
        await journal.arrived.wait()
        await runtime.kill(B)
        moved = asyncio.create_task(runtime.transact((A, Withdraw(10)), (B, Deposit(10)), timeout=5))
        await comes(lambda: not node_of(runtime).directory.cell(A).runnable)
        await runtime.kill(A)
        journal.gate.set()
        assert await moved == (90, 111)
        assert await late == 101


async def test_a_parked_participant_ends_it_and_lets_the_others_go_on() -> None:
    journal = HeldJournal()
    async with Runtime(journal, ALL) as runtime:
        await runtime.ask(Room.at("r"), Hold("t"))
    broken = restart_of(journal.records)
    broken.records[0].data = b'{"trip": 7}'
    async with Runtime(broken, ALL) as runtime:
        with pytest.raises(Exception, match="Room/r is parked"):
            await runtime.transact((A, Withdraw(10)), (Room.at("r"), Hold("u")))
        assert await runtime.ask(A, Withdraw(1)) == 99
        await quiet(runtime)
        with pytest.raises(Exception, match="Room/r is parked"):
            await runtime.transact((A, Withdraw(10)), (Room.at("r"), Hold("u")))
        assert await runtime.ask(A, Withdraw(1)) == 98


async def test_what_is_no_exception_is_rolled_back_too() -> None:
    """A panic in one's rules must leave nothing of the others' changes behind: what they say rests on the journal."""
    async with Runtime("memory:", [*ALL, Nervous]) as runtime:
        with pytest.raises(Failed, match="Nervous failed at Fret: Panic"):
            await runtime.transact((A, Withdraw(60)), (Nervous.at(), Fret()))
        assert runtime.position == 0
        assert await runtime.ask(A, Withdraw(1)) == 99
        assert await balances(runtime, "a") == [99]
        with pytest.raises(OutcomeUnknown, match="Nervous crashed"):
            await runtime.ask(Nervous.at(), Fret())  # as ever, alone


async def test_what_the_control_lane_got_meanwhile_is_handled_when_it_is_over() -> None:
    """Nobody else may ever write to a participant, so it can't wait for the next message."""
    journal = HeldJournal()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def reminded(actor: Any, message: Any) -> str:
        arrived.set()
        await go.wait()
        return "reminded"

    Agent.script = reminded
    async with Runtime(journal, [*EVERYBODY, Agent]) as runtime:
        await wind(runtime, Remind("now", Say("x"), after=timedelta(0), to=Agent.at("z")))
        await arrived.wait()
        journal.unreadable.add(("Account", "a"))
        moved = asyncio.create_task(runtime.transact((BELL, Wind("tuned")), (A, Deposit(1))))
        bell = node_of(runtime).cell(BELL)
        await comes(lambda: not bell.runnable)  # it waits for the account
        go.set()
        await comes(lambda: bell.control)  # the reminder has arrived
        journal.unreadable.clear()
        assert await moved == ("tuned", 101)
        await comes(lambda: not bell.control)
        await quiet(runtime)
        assert not bell.unfinished
        assert await runtime.reminders(BELL) == []
