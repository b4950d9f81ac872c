"""Limits of what actors may say, be it by mistake: one clear error each, nothing written, and everybody goes on."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_never

import pytest

from actors import Command, Decision, DefinitionError, Event, Failed, Parked, Saga, Service, State, UnknownActor
from persistence import MemoryJournal
from persistence.limits import ID_LENGTH, MAX_DEPTH, MAX_PAYLOAD, MOST_EVENTS, TAG_LENGTH
from runtime import Runtime
from runtime.takers import LONGEST_KEY

LONE = "\ud800"


class Written(Event):
    what: Any


class Write(Command["Ledger", Any]):
    """Write so many events, with these tags, on condition that there are none with others; answer with the same."""

    what: Any
    count: int = 1
    tags: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


class Lines(State):
    lines: tuple[Any, ...] = ()


class Last(Command["Ledger", Any]):
    """What was written last?"""


class Ledger(Service[Lines, Write | Last, Written]):
    initial = Lines()
    wanted: tuple[str, ...] = ()

    def tags(self, event: Written) -> tuple[str, ...]:
        return self.wanted

    def decide(self, state: Lines, command: Write | Last) -> Decision:
        match command:
            case Last():
                return command.reply(state.lines[-1] if state.lines else None)
            case Write(what, count, tags, unless):
                self.wanted = tags
                decision = command.reply(what, *[Written(what)] * count)
                return decision.unless("there is one", tags=unless) if unless else decision
            case _:
                assert_never(command)

    def evolve(self, state: Lines, event: Written) -> Lines:
        return Lines((*state.lines[-2:], event.what))


class Copy(Command["Copying", Any]):
    what: Any
    step: str = "write"


class Copying(Saga[Copy, Any]):
    async def run(self, command: Copy) -> Any:
        return await self.ask(command.step, Ledger.at("copy"), Write(command.what), undo=Write(command.what))


ALL = [Ledger, Copying]


def nested(depth: int) -> Any:
    """Return lists of which so many stand within each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BAD: dict[str, tuple[str, Write, str | None, str]] = {
    "key: UTF-8": (LONE, Write(1), None, "an actor's key must be text that UTF-8 can hold"),
    "key: long": ("k" * (LONGEST_KEY + 1), Write(1), None, "an actor's key has 1,025 characters, the limit is 1,024"),
    "id: UTF-8": ("a", Write(1), LONE, "a command's id must be text that UTF-8 can hold"),
    "id: long": ("a", Write(1), "i" * (ID_LENGTH + 1), "a command's id has 2,049 characters, the limit is 2,048"),
    "payload: large": ("a", Write("x" * MAX_PAYLOAD), None, "limit is 1,048,576; max_payload= raises it, up to 16,777"),
    "payload: deep": ("a", Write(nested(MAX_DEPTH)), None, "more than 128 lists and objects stand within each other"),
    "payload: a bomb": ("a", Write(nested(900)), None, "more than 128 lists and objects stand within each other"),
    "payload: UTF-8": ("a", Write(LONE), None, "surrogates not allowed"),
    "payload: NaN": ("a", Write([{"a": float("nan")}]), None, "no NaN"),
    "payload: a huge number": ("a", Write(10**5_000), None, "can't be stored"),
    "tag: long": ("a", Write(1, tags=("t" * (TAG_LENGTH + 1),)), None, "a tag has 1,025 characters"),
    "tag: UTF-8": ("a", Write(1, tags=("a", LONE)), None, "a tag must be text that UTF-8 can hold"),
    "events: many": ("a", Write(1, MOST_EVENTS + 1), None, "a decision has up to 10,000 events, not 10,001"),
    "condition: many tags": ("a", Write(1, unless=tuple(map(str, range(101)))), None, "100"),
    "condition: UTF-8": ("a", Write(1, unless=(LONE,)), None, "text that UTF-8 can hold"),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_is_beyond_a_limit_is_a_failure_and_nothing_is_written(what: str) -> None:
    key, command, request_id, said = BAD[what]
    async with Runtime("memory:", ALL) as runtime:
        await runtime.ask(Ledger.at("a"), Write("before"))
        other = asyncio.create_task(runtime.ask(Ledger.at("b"), Write("beside")))
        with pytest.raises((Failed, UnknownActor), match=said) as caught:
            await runtime.ask(Ledger.at(key), command, id=request_id)
        assert len(str(caught.value)) < 500
        assert await other == "beside"
        assert await runtime.ask(Ledger.at("a"), Last()) == "before"
        assert runtime.position == 2
        assert await runtime.ask(Ledger.at("a"), Write("after")) == "after"


async def test_what_is_just_within_the_limits_is_there_after_a_restart(tmp_path: Path) -> None:
    url, key, deep = f"sqlite:{tmp_path}/j.db", "\U0001f3ad" * LONGEST_KEY, nested(MAX_DEPTH - 1)
    tags = ("\0" * TAG_LENGTH, "é" * TAG_LENGTH)
    async with Runtime(url, ALL) as runtime:
        assert await runtime.ask(Ledger.at("many"), Write(1, MOST_EVENTS)) == 1
        assert await runtime.ask(Ledger.at(key), Write(deep, 1, tags), id="\0" * ID_LENGTH) == deep
        assert await runtime.ask(Copying.at(key), Copy(deep)) == deep  # ids of steps are longer than keys
        await runtime.remind(Copying.at(key), "n" * 200, Copy(deep), after=timedelta(days=1))
    async with Runtime(url, ALL) as runtime:
        assert await runtime.ask(Ledger.at(key), Last()) == deep
        assert await runtime.ask(Ledger.at(key), Write(deep, 1, tags), id="\0" * ID_LENGTH) == deep
        assert await runtime.ask(Copying.at(key), Copy(deep)) == deep
        assert len(await runtime.reminders(Copying.at(key))) == 1
        assert (await runtime.state_of(Ledger.at(key))).lines[-1] == deep


# -- a limit of one's own -------------------------------------------------------------------------------------------

LARGE = "x" * 2_000_000


async def test_a_larger_limit_holds_for_all_that_is_said(tmp_path: Path) -> None:
    """For events, commands, replies, steps with their undos, and results; and for reading them back."""
    url = f"sqlite:{tmp_path}/j.db"
    async with Runtime(url, ALL, max_payload=3_000_000) as runtime:
        assert await runtime.ask(Ledger.at("a"), Write(LARGE), id="one") == LARGE
        assert await runtime.ask(Copying.at("c"), Copy(LARGE)) == LARGE
        with pytest.raises(Failed, match="the limit is 3,000,000"):
            await runtime.ask(Ledger.at("a"), Write("x" * 3_000_000))
    async with Runtime(url, ALL, max_payload=3_000_000) as runtime:
        assert await runtime.ask(Ledger.at("a"), Last()) == LARGE
        assert await runtime.ask(Ledger.at("a"), Write(LARGE), id="one") == LARGE
        assert await runtime.ask(Copying.at("c"), Copy(LARGE)) == LARGE
        assert runtime.position == 1 + 4 + 1  # what the ledger wrote, the saga's story, and its step
    async with Runtime(url, ALL) as runtime:
        with pytest.raises(Parked, match=r"has 2,000,0.. bytes, the limit is 1,048,576; max_payload= raises it"):
            await runtime.ask(Ledger.at("a"), Last())
        assert await runtime.ask(Ledger.at("b"), Write("small")) == "small"


async def test_a_smaller_limit_too() -> None:
    async with Runtime("memory:", ALL, max_payload=2_000) as runtime:
        with pytest.raises(Failed, match="the limit is 2,000"):
            await runtime.ask(Ledger.at("a"), Write("x" * 2_000))
        assert runtime.position == 0
        assert await runtime.ask(Ledger.at("a"), Write("x" * 1_900)) == "x" * 1_900


async def test_a_journal_that_is_given_has_its_own_limit() -> None:
    async with Runtime(MemoryJournal(max_payload=3_000_000), ALL) as runtime:
        assert await runtime.ask(Ledger.at("a"), Write(LARGE)) == LARGE
    with pytest.raises(ValueError, match=r"max_payload goes to the journal itself: MemoryJournal\(\.\.\., max_payload"):
        Runtime(MemoryJournal(), ALL, max_payload=3_000_000)


@pytest.mark.parametrize("size", [0, 1_023, 16_777_217])
@pytest.mark.parametrize("url", ["memory:", "sqlite:nowhere.db"])
def test_a_limit_that_makes_no_sense_is_said_at_once(url: str, size: int) -> None:
    with pytest.raises(ValueError, match="max_payload is 1,024 to 16,777,216 bytes"):
        Runtime(url, ALL, max_payload=size)


# -- names ----------------------------------------------------------------------------------------------------------


class LongNamed(Event, tag="t" * 256):
    pass


class LongNames(Service[State, Write, LongNamed]):
    initial = State()


async def test_a_name_that_could_not_be_stored_is_a_mistake_in_the_definition() -> None:
    with pytest.raises(DefinitionError, match="LongNames: a name that is stored has 256 characters, the limit is 255"):
        async with Runtime("memory:", [LongNames]):
            pass


async def test_a_step_with_a_long_name_parks_its_saga() -> None:
    async with Runtime("memory:", ALL) as runtime:
        with pytest.raises(Parked, match=r"a step can't be called .* of 200 characters at the most"):
            await runtime.ask(Copying.at("c"), Copy(1, "s" * 201))
        assert await runtime.ask(Copying.at("d"), Copy(1, "s" * 200)) == 1
