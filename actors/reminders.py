"""Reminders: commands to be sent later, kept in the journal until they have been."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.address import Address

NAME_LIMIT = 200
"""The longest name of a reminder, in characters."""
LONGEST = timedelta(days=365_000)
"""The longest time to wait, and the longest interval: some thousand years."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_length(what: str, word: str, length: object) -> None:
    """Make sure that a length of time, where there is one, is a timedelta.

    Raises:
        ValueError: it is something else.
    """
    if length is not None and not isinstance(length, timedelta):
        raise ValueError(f"{what} has {word}={length!r:.80}; write {word}=timedelta(...)")


class Remind(msgspec.Struct, frozen=True, tag=True):
    """Send ``command`` later, under a name; made by ``Decision.remind``.

    Once: ``after`` the time at which it is set, or ``at`` a time. Again and again with ``every``, from that time on,
    or from one interval after it is set. It goes to the actor at ``to``; None: to the service that sets it.

    Raises:
        ValueError: the name is empty or longer than 200 characters; the times are negative, above a thousand years,
            without a time zone, or say too much or nothing.
    """

    name: str
    command: Any
    after: timedelta | None = None
    at: datetime | None = None
    every: timedelta | None = None
    to: Address[Any] | None = None

    def __post_init__(self) -> None:
        what = f"reminder {self.name!r:.250}"
        if not 0 < len(self.name) <= NAME_LIMIT:
            raise ValueError(f"a reminder needs a name of 1 to {NAME_LIMIT} characters, not {self.name!r:.250}")
        if self.after is None and self.at is None and self.every is None:
            raise ValueError(f"{what} doesn't say when; write after=timedelta(...), at=datetime(...) or every=...")
        check_length(what, "after", self.after)
        check_length(what, "every", self.every)
        if self.after is not None and self.at is not None:
            raise ValueError(f"{what} has both after= and at=; leave one of them out")
        if self.after is not None and not timedelta(0) <= self.after <= LONGEST:
            raise ValueError(f"{what} must wait 0 or more and a thousand years at the most, not after={self.after}")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"{what}: at={self.at} could be any time zone; write datetime(..., tzinfo=UTC)")
        if self.at is not None and self.at > _LATEST:
            raise ValueError(f"{what} can't be due after the year 9998, not at={self.at}")
        if self.every is not None and not timedelta(0) < self.every <= LONGEST:
            raise ValueError(f"{what} must repeat after more than 0 and a thousand years at the most, not {self.every}")

    def first(self, now: int) -> int:
        """Return when it is due first, set ``now``; both in microseconds since 1970 (UTC), 1 at the least."""
        if self.at is not None:
            return max(1, (self.at - EPOCH) // _MICROSECOND)
        wait = self.after if self.after is not None else self.every
        assert wait is not None
        return now + wait // _MICROSECOND

    @property
    def interval(self) -> int:
        """The microseconds between two times; 0: there is one time only."""
        return 0 if self.every is None else self.every // _MICROSECOND


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Drop the reminder of this name, if there is one; made by ``Decision.forget``."""

    name: str
