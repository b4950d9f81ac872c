"""What comes to a saga while it is under way: outcomes of its steps, its timers, and people who ask for its result."""

from collections.abc import Callable
from typing import Any

import msgspec

from actors import Address
from runtime.cells import Cell
from runtime.mailbox import Envelope


class StepOutcome(msgspec.Struct):
    """What became of a step, or of its undo: a reply, or an error."""

    step: str
    undo: bool
    value: Any = None
    error: Exception | None = None


class Wake(msgspec.Struct):
    """A timer of one incarnation has fired: for a step's end of sleep or retry, or (no step) the deadline."""

    incarnation: int
    step: str | None = None
    undo: bool = False


class Join(msgspec.Struct):
    """Somebody asks for the saga's result without starting it."""


class StepReturn(msgspec.Struct, gc=False):
    """Where the reply to a step goes: into the mailbox of its saga."""

    find: Callable[[Address[Any]], Cell | None]
    saga: Address[Any]
    step: str
    undo: bool

    def done(self, value: Any) -> None:
        """Give the reply."""
        self._post(StepOutcome(self.step, self.undo, value))

    def failed(self, error: Exception) -> None:
        """Say that there is none."""
        self._post(StepOutcome(self.step, self.undo, None, error))

    def _post(self, outcome: StepOutcome) -> None:
        # An unfinished saga always has its cell; one that has ended needs no more replies.
        cell = self.find(self.saga)
        if cell is not None:
            cell.put(Envelope(outcome))
