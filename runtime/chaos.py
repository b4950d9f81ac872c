"""Chaos: kills actors, lets them wait, and loses replies, at random. For staging, tests and demos.

A runtime has none unless its program gives it one: no setting and no environment variable turns it on.
"""

from collections.abc import Mapping
from random import Random

LONGEST_DELAY = 0.05
"""Seconds for which an actor waits at most, unless something else is said."""

Rate = float | Mapping[type, float]
"""A probability for all actors, or one for each of some classes; the others are spared."""


class Chaos:
    """Disturbs the actors of a runtime, by a seed.

    ``kill`` is the probability with which the actor whose turn it is dies, before each message. The message stays in
    the mailbox and is handled by the next incarnation. ``delay`` is that with which an actor to which mail comes gets
    its turn only after a while, up to ``longest_delay`` seconds: all of its mail waits, so each sender's messages stay
    in order, and those of different senders, replies and timeouts cross in other ways than usual. ``lose_replies`` is
    that with which a command that has an id, a saga's step, say, is handled, and its sender is told that the outcome
    is unknown: it asks again with the same id. Both can be given by class: ``{Flight: 0.1}``.

    Async plain actors work outside of the turns, and are spared.

    Raises:
        ValueError: a probability is below 0, or 1 or more; or ``longest_delay`` is no positive time.
    """

    def __init__(
        self,
        seed: int = 0,
        kill: float = 0.0,
        *,
        delay: Rate = 0.0,
        longest_delay: float = LONGEST_DELAY,
        lose_replies: Rate = 0.0,
    ) -> None:
        self.seed = seed
        self.longest_delay = longest_delay
        self._kill = _probability("kill", kill)
        self._delay, self._lose = _rate("delay", delay), _rate("lose_replies", lose_replies)
        if not 0 < longest_delay < float("inf"):
            raise ValueError(f"longest_delay is in seconds and must be above 0, not {longest_delay}")
        # Each has its own dice: more of one thing leaves the others as they were.
        self._random, self._delays, self._losses = Random(seed), Random(f"{seed} delay"), Random(f"{seed} lose")
        self.kills = 0
        """Actors killed so far."""
        self.delays = 0
        """How often an actor had to wait so far."""
        self.lost_replies = 0
        """Replies lost so far."""

    def strikes(self) -> bool:
        """Say whether the actor whose turn it is dies now."""
        if self._random.random() < self._kill:
            self.kills += 1
            return True
        return False

    def delays_by(self, actor: type) -> float:
        """Return for how many seconds an actor of this class, to which mail has come, waits for its turn; 0: not."""
        if self._delays.random() < _of(self._delay, actor):
            self.delays += 1
            return self._delays.uniform(0, self.longest_delay) or self.longest_delay
        return 0.0

    def loses_reply(self, actor: type) -> bool:
        """Say whether the reply of an actor of this class to the command that it gets now is lost."""
        if self._losses.random() < _of(self._lose, actor):
            self.lost_replies += 1
            return True
        return False

    def __str__(self) -> str:
        rates = {"kill": self._kill, "delay": self._delay, "lose_replies": self._lose}
        said = (f"{name}={_told(rate)}" for name, rate in rates.items() if rate)
        return f"Chaos({', '.join([f'seed={self.seed}', *said])})"


def _of(rate: Rate, actor: type) -> float:
    return rate.get(actor, 0.0) if isinstance(rate, Mapping) else rate


def _told(rate: Rate) -> str:
    if isinstance(rate, Mapping):
        return "{" + ", ".join(f"{cls.__name__}: {probability}" for cls, probability in rate.items()) + "}"
    return f"{rate}"


def _rate(name: str, rate: Rate) -> Rate:
    if isinstance(rate, Mapping):
        return {cls: _probability(f"{name} of {cls.__name__}", probability) for cls, probability in rate.items()}
    return _probability(name, rate)


def _probability(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a probability and must be at least 0 and below 1, not {value}")
    return float(value)
