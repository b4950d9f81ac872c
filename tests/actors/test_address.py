"""Addresses: plain values that can be compared, stored and sent, whatever text is their key."""

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, ActorMisuse, Address, Message, ReadModel
from actors.messages import Request

ODD_KEYS = [
    "",
    " ",
    "/",
    "a/b",
    "#1",
    "!",
    "\x00",
    "\n",
    "'",
    '"',
    "\\",
    "%",
    "🛫",
    "é",
    "e\u0301",
    "\u202e",
    "x" * 10_000,
]


class Flight(Actor): ...


class Hotel(Actor): ...


class Flights(ReadModel): ...


class Letter(Message):
    to: Address[Flight]
    copies: list[Address[Hotel]] = []


def test_an_address_is_its_class_and_its_key() -> None:
    assert Flight.at("LH441") == Address("Flight", "LH441")
    assert Flight.at() == Address("Flight", "") == Address("Flight")
    assert Flights.at() == Address("Flights")


def test_addresses_are_equal_by_value() -> None:
    one, same, other = Flight.at("LH441"), Flight.at("LH441"), Flight.at("LH442")
    elsewhere: Address[object] = Hotel.at("LH441")
    assert one == same
    assert one != other
    assert one != elsewhere
    assert hash(one) == hash(same)
    assert {one: "found"}[same] == "found"
    assert len({one, same, other, elsewhere}) == 3


def test_addresses_are_sorted_by_class_and_key() -> None:
    by_class: list[Address[object]] = [Hotel.at("a"), Flight.at("b"), Flight.at("a")]
    assert [str(address) for address in sorted(by_class)] == ["Flight/a", "Flight/b", "Hotel/a"]


def test_an_address_is_frozen() -> None:
    with pytest.raises(AttributeError):
        setattr(Flight.at("LH441"), "key", "LH442")  # noqa: B010 (the type checkers would refuse the plain form)


def test_an_address_is_printed_short() -> None:
    assert str(Flight.at("LH441")) == "Flight/LH441"
    assert str(Flight.at()) == "Flight"
    assert f"{Flight.at('a/b')}" == "Flight/a/b"


def test_the_key_of_a_kind_of_letters_does_not_matter() -> None:
    # Two texts that look the same are two keys: nothing is normalised behind the user's back.
    assert Flight.at("é") != Flight.at("e\u0301")


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys_survive(key: str) -> None:
    survives(key)


@given(st.text())
def test_any_key_survives(key: str) -> None:
    survives(key)


def survives(key: str) -> None:
    letter = Letter(Flight.at(key), [Hotel.at(key), Hotel.at()])
    assert msgspec.json.decode(msgspec.json.encode(letter), type=Letter) == letter
    assert pickle.loads(pickle.dumps(letter.to)) == letter.to
    assert letter.to.key == key


def test_an_address_is_stored_short() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Letter(Flight.at("LH441"))))["to"] == ["Flight", "LH441"]


class Echo(Request["Flight", str]): ...


def test_an_actor_outside_of_a_runtime_says_so() -> None:
    with pytest.raises(ActorMisuse, match="Hotel is not run by a runtime"):
        Hotel("Ritz").ask(Flight.at("LH441"), Echo()).send(None)
