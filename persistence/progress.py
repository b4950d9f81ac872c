"""How far a long piece of work has come."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told now and then how much is done, and of how much."""


def no_progress(done: int, of: int) -> None:
    """Tell nobody."""
