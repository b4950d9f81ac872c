"""What nobody waits for any more is not begun, and is counted; deadlines travel with requests."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors import Address, OutcomeUnknown
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Account, Begin, Deposit, Held, Hold, Play, Room, Withdraw
from tests.runtime.crew import CREW, HEARD, Agent, Clerk, Say
from tests.runtime.tools import HeldJournal, comes, content, node_of, of, quiet

EVERYONE = [*ALL, *CREW]
BY_TIME_OR_BY_HAND = pytest.mark.parametrize("how", ["timeout", "cancel"])


async def rounds() -> None:
    """Let what can go on now go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def keep_from_its_mail(runtime: Runtime, *addresses: Address[Any]) -> Callable[[], None]:
    """Suspend actors as after a crash; return what starts them again."""
    cells = [node_of(runtime).directory.cell(address) for address in addresses]
    for cell in cells:
        cell.suspend()

    def start() -> None:
        for cell in cells:
            cell.revive()

    return start


async def give_up(late: "asyncio.Task[Any]", how: str, clock: ManualClock) -> None:
    if how == "timeout":
        clock.advance(6)
        with pytest.raises(OutcomeUnknown, match="no reply came in time"):
            await late
    else:
        late.cancel()
    await rounds()


def expired(runtime: Runtime) -> dict[str, int]:
    """Return how many messages were not begun, by class."""
    return {kind.name: n for kind in node_of(runtime).directory.all_kinds if (n := kind.counts.expired)}


LATE: list[tuple[Address[Any], Any, Any]] = [
    (Room.at("r"), Hold("late"), Held(1)),
    (Clerk.at("c"), Say("late"), "late"),
    (Agent.at("a"), Say("late"), "late"),
    (Play.at("p"), Begin("late"), Held(7)),
]


@pytest.mark.parametrize(("address", "message", "reply"), LATE, ids=str)
@BY_TIME_OR_BY_HAND
async def test_what_nobody_waits_for_any_more_is_not_begun(
    address: Address[Any], message: Any, reply: Any, how: str
) -> None:
    """And asked again, with the same id, it is done."""

    async def story(self: Play, command: Begin) -> Held:
        HEARD.append(("p", command.line))
        return Held(7)

    Play.script = story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        start = keep_from_its_mail(runtime, address)
        late = asyncio.create_task(runtime.ask(address, message, id="late", timeout=5))
        patient = asyncio.create_task(runtime.ask(Clerk.at("other"), Say("patient"), timeout=5))
        await rounds()
        await give_up(late, how, clock)
        start()
        await quiet(runtime)
        assert expired(runtime) == {address.actor: 1}
        assert (HEARD, journal.records) == ([("other", "patient")], [])
        assert await patient == "patient"
        assert await runtime.ask(address, message, id="late", timeout=5) == reply
        assert await runtime.ask(address, message, id="late", timeout=5) == reply
    ends = [record.type for record in journal.records][-1:]
    assert ends == {"Room": ["WasHeld"], "Play": ["saga.completed"]}.get(address.actor, [])
    assert len(journal.records) <= 2


@BY_TIME_OR_BY_HAND
async def test_a_transaction_that_nobody_waits_for_any_more_is_not_begun(how: str) -> None:
    """And its participants go on with other mail at once, also those that were waiting in it for the others."""
    journal, clock = HeldJournal(), ManualClock()
    ready, absent = Account.at("ready"), Account.at("absent")
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        start = keep_from_its_mail(runtime, absent)
        parts = ((ready, Withdraw(10)), (absent, Deposit(10)))
        late = asyncio.create_task(runtime.transact(*parts, id="late", timeout=5))
        await rounds()
        behind = asyncio.create_task(runtime.ask(ready, Deposit(2)))
        await rounds()
        assert not behind.done()  # it waits in the transaction
        await give_up(late, how, clock)
        assert await behind == 102
        start()
        await quiet(runtime)
        assert expired(runtime) == {"Account": 1}
        assert [record.type for record in journal.records] == ["Deposited"]
        assert await runtime.transact(*parts, id="late") == (92, 110)
        assert await runtime.transact(*parts, id="late") == (92, 110)
    assert len(journal.records) == 3


