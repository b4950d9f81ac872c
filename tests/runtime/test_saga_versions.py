"""P8: code that changes under running sagas: versions, older classes, and journals of older releases."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from actors import Command, DefinitionError, Parked, Refused, Saga
from persistence import Record
from runtime.journal_check import check_journal
from tests.runtime.cast import DOWN, Approve, Begin, Held, Hold, Play, Release, Room, Where
from tests.runtime.playing import PLAY, agrees, house, later, stands
from tests.runtime.tools import HeldJournal, content, of, steps_of, types_of


class Old(Saga[Begin, Held]):
    """How it was: version 1."""

    receives = Approve
    scene = ""

    async def run(self, command: Begin) -> Held:
        self.scene = "old"
        held = await self.ask("a", Room.at("a"), Hold(f"{self.uuid()}"), undo=Release(f"{self.key}"))
        await self.sleep("nap", timedelta(seconds=100))
        await self.ask("old", Room.at("old"), Hold(f"{self.random()}"))
        return held

    def answer(self, query: Where) -> str:
        return self.scene


def newer(version: int, older: Sequence[type[Saga[Any, Any]]] = ()) -> type[Saga[Begin, Held]]:
    number, before = version, older

    class New(Saga[Begin, Held]):
        version = number
        older = before
        receives = Approve
        scene = ""

        async def run(self, command: Begin) -> Held:
            self.scene = "new"
            held = await self.ask("b", Room.at("b"), Hold(self.key))
            await self.sleep("nap", timedelta(seconds=100))
            return held

        def answer(self, query: Where) -> str:
            return self.scene

    New.__name__ = "Play"
    return New


Old.__name__ = "Play"


async def begun() -> list[Record]:
    async with house(actors=[Room, Old]) as at:
        await at.begin()
    return at.journal.records


async def test_sagas_that_began_with_an_older_version_go_on_by_it() -> None:
    records = await begun()
    new = newer(2, [Old])
    other: Any = new.at("q")
    async with house(records, later(records), [Room, new]) as at:
        assert await at.runtime.ask(PLAY, Where()) == "old"
        await at.runtime.start(other, Begin())
        await at.passes(101, step=20)
        assert await at.runtime.result(PLAY) == Held(1)
        assert await at.runtime.result(other) == Held(1)
        assert await at.runtime.ask(PLAY, Where()) == "old"
        assert await at.runtime.ask(other, Where()) == "new"
    assert steps_of(at.journal.records, PLAY, "asked") == ["a", "nap", "old"]
    assert [content(r).get("version", 1) for r in of(at.journal.records, "saga.started")] == [1, 2]
    # What it draws is the same by whatever class it goes on.
    async with house(actors=[Room, Old]) as straight:
        await straight.begin()
        await straight.passes(101, step=20)
    assert [r.data for r in of(at.journal.records, "WasHeld") if r.stream[1] != "b"] == [
        r.data for r in of(straight.journal.records, "WasHeld")
    ]


async def test_a_version_that_is_not_there_parks_it_and_says_which() -> None:
    records = await begun()
    new = newer(3)
    async with house(records, later(records), [Room, new]) as at:
        with pytest.raises(Parked, match="it was started with version 1 of Play's code, and today's is 3; keep"):
            await at.runtime.result(PLAY)
        with pytest.raises(Exception, match="version 1 of Play's code"):
            await at.runtime.ask(PLAY, Where())
        report = await check_journal(HeldJournal(at.journal.records, [("Play", "p")]), [Room, new])
        assert [problem.what for problem in report.problems] == ["version 1 of its code"]
    # When it is there again, a retry goes on.
    async with house(at.journal.records, at.clock, [Room, newer(3, [Old])]) as at:
        await at.runtime.saga(PLAY).retry(by="ana", reason="it is back")
        await at.passes(101, step=20)
        assert await at.runtime.result(PLAY) == Held(1)


async def test_going_back_needs_no_code_of_its_version() -> None:
    records = await begun()
    async with house(records, later(records), [Room, newer(3)]) as at:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Room, "decide", agrees)
            await at.runtime.saga(PLAY).compensate(by="ana", reason="the old way is closed")
        with pytest.raises(Refused, match="the old way is closed"):
            await at.runtime.result(PLAY)


def test_versions_that_can_not_be() -> None:
    with pytest.raises(DefinitionError, match="give each class another whole number of 1 or more"):
        newer(1, [Old])
    with pytest.raises(DefinitionError, match="give each class another whole number"):
        newer(0)
    with pytest.raises(DefinitionError, match="isn't older than"):
        newer(2, [newer(3)])


class Leave(Command["Play", None]):
    pass


def test_an_older_class_takes_nothing_that_todays_does_not() -> None:
    class More(Saga[Begin, Held]):
        receives = Approve | Leave

    with pytest.raises(DefinitionError, match=r"More takes \['Leave'\], which New doesn't"):
        newer(2, [More])


def test_messages_that_can_not_be() -> None:
    with pytest.raises(DefinitionError, match="is started by Begin, so it can't receive it"):

        class Both(Saga[Begin, Held]):  # pyright: ignore[reportUnusedClass]
            receives = Begin

    with pytest.raises(DefinitionError, match="which is answered when it has arrived, by nothing"):

        class Answers(Saga[Leave, Held]):  # pyright: ignore[reportUnusedClass]
            receives = Begin

    with pytest.raises(DefinitionError, match="but it is none"):

        class Nothing(Saga[Begin, Held]):  # pyright: ignore[reportUnusedClass]
            receives = Held

    with pytest.raises(DefinitionError, match="answer must say which messages it is for"):

        class Silent(Saga[Begin, Held]):  # pyright: ignore[reportUnusedClass]
            def answer(self, query):  # type: ignore[no-untyped-def]
                return 5


def test_a_subclass_may_say_anew_what_it_receives() -> None:
    class Base(Saga[Begin, Held]):
        receives = Approve

    class Sub(Base):
        receives = Approve | Leave

    assert set(Sub.commands) == {"Begin", "Approve", "Leave"}
    assert set(Base.commands) == {"Begin", "Approve"}
    assert set(Sub.messages) == {"Approve", "Leave"}


# -- changes under way, without a version -------------------------------------------------------------------------


async def before(self: Play, command: Begin) -> Held:
    held = await self.ask("a", Room.at("a"), Hold("x"), undo=Release("x"))
    self.revise_undo("a", Release("x"))
    await self.select(self.receive(Approve), self.sleep("patience", timedelta(seconds=100)))
    return held


async def removed(self: Play, command: Begin) -> Held:
    await self.select(self.receive(Approve), self.sleep("patience", timedelta(seconds=100)))
    return Held(1)


async def renamed(self: Play, command: Begin) -> Held:
    held = await self.ask("first", Room.at("a"), Hold("y"), undo=Release("y"))
    await self.select(self.receive(Approve), self.sleep("patience", timedelta(seconds=100)))
    return held


async def changed(self: Play, command: Begin) -> Held:
    held = await self.ask("a", Room.at("a"), Hold("other"), undo=Release("x"))
    await self.select(self.receive(Approve), self.sleep("patience", timedelta(seconds=100)))
    return held


async def awaits_another(self: Play, command: Begin) -> Held:
    held = await self.ask("a", Room.at("a"), Hold("x"), undo=Release("x"))
    await self.receive(Approve, name="patience")
    return held


async def longer(self: Play, command: Begin) -> Held:
    held = await self.ask("a", Room.at("a"), Hold("x"), undo=Release("more"))
    self.revise_undo("a", Release("x"))
    await self.ask("new", Room.at("new"), Hold("x"), undo=Release("x"))
    await self.select(
        self.receive(Approve), self.sleep("patience", timedelta(days=100)), self.sleep("more", timedelta(days=1))
    )
    await self.ask("newer", Room.at("newer"), Hold("x"), undo=Release("x"))
    return held


@pytest.mark.parametrize(
    ("story", "text"),
    [
        (
            removed,
            r"\['a', 'Approve', 'patience'\]; today's code came to its end without \['a'\]",
        ),
        (renamed, r"came to its end without \['a'\]"),
        (
            changed,
            "in its journal: ask Room/a Hold; in today's code: ask Room/a Hold; fields that differ: trip",
        ),
        (awaits_another, "Step 'patience' in its journal: sleep  ; in today's code: receive Approve"),
        (longer, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_changed_under_way(story: Any, text: str | None) -> None:
    Play.script = before
    async with house() as at:
        await at.begin()
    Play.script = story
    async with house(at.journal.records, at.clock) as at:
        await at.passes(101, step=20)
        await at.passes(5)
        if text is None:
            assert await at.runtime.result(PLAY) == Held(1)
            assert stands(at.journal.records) == {"a": 1, "new": 1, "newer": 1}
        else:
            with pytest.raises(Parked, match=text):
                await at.runtime.result(PLAY)
            await at.runtime.saga(PLAY).compensate(by="ana", reason="give it up")
            assert steps_of(at.journal.records, PLAY, "undone")[-1] == "a"


# -- journals of older releases -----------------------------------------------------------------------------------

OLD_JOURNAL = [
    ("Play", "saga.started", {"command": {"type": "Begin", "line": ""}, "deadline": 1_000_000_300_000_000}),
    ("Play", "saga.asked", {"step": "a", "kind": "ask", "to": ["Room", "a"],
                            "command": {"type": "Hold", "trip": "p"}, "undo": {"type": "Release", "trip": "p"}}),
    ("Room", "WasHeld", {"type": "WasHeld", "trip": "p"}),
    ("Play", "saga.answered", {"step": "a", "reply": {"type": "Held", "number": 1}}),
    ("Play", "saga.asked", {"step": "nap", "kind": "sleep", "due": 1_000_000_100_000_000}),
    ("Play", "saga.answered", {"step": "nap", "reply": None}),
    ("Play", "saga.asked", {"step": "b", "kind": "ask", "to": ["Room", "b"],
                            "command": {"type": "Hold", "trip": "p"}, "undo": {"type": "Release", "trip": "p"}}),
    ("Play", "saga.failed", {"step": "b", "error": "ConnectionError: b is down"}),
    ("Play", "saga.refused", {"step": "b", "reason": "full", "uncertain": True}),
    ("Play", "saga.compensating", {"reason": "full"}),
]  # fmt: skip


@pytest.mark.parametrize("length", range(1, len(OLD_JOURNAL) + 1))
async def test_a_journal_of_an_older_release_goes_on(length: int) -> None:
    """It has no version, no ``awaits``, and wants everybody awake who has not ended."""

    async def story(self: Play, command: Begin) -> Held:
        await self.ask("a", Room.at("a"), Hold(self.key), undo=Release(self.key))
        await self.sleep("nap", timedelta(seconds=100))
        return await self.ask("b", Room.at("b"), Hold(self.key), undo=Release(self.key))

    Play.script = story
    versions: dict[str, int] = {}
    records: list[Record] = []
    for position, (actor, what, event) in enumerate(OLD_JOURNAL[:length], 1):
        versions[actor] = versions.get(actor, 0) + 1
        key = "p" if actor == "Play" else "a"
        command = "Play/p#a" if what == "WasHeld" else None
        meta = b'{"causation":"Play/p#a","correlation":"Play/p","fingerprint":"","reply":{"type":"Held","number":1}}'
        records.append(
            Record(
                position=position,
                stream=(actor, key),
                version=versions[actor],
                id=f"{position}",
                type=what,
                data=msgspec.json.encode(event),
                meta=meta if command else b"{}",
                time=1_000_000_000_000_000 + position,
                command=command,
            )
        )
    if length == 3:
        return  # (the first reply is asked for again, and its fingerprint is not known here)
    async with house(records, later(records)) as at:
        await at.passes(150, step=10)
        end = types_of(at.journal.records, PLAY)[-1]
        assert end == ("saga.compensated" if length >= 9 else "saga.completed")
        assert stands(at.journal.records) == ({} if length >= 9 else {"a": 1, "b": 1})
    DOWN.clear()
