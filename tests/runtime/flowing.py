"""Sagas of which only so many are under way at once, whose steps go only so fast, and how their journals are judged.

As a program, ``python -m tests.runtime.flowing URL BATCHES``, it starts jobs on a journal and lets them end, and dies
when that has so many batches more.
"""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from actors import Address, Command, Saga
from persistence import Journal, Record
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, SOON, Hold, Release, Room
from tests.runtime.dying import deadly
from tests.runtime.tools import content, quiet


class Go(Command["Job", None]):
    """What a job waits for."""


class Work(Command["Job", str]):
    rooms: list[str] = []
    priority: int = 0
    waits: bool = True
    nap: float = 0.0


class Job(Saga[Work, str]):
    """Holds rooms, naps, and waits until it may go."""

    at_once = 2
    deadline = timedelta(minutes=5)
    retry = SOON
    undo_retry = SOON
    receives = Go

    @classmethod
    def priority_of(cls, command: Work) -> int:
        return command.priority

    async def run(self, command: Work) -> str:
        for room in command.rooms:
            await self.ask(room, Room.at(room), Hold(self.key), undo=Release(self.key))
        if command.nap:
            await self.sleep("nap", timedelta(seconds=command.nap))
        if command.waits:
            await self.receive(Go)
        return self.key


class Raise(Command["Family", int]):
    generations: int
    children: int = 1


class Family(Saga[Raise, int]):
    """Asks sagas of its own class."""

    at_once = 1
    retry = SOON

    async def run(self, command: Raise) -> int:
        if not command.generations:
            await self.ask("hold", Room.at("cradle"), Hold(self.key), undo=Release(self.key))
            return 1
        counts = await self.parallel(
            *(
                self.ask(f"{n}", Family.at(f"{self.key}.{n}"), Raise(command.generations - 1, command.children))
                for n in range(command.children)
            )
        )
        return 1 + sum(counts)


class Left(Command["West", int]):
    other: str = ""


class Right(Command["East", int]):
    other: str = ""


class Steer(Command["West", None]): ...


class Turn(Command["East", None]): ...


class West(Saga[Left, int]):
    """Waits until it is told, and then asks a saga of the other class."""

    at_once = 1
    retry = SOON
    receives = Steer

    async def run(self, command: Left) -> int:
        if not command.other:
            return 1
        await self.receive(Steer)
        return 1 + await self.ask("other", East.at(command.other), Right())


class East(Saga[Right, int]):
    """As the other."""

    at_once = 1
    retry = SOON
    receives = Turn

    async def run(self, command: Right) -> int:
        if not command.other:
            return 1
        await self.receive(Turn)
        return 1 + await self.ask("other", West.at(command.other), Left())


CAST: list[type] = [*ALL, Job, Family, West, East]


def job(number: int) -> Address[Job]:
    return Job.at(f"{number}")


async def start_jobs(runtime: Runtime, count: int, work: Work | None = None) -> None:
    for number in range(count):
        await runtime.start(job(number), work or Work())


async def finish(runtime: Runtime, *keys: int) -> None:
    """Let jobs come to their end."""
    for key in keys:
        await runtime.ask(job(key), Go(), id=f"go {key}")
    await quiet(runtime)


def began(records: Iterable[Record], actor: str = "Job") -> list[str]:
    """Return the keys of the sagas that have begun, in order."""
    return [record.stream[1] for record in records if record.stream[0] == actor and record.type == "saga.started"]


def queued(records: Iterable[Record], actor: str = "Job") -> list[str]:
    """Return the keys of the sagas that had to queue, in order."""
    return [record.stream[1] for record in records if record.stream[0] == actor and record.type == "saga.queued"]


ENDS = ("saga.completed", "saga.compensated", "saga.killed", "saga.parked")


def check_places(records: Sequence[Record], actor: str, places: int) -> None:
    """Check that no saga has begun while so many were under way, and that each began once, if at all."""
    under_way: set[str] = set()
    begun: Counter[str] = Counter()
    for record in records:
        name, key = record.stream
        if name != actor:
            continue
        if record.type == "saga.started":
            assert len(under_way) < places, f"{key} began while {sorted(under_way)} were under way"
            under_way.add(key)
            begun[key] += 1
        elif record.type in ENDS:
            under_way.discard(key)
        elif record.type == "saga.retried" and key in begun:
            under_way.add(key)
    assert max(begun.values(), default=1) == 1


def check_order(records: Sequence[Record], actor: str = "Job", places: int = 2) -> None:
    """Check that those that had to queue got their places in the order of their coming, within each priority.

    Of two that have got theirs, the later one may be the first to begin: the other one's cell was killed, say.
    """
    waiting: dict[int, list[str]] = defaultdict(list)
    priority: dict[str, int] = {}
    under_way: set[str] = set()
    for record in records:
        name, key = record.stream
        if name != actor:
            continue
        line = waiting[priority.get(key, 0)]
        if record.type == "saga.queued":
            priority[key] = content(record).get("priority", 0)
            waiting[priority[key]].append(key)
        elif record.type == "saga.started":
            if key in line:
                ahead = line[: line.index(key)]
                assert len(under_way) + len(ahead) < places, f"{key} began before {ahead}"
                line.remove(key)
            under_way.add(key)
        elif record.type in ENDS:
            under_way.discard(key)
            if key in line:
                line.remove(key)


async def let_pass(runtime: Runtime, clock: ManualClock, seconds: float, step: float = 0.1) -> None:
    """Let time pass, and what it leads to happen."""
    for _ in range(round(seconds / step)):
        await quiet(runtime)
        clock.advance(step)
    await quiet(runtime)


JOBS = 30


async def do_all(journal: str | Journal) -> None:
    """Start jobs of several priorities, where they are not there yet, and let all come to their end."""
    async with Runtime(journal, CAST) as runtime:
        for number in range(JOBS):
            await runtime.start(job(number), Work(["flight"], priority=number % 3))
        for number in range(JOBS):
            runtime.tell(job(number), Go(), id=f"go {number}")
        await asyncio.gather(*(runtime.result(job(number)) for number in range(JOBS)))


if __name__ == "__main__":
    asyncio.run(do_all(deadly(sys.argv[1], int(sys.argv[2]))))
