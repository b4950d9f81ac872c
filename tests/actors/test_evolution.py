"""Aliases, revisions and upcasts that can't work fail where they are written, and the error says what to write."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from actors import Command, DefinitionError, Event, Message, Saga, Service, State, Upcast, upcast
from actors.evolution import steps_of
from actors.messages import aliases_of, revision_of


class Nothing(State):
    """No state."""


class Go(Command["Trip", None]):
    """A command."""


class Held(Event, aliases=("Taken",), revision=3):
    trip: str


class Released(Event, revision=2, tag="released"):
    trip: str


def step(name: str, revision: int, **into: int) -> Upcast:
    if into:

        @upcast(name, revision, into=into)
        def splits(stored: dict[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
            yield "released", stored

        return splits

    @upcast(name, revision)
    def changes(stored: dict[str, Any]) -> dict[str, Any]:
        return stored

    return changes


CHAIN = (step("Held", 1), step("Held", 2), step("released", 1))


def test_a_class_says_its_aliases_and_its_revision() -> None:
    assert (aliases_of(Held), revision_of(Held)) == (("Taken",), 3)
    assert (aliases_of(Released), revision_of(Released)) == ((), 2)

    class Later(Held):
        seat: int = 0

    assert (aliases_of(Later), revision_of(Later)) == ((), 1)
    assert Held("t") == Held("t") != Later("t")


@pytest.mark.parametrize(
    ("base", "options", "text"),
    [
        (Event, {"aliases": "Taken"}, r'write aliases=\("OldName",\)'),
        (Event, {"aliases": ("",)}, "must be texts"),
        (Event, {"aliases": (Held,)}, "must be texts"),
        (Event, {"aliases": ("Made",)}, "'Made' is its name today, and no alias"),
        (Event, {"aliases": ("A", "A")}, "has an alias twice"),
        (Event, {"revision": 0}, "a revision is a number from 1, not 0"),
        (Event, {"revision": "2"}, "a revision is a number from 1, not '2'"),
        (Event, {"revision": True}, "a revision is a number from 1, not True"),
        (Command["Trip", None], {"revision": 2}, "only events have one"),
        (Message, {"aliases": ("Old",)}, 'write tag="Old"'),
        (State, {"revision": 2}, "only events have one"),
    ],
)
def test_a_past_that_can_not_be(base: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):

        class Made(base, **options):  # type: ignore[misc]
            """A class with a past."""


def test_the_base_and_true_are_no_past() -> None:
    class Renamed(Command["Trip", None], aliases=("Go",)):
        """It may have another name."""

    assert aliases_of(Renamed) == ("Go",)


def test_a_chain_is_taken_by_services_and_sagas() -> None:
    class Trip(Service[Nothing, Go, Held | Released]):
        initial = Nothing()
        upcasts = (*CHAIN, step("Swapped", 1), step("Swapped", 2, Taken=2, released=1), step("Gone", 1, released=2))

    class Tour(Saga[Go, Held]):
        upcasts = CHAIN[:2]

    assert {(name, revision) for name, revision in steps_of(Trip)} == {
        ("Held", 1),
        ("Held", 2),
        ("released", 1),
        ("Swapped", 1),
        ("Swapped", 2),
        ("Gone", 1),
    }
    assert set(steps_of(Tour)) == {("Held", 1), ("Held", 2)}


def test_an_upcast_may_be_for_a_name_of_old() -> None:
    class Trip(Service[Nothing, Go, Held]):
        initial = Nothing()
        upcasts = (step("Taken", 1), step("Held", 2))

    assert set(steps_of(Trip)) == {("Held", 1), ("Held", 2)}


@pytest.mark.parametrize(
    ("upcasts", "text"),
    [
        ((), r'has Held at revision 3, but nothing leads on from revision 1; .*@upcast\("Held", 1\)'),
        ((CHAIN[0], CHAIN[2]), "nothing leads on from revision 2"),
        (CHAIN[:2], "has released at revision 2, but nothing leads on from revision 1"),
        ((*CHAIN, step("Held", 1)), "a second upcast changes of Held revision 1"),
        ((*CHAIN, step("Taken", 1)), "a second upcast changes of Held revision 1"),
        ((*CHAIN, step("Held", 3)), r"that is what its class writes today; .*class Held\(Event, revision=4\)"),
        ((*CHAIN, step("Gone", 1)), r"leads to Gone revision 2, and no class takes that; .*into=\{"),
        ((*CHAIN, step("Gone", 2, Held=1)), "has Gone at revision 2, but nothing leads on from revision 1"),
        ((*CHAIN, step("Gone", 1, Other=1)), "leads to Other revision 1, and no class takes that"),
        ((*CHAIN, step("Gone", 1, Held=4)), "leads to Held revision 4, but today's class is at revision 3"),
        ((*CHAIN, step("Gone", 0, Held=1)), "needs a revision from 1, not 0"),
        ((*CHAIN, step("A", 1, B=1), step("B", 1, A=1)), "in a circle: "),
        ((*CHAIN, step("A", 1, A=1)), "in a circle: A revision 1 -> A revision 1"),
        ((step("Held", 1), step("Taken", 2, Taken=1), CHAIN[2]), "in a circle: "),
        ((*CHAIN, len), "make it one: @upcast"),
    ],
)
def test_a_chain_that_leads_nowhere(upcasts: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        type("Trip", (Trip,), {"upcasts": upcasts})


class Trip(Service[Nothing, Go, Held | Released]):
    initial = Nothing()
    upcasts = CHAIN


def test_a_name_must_mean_one_event() -> None:
    class Taken(Event):
        """It has the name that Held had."""

    class Kept(Event, aliases=("Taken",)):
        """It claims the name that Held had."""

    for other in (Taken, Kept):
        with pytest.raises(DefinitionError, match=r"the alias 'Taken' of (Held|Kept) also means (Held|Taken)"):
            new_service(other)
    assert new_service(Released)


def new_service(other: Any) -> type:
    class Trip(Service[Nothing, Go, Held | other]):
        initial = Nothing()
        upcasts = CHAIN if other is Released else CHAIN[:2]

    return Trip


def test_a_name_must_mean_one_command() -> None:
    class Went(Command["Trip", None], aliases=("Go",)):
        """It claims the name of another."""

    with pytest.raises(DefinitionError, match="the alias 'Go' of Went also means Go"):

        class Trip(Service[Nothing, Go | Went, Event]):
            initial = Nothing()
