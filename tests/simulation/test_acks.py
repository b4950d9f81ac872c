"""P1: whatever is acknowledged to those outside is durable then, by whatever door it was asked for."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from actors import NotTaken, Refused, ReplyErased
from runtime.mailbox import Envelope
from runtime.promises import Promise
from runtime.saga_verbs import SagaVerbs
from runtime.simulation import InvariantBroken, Simulation, World
from runtime.simulation.run import Scenario
from runtime.transaction import Transaction
from tests.runtime.cast import ALL, Account, BookTrip, Deposit, Hold, Room, TakeTour, Tour, Trip, Withdraw

WHY = "she wants it"
BROKEN = "broken: replies are durable, and the first ones\n"


async def asks(world: World) -> None:
    await world.runtime.ask(Room.at("r"), Hold("t"), id="t")


async def is_refused(world: World) -> None:
    """What a refusal rests on must be durable, too."""
    world.runtime.tell(Account.at("a"), Withdraw(70), id="first")
    with suppress(Refused):
        await world.runtime.ask(Account.at("a"), Withdraw(70), id="second")


async def transacts(world: World) -> None:
    for _ in range(2):
        await world.runtime.transact((Account.at("a"), Withdraw(60)), (Account.at("b"), Deposit(60)), id="move")


async def starts(world: World) -> None:
    await world.runtime.start(Trip.at("t"), BookTrip(["r"]))


async def ends_it(world: World) -> None:
    await world.runtime.start(Tour.at("t"), TakeTour(["r"], "a", nap=600.0))
    with suppress(NotTaken):
        await world.runtime.saga(Tour.at("t")).kill(by="ana", reason=WHY)


async def retries_it(world: World) -> None:
    await world.runtime.start(Tour.at("t"), TakeTour(["r"], "a", nap=60.0))
    with suppress(NotTaken):
        await world.runtime.saga(Tour.at("t")).retry(by="ana", reason=WHY)


async def compensates_it(world: World) -> None:
    await world.runtime.start(Tour.at("t"), TakeTour(["r"], "a", nap=600.0))
    await world.sleep(1.0)
    with suppress(Refused):
        await world.runtime.saga(Tour.at("t")).compensate(by="ana", reason=WHY)


async def reminds(world: World) -> None:
    await world.runtime.remind(Room.at("r"), "later", Hold("t"), after=timedelta(minutes=1))


async def forgets(world: World) -> None:
    await world.runtime.remind(Room.at("r"), "never", Hold("t"), after=timedelta(hours=1))
    await world.runtime.forget(Room.at("r"), "never")


async def schedules(world: World) -> None:
    await world.runtime.schedule("nightly", Trip, BookTrip(["r"]), every=timedelta(days=1))


async def deletes(world: World) -> None:
    with suppress(ReplyErased):  # by this client's attempt before
        await world.runtime.ask(Room.at("r"), Hold("t"), id="t")
    await world.runtime.delete(Room.at("r"))


DOORS: list[Scenario] = [
    asks,
    is_refused,
    transacts,
    starts,
    ends_it,
    retries_it,
    compensates_it,
    reminds,
    forgets,
    schedules,
    deletes,
]
every_door = pytest.mark.parametrize("scenario", DOORS, ids=lambda one: one.__name__)


@every_door
def test_what_is_acknowledged_is_durable(scenario: Scenario) -> None:
    Simulation().explore(scenario, actors=ALL, runs=20)


@every_door
def test_an_acknowledgement_that_does_not_wait_is_seen(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: replies are given when they are made."""

    def done(self: Promise, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def failed(self: Promise, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    monkeypatch.setattr(Promise, "done", done)
    monkeypatch.setattr(Promise, "failed", failed)
    with pytest.raises(InvariantBroken, match=BROKEN):
        Simulation().run(scenario, actors=ALL)


def test_a_verb_that_is_answered_before_it_is_enqueued_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out: Any = vars(SagaVerbs)["_carry_out"]

    def hasty(self: SagaVerbs, envelope: Envelope) -> None:
        if envelope.reply is not None:
            envelope.reply.done(None)
        carry_out(self, envelope)

    monkeypatch.setattr(SagaVerbs, "_carry_out", hasty)
    with pytest.raises(InvariantBroken, match=rf"{BROKEN}  Tour/t answered Kill before"):
        Simulation().run(ends_it, actors=ALL)


def test_a_transaction_that_is_answered_before_it_is_enqueued_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    decide: Any = vars(Transaction)["_decide"]

    def hasty(self: Any) -> None:
        self._promise.done((40, 160))
        decide(self)

    monkeypatch.setattr(Transaction, "_decide", hasty)
    with pytest.raises(InvariantBroken, match=rf"{BROKEN}  Account/a answered Withdraw before"):
        Simulation().run(transacts, actors=ALL)


def test_a_transaction_that_is_answered_otherwise_the_second_time_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """P3."""

    async def other(self: Any, _versions: list[int]) -> None:
        self._promise.done((0, 0))

    monkeypatch.setattr(Transaction, "_first_replies", other)
    with pytest.raises(InvariantBroken, match=rf"{BROKEN}  a transaction answered Withdraw and Deposit with"):
        Simulation().run(transacts, actors=ALL)
