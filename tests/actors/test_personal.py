"""Personal values: what they show, when they are equal, and that nothing writes them as they are."""

import copy
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Event, Forgotten, Personal
from actors.personal import note_seal, seal_of, sealed


class Wax:
    """A seal."""

    def __init__(self, text: bytes = b"wax", *, gone: bool = False) -> None:
        self.text = text
        self.gone = gone


class SignedUp(Event):
    email: Personal[str]


ana = Personal("customer:7", "ana@example.org")


def test_it_holds_a_value_until_its_key_is_gone() -> None:
    personal, wax = Personal("customer:7", "ana@example.org"), Wax()
    assert (personal.subject, personal.value, personal.get(), personal.forgotten) == (
        "customer:7",
        "ana@example.org",
        "ana@example.org",
        False,
    )
    note_seal(personal, wax)
    assert seal_of(personal) is wax
    assert personal.value == "ana@example.org"
    wax.gone = True
    assert personal.forgotten
    assert personal.subject == "customer:7"
    assert (personal.get(), personal.get("nobody")) == (None, "nobody")
    with pytest.raises(Forgotten, match=r"what was known of 'customer:7' is forgotten; \.get\(default\)"):
        personal.value  # noqa: B018


@given(st.text(min_size=1, max_size=20) | st.integers(10**8), st.booleans())
def test_it_is_never_shown(value: str | int, gone: bool) -> None:
    personal = Personal("s", value)
    note_seal(personal, Wax(gone=gone))
    event = SignedUp(personal)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    state = "forgotten" if gone else "..."
    for shown in (repr(personal), str(personal), f"{personal}", repr(event), repr([event])):
        assert shown.replace("SignedUp(email=", "").strip("[]").startswith(f"Personal('s', {state})")


@given(st.text(max_size=5), st.text(max_size=5))
def test_two_are_equal_if_subject_and_value_are(one: str, other: str) -> None:
    assert (Personal("s", one) == Personal("s", other)) is (one == other)
    assert Personal("s", one) != Personal("t", one)
    assert Personal("s", one) != one
    assert hash(Personal("s", one)) == hash(Personal("s", [other]))
    assert len({Personal("s", one), Personal("s", other)}) == len({one, other})


def test_forgotten_ones_are_equal_if_they_were_stored_as_the_same() -> None:
    gone = sealed("s", Wax(b"1", gone=True))
    assert gone == gone
    assert gone == sealed("s", Wax(b"1", gone=True))
    assert gone != sealed("s", Wax(b"2", gone=True))
    assert gone != sealed("t", Wax(b"1", gone=True))
    known = Personal("s", "x")
    note_seal(known, Wax(b"1"))
    assert known != gone
    assert sealed("s", Wax()).forgotten  # it was never opened


@pytest.mark.parametrize("subject", ["", "x" * 201, None, 7])
def test_a_subject_has_a_name(subject: Any) -> None:
    with pytest.raises(ValueError, match="a text of 1 to 200 characters; write Personal"):
        Personal(subject, "x")


def test_it_is_frozen_and_no_copy_or_pickle_leaves_it() -> None:
    with pytest.raises(AttributeError):
        ana.value = "x"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    assert copy.copy(ana) is copy.deepcopy(ana) is ana
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(ana, protocol)


def test_what_does_not_seal_it_refuses_to_write_it() -> None:
    event = SignedUp(ana)
    for write in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, json.dumps):
        with pytest.raises(TypeError):
            write(event)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"type": "SignedUp", "email": "ana@example.org"}', type=SignedUp)


@pytest.mark.parametrize("annotation", [Personal[str], Personal[list[int]], Personal[str] | None, Personal])
def test_msgspec_takes_it_as_a_field(annotation: Any) -> None:
    cls = msgspec.defstruct("S", [("one", annotation)])
    back = msgspec.json.decode(b'{"one": {}}', type=cls, dec_hook=lambda _, __: ana)
    assert back == cls(ana)
