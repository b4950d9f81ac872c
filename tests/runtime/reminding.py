"""A service that sets reminders for itself, and what the tests of reminders drive it with."""

from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec

from actors import Command, Decision, Event, Refused, Service, State
from actors.reminders import Forget, Remind
from persistence import Record
from runtime import ManualClock, Runtime
from tests.runtime.cast import ALL, DOWN
from tests.runtime.tools import content, of, quiet

SECOND = 1_000_000


class Wound(Event):
    text: str


class Struck(Event):
    text: str


class Wind(Command["Bell", str]):
    """Let it be noted, and set and drop what is named."""

    text: str
    what: tuple[Remind | Forget, ...] = ()
    noted: bool = True


class Strike(Command["Bell", int]):
    """What a bell reminds itself of. One called ``down...`` fails while that is in DOWN; ``never`` is refused."""

    text: str
    silent: bool = False
    again: tuple[tuple[str, float], ...] = ()
    """Names and seconds of reminders to set then."""
    drop: tuple[str, ...] = ()


class Struckness(State):
    texts: tuple[str, ...] = ()


class Bell(Service[Struckness, Wind | Strike, Wound | Struck]):
    initial = Struckness()

    def decide(self, state: Struckness, command: Wind | Strike) -> Decision:
        match command:
            case Wind("full"):
                raise Refused("no more")
            case Wind(text, what, noted):
                return with_reminders(command.reply(text, *([Wound(text)] if noted else [])), what)
            case Strike(text) if text in DOWN:
                raise ConnectionError(f"{text} is down")
            case Strike("never"):
                raise Refused("it never strikes")
            case Strike(text, silent, again, drop):
                then: tuple[Remind | Forget, ...] = (
                    *(strike(name, seconds) for name, seconds in again),
                    *map(Forget, drop),
                )
                return with_reminders(command.reply(len(state.texts), *([] if silent else [Struck(text)])), then)
            case _:
                assert_never(command)

    def evolve(self, state: Struckness, event: Wound | Struck) -> Struckness:
        match event:
            case Wound():
                return state
            case Struck(text):
                return Struckness((*state.texts, text))
            case _:
                assert_never(event)


BELL = Bell.at("big")
EVERYBODY: list[type] = [*ALL, Bell]


def with_reminders(decision: Decision, what: tuple[Remind | Forget, ...]) -> Decision:
    for one in what:
        if isinstance(one, Forget):
            decision = decision.forget(one.name)
        else:
            decision = decision.remind(one.name, one.command, after=one.after, at=one.at, every=one.every, to=one.to)
    return decision


def strike(name: str, seconds: float | None = None, *, every: float | None = None, command: Any = None) -> Remind:
    """Return a reminder to strike, in so many seconds, or at each interval."""
    return Remind(
        name,
        command or Strike(name),
        None if seconds is None else timedelta(seconds=seconds),
        every=None if every is None else timedelta(seconds=every),
    )


def at(time: datetime, name: str = "noon", **more: Any) -> Remind:
    return Remind(name, Strike(name), at=time, **more)


async def wind(runtime: Runtime, *what: Remind | Forget, address: Any = BELL, text: str = "wound") -> None:
    await runtime.ask(address, Wind(text, what))


async def struck(runtime: Runtime, address: Any = BELL) -> tuple[str, ...]:
    state: Struckness = await runtime.state_of(address)
    return state.texts


async def pass_time(runtime: Runtime, clock: ManualClock, seconds: float, steps: int = 1) -> None:
    """Let time pass, and whatever follows from it."""
    await quiet(runtime)
    for _ in range(steps):
        clock.advance(seconds / steps)
        await quiet(runtime)


def struck_at(records: list[Record], start: int) -> list[tuple[str, float]]:
    """Return what was struck, and how many seconds after the start."""
    return [(content(record)["text"], (record.time - start) / SECOND) for record in of(records, "Struck")]


def check_never_early(records: list[Record]) -> None:
    """Check that no reminder was taken as done before it was due, and none twice."""
    done: set[tuple[object, ...]] = set()
    versions: dict[tuple[object, ...], int] = {}
    for record in records:
        if record.type == "service.reminder":
            versions[record.stream, content(record)["name"]] = record.version
        elif record.type == "service.reminded":
            found = msgspec.json.decode(record.data)
            assert record.time >= found["due"]
            key = (record.stream, found["name"], versions[record.stream, found["name"]], found["due"])
            assert key not in done
            done.add(key)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)
