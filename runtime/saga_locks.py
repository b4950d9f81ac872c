"""How a saga that has ended gives back its locks: to each service, until it has answered.

The saga's stream stays unfinished until all have, so that the next process goes on with it after a crash.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from actors import Address
from runtime.cells import Cell
from runtime.mailbox import Envelope
from runtime.saga_story import StepStory, Story

AGAIN = 10.0
"""Seconds after which a service that could not take its locks back is told again."""


class GivenBack(msgspec.Struct):
    """A service has taken back its locks, or (``error``) could not."""

    to: Address[Any]
    error: Exception | None = None


class ReleaseReturn(msgspec.Struct, gc=False):
    """Where a service's answer goes: into the mailbox of the saga that has ended."""

    find: Callable[[Address[Any]], Cell | None]
    saga: Address[Any]
    to: Address[Any]

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more: never, for the saga's stream is unfinished until it comes."""
        return False

    def done(self, value: Any) -> None:  # noqa: ARG002 (how many there were makes no difference)
        """Say that the locks are given back."""
        self._post(GivenBack(self.to))

    def failed(self, error: Exception) -> None:
        """Say that they are not."""
        self._post(GivenBack(self.to, error))

    def _post(self, answer: GivenBack) -> None:
        cell = self.find(self.saga)
        if cell is not None:
            cell.post(Envelope(answer))


def steps_by_service(story: Story) -> dict[Address[Any], list[StepStory]]:
    """Return the steps that hold locks, or may do so yet, by whose locks these are."""
    found: dict[Address[Any], list[StepStory]] = {}
    for step in story.lockers:
        assert step.asked.to is not None
        found.setdefault(step.asked.to, []).append(step)
    return found
