"""Read models follow events by their classes, by who wrote them, and by their tags."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import (
    Command,
    Decision,
    DefinitionError,
    Event,
    Meta,
    Query,
    ReadModel,
    Service,
    State,
    Statement,
    SubjectForgotten,
    sql,
)
from runtime import Runtime


class Sold(Event):
    what: str


class Returned(Event):
    what: str


class Sell(Command["Shop | Stall", None]):
    what: str


class Nothing(State):
    pass


class Shop(Service[Nothing, Sell, Sold | Returned]):
    initial = Nothing()

    def decide(self, state: Nothing, command: Sell) -> Decision:
        return command.reply(None, Sold(command.what), Returned(command.what))

    def evolve(self, state: Nothing, event: Sold | Returned) -> Nothing:
        return state

    def tags(self, event: Sold | Returned) -> Iterable[str]:
        return ("gold", self.key) if event.what.startswith("ring") else (self.key,)


class Stall(Service[Nothing, Sell, Sold]):
    initial = Nothing()

    def decide(self, state: Nothing, command: Sell) -> Decision:
        return command.reply(None, Sold(command.what))

    def evolve(self, state: Nothing, event: Sold) -> Nothing:
        return state

    def tags(self, event: Sold) -> Iterable[str]:
        return ("gold",) if event.what.startswith("ring") else ()


class All(Query["Log", list[str]]):
    pass


class Log(ReadModel):
    schema = "create table log (position integer primary key, text text not null, tags text not null)"

    def project(self, event: Event, meta: Meta) -> Iterator[Statement]:
        what = getattr(event, "what", "")
        text = f"{type(event).__name__} {what} by {meta.actor}/{meta.key}"
        yield sql("insert into log values (?, ?, ?)", meta.position, text, " ".join(meta.tags))

    async def answer(self, db: Any, query: All) -> list[str]:
        async with db.execute("select text, tags from log order by position") as rows:
            return [f"{text} [{tags}]" for text, tags in await rows.fetchall()]


def following(categories: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> type[Log]:
    cls = type("Log", (Log,), {"categories": categories, "tags": tags})
    cls.__module__ = __name__
    return cls


async def story(runtime: Runtime) -> None:
    anyone: Any = runtime
    for actor in (Shop.at("a"), Stall.at("b")):
        for what in ("ring", "hat"):
            await anyone.ask(actor, Sell(what))


SHOP = ["Sold ring by Shop/a [gold a]", "Returned ring by Shop/a [gold a]", "Sold hat by Shop/a [a]"]
EVERYTHING = [
    *SHOP,
    "Returned hat by Shop/a [a]",
    "Sold ring by Stall/b [gold]",
    "Sold hat by Stall/b []",
]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("categories", "tags", "seen"),
    [
        ((), (), EVERYTHING),
        (("Shop",), (), EVERYTHING[:4]),
        (("Stall",), (), EVERYTHING[4:]),
        (("Shop", "Stall"), (), EVERYTHING),
        ((), ("gold",), [EVERYTHING[0], EVERYTHING[1], EVERYTHING[4]]),
        ((), ("gold", "a"), EVERYTHING[:2]),
        (("Stall",), ("gold",), [EVERYTHING[4]]),
        ((), ("silver",), []),
    ],
)
async def test_by_category_and_tag(
    tmp_path: Path, live: bool, categories: tuple[str, ...], tags: tuple[str, ...], seen: list[str]
) -> None:
    cls, url = following(categories, tags), f"sqlite:{tmp_path / 'j.db'}"
    if not live:
        async with Runtime(url, [Shop, Stall]) as runtime:
            await story(runtime)
    async with Runtime(url, [Shop, Stall, cls]) as runtime:
        if live:
            await story(runtime)
        anyone: Any = runtime
        assert await anyone.ask(cls.at(), All(), consistent=True) == seen


async def test_who_follows_others_is_built_anew(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'j.db'}"
    for categories, tags, count in (((), (), 6), (("Shop",), (), 4), (("Shop",), ("gold",), 2), ((), ("gold",), 3)):
        cls = following(categories, tags)
        async with Runtime(url, [Shop, Stall, cls]) as runtime:
            if not runtime.position:
                await story(runtime)
            anyone: Any = runtime
            assert len(await anyone.ask(cls.at(), All(), consistent=True)) == count


async def test_a_category_that_is_not_here_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with Runtime("memory:", [Shop, following(("Shop", "Shed"))]):
        assert "read model follows actors that are not here" in caplog.text
        assert "Shed" in caplog.text


def test_one_text_is_not_several() -> None:
    with pytest.raises(DefinitionError, match=r'categories is one text; write categories = \("Shop",\)'):
        type("Log", (Log,), {"categories": "Shop"})
    with pytest.raises(DefinitionError, match="tags is one text"):
        type("Log", (Log,), {"tags": "gold"})


def test_one_event_class_among_others_is_no_event_of_all() -> None:
    class Some(ReadModel):
        schema = "create table some (a)"

        def project(self, event: Sold | SubjectForgotten, meta: Meta) -> Iterator[Statement]:
            return iter(())

    assert set(Some.follows.values()) == {Sold, SubjectForgotten}