@BY_TIME_OR_BY_HAND
async def test_what_has_begun_goes_on_though_nobody_waits_for_it_any_more(how: str) -> None:
    going_on = asyncio.Event()

    async def wait(agent: Agent, message: Say) -> str:
        await going_on.wait()
        agent.tell(Room.at("r"), Hold(message.text))
        return message.text

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("agent", Agent.at("b"), Say("saga"))
        return await self.ask("room", Room.at("s"), Hold("saga"))

    Agent.script, Play.script = wait, story
    journal, clock = HeldJournal(), ManualClock()
    async with Runtime(journal, EVERYONE, clock=clock) as runtime:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(runtime.ask(Agent.at("a"), Say("asked"), timeout=5)),
            asyncio.create_task(runtime.ask(Play.at("p"), Begin(), timeout=5)),
        ]
        await comes(lambda: len(HEARD) == 2)
        for one in tasks:
            if how == "timeout":
                clock.advance(6)
            else:
                one.cancel()
        await rounds()
        going_on.set()
        assert await runtime.result(Play.at("p")) == Held(1)
        await quiet(runtime)
        assert expired(runtime) == {}
        await asyncio.wait(tasks)
    assert sorted(content(record)["trip"] for record in of(journal.records, "WasHeld")) == ["asked", "saga", "saga"]


@pytest.mark.parametrize("step", [-3_600, 3_600])
async def test_a_wall_clock_that_is_set_by_an_hour_changes_no_deadline(step: int) -> None:
    """Forward or back, nothing ends early, and nothing is begun late. Failure 31."""
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        start = keep_from_its_mail(runtime, Room.at("r"))
        late = asyncio.create_task(runtime.ask(Room.at("r"), Hold("late"), timeout=5))
        patient = asyncio.create_task(runtime.ask(Room.at("r"), Hold("patient"), timeout=7))
        await rounds()
        clock.step(step)
        clock.advance(4)
        await rounds()
        assert not late.done()
        clock.advance(2)
        with pytest.raises(OutcomeUnknown):
            await late
        start()
        assert await patient == Held(1)
        assert expired(runtime) == {"Room": 1}


# -- inherited ------------------------------------------------------------------------------------------------------


async def through_itself(runtime: Runtime, agent: Agent, own: float | None) -> Any:
    return await agent.ask(Room.at("r"), Hold("late"), timeout=own)


async def through_the_runtime(runtime: Runtime, agent: Agent, own: float | None) -> Any:
    return await runtime.ask(Room.at("r"), Hold("late"), timeout=own)


async def through_a_task(runtime: Runtime, agent: Agent, own: float | None) -> Any:
    return await asyncio.create_task(runtime.ask(Room.at("r"), Hold("late"), timeout=own))


async def through_a_transaction(runtime: Runtime, agent: Agent, own: float | None) -> Any:
    return await runtime.transact((Room.at("r"), Hold("late")), timeout=own)


async def through_a_result(runtime: Runtime, agent: Agent, own: float | None) -> Any:
    return await runtime.result(Play.at("p"), timeout=own)


@pytest.mark.parametrize(
    "through", [through_itself, through_the_runtime, through_a_task, through_a_transaction, through_a_result]
)
@pytest.mark.parametrize(("own", "asked"), [(None, 5.0), (50.0, 5.0), (5.0, 50.0), (5.0, None)])
async def test_the_deadline_is_the_nearest_of_all_who_wait(
    through: Any, own: float | None, asked: float | None
) -> None:
    """Agent a asks agent b, which asks one that can't answer; ``asked`` is set outside, ``own`` by b."""
    errors: list[str] = []
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:

        async def on(agent: Agent, message: Say) -> Any:
            if agent.key == "a":
                return await agent.ask(Agent.at("b"), Say("on"))
            try:
                return str(await through(runtime, agent, own))
            except OutcomeUnknown as error:
                errors.append(str(error))
                raise

        Agent.script = on
        start = keep_from_its_mail(runtime, Room.at("r"), Play.at("p"))
        first = asyncio.create_task(runtime.ask(Agent.at("a"), Say("on"), timeout=asked))
        await comes(lambda: len(HEARD) == 2)
        await rounds()
        clock.advance(4)
        await rounds()
        assert not errors
        clock.advance(2)
        await rounds()
        assert len(errors) == 1
        assert "no reply came in time" in errors[0]
        start()
        await quiet(runtime)
        assert expired(runtime) == {"Play" if through is through_a_result else "Room": 1}
        await asyncio.wait([first])


async def test_a_task_that_outlives_its_message_has_no_deadline_of_others() -> None:
    """Who asked for the message has had its reply; what is left behind waits for as long as it likes."""
    left: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later(agent: Agent) -> Any:
        await go.wait()
        return await agent.ask(Room.at("r"), Hold("later"))

    async def leave(agent: Agent, message: Say) -> str:
        left.append(asyncio.create_task(later(agent)))
        return "done"

    Agent.script = leave
    clock = ManualClock()
    async with Runtime("memory:", EVERYONE, clock=clock) as runtime:
        assert await runtime.ask(Agent.at("a"), Say(), timeout=5) == "done"
        clock.advance(60)
        go.set()
        assert await left[0] == Held(1)
