"""What type checkers would have found: whoever has none is told what was wrong, and what to write instead."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar, cast

import pytest

from actors import (
    Call,
    Command,
    Decision,
    DefinitionError,
    Event,
    Failed,
    Meta,
    NotTaken,
    Parked,
    Proceed,
    Query,
    ReadModel,
    RetryPolicy,
    Service,
    State,
    UnknownActor,
    sql,
)
from persistence import BadJournalUrl
from runtime import Runtime
from tests.runtime.cast import ALL, BookTrip, Hold, Room, Trip, WasHeld


class Tell(Command["Diary", None]):
    pass


class Told(Event):
    text: str = ""


class HowMany(Query["Room", int]):
    pass


class Pages(State):
    count: int = 0


class Diary(Service[Pages, Tell, Told]):
    initial = Pages()
    decided: ClassVar[tuple[Any, ...]] = (Told("hello"),)
    """What it decides."""
    made: ClassVar[tuple[Any, ...]] = ()
    """What ``evolve`` returns; nothing: what it should."""

    def decide(self, state: Pages, command: Tell) -> Decision:
        return command.reply(None, *self.decided)

    def evolve(self, state: Pages, event: Told) -> Pages:
        return cast("Pages", self.made[0]) if self.made else Pages(state.count + len(event.text))


async def let_through(call: Call, proceed: Proceed) -> object:
    return await proceed(call)


async def all_of(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


async def told(runtime: Runtime) -> str:
    """Return what the diary's asker is told, having made sure that nothing was written."""
    with pytest.raises(Failed) as failed:
        await runtime.ask(Diary.at("a"), Tell())
    assert [entry async for entry in runtime.history(Diary.at("a"))] == []
    return str(failed.value)


@pytest.mark.parametrize(
    ("returned", "what"),
    [(None, "None; does every branch return one?"), ({"count": 1}, "a dict"), (Pages, "the class Pages")],
    ids=["None", "dict", "class"],
)
async def test_evolve_must_return_a_state(returned: object, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Runtime("memory:", [Diary]) as runtime:
        monkeypatch.setattr(Diary, "made", (returned,))
        assert f"Diary.evolve must return the next Pages, not {what}" in await told(runtime)
        monkeypatch.undo()
        await runtime.ask(Diary.at("a"), Tell())
        assert await runtime.state_of(Diary.at("a")) == Pages(5)


async def test_a_state_may_be_of_a_class_made_from_that_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Pages):
        pass

    monkeypatch.setattr(Diary, "made", (Full(9),))
    async with Runtime("memory:", [Diary]) as runtime:
        await runtime.ask(Diary.at("a"), Tell())
        assert await runtime.state_of(Diary.at("a")) == Full(9)


@pytest.mark.parametrize(
    ("events", "what"),
    [
        (([Told("x")],), "Diary decided on a list, which is no event; write command.reply(reply, Happened(...))"),
        ((Told,), "Diary decided on the class Told, which is no event"),
        ((WasHeld("x"),), "Diary doesn't name WasHeld among its events"),
    ],
    ids=["list", "class", "other"],
)
async def test_what_is_no_event_of_the_service_is_named(
    events: tuple[Any, ...], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Diary, "decided", events)
    async with Runtime("memory:", [Diary]) as runtime:
        assert what in await told(runtime)


Ask = Callable[[Runtime], Awaitable[object]]

