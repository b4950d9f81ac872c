"""Whoever was refused, or told of a failure, leaves nothing in memory: no error, no frame of the turn, no envelope."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType

import pytest

from actors import Actor, Command, Decision, Event, Failed, Refused, Service, State
from runtime import Runtime
from tests.runtime.cast import ALL, Account, BookTrip, Deposit, Trip, Withdraw

ASKS = 50
"""So many errors of each sort; what stays of each would be there so often."""


class Work(Command["Idler", None]):
    pass


class Idler(Actor):
    async def receive(self, message: Work) -> None:
        raise Refused("no")


class Count(Command["Clerk", None]):
    pass


class Counted(Event):
    pass


class Clerk(Service[State, Count, Counted]):
    initial = State()

    def decide(self, state: State, command: Count) -> Decision:
        raise ValueError("no")

    def evolve(self, state: State, event: Counted) -> State:
        return state


WAYS: dict[str, Callable[[Runtime, int], Awaitable[object]]] = {
    "a command": lambda runtime, number: runtime.ask(Account.at("a"), Withdraw(9), id=f"c{number}"),
    "without an id": lambda runtime, _: runtime.ask(Account.at("a"), Withdraw(9)),
    "within a time": lambda runtime, _: runtime.ask(Account.at("a"), Withdraw(9), timeout=60),
    "a transaction": lambda runtime, _: runtime.transact((Account.at("a"), Withdraw(9)), (Account.at("b"), Deposit(1))),
    "a plain actor": lambda runtime, _: runtime.ask(Idler.at("i"), Work()),
    "a failure": lambda runtime, _: runtime.ask(Clerk.at("c"), Count()),
    "a saga that has ended": lambda runtime, _: runtime.ask(Trip.at("t"), BookTrip(["full"]), id="t"),
}


def living() -> Counter[type]:
    """Return how many errors there are, and frames."""
    gc.collect()
    return Counter(type(one) for one in gc.get_objects() if isinstance(one, BaseException | FrameType))


@pytest.mark.parametrize("way", WAYS)
async def test_errors_leave_nothing(way: str) -> None:
    async def ask(count: int, first: int) -> None:
        for number in range(first, first + count):
            with suppress(Refused, Failed):
                await WAYS[way](runtime, number)

    async with Runtime("memory:", [*ALL, Idler, Clerk]) as runtime:
        await ask(5, 0)
        before = living()
        await ask(ASKS, 5)
        more = living() - before
    assert more.total() < ASKS, more
