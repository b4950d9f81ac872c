"""Sagas whose steps go to a class with a rate, and how what came there is judged."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import ClassVar

from actors import Command, Decision, Event, Rate, Refused, Saga, Service, State
from runtime import ManualClock
from runtime.throttle import Throttle, Waiting
from tests.runtime.cast import ALL, SOON


class Call(Command["Api", str]):
    text: str


class Called(Event):
    text: str


class Nothing(State):
    pass


class Api(Service[Nothing, Call, Called]):
    """Notes when it is called."""

    initial = Nothing()
    rate = Rate(2, per=timedelta(seconds=1))
    clock: ClassVar[ManualClock] = ManualClock()
    calls: ClassVar[list[tuple[int, str]]] = []
    script: ClassVar[Callable[[str], str] | None] = None

    def decide(self, state: Nothing, command: Call) -> Decision:
        Api.calls.append((Api.clock.steady(), command.text))
        return command.reply(command.text if Api.script is None else Api.script(command.text), Called(command.text))

    def evolve(self, state: Nothing, event: Called) -> Nothing:
        return state


class Order(Command["Shop", int]):
    calls: list[str]
    priority: int = 0
    fails: bool = False
    undo: bool = True


class Shop(Saga[Order, int]):
    """Makes its calls, all at once, and refuses in the end where it is told to."""

    retry = SOON
    undo_retry = SOON
    deadline = timedelta(minutes=1)
    timeout = timedelta(seconds=2)

    @classmethod
    def priority_of(cls, command: Order) -> int:
        return command.priority

    async def run(self, command: Order) -> int:
        steps = [
            self.ask(name, Api.at(), Call(name), undo=Call(f"undo {name}") if command.undo else None)
            for name in command.calls
        ]
        await self.parallel(*steps)
        if command.fails:
            raise Refused("no")
        return len(steps)


class Bulk(Command["Bulks", int]):
    calls: int


class Bulks(Saga[Bulk, int]):
    """Another class that calls the same."""

    async def run(self, command: Bulk) -> int:
        await self.parallel(*(self.ask(f"{n}", Api.at(), Call(f"bulk {n}")) for n in range(command.calls)))
        return command.calls


class Race(Command["Racer", str]):
    pass


class Racer(Saga[Race, str]):
    """Gives up a call that has not been made in time."""

    async def run(self, command: Race) -> str:
        chosen = await self.select(
            self.ask("call", Api.at(), Call("late"), undo=Call("undo late")),
            self.sleep("patience", timedelta(seconds=3)),
        )
        await self.sleep("rest", timedelta(seconds=60))
        return chosen.name


class Bed(Command["Child | Mother", int]):
    hours: int


class Child(Saga[Bed, int]):
    """Sleeps; it is started no faster than once a second."""

    rate = Rate(1)

    async def run(self, command: Bed) -> int:
        await self.sleep("night", timedelta(hours=command.hours))
        return command.hours


class Mother(Saga[Bed, int]):
    """Brings two to bed."""

    timeout = timedelta(seconds=2)
    retry = SOON

    async def run(self, command: Bed) -> int:
        await self.parallel(*(self.ask(f"{n}", Child.at(f"{n}"), Bed(8)) for n in range(2)))
        return command.hours


CAST: list[type] = [*ALL, Api, Shop, Bulks, Racer, Child, Mother]


def most_in(times: Sequence[int], span: int) -> int:
    """Return how many of these times lie within any span of so many microseconds, at the most."""
    return max((bisect_left(times, time + span) - number for number, time in enumerate(times)), default=0)


def at_once(throttle: Throttle, priority: int, sender: str, then: Callable[[], None]) -> Waiting:
    """Have something wait that is sent as soon as it may go."""

    def go() -> None:
        waiting.sent()
        then()

    waiting = throttle.add(priority, sender, go)
    return waiting
