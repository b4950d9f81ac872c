"""What is stored reads back as it was, or is refused with a reason."""

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistence import NotDecodable, NotEncodable
from persistence.codec import PLAIN, Decoder, encode, may_be_deep
from persistence.limits import MAX_PAYLOAD


class Price(msgspec.Struct, frozen=True, tag=True):
    amount: float
    currency: str = "EUR"
    discount: float | None = None
    note: Any = None


class Unequal(msgspec.Struct, eq=False):
    price: float | None = None


class Carrier(msgspec.Struct):
    raw: msgspec.Raw
    price: float | None = None


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


texts = st.text(st.characters(codec="utf-8"))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(anything)
@settings(deadline=None)
def test_what_is_accepted_reads_back(value: object) -> None:
    assert Decoder(object).decode(encode(value)) == value
    assert Decoder(object).decode(Decoder(object).encode(value, "value")) == value


@given(anything, st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
@settings(deadline=None)
def test_no_nan_gets_through_wherever_it_hides(value: Any, bad: float, data: st.DataObject) -> None:
    places: list[list[Any] | dict[str, Any]] = [[value]]
    for place in places:
        inner: list[Any] = list(place.values()) if isinstance(place, dict) else place
        places += [item for item in inner if isinstance(item, list | dict) and item is not place]
    place = data.draw(st.sampled_from(places))
    if isinstance(place, dict):
        place["bad"] = bad
    else:
        place.append(bad)
    with pytest.raises(NotEncodable, match="JSON has no NaN and no infinity"):
        encode(places[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(bad: float) -> None:
    values = [
        Price(bad), Price(1.0, discount=bad), Price(1.0, note=bad), Price(1.0, note=[{"a": (bad,)}]), Unequal(bad),
        Carrier(msgspec.Raw(b"null"), bad), [Price(1.0), {"a": bad}], bad, {1: bad}, {dt.date(2020, 1, 1): bad},
    ]  # fmt: skip
    for value in values:
        with pytest.raises(NotEncodable, match=r"^the price can't be stored: JSON has no NaN and no infinity$"):
            encode(value, "the price")
        with pytest.raises(NotEncodable, match=r"^the price can't be stored: JSON has no NaN and no infinity$"):
            Decoder(type(value)).encode(value, "the price")


def test_none_is_no_nan() -> None:
    for value in (
        Price(1.0, note=[None, "null"]),
        Unequal(),
        Carrier(msgspec.Raw(b'{"a":null}')),
        None,
        [None],
        "null",
    ):
        assert json.loads(encode(value)) == json.loads(msgspec.json.encode(value))
        assert Decoder(type(value)).encode(value, "value") == encode(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        (Price(1.0, note={1, object()}), "Encoding objects of type object is unsupported"),
        ({(1, 2): 3}, "dict"),
        (1j, "complex"),
        ("\ud800", "surrogates not allowed"),
        (Price(1.0, "\udfff"), "surrogates not allowed"),
        ({"\ud800": 1}, "surrogates not allowed"),
        (10**5_000, "4300 digits"),
        ([-(10**5_000)], "4300 digits"),
        (nested(100_000), "recursion"),
    ],
    ids=range(10),
)
def test_what_json_can_not_hold_is_refused(value: object, reason: str) -> None:
    with pytest.raises(NotEncodable, match=rf"^the value can't be stored: .*{reason}"):
        encode(value, "the value")


def test_a_list_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotEncodable, match="recursion"):
        encode(value)


def test_large_integers_read_back() -> None:
    for value in (2**63 - 1, 2**63, 2**64, -(2**63), -(2**200), 10**4_000):
        assert Decoder(int).decode(Decoder(int).encode(value, "n")) == value


@pytest.mark.parametrize(
    "bad",
    [
        Price("1.0"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        Price(None),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        Price(Decimal("1.0")),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        Price(True),
        Price(1.0, 7),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        Price(1.0, discount=[1.0]),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ],
)
def test_a_field_that_holds_what_its_type_forbids_is_refused(bad: Price) -> None:
    with pytest.raises(NotEncodable, match=r"^SeatHeld can't be stored, as it would not read back: Expected `"):
        Decoder(Price).encode(bad, "SeatHeld")


class Place(msgspec.Struct, frozen=True):
    city: str


class Exact(Place, frozen=True):
    street: str = ""


class Moved(msgspec.Struct, frozen=True):
    to: Place | None = None
    tags: list[str] = []
    pair: tuple[int, ...] = ()


@pytest.mark.parametrize(
    "bad",
    [
        Moved(Exact("Rome", "Via X")),
        Moved(tags=("a",)),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        Moved(pair=[1]),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ],
    ids=["subclass", "tuple for list", "list for tuple"],
)
def test_what_would_read_back_as_another_value_is_refused(bad: Moved) -> None:
    with pytest.raises(NotEncodable, match="Moved can't be stored, as it would read back as another value"):
        Decoder(Moved).encode(bad, "Moved")
    good = Moved(Place("Rome"), ["a"], (1,))
    assert Decoder(Moved).decode(Decoder(Moved).encode(good, "Moved")) == good


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(NotEncodable, match="would not read back"):
        Decoder(Price).encode(Unequal(), "SeatHeld")


def test_the_largest_payload_is_a_mebibyte() -> None:
    """Failure 36."""
    whole = "x" * (MAX_PAYLOAD - 2)
    assert len(PLAIN.encode(whole)) == MAX_PAYLOAD == 1_048_576
    assert Decoder(str).decode(encode(whole)) == whole
    with pytest.raises(NotEncodable, match="the text can't be stored: it has 1,048,577 bytes, the limit is 1,048,576"):
        PLAIN.encode(whole + "x", "the text")
    with pytest.raises(NotEncodable, match="the limit is"):
        Decoder(str).encode(whole + "x", "the text")
    for data in (b'"' + b"x" * MAX_PAYLOAD, msgspec.Raw(b" " * (MAX_PAYLOAD + 1))):
        with pytest.raises(NotDecodable, match=r"not a str: it has 1,048,577 bytes, the limit is 1,048,576"):
            Decoder(str).decode(data)


@pytest.mark.parametrize(
    ("cls", "data", "reason"),
    [
        (Price, b"", "truncated"),
        (Price, b"{", "truncated"),
        (Price, b'{"type":"Price","amount":1}x', "malformed|trailing"),
        (Price, b'{"type":"Price"}', "missing required field `amount`"),
        (Price, b'{"type":"Other","amount":1}', "Invalid value 'Other'"),
        (Price, b'{"type":"Price","amount":"1"}', r"Expected `float`, got `str` - at `\$.amount`"),
        (Price, b'{"type":"Price","amount":NaN}', "malformed"),
        (Price, b'{"type":"Price","amount":1e999}', "out of range"),
        (str, b'"\xff"', "utf-8"),
        (str, b'"\\ud800"', "."),
        (int, b"1.5", "Expected `int`, got `float`"),
        (int, b"9" * 5_000, "out of range"),
        (object, b"[" * 100_000, "recursion"),
        (object, b'{"a":' * 10_000, "recursion"),
        (list[int], b'[1,"2"]', r"Expected `int`, got `str` - at `\$\[1\]`"),
    ],
    ids=range(15),
)
def test_bytes_that_do_not_fit_are_refused(cls: Any, data: bytes, reason: str) -> None:
    """Failure 36."""
    with pytest.raises(NotDecodable, match=rf"^not a .*: .*({reason})"):
        Decoder(cls).decode(data)


def test_raw_json_is_decoded_too() -> None:
    assert Decoder(Price).decode(msgspec.Raw(b'{"type":"Price","amount":2}')) == Price(2.0)


class Twig(msgspec.Struct):
    leaves: list[dict[str, tuple[int, ...]]] = []
    left: msgspec.Raw = msgspec.Raw(b"{}")


class Tree(msgspec.Struct):
    branches: list["Tree"] = []


class Bag(msgspec.Struct):
    twig: Twig
    more: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("cls", "deep"),
    [
        (int, False),
        (list[int], False),
        (Twig, False),
        (dict[str, Twig | None], False),
        (tuple[Twig, Twig], False),
        (object, True),
        (list, True),
        (Tree, True),
        (dict[str, Tree | None], True),
        (Bag, True),
        (Unequal, False),
        (complex, True),
    ],
)
def test_only_types_without_an_end_are_looked_into(cls: Any, deep: bool) -> None:
    assert may_be_deep(cls) is deep
    if cls is Tree:
        largest = Tree()
        for _ in range(63):
            largest = Tree([largest])  # an object and a list
        tree = Tree([largest])
        with pytest.raises(NotEncodable, match="more than 128 lists and objects stand within each other"):
            Decoder(Tree).encode(tree, "Tree")
        with pytest.raises(NotDecodable, match="not a Tree: more than 128 lists and objects"):
            Decoder(Tree).decode(msgspec.json.encode(tree))
        assert Decoder(Tree).decode(Decoder(Tree).encode(largest, "Tree")) == largest
