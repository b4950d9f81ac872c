"""Fingerprints of types: what changes them, and what doesn't."""

import enum
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Personal, State
from runtime.schema_fingerprint import fold_fingerprint, schema_fingerprint

ROOT = Path(__file__).parents[2]

PRELUDE = """
from __future__ import annotations
import dataclasses, enum, typing
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
import msgspec
from actors import State
"""

BASE = """
class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Point(NamedTuple):
    x: int
    y: int = 0

class Seat(msgspec.Struct, frozen=True):
    row: int
    letter: str = "a"
    next: Seat | None = None

class Cabin(State, tag="cabin"):
    seats: dict[str, Seat] = {}
    colour: Colour = Colour.RED
    points: list[Point | str] = []
    kind: Literal["a", "b"] = "a"
    limit: Annotated[int, msgspec.Meta(ge=0)] = 3
    names: frozenset[str] = frozenset({"anna", "ben", "cleo"})
"""


def made(source: str) -> str:
    """Return the fingerprint of the class Cabin in a module of this source."""
    namespace: dict[str, Any] = {"__name__": f"module_{abs(hash(source))}"}
    module = type(sys)(namespace["__name__"])
    sys.modules[namespace["__name__"]] = module
    try:
        exec(PRELUDE + source, module.__dict__)
        return schema_fingerprint(module.__dict__["Cabin"])
    finally:
        del sys.modules[namespace["__name__"]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seats: dict", "places: dict"),
        ("dict[str, Seat]", "dict[int, Seat]"),
        ("dict[str, Seat]", "dict[str, Seat | None]"),
        ("limit: Annotated", "extra: int = 0\n    limit: Annotated"),
        ("ge=0", "ge=1"),
        ("= 3", "= 4"),
        ("row: int", "row: int = 0"),
        ('"ben"', '"bob"'),
        ("Colour.RED", "Colour.BLUE"),
        ('"blue"', '"green"'),
        ("BLUE =", "GREEN ="),
        ('["a", "b"]', '["a", "c"]'),
        ("row: int", "row: float"),
        ("row: int", 'row: int = msgspec.field(name="r")'),
        ('letter: str = "a"', 'letter: str = "b"'),
        ("next: Seat | None", "next: Cabin | None"),
        ("y: int = 0", "y: int = 1"),
        ("x: int\n", "z: int\n"),
        ("list[Point | str]", "list[Point | int]"),
        ("list[Point | str]", "tuple[Point | str, ...]"),
        ('tag="cabin"', 'tag="hut"'),
        ("frozen=True", "frozen=True, array_like=True"),
        ("seats: dict[str, Seat] = {}", "seats: dict[str, Seat] = msgspec.field(default_factory=lambda: {})"),
    ],
)
def test_a_change_of_form_changes_it(old: str, new: str) -> None:
    assert BASE.count(old) == 1
    assert made(BASE.replace(old, new)) != made(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class Cabin(State", "\n\n# a comment\nclass Cabin(State"),
        ("    row: int\n", '    """A seat."""\n\n    row: int\n'),
        ("ge=0", 'ge=0, description="at most", examples=[1]'),
        ("Point | str", "str | Point"),
        ("Seat | None", "None | Seat"),
        ("Seat | None", "typing.Optional[Seat]"),
        ("    row: int\n", "    row: int\n\n    def next_row(self) -> int:\n        return self.row + 1\n\n"),
        ('"anna", "ben", "cleo"', '"cleo", "ben", "anna"'),
        ('["a", "b"]', '["b", "a"]'),
        ("class Point(", "class Another(NamedTuple):\n    z: int\n\nclass Point("),
    ],
)
def test_what_is_no_change_of_form_leaves_it(old: str, new: str) -> None:
    assert BASE.count(old) == 1
    assert made(BASE.replace(old, new)) == made(BASE)


