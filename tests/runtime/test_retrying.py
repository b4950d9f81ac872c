"""The ready-made interceptor that sends again what has failed."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from actors import (
    Backoff,
    Call,
    DeletedForGood,
    Failed,
    MailboxFull,
    OutcomeUnknown,
    Parked,
    Proceed,
    Refused,
    RetryPolicy,
    UnknownActor,
)
from persistence import ERASED
from runtime import ManualClock, Runtime, retrying
from tests.runtime.cast import ALL, DOWN, Account, Board, Deposit, Desk, Hold, Lines, Note, Play, Room
from tests.runtime.tools import HeldJournal, comes, node_of, quiet

R = Room.at("r")
AT_ONCE = RetryPolicy(Backoff(timedelta(microseconds=1)), budget=timedelta(seconds=30))


class Falls:
    """Stands inside of the one that retries, and fails so often, before or behind the actor."""

    def __init__(self, times: int, error: Exception, *, behind: bool) -> None:
        self.times, self.error, self.behind = times, error, behind
        self.ids: list[str | None] = []

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        self.ids.append(call.id)
        reply = await proceed(call) if self.behind else None
        if len(self.ids) <= self.times:
            raise self.error
        return reply if self.behind else await proceed(call)


@pytest.fixture
def down() -> Iterator[None]:
    DOWN.add("r")
    yield
    DOWN.clear()


@pytest.mark.parametrize("behind", [False, True])
async def test_what_fails_is_sent_again_with_one_id_and_takes_effect_once(behind: bool) -> None:
    falls, journal = Falls(3, OutcomeUnknown("who knows"), behind=behind), HeldJournal()
    async with Runtime(journal, ALL, interceptors=[retrying(AT_ONCE), falls]) as runtime:
        assert await runtime.ask(Account.at("a"), Deposit(1)) == 101
        assert len(falls.ids) == 4
        assert len(set(falls.ids)) == 1
        assert falls.ids[0] is not None
        falls.ids.clear()
        assert await runtime.transact((Account.at("a"), Deposit(1)), (R, Hold("t"))) is not None
        falls.ids.clear()
        await runtime.tell(Account.at("a"), Deposit(1))
        falls.ids.clear()
        assert await runtime.ask(Account.at("a"), Deposit(0)) == 103
        falls.ids.clear()
        await runtime.ask(Board.at(), Lines(), consistent=True)
        await quiet(runtime)
    amounts = [record.data for record in journal.records if record.type not in (ERASED, "WasHeld")]
    assert len(amounts) == 4


@pytest.mark.parametrize("error", [Refused("no"), Parked("aside"), UnknownActor("who")])
async def test_what_will_not_pass_is_not_sent_again(error: Exception) -> None:
    falls = Falls(1, error, behind=False)
    async with Runtime("memory:", ALL, interceptors=[retrying(AT_ONCE), falls]) as runtime:
        with pytest.raises(type(error)):
            await runtime.ask(R, Hold("t"))
    assert len(falls.ids) == 1


async def test_the_budget_ends_it(down: None) -> None:
    briefly = RetryPolicy(Backoff(timedelta(seconds=1)), budget=timedelta(0))
    falls = Falls(0, ValueError(), behind=True)
    async with Runtime("memory:", ALL, interceptors=[retrying(briefly), falls]) as runtime:
        with pytest.raises(Failed, match="r is down"):
            await runtime.ask(R, Hold("t"))
    assert len(falls.ids) == 1


async def test_an_error_that_is_final_ends_it(down: None) -> None:
    final = RetryPolicy(AT_ONCE.backoff, AT_ONCE.budget, final=(ConnectionError,))
    falls = Falls(0, ValueError(), behind=True)
    async with Runtime("memory:", ALL, interceptors=[retrying(final), falls]) as runtime:
        with pytest.raises(Failed, match="r is down"):
            await runtime.ask(R, Hold("t"))
    assert len(falls.ids) == 1


async def test_who_is_cancelled_waits_no_longer(down: None) -> None:
    slowly = RetryPolicy(Backoff(timedelta(hours=1), cap=timedelta(hours=1)), budget=timedelta(days=1))
    async with Runtime("memory:", ALL, interceptors=[retrying(slowly)]) as runtime:
        task = asyncio.ensure_future(runtime.ask(R, Hold("t")))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_what_is_said_to_a_saga_is_said_once() -> None:
    falls = Falls(1, Failed("no"), behind=False)
    async with Runtime("memory:", ALL, interceptors=[retrying(AT_ONCE), falls]) as runtime:
        with pytest.raises(Failed):
            await runtime.saga(Play.at("p")).kill(by="ops", reason="enough")
    assert len(falls.ids) == 1


# -- what is known when more than one attempt was made --------------------------------------------------------------


UNKNOWN, FULL, NO = OutcomeUnknown("no reply came"), MailboxFull("it is full"), Refused("no")
GONE = DeletedForGood("it was deleted")


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([UNKNOWN, FULL], OutcomeUnknown),  # the first attempt may have taken effect, whatever became of the second
        ([FULL, UNKNOWN, FULL], OutcomeUnknown),
        ([UNKNOWN, Failed("it is closed")], OutcomeUnknown),
        ([UNKNOWN, UNKNOWN, Failed("it is closed")], OutcomeUnknown),
        ([FULL, FULL], MailboxFull),
        ([FULL, NO], Refused),
        ([UNKNOWN, NO], Refused),  # by a service, which would know the id
        ([UNKNOWN, GONE], OutcomeUnknown),  # its ids went with it
        ([FULL, GONE], DeletedForGood),
    ],
)
@pytest.mark.parametrize("address", [Account.at("a"), Desk.at("d")])
async def test_what_is_unknown_once_stays_so_until_the_actor_tells(
    address: Any, errors: list[Exception], told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(errors)

    async def fails(*_: object, **__: object) -> object:
        raise left.pop(0)

    async def insists(call: Call, proceed: Proceed) -> object:
        call = call.identified()
        for _ in errors[1:]:
            try:
                return await proceed(call)
            except (OutcomeUnknown, MailboxFull):
                pass
        return await proceed(call)

    request: Any = Deposit(1) if address.actor == "Account" else Note("x")
    async with Runtime("memory:", ALL, interceptors=[insists]) as runtime:
        monkeypatch.setattr(node_of(runtime), "ask", fails)
        with pytest.raises(told if errors != [UNKNOWN, NO] or address.actor == "Account" else OutcomeUnknown) as caught:
            await runtime.ask(address, request)
    assert type(caught.value) is not OutcomeUnknown or str(errors[-1]) in str(caught.value)


async def test_a_mailbox_that_is_full_at_the_second_attempt_says_nothing_of_the_first() -> None:
    async def twice(call: Call, proceed: Proceed) -> object:
        call = call.identified().with_(timeout=1)
        try:
            return await proceed(call)
        except OutcomeUnknown:
            return await proceed(call)

    account, clock, journal = Account.at("a"), ManualClock(), HeldJournal()
    async with Runtime(journal, ALL, clock=clock, interceptors=[twice]) as runtime:
        await runtime.ask(account, Deposit(1))
        journal.hold()
        asked = asyncio.ensure_future(runtime.ask(account, Deposit(1)))
        await journal.arrived.wait()
        cell = node_of(runtime).find(account)
        assert cell is not None
        cell.limit, limit = 0, cell.limit  # as if others had filled it
        clock.advance(2)
        await comes(lambda: cell.gate is not None)
        clock.advance(2)
        with pytest.raises(OutcomeUnknown, match="MailboxFull"):
            await asked
        cell.limit = limit
        journal.gate.set()
        await quiet(runtime)
        assert (await runtime.state_of(account)).amount == 102  # it had taken effect