NO_ADDRESS = "^the class Room is no address"
WRONG: dict[str, tuple[Ask, type[Exception], str]] = {
    "a class for an address": (
        lambda runtime: runtime.ask(cast("Any", Room), Hold("a")),
        UnknownActor,
        r'^the class Room is no address; write Actor.at\("key"\)',
    ),
    "text for an address": (
        lambda runtime: runtime.ask(cast("Any", "Room/a"), Hold("a")),
        UnknownActor,
        "a str is no address",
    ),
    "an actor for the address of a query": (
        lambda runtime: runtime.ask(cast("Any", Room("a")), cast("Any", HowMany())),
        UnknownActor,
        "a Room is no address",
    ),
    "a number for a key": (
        lambda runtime: runtime.ask(Room.at(cast("Any", 7)), Hold("a")),
        UnknownActor,
        r"the key of an actor is text, not a int; write Room.at\(str\(key\)\)",
    ),
    "a class for a command": (
        lambda runtime: runtime.ask(Room.at("a"), cast("Any", Hold)),
        NotTaken,
        r"Hold is a class, not a message; write Hold\(...\)",
    ),
    "a query that is told": (
        lambda runtime: runtime.tell(Room.at("a"), cast("Any", HowMany())),
        NotTaken,
        "HowMany is a query, which changes nothing: it can't be sent, only asked",
    ),
    "a timedelta for a timeout": (
        lambda runtime: runtime.ask(Room.at("a"), Hold("a"), timeout=cast("Any", timedelta(seconds=1))),
        TypeError,
        "timeout= is in seconds, timeout=5.0 say, and not a timedelta",
    ),
    "a list for a transaction": (
        lambda runtime: runtime.transact(cast("Any", [(Room.at("a"), Hold("a"))])),
        NotTaken,
        "transact takes pairs, not a list of 1",
    ),
    "a version before the first": (
        lambda runtime: runtime.state_of(Room.at("a"), version=-1),
        ValueError,
        "version=-1 is none",
    ),
    "a text for a moment": (
        lambda runtime: runtime.diff(Room.at("a"), cast("Any", "yesterday")),
        ValueError,
        r"'yesterday' is no moment; write a version, datetime\(..., tzinfo=UTC\) or Position",
    ),
    "a moment before the first": (lambda runtime: runtime.diff(Room.at("a"), -1), ValueError, "-1 is no moment"),
    "a status that there is not": (
        lambda runtime: all_of(runtime.sagas(status=cast("Any", "stuck"))),
        ValueError,
        "no saga is 'stuck'; a status is new, queued, running",
    ),
    "the history of a class": (
        lambda runtime: all_of(runtime.history(cast("Any", Room))),
        UnknownActor,
        NO_ADDRESS,
    ),
    "a class to be killed": (
        lambda runtime: runtime.kill(cast("Any", Room)),
        UnknownActor,
        NO_ADDRESS,
    ),
    "a class to be deleted": (
        lambda runtime: runtime.delete(cast("Any", Room)),
        UnknownActor,
        NO_ADDRESS,
    ),
    "seconds for a reminder": (
        lambda runtime: runtime.remind(Room.at("a"), "later", Hold("a"), after=cast("Any", 5)),
        ValueError,
        r"reminder 'later' has after=5; write after=timedelta\(...\)",
    ),
    "seconds for a schedule": (
        lambda runtime: runtime.schedule("nightly", Trip, BookTrip(["a"]), every=cast("Any", 5)),
        ValueError,
        r"schedule 'nightly' has every=5; write every=timedelta\(...\)",
    ),
    "an address for a schedule": (
        lambda runtime: runtime.schedule("nightly", cast("Any", Trip.at("a")), cast("Any", None)),
        NotTaken,
        "a schedule starts a saga of its own each time: give it the class",
    ),
    "an address of what has no state": (
        lambda runtime: runtime.state_of(cast("Any", Room)),
        UnknownActor,
        NO_ADDRESS,
    ),
}


@pytest.mark.parametrize(("ask", "error", "text"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("intercepted", [False, True])
async def test_what_can_not_be_asked_says_what_to_write(
    ask: Ask, error: type[Exception], text: str, intercepted: bool
) -> None:
    async with Runtime("memory:", ALL, interceptors=[let_through] if intercepted else []) as runtime:
        with pytest.raises(error, match=text):
            await ask(runtime)


async def test_where_there_are_no_actors_none_is_named() -> None:
    async with Runtime("memory:", []) as runtime:
        with pytest.raises(UnknownActor, match=r"there is no actor 'Room' here; add its class to actors=\[...\]"):
            await runtime.ask(Room.at("a"), Hold("a"))


@pytest.mark.parametrize(
    ("journal", "actors", "options", "error", "text"),
    [
        ("memory:", Room, {}, DefinitionError, r"actors= is a list of classes, not .*Room"),
        ("memory:", [Room.at("a")], {}, DefinitionError, "actors= holds classes, not a Address"),
        (None, [Room], {}, BadJournalUrl, "a NoneType is no journal; write its URL, 'sqlite:trips.db' say"),
        ("memory:", [Room], {"durability": "fast"}, ValueError, 'durability is "full" or "normal", not \'fast\''),
        ("sqlite:trips.db?schema=x", [Room], {}, BadJournalUrl, "has no options, as in 'trips.db.schema=x'"),
    ],
)
def test_what_a_runtime_can_not_be_made_of_says_what_to_write(
    journal: Any, actors: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Runtime(journal, actors, **options)


@pytest.mark.parametrize("returned", [None, sql("insert into pages values (1)")], ids=["None", "statement"])
async def test_project_must_yield(returned: object) -> None:
    class Counts(ReadModel):
        schema = "create table pages (count int)"
        retry = RetryPolicy(budget=timedelta(0))

        def project(self, event: Told, meta: Meta) -> Any:
            return returned

        async def answer(self, db: Any, query: HowMany) -> int:
            return 0

    async with Runtime("memory:", [Diary, Counts]) as runtime:
        await runtime.ask(Diary.at("a"), Tell())
        with pytest.raises(Parked, match=r"Counts.project must yield its statements: yield sql\(...\)"):
            await runtime.ask(cast("Any", Counts.at()), HowMany(), consistent=True)
