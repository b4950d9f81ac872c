"""Dead letters: messages that nobody waits for and that could not be handled. Kept, counted, and told once a burst."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from actors import Address
from runtime.bursts import Bursts
from runtime.clock import Clock
from runtime.log import log

KEPT = 1_000
"""How many of the last ones are kept."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was not handled: when, whose, of which class, and why. Its content is not kept."""

    time: datetime
    address: Address[Any]
    message: str
    error: str


class DeadLetters:
    """The dead letters of one node."""

    def __init__(self, clock: Clock, tell: Callable[[Address[Any], str, Exception], None]) -> None:
        """Keep the last ones, and ``tell`` of each."""
        self._clock = clock
        self._bursts = Bursts(clock)
        self._tell = tell
        self.recent: deque[DeadLetter] = deque(maxlen=KEPT)
        self.count = 0

    def add(self, address: Address[Any], message: object, error: Exception) -> None:
        """Note one."""
        name = type(message).__name__
        self.count += 1
        self._tell(address, name, error)
        time = datetime.fromtimestamp(self._clock.now() / 1e6, UTC)
        self.recent.append(DeadLetter(time, address, name, repr(error)))
        untold = self._bursts.untold((address.actor, name, type(error)))
        if untold is not None:
            log.warning("dead letter", actor=str(address), message=name, untold_before=untold, error=repr(error))
