"""A turn that takes long is named in the log, once a burst and class; the others are not."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from actors import Actor, Command
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, Desk, Note
from tests.runtime.tools import comes, quiet


class Work(Command["Worker", None]):
    seconds: float = 0.0


class Other(Command["Worker", None]):
    seconds: float = 0.0


class Worker(Actor):
    """A turn takes as long as its message says."""

    work: ClassVar[Callable[[float], None]]

    def receive(self, message: Work | Other) -> None:
        Worker.work(message.seconds)


class Peer(Worker):
    """Another class of workers."""

    def receive(self, message: Work | Other) -> None:
        Worker.work(message.seconds)


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    Worker.work = clock.advance
    return clock


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "slow turn" in record.getMessage()]


async def send(runtime: Runtime, *messages: Any, to: str = "a") -> None:
    """Send all of them, to be handled at one go."""
    for message in messages:
        await runtime.tell(Worker.at(to), message)
    await quiet(runtime)


async def test_a_slow_turn_is_named_with_its_actor_and_message(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    async with Runtime("memory:", [Worker], clock=clock) as runtime:
        await send(runtime, Work(0.1))
        assert told(caplog) == []
        await send(runtime, Other(0.25))
    assert told(caplog) == ["event='slow turn' actor='Worker/a' message='Other' seconds=0.25 untold_before=0"]
    assert caplog.records[-1].levelno == logging.WARNING


async def test_it_is_told_once_a_burst_and_class(caplog: pytest.LogCaptureFixture, clock: ManualClock) -> None:
    async with Runtime("memory:", [Worker, Peer], clock=clock) as runtime:
        await send(runtime, Work())
        await send(runtime, Work(), to="b")
        for _ in range(3):
            await send(runtime, Work(0.2))
            await send(runtime, Work(0.2), to="b")
        assert len(told(caplog)) == 1
        await runtime.tell(Peer.at("p"), Work())
        await quiet(runtime)
        await runtime.tell(Peer.at("p"), Work(0.2))
        await quiet(runtime)
        assert [line.split()[2] for line in told(caplog)] == ["actor='Worker/a'", "actor='Peer/p'"]
        clock.advance(11)
        await send(runtime, Work(0.2))
        assert "untold_before=5" in told(caplog)[-1]


async def test_one_among_many_is_named(caplog: pytest.LogCaptureFixture, clock: ManualClock) -> None:
    async with Runtime("memory:", [Worker], clock=clock) as runtime:
        await send(runtime, *[Work(0.09)] * 10)
        assert told(caplog) == []  # together they took long, but none of them did
        await send(runtime, *[Work()] * 10, Other(0.11), *[Work()] * 10)
        assert told(caplog) == ["event='slow turn' actor='Worker/a' message='Other' seconds=0.11 untold_before=0"]


@pytest.mark.parametrize(
    ("limit", "warned"), [(timedelta(seconds=1), False), (timedelta(seconds=0.3), True), (None, False)]
)
async def test_the_limit_is_the_users(
    caplog: pytest.LogCaptureFixture, clock: ManualClock, limit: timedelta | None, warned: bool
) -> None:
    async with Runtime("memory:", [Worker], clock=clock, slow_turn=limit) as runtime:
        await send(runtime, Work())
        await send(runtime, Work(0.5))
    assert bool(told(caplog)) is warned


async def test_an_async_actor_may_wait_but_not_keep_the_others_waiting(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    going_on = asyncio.Event()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def waits(self: Desk, message: Note) -> str:
        await asyncio.sleep(0)
        if message.text == "waits":
            await going_on.wait()
        else:
            clock.advance(0.2)
        with pytest.raises(ZeroDivisionError):
            await fails()
        return message.text

    Desk.script = waits
    async with Runtime("memory:", ALL, clock=clock) as runtime:
        waiting = asyncio.create_task(runtime.ask(Desk.at("a"), Note("waits")))
        await comes(lambda: Desk.inbox)
        clock.advance(60)
        going_on.set()
        assert await waiting == "waits"
        assert told(caplog) == []
        assert await runtime.ask(Desk.at("b"), Note("works")) == "works"
    assert told(caplog) == ["event='slow turn' actor='Desk/b' message='Note' seconds=0.2 untold_before=0"]
