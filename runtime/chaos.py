"""Chaos: kills actors at random, to show that their understudies know every line. For tests and demos."""

from random import Random


class Chaos:
    """Kills the actor whose turn it is, with probability ``kill`` before each message, by a seed.

    The message stays in the mailbox and is handled by the next incarnation.
    """

    def __init__(self, seed: int = 0, kill: float = 0.0) -> None:
        if not 0 <= kill < 1:
            raise ValueError(f"kill is a probability and must be at least 0 and below 1, not {kill}")
        self._random = Random(seed)
        self._kill = kill
        self.kills = 0
        """Actors killed so far."""

    def strikes(self) -> bool:
        """Say whether the actor whose turn it is dies now."""
        if self._random.random() < self._kill:
            self.kills += 1
            return True
        return False
