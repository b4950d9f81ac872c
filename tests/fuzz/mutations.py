"""What may have become of bytes, texts and numbers, and what a reader may say to it."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from actors import JournalMismatch, UnderstudyError
from persistence import JournalError
from tests.fuzz import VARIABLE

T = TypeVar("T")

OURS = (JournalError, UnderstudyError)
"""What a reader may raise, and nothing else."""

ODD = (
    b"",
    b"null",
    b"NaN",
    b"-1",
    b"0",
    b"1e999",
    b"-0.0",
    b"9" * 20,
    b"9" * 5_000,
    b"{}",
    b"[]",
    b'""',
    b"true",
    b"[" * 300,
    b'{"a":' * 300,
    b"[[]]" * 50,
    b'"' + b"x" * 70_000 + b'"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x00",
    b',"type":"x"',
    b'"type":',
    b"\\",
    b'"',
)
"""Bytes that are put in anywhere, or in place of others."""


def examples(default: int = 25, slow: int = 1) -> Callable[[T], T]:
    """Return the settings of a test: the default is always the same, a long run is always another one.

    One that is ``slow`` so many times over gets so many times fewer in a long run.
    """
    wanted = os.environ.get(VARIABLE)
    count = default if wanted is None else max(default, int(wanted) // slow)
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=wanted is None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


Change = Callable[[bytes], bytes]


def _flip(at: int, bit: int) -> Change:
    return lambda data: b"" if not data else _put(data, at % len(data), bytes([data[at % len(data)] ^ 1 << bit]))


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _cut(at: int) -> Change:
    return lambda data: data[: at % (len(data) + 1)]


def _splice(begin: int, length: int, to: int) -> Change:
    """Copy a part of it to somewhere else."""

    def change(data: bytes) -> bytes:
        begun, end = begin % (len(data) + 1), to % (len(data) + 1)
        return data[:end] + data[begun : begun + length] + data[end:]

    return change


def _insert(at: int, length: int, piece: bytes) -> Change:
    """Put something in, in place of so many bytes."""

    def change(data: bytes) -> bytes:
        place = at % (len(data) + 1)
        return data[:place] + piece + data[place + length :]

    return change


_places = st.integers(0, 1 << 16)
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(_flip, _places, st.integers(0, 7)),
    st.builds(_cut, _places),
    st.builds(_splice, _places, st.integers(1, 40), _places),
    st.builds(_insert, _places, st.integers(0, 12), st.sampled_from(ODD)),
)


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return bytes that were changed in one to three places."""
    return reduce(lambda data, change: change(data), draw(st.lists(changes, min_size=1, max_size=3)), valid)


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    7,
    2**31,
    2**63,
    -(2**70),
    0.5,
    1e300,
    "",
    "x",
    "\0",
    "x" * 3_000,
    [],
    {},
    [[[]]],
    {"type": "x"},
    ["Room", "r"],
)
"""Values that are put in the place of others."""


@st.composite
def altered(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return JSON in which one part was changed, left out, or put in another's place; it is JSON still."""
    whole: Any = json.loads(valid)
    places = list(_places_in(whole))
    if not places:
        return json.dumps(draw(st.sampled_from(VALUES))).encode()
    inside, key = draw(st.sampled_from(places))
    how = draw(st.sampled_from(["value", "value", "gone", "other", "name"]))
    if how == "value":
        inside[key] = draw(st.sampled_from(VALUES))
    elif how == "other":
        other, name = draw(st.sampled_from(places))
        inside[key] = json.loads(json.dumps(other[name]))
    elif how == "name" and isinstance(inside, dict):
        named = cast(dict[str, Any], inside)
        named["odd"] = named.pop(key)
    else:
        del inside[key]
    return json.dumps(whole, ensure_ascii=draw(st.booleans())).encode()


def _places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield all places within a value: what holds it, and under which key."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(cast(dict[str, Any], value))
    elif isinstance(value, list):
        keys = [n for n, _ in enumerate(cast(Iterable[Any], value))]
    for key in keys:
        yield value, key
        yield from _places_in(value[key])


texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["", "\0", "\ud800", "x" * 5_000, "../..", "é" * 300, "#", "!", "a/b", "\n", "%00", "'", '"', "-1", "nan", "1e9"]
)
"""Texts, lone surrogates among them."""

cells: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 2**31, 10**15]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.binary(max_size=20),
)
"""What SQLite may hold in any cell, whatever its column is declared as."""


ACTORS = str(Path(__file__).parents[1] / "runtime")
"""Where the actors of these tests are, which may raise anything."""


def check_ours(error: BaseException) -> None:
    """Make sure that an error, and what it was raised from, is of our types, or of the code of a test's actor."""
    one: BaseException | None = error
    while one is not None:
        trace = one.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        theirs = trace is not None and trace.tb_frame.f_code.co_filename.startswith(ACTORS)
        if not isinstance(one, OURS) and not theirs and one is not error.__context__:
            raise AssertionError(f"{type(one).__name__} is no error of ours: {one}") from one
        if isinstance(one, JournalError | JournalMismatch):
            return  # what it was raised from is told by it
        one = one.__cause__
