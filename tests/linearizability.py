"""A small checker of linearizability: is there one order, within real time, in which everything makes sense?

After Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, with the memory of Lowe, "Testing for
linearizability", 2017: a set of operations that have taken effect and the state that they led to are looked at once.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

Model = Callable[[Any, Any, Any], tuple[bool, Any]]
"""Called with a state, a request and its result; says whether they fit, and returns the next state."""


class Unknown:
    """The result of an operation that may have taken effect, or may do so yet, or never."""


class Operation(msgspec.Struct):
    """One request of one client: when it was sent and answered, and how."""

    request: Any
    sent: float
    answered: float = math.inf
    result: Any = Unknown


def linearization(history: Sequence[Operation], model: Model, initial: Hashable) -> list[Operation] | None:
    """Return an order in which all that was answered has taken effect, each between its question and its answer.

    None: there is none. What was never answered may stand in it or not.
    """
    operations = sorted(history, key=lambda operation: operation.sent)
    must = sum(1 << n for n, operation in enumerate(operations) if operation.result is not Unknown)
    seen: set[tuple[int, Hashable]] = set()
    # Each frame: what has taken effect, the state, and the candidates that are left to try there.
    order: list[int] = []
    stack = [(0, initial, _candidates(operations, 0))]
    while stack:
        done, state, candidates = stack[-1]
        if done & must == must:
            return [operations[n] for n in order]
        if not candidates:
            stack.pop()
            if order:
                order.pop()
            continue
        n = candidates.pop()
        operation = operations[n]
        fits, after = model(state, operation.request, operation.result)
        key = (done | 1 << n, after)
        if fits and key not in seen:
            seen.add(key)
            order.append(n)
            stack.append((key[0], after, _candidates(operations, key[0])))
    return None


def _candidates(operations: Sequence[Operation], done: int) -> list[int]:
    """Return what may be the next to take effect: all that was sent before the first of the others was answered."""
    left = [n for n in range(len(operations)) if not done >> n & 1]
    horizon = min((operations[n].answered for n in left), default=math.inf)
    return [n for n in left if operations[n].sent <= horizon]