def test_it_is_the_same_in_other_processes() -> None:
    script = "import sys; from tests.unit.test_schema_fingerprint import BASE, made\nsys.stdout.write(made(BASE))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**env, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("0", "1", "2")
    }
    assert told == {made(BASE)}


def test_classes_that_share_a_name_are_told_apart() -> None:
    def item(field: Any) -> Any:
        return msgspec.defstruct("Item", [("value", field)])

    def pair(a: Any, b: Any) -> Any:
        return msgspec.defstruct("Pair", [("a", item(a)), ("b", item(b))])

    assert schema_fingerprint(pair(int, str)) == schema_fingerprint(pair(int, str))
    assert len({schema_fingerprint(pair(*kinds)) for kinds in [(int, int), (int, str), (str, int)]}) == 3


class Weekday(enum.IntEnum):
    MONDAY = 1


def of(generic: Any, arguments: Any) -> Any:
    return generic[arguments]


LEAVES = st.sampled_from([int, str, float, bool, bytes, None, Weekday])
TYPES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: of(list, one)),
        inner.map(lambda one: of(dict, (str, one))),
        st.tuples(inner, inner).map(lambda two: of(tuple, two)),
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from("abcdef"), TYPES, min_size=1), st.randoms())
def test_types_have_one_fingerprint_each(fields: dict[str, Any], random: Any) -> None:
    def struct(items: list[tuple[str, Any]]) -> str:
        return schema_fingerprint(msgspec.defstruct("Made", items))

    items = list(fields.items())
    shuffled = random.sample(items, len(items))
    assert struct(items) == struct(shuffled)
    assert struct(items) != struct([*items, ("more", int)])
    assert struct(items) != struct([(name, of(list, kind)) for name, kind in items])


def test_what_cannot_be_stored_is_said() -> None:
    class Odd(State):
        both: Seats | list[int] | set[int] | None = None

    with pytest.raises(TypeError):
        schema_fingerprint(Odd)


class Seats(State):
    count: int = 0


FLIGHT = """
class SeatHeld(Event, aliases=("SeatTaken",), revision=2):
    trip: str

@upcast("SeatHeld", 1)
def one(stored):
    return stored

@upcast("Gone", 1, into={})
def two(stored):
    return []

class Go(Command["Flight", None]):
    pass

class Seats(State):
    count: int = 0

class Flight(Service[Seats, Go, SeatHeld]):
    initial = Seats(1)
    upcasts = (one, two)
"""


def fold_of(source: str) -> str:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("from actors import *\n" + source, namespace)
    return fold_fingerprint(namespace["Flight"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"SeatTaken"', '"SeatsTaken"'),
        ("trip: str", "trip: int"),
        ("trip: str", "trip: str\n    seat: int = 0"),
        ("count: int", "count: float"),
        ("Seats(1)", "Seats(2)"),
        ('"Gone", 1, into={}', '"Gone", 1, into={"SeatHeld": 1}'),
        ("(one, two)", "(one,)"),
    ],
)
def test_what_a_service_declares_of_its_fold_changes_it(old: str, new: str) -> None:
    assert FLIGHT.count(old) == 1
    assert fold_of(FLIGHT.replace(old, new)) != fold_of(FLIGHT)


def test_what_is_no_part_of_the_fold_leaves_it() -> None:
    other = FLIGHT.replace("(one, two)", "(two, one)").replace("    pass", "    why: str = ''")
    assert fold_of(other) == fold_of(FLIGHT)


class Home(State):
    street: str


class Tower(State):
    street: str
    floor: int = 0


def test_the_type_of_a_personal_value_is_part_of_it() -> None:
    def of(annotation: Any) -> str:
        return schema_fingerprint(msgspec.defstruct("Cabin", [("field", annotation)]))

    same = [Personal[Home], Personal[Home]]
    others = [Personal[Tower], Personal[str], Personal[int], Personal[str] | None, list[Personal[str]], Home, Personal]
    assert len({of(annotation) for annotation in same}) == 1
    assert len({of(annotation) for annotation in [*same, *others]}) == 1 + len(others)
