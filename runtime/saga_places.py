"""How the sagas that wait for their place stand in the journal: as wake times that never come.

The journal keeps streams by wake time and, within one time, by their order. So a class's queue is a range of times
behind all real ones, one for each priority: the journal's own index is the queue, and is read a page at a time.
"""

from zlib import crc32

from persistence import NEVER, Sleeper
from runtime.priorities import LOWEST, NEXT

_PRIORITIES, _CLASSES = 32, 2**20
FIRST_WAKE = NEVER - 2 * _PRIORITIES * _CLASSES
"""Later than every time that a clock will tell."""
LAST_WAKE = FIRST_WAKE + _PRIORITIES * _CLASSES
BEFORE_ALL = Sleeper(FIRST_WAKE - 1, NEVER, ("", ""))
"""Behind this the journal's sleepers are those that wait for a place."""


def wake_of(actor: str, priority: int) -> int:
    """Return the wake time of a class's sagas that wait with a priority; two classes may have the same."""
    return FIRST_WAKE + crc32(actor.encode()) % _CLASSES * _PRIORITIES + NEXT - priority


def priority_at(wake: int) -> int | None:
    """Return the priority that a wake time stands for; None: it is no queue's."""
    priority = NEXT - (wake - FIRST_WAKE) % _PRIORITIES
    return priority if FIRST_WAKE <= wake < LAST_WAKE and priority >= LOWEST else None
