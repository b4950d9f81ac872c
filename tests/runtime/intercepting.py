"""Interceptors that the tests put before the doors."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from actors import Call, Proceed
from runtime import Runtime
from tests.runtime.cast import Account, Begin, Board, Deposit, Desk, Hold, Lines, Note, Play, Room

R = Room.at("r")


class Seen:
    """An interceptor that notes what comes by, and what becomes of it."""

    def __init__(self, name: str = "seen", notes: list[str] | None = None) -> None:
        self.name = name
        self.notes: list[str] = [] if notes is None else notes
        self.calls: list[Call] = []

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        self.calls.append(call)
        self.notes.append(f"{self.name} in")
        try:
            return await proceed(call)
        finally:
            self.notes.append(f"{self.name} out")

    @property
    def came(self) -> list[tuple[str, str, str]]:
        return [(call.kind, str(call.address), type(call.request).__name__) for call in self.calls]


async def waits(self: Desk, message: Note) -> str:
    await asyncio.Event().wait()
    return ""


def doors(runtime: Runtime) -> list[Callable[[], Awaitable[object]]]:
    account, play = Account.at("a"), Play.at("p")
    return [
        lambda: runtime.ask(account, Deposit(1)),
        lambda: runtime.tell(account, Deposit(1)),
        lambda: runtime.transact((account, Deposit(1)), (R, Hold("t"))),
        lambda: runtime.transact((R, Hold("t")), (account, Deposit(1))),
        lambda: runtime.start(play, Begin()),
        lambda: runtime.ask(Board.at(), Lines()),
        lambda: runtime.remind(account, "later", Deposit(1), after=timedelta(seconds=1)),
        lambda: runtime.saga(play).kill(by="eve", reason="because"),
    ]
