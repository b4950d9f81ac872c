"""Kills of actors at a turn that the test says: before it, or behind it. Always the same ones."""

from collections.abc import Callable
from typing import Any

import pytest

from runtime import Chaos
from runtime.cells import Cell


class StrikeAt(Chaos):
    """Kills the actor whose turn is the n-th, before it: deterministically."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self._left = turn
        self.struck = False

    def strikes(self) -> bool:
        self._left -= 1
        self.struck = self.struck or self._left == 0
        return self._left == 0


def strikes_behind(monkeypatch: pytest.MonkeyPatch, *cells: type[Cell]) -> Callable[[int], list[str]]:
    """Return how to have the actor killed that has the n-th turn, behind it; that tells who it was, when it was."""
    left, struck = [0], list[str]()

    def plant(cls: type[Cell]) -> None:
        turn: Any = cls.turn

        def turn_and_die(self: Cell, envelope: Any) -> None:
            turn(self, envelope)
            left[0] -= 1
            if left[0] == 0:
                struck.append(self.name)
                self.kill()

        monkeypatch.setattr(cls, "turn", turn_and_die)

    for cls in cells:
        plant(cls)

    def at(turn: int) -> list[str]:
        left[0] = turn
        struck.clear()
        return struck

    return at
