"""Dead letters: messages that nobody waits for and that could not be handled. Kept, counted, and told once a burst."""

from collections import deque
from datetime import UTC, datetime
from typing import Any

import msgspec

from actors import Address
from runtime.clock import Clock
from runtime.log import log

KEPT = 1_000
"""How many of the last ones are kept, and how many sorts of them are told apart in the log."""
BURST = 10_000_000
"""Microseconds in which letters of one sort are one burst: the first is logged, the others are counted."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was not handled: when, whose, of which class, and why. Its content is not kept."""

    time: datetime
    address: Address[Any]
    message: str
    error: str


class DeadLetters:
    """The dead letters of one node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bursts: dict[tuple[str, str, type], tuple[int, int]] = {}
        """Of each sort (class of actor, class of message, error): when its burst began, and how many were not told."""
        self.recent: deque[DeadLetter] = deque(maxlen=KEPT)
        self.count = 0

    def add(self, address: Address[Any], message: object, error: Exception) -> None:
        """Note one."""
        now = self._clock.steady()
        name = type(message).__name__
        self.count += 1
        time = datetime.fromtimestamp(self._clock.now() / 1e6, UTC)
        self.recent.append(DeadLetter(time, address, name, repr(error)))
        sort = (address.actor, name, type(error))
        began, untold = self._bursts.get(sort, (None, 0))
        if began is not None and now - began < BURST:
            self._bursts[sort] = (began, untold + 1)
            return
        if len(self._bursts) >= KEPT:
            self._bursts.clear()
        self._bursts[sort] = (now, 0)
        log.warning("dead letter", actor=str(address), message=name, untold_before=untold, error=repr(error))
