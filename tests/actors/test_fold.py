"""Folds are checked where they are written."""

from collections.abc import Iterator
from types import new_class
from typing import Any

import pytest

from actors import DefinitionError, Event, Fold, Meta, Query, State
from runtime.simulation.given import given as given_past


class WasHeld(Event):
    trip: str


class WasReleased(Event):
    trip: str


class Trips(State):
    count: int = 0


class All(Query["Totals", int]):
    pass


class Totals(Fold[Trips]):
    initial = Trips()

    def evolve(self, state: Trips, event: WasHeld | WasReleased, meta: Meta) -> Trips:
        del event, meta
        return Trips(state.count + 1)

    def answer(self, state: Trips, query: All) -> int:
        del query
        return state.count


async def answers_slowly(_self: Any, state: Trips, query: All) -> int:
    return state.count


def evolves_lazily(_self: Any, state: Trips, event: WasHeld, _meta: Meta) -> Iterator[Trips]:
    del event
    yield state


def evolves(_self: Any, state: Trips, event: WasHeld, _meta: Meta) -> Trips:
    del event
    return state


def evolves_all(_self: Any, state: Any, _event, _meta: Meta) -> Any:  # type: ignore[no-untyped-def]  # what it is about
    return state


@pytest.mark.parametrize(
    ("bases", "content", "told"),
    [
        ((Totals,), {"answer": answers_slowly}, "Odd.answer is async, but it works at once"),
        ((Totals,), {"evolve": evolves_lazily}, "Odd.evolve yields; it has one result"),
        ((Totals,), {"schema": "create table t (a)"}, "Odd is a fold and has no tables"),
        ((Fold,), {}, r"Odd doesn't say what its state is; write class Odd\(Fold"),
        ((Fold[Trips],), {"evolve": evolves}, "Odd needs its first state"),
        ((Fold[int],), {}, "the state of Odd must be a frozen State"),  # type: ignore[type-var]  # what it is about
        ((Totals,), {"evolve": evolves_all}, "Odd.evolve must say which messages it is for"),
        ((Totals,), {"initial": 3}, "Odd needs its first state"),
    ],
)
def test_definitions_that_cant_work(bases: tuple[Any, ...], content: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        new_class("Odd", bases, {}, lambda namespace: namespace.update(content))


def test_given_is_not_for_folds() -> None:
    with pytest.raises(DefinitionError, match="is a fold, and pure"):
        given_past(Totals)


def test_it_follows_what_evolve_names() -> None:
    assert dict(Totals.follows) == {"WasHeld": WasHeld, "WasReleased": WasReleased}
