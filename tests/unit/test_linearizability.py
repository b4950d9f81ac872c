"""The checker itself: it accepts what can be put in order, and refuses what can't."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability import Operation, Unknown, linearization


def register(state: Any, request: Any, result: Any) -> tuple[bool, Any]:
    """A register: a number writes it, None reads it."""
    if request is None:
        return result is Unknown or result == state, state
    return True, request


def op(request: Any, sent: float, answered: float, result: Any = None) -> Operation:
    return Operation(request, sent, answered, result)


def unknown(request: Any, sent: float) -> Operation:
    return Operation(request, sent)


FINE = {
    "nothing": [],
    "one after the other": [op(1, 0, 1), op(None, 2, 3, 1)],
    "at the same time, the old value": [op(1, 0, 3), op(None, 1, 2, 0)],
    "at the same time, the new value": [op(1, 0, 3), op(None, 1, 2, 1)],
    "two writes, either last": [op(1, 0, 3), op(2, 0, 3), op(None, 4, 5, 1)],
    "unknown, and it was": [unknown(1, 0), op(None, 4, 5, 1)],
    "unknown, and it was not": [unknown(1, 0), op(None, 4, 5, 0)],
    "unknown, and it comes late": [unknown(1, 0), op(None, 4, 5, 0), op(None, 6, 7, 1)],
}
WRONG = {
    "a write is not seen": [op(1, 0, 1), op(None, 2, 3, 0)],
    "read before it was written": [op(None, 0, 1, 1), op(1, 2, 3)],
    "new, then old": [op(1, 0, 9), op(None, 1, 2, 1), op(None, 3, 4, 0)],
    "unknown, and it goes again": [unknown(1, 0), op(None, 4, 5, 1), op(None, 6, 7, 0)],
    "what nobody wrote": [op(1, 0, 1), op(None, 2, 3, 7)],
}


@pytest.mark.parametrize("name", FINE)
def test_what_has_an_order(name: str) -> None:
    order = linearization(FINE[name], register, 0)
    assert order is not None
    state: Any = 0
    for operation in order:
        fits, state = register(state, operation.request, operation.result)
        assert fits


@pytest.mark.parametrize("name", WRONG)
def test_what_has_none(name: str) -> None:
    assert linearization(WRONG[name], register, 0) is None


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.none() | st.integers(1, 3)), max_size=8), st.randoms()
)
def test_whatever_was_made_in_an_order_has_one(made: list[tuple[int, int, Any]], random: Any) -> None:
    """Operations that take effect at a moment of their time are in order, whatever that is."""
    state: Any = 0
    timed = [(sent + random.random() * lasts, sent, lasts, request) for sent, lasts, request in made]
    history: list[Operation] = []
    for _, sent, lasts, request in sorted(timed, key=lambda one: one[0]):
        result, state = (state, state) if request is None else (None, request)
        history.append(op(request, sent, sent + lasts, result))
    random.shuffle(history)
    assert linearization(history, register, 0) is not None
