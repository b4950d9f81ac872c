"""Sagas that wait for each other's locks at services of two nodes: nobody sees the circle, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from actors import Backoff, Command, Parked, Refused, RetryPolicy, Saga
from tests.cluster.plays import end_of, open_all
from tests.cluster.village import Nodes, Village, play
from tests.runtime.locking import Queued, Tear, Write, check_locks
from tests.runtime.tools import content, of

WHO: Any = {"by": "ana", "reason": "they wait for each other"}


class Paper(Queued):
    """The same on another node. It takes what a page takes, of whatever class that is."""


class Swap(Command["Swapper", int]):
    first: str
    second: str


class Swapper(Saga[Swap, int]):
    """Writes on a page and on a paper, or the other way round, and sleeps in between."""

    retry = RetryPolicy(Backoff(timedelta(seconds=1)), budget=timedelta(minutes=2))
    within: timedelta | None = None

    async def run(self, command: Swap) -> int:
        await self._write(command.first)
        await self.sleep("nap", timedelta(seconds=5))
        await self._write(command.second)
        return 2

    def _write(self, on: str) -> Any:
        to: Any = {"page": Queued, "paper": Paper}[on].at("x")
        line = f"one {self.key}"
        who = f"Swapper/{self.key}"
        return self.ask(on, to, Write(line, who), undo=Tear(line), lock=True, timeout=self.within)


def swapper(**settings: Any) -> type[Swapper]:
    return type("Swapper", (Swapper,), settings)


def nodes(saga: type[Swapper]) -> Nodes:
    return {"pages": ([Queued], []), "papers": ([Paper], []), "front": ([saga], [Queued, Paper])}


Asked = Sequence["asyncio.Future[Any]"]
ANA, BO = Swapper.at("ana"), Swapper.at("bo")


async def in_a_circle(village: Village) -> Asked:
    """Let Bo begin a second after Ana, and each come to what the other one has."""
    await open_all(village)
    front = village.runtimes["front"]
    asked = [asyncio.ensure_future(front.ask(ANA, Swap("page", "paper")))]
    await asyncio.sleep(1)
    asked.append(asyncio.ensure_future(front.ask(BO, Swap("paper", "page"))))
    await asyncio.sleep(9)
    for name, address, holder in (("pages", Queued.at("x"), ANA), ("papers", Paper.at("x"), BO)):
        (lock,) = await village.runtimes[name].locks(address)
        assert (lock.holder, lock.waiting) == (holder, 1)
    return asked


def lines(village: Village, node: str) -> list[str]:
    """Return who has written and was not undone, having checked the locks."""
    records = village.journals[node].records
    check_locks(records)
    wrote = [content(record)["line"] for record in of(records, "Wrote")]
    for record in of(records, "Tore"):
        wrote.remove(content(record)["line"])
    return wrote


def story(saga: type[Swapper], ends: Callable[[Village, Asked], Awaitable[None]]) -> None:
    async def main(village: Village) -> None:
        await ends(village, await in_a_circle(village))
        await asyncio.sleep(60)

    village = play(main, nodes(saga))
    assert (end_of(village, ANA), end_of(village, BO)) == ("saga.compensated", "saga.completed")
    assert lines(village, "pages") == lines(village, "papers") == ["one bo"]


def test_a_deadline_ends_it_and_the_others_go_on() -> None:
    async def ends(village: Village, asked: Asked) -> None:
        with pytest.raises(Refused, match="the deadline has passed"):
            await asked[0]
        assert village.clock.steady() < 61e6
        assert await asked[1] == 2

    story(swapper(deadline=timedelta(minutes=1)), ends)


def test_timeouts_park_both_when_the_budget_is_spent_and_a_person_decides() -> None:
    async def ends(village: Village, asked: Asked) -> None:
        front = village.runtimes["front"]
        for one in asked:
            with pytest.raises(
                Parked, match=r"step '\w+' was given up after \d+ failures in 0:02:00: no reply to step"
            ):
                await one
        await front.saga(ANA).compensate(**WHO)
        await front.saga(BO).retry(**WHO)
        assert await front.result(BO) == 2

    story(swapper(within=timedelta(seconds=10)), ends)


def test_without_either_it_waits_for_a_person() -> None:
    async def ends(village: Village, asked: Asked) -> None:
        await asyncio.sleep(3600)
        assert not any(one.done() for one in asked)
        await village.runtimes["front"].saga(ANA).compensate(**WHO)
        assert await asked[1] == 2

    story(Swapper, ends)
