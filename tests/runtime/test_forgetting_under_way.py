"""What is under way when a person is forgotten goes on, goes back, or says why it is parked."""

import asyncio

import pytest

from actors import Command, Parked, Personal, Refused, Saga
from persistence import MemoryKeys
from runtime import ManualClock, Runtime
from tests.extras import need
from tests.runtime import people
from tests.runtime.houses import CUSTOMER, DAY, GONE, SAGA, ana, told
from tests.runtime.people import ALL, ANA, Mailer, Nudge, Profile, SignUp, Welcome, Welcomed
from tests.runtime.tools import HeldJournal, quiet, restart_of

need("cryptography")


async def test_a_saga_that_only_passes_it_on_goes_on() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, keys=MemoryKeys(), clock=clock) as runtime:
        await runtime.tell(SAGA, Welcome(ana()))
        await quiet(runtime)
        await runtime.forget_subject(ANA)
        clock.advance(DAY.total_seconds())
        assert (await runtime.result(SAGA)).email.forgotten
        assert Mailer.sent == [None]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_saga_that_needs_it_is_parked_and_says_why(restarted: bool) -> None:
    clock, keys, journal = ManualClock(), MemoryKeys(), HeldJournal()
    async with Runtime(journal, ALL, keys=keys, clock=clock) as runtime:
        await runtime.tell(SAGA, Welcome(ana(), opens=True))
        await quiet(runtime)
        await runtime.forget_subject(ANA)
        if not restarted:
            clock.advance(DAY.total_seconds())
            with pytest.raises(Parked, match=GONE):
                await runtime.result(SAGA)
    if restarted:
        async with Runtime(restart_of(journal.records), ALL, keys=keys, clock=clock) as runtime:
            await quiet(runtime)
            clock.advance(DAY.total_seconds())
            with pytest.raises(Parked, match=GONE):
                await runtime.result(SAGA)
    assert Mailer.sent == []


class Leave(Command["Goodbye", Welcomed]):
    email: Personal[str]


class Goodbye(Saga[Leave, Welcomed]):
    async def run(self, command: Leave) -> Welcomed:
        await self.ask("sign up", CUSTOMER, SignUp(command.email), undo=people.SignOff(command.email))
        await self.sleep("think", DAY)
        raise Refused("they changed their mind")


async def test_a_saga_is_compensated_with_what_is_forgotten() -> None:
    """Its undo stands in the journal, and names what it undoes by ids."""
    clock = ManualClock()
    async with Runtime("memory:", [*ALL, Goodbye], keys=MemoryKeys(), clock=clock) as runtime:
        await runtime.tell(Goodbye.at("g"), Leave(ana()))
        await quiet(runtime)
        await runtime.forget_subject(ANA)
        clock.advance(DAY.total_seconds())
        with pytest.raises(Refused, match="changed their mind"):
            await runtime.result(Goodbye.at("g"))
        assert (await runtime.state_of(CUSTOMER)) == Profile()


async def test_reminders_come_all_the_same() -> None:
    clock = ManualClock()
    async with Runtime("memory:", ALL, keys=MemoryKeys(), clock=clock) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        await runtime.ask(CUSTOMER, Nudge(ana(), DAY))
        await runtime.forget_subject(ANA)
        clock.advance(DAY.total_seconds())
        await quiet(runtime)
        assert Mailer.sent == [None]
        (greeted,) = (await runtime.state_of(CUSTOMER)).greeted
        assert greeted.forgotten


async def test_a_command_that_waited_meanwhile_is_as_one_that_comes_later() -> None:
    """Nothing of it is lost, and nothing of it can't be forgotten."""
    journal = HeldJournal()
    async with Runtime(journal, ALL, keys=MemoryKeys()) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana("old")))
        journal.hold()
        waiting = asyncio.create_task(runtime.ask(CUSTOMER, SignUp(ana("new"))))
        await journal.arrived.wait()  # sealed with the key that is destroyed now, and not written
        forgetting = asyncio.create_task(runtime.forget_subject(ANA))
        await asyncio.sleep(0)
        journal.gate.set()
        await forgetting
        assert (await waiting).forgotten
        assert await told(runtime) == [ANA]
        state = await runtime.state_of(CUSTOMER)
        assert state.email is not None
        assert state.email.forgotten


async def test_what_is_read_again_has_not_crashed() -> None:
    async with Runtime("memory:", ALL, keys=MemoryKeys()) as runtime:
        await runtime.ask(CUSTOMER, SignUp(ana()))
        before = runtime.stats()
        await runtime.forget_subject(ANA)
        after = runtime.stats()
        assert after.actors["Customer"].failures == before.actors["Customer"].failures == 0
