"""Chance: what a node takes from outside of itself. A simulation takes it from a seed."""

import os
from random import Random


class Chance:
    """Base of nodes."""

    def _new_random(self) -> Random:
        """Return a source of random numbers: for jitter, not for secrets."""
        return Random()

    def _new_name(self) -> str:
        """Return a name that nobody else has."""
        return os.urandom(6).hex()
