"""Stories that somebody is told what to do in."""

from datetime import timedelta
from typing import Any

from tests.runtime.cast import (
    DOWN,
    Account,
    Begin,
    Held,
    Hold,
    Play,
    Room,
    Withdraw,
)
from tests.runtime.playing import House, hold

WHO: Any = {"by": "ana", "reason": "the bank was called"}


async def two_rooms(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    return await hold(self, "b")  # type: ignore[no-any-return]


async def with_pivot(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.pivot("pay", Account.at("ana"), Withdraw(10))
    await self.ask("tail", Room.at("tail"), Hold(self.key))
    return Held(1)


async def sleeps(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await self.sleep("nap", timedelta(hours=1))
    return await hold(self, "b")  # type: ignore[no-any-return]


async def cannot_go_back(self: Play, command: Begin) -> Held:
    await hold(self, "a")
    await hold(self, "keeps it")
    return await hold(self, "full")  # type: ignore[no-any-return]


async def parked(at: House) -> None:
    """Have the saga parked, at a room that was down for a minute."""
    DOWN.add("b")
    await at.begin()
    await at.passes(64)
    assert await at.status() == "parked"
    DOWN.clear()
