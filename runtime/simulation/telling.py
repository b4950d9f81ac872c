"""How a failed expectation is told: values as their constructors, and what differs, line by line."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from difflib import ndiff
from typing import Any

import msgspec

from actors import Address, Event, Refused

WIDTH = 100
"""What is wider is broken, one part to a line."""
MOST_LINES = 400
"""How many lines of each side are compared; of what is longer, the rest is left out."""
NO_RULES = (
    "an event has happened, and evolve only says what it leads to; check the rule in decide, which may refuse, or a "
    "stream that was written under an older rule can't be read back"
)
"""What helps where ``evolve`` refuses."""


def refusal(service: str, event: Event, refused: Refused) -> str:
    """Return what a service's ``evolve`` must not say."""
    return f"{service}.evolve refuses {told(event)}: {refused.reason}"


def told(value: Any, indent: str = "") -> str:
    """Return a value as the code that makes it: ``SeatHeld(trip='t', seat=1)``, ``Flight.at('LH441')``."""
    whole: Any = value
    match value:
        case Address(actor, key):
            return f"{actor}.at({key!r})" if key else f"{actor}.at()"
        case msgspec.Struct():
            fields = [f"{name}=" for name in value.__struct_fields__]
            values = [getattr(value, name) for name in value.__struct_fields__]
            return _call(f"{type(value).__name__}(", ")", fields, values, indent)
        case Mapping():
            return _call("{", "}", [f"{key!r}: " for key in whole], list(whole.values()), indent)
        case list():
            return _call("[", "]", None, whole, indent)
        case tuple():
            return _call("(", ",)" if len(whole) == 1 else ")", None, whole, indent)
        case AbstractSet():
            inside = sorted(whole, key=repr)
            return _call("{", "}", None, inside, indent) if inside else repr(whole)
        case type():
            return whole.__name__ if isinstance(whole, type) else repr(whole)
        case _:
            return repr(value)


def _call(begin: str, end: str, names: list[str] | None, values: Iterable[Any], indent: str) -> str:
    within = indent + "    "
    parts = [told(value, within) for value in values]
    if names is not None:
        parts = [name + part for name, part in zip(names, parts, strict=True)]
    line = f"{begin}{', '.join(parts)}{end}"
    if len(indent) + len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([begin, *[f"{within}{part}," for part in parts], f"{indent}{end.lstrip(',')}"])


def difference(expected: str, actual: str) -> str:
    """Return what differs: lines with ``-`` were expected, and those with ``+`` are what came."""
    before, after = _lines(expected), _lines(actual)
    return "\n".join(line.rstrip("\n") for line in ndiff(before, after))


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], f"... {len(lines) - MOST_LINES:,} more lines"]


def unexpected(headline: str, expected: str, actual: str, also: str = "") -> AssertionError:
    """Return the error for something that should have been another."""
    parts = [f"{headline}\n(- expected, + got)", difference(expected, actual)]
    return AssertionError("\n".join([*parts, also] if also else parts))


def several(values: Iterable[Any]) -> str:
    """Return values, one under the other; ``(nothing)`` where there are none."""
    return "\n".join(told(value) for value in values) or "(nothing)"
