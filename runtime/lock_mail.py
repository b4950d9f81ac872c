"""What comes to a service about its locks."""

from typing import Any

from actors import Address
from runtime.service_mail import ServiceMail


class LockMail(ServiceMail):
    """What comes about locks."""


class Unlock(LockMail):
    """Take back what a saga holds, all of it or one lock; answered by the number of locks that it held.

    ``unsettled`` are the ids of its steps that may still be on their way, though the saga has ended: they are refused.
    """

    holder: Address[Any] | None
    lock: str | None = None
    unsettled: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


class Next(LockMail):
    """It is the turn of who waits for a lock, and comes first."""

    lock: str


class LookAtLocks(LockMail):
    """Somebody asks who holds what; answered by a list of pairs: what is held, and how many wait for it."""


class MustWait(Exception):
    """A command has to wait for a lock. Caught by whoever has its envelope."""

    def __init__(self, lock: str) -> None:
        super().__init__(lock)
        self.lock = lock
