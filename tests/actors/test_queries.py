"""Classes that answer queries: which ones is read where they are written, and what can't work fails there."""

import types
from typing import Any

import pytest

from actors import Command, Decision, DefinitionError, Event, Query, Saga, Service, State


def made(base: Any, **members: Any) -> type:
    """Make a class as a ``class`` statement would."""
    return types.new_class("Thing", (base,), {}, lambda body: body.update(members, __module__=__name__))


class Go(Command["Any", None]):
    pass


class Gone(Event):
    pass


class How(Query["Any", str]):
    pass


class Goes(Query["Any", str], tag="Go"):
    pass


class Nothing(State):
    pass


async def is_async(self: Any, state: Nothing, query: How) -> str:
    return ""


def yields(self: Any, state: Nothing, query: How) -> Any:
    yield ""


def says_nothing(self: Any, state: Any, query: Any) -> str:
    return ""


def has_none(self: Any, state: Any) -> str:
    return ""


def is_for_a_command(self: Any, state: Nothing, query: Go) -> str:
    return ""


def has_one_name_twice(self: Any, state: Nothing, query: Goes) -> str:
    return ""


def names_nobody(self: Any, state: Any, query: Any) -> str:
    return ""


del says_nothing.__annotations__["query"]
names_nobody.__annotations__["query"] = "Who"


MISTAKES: list[tuple[Any, str]] = [
    (is_async, "Thing.answer is async, but it works at once"),
    (yields, "Thing.answer yields"),
    (says_nothing, r"write def answer\(self, state: Nothing, query: A \| B\)"),
    (has_none, r"write def answer\(self, state: Nothing, query: A \| B\)"),
    (is_for_a_command, 'lists .*Go.* as query, but it is none; write class Name\\(Query\\["Actor", Reply\\]\\)'),
    (has_one_name_twice, "takes a command 'Go' and answers a query of the same name"),
    (names_nobody, "must say which messages it is for"),
]


@pytest.mark.parametrize(("answer", "text"), MISTAKES)
def test_what_can_not_work_fails_where_it_is_written(answer: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        made(Service[Nothing, Go, Gone], initial=Nothing(), answer=answer)


async def saga_is_async(self: Any, query: How) -> str:
    return ""


def test_what_a_saga_answers_is_looked_at_alike() -> None:
    with pytest.raises(DefinitionError, match=r"Thing\.answer is async"):
        made(Saga[Go, None], answer=saga_is_async)


def test_queries_are_inherited() -> None:
    class Told(Service[Nothing, Go, Gone]):
        initial = Nothing()

        def answer(self, state: Nothing, query: How) -> str:
            return "well"

    class Wider(Told):
        pass

    assert Wider.queries == Told.queries == {"How": How}


def test_one_without_an_answer_says_what_to_write() -> None:
    class Mute(Service[Nothing, Go, Gone]):
        initial = Nothing()

        def decide(self, state: Nothing, command: Go) -> Decision:
            return command.reply(None, Gone())

    with pytest.raises(NotImplementedError, match=r"Mute needs an answer\(self, state, query\)"):
        Mute("m").answer(Nothing(), How())
