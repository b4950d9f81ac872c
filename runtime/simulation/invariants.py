"""Invariants: what must hold in every run, whatever goes wrong in it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import msgspec

from runtime.simulation.world import World

Predicate = Callable[[World], Any]
"""Looks at a world: returns False, or raises, where something is wrong. It changes nothing."""

When = Literal["always", "eventually", "finally"]


class Invariant(msgspec.Struct, frozen=True):
    """A predicate, and when it must hold. Made by :func:`always`, :func:`eventually` and :func:`finally_`."""

    name: str
    predicate: Predicate
    when: When
    within: timedelta = timedelta(0)

    def problem(self, world: World) -> str | None:
        """Return what is wrong; None: nothing."""
        try:
            found = self.predicate(world)
        except Exception as error:  # noqa: BLE001 (the test's own code; it says what is wrong)
            text = str(error)
            return f"{type(error).__name__}: {text}" if text else type(error).__name__
        return "it does not hold" if found is False else None


def always(predicate: Predicate, name: str = "") -> Invariant:
    """Return an invariant that holds whenever something has become durable, and at the end."""
    return Invariant(name or _name(predicate), predicate, "always")


def eventually(predicate: Predicate, *, within: timedelta, name: str = "") -> Invariant:
    """Return an invariant that holds at some moment, at the latest so long after the last fault, or the beginning."""
    return Invariant(name or _name(predicate), predicate, "eventually", within)


def finally_(predicate: Predicate, name: str = "") -> Invariant:
    """Return an invariant that holds at the end: when the scenario and all sagas have ended, and it is quiet."""
    return Invariant(name or _name(predicate), predicate, "finally")


def _name(predicate: Predicate) -> str:
    return getattr(predicate, "__name__", "invariant").replace("_", " ").strip()
