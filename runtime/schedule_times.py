"""The times of a schedule: one, a grid of intervals, or what a cron expression says.

All are in microseconds since 1970 (UTC). Each sort tells the same times wherever it begins to look, so that a time is
the name of a run.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from actors import ExtraMissing
from actors.reminders import EPOCH

if TYPE_CHECKING:
    from cronsim import CronSim

COUNTED = 100
"""So many times that were missed are counted one by one; of more it is said that there are more."""
LATEST = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""There are no times behind the year 9998."""
_SECOND = 1_000_000


class Due:
    """Times that have come: the last ones one by one, those before them as a number."""

    __slots__ = ("first", "kept", "missed", "more", "until")

    def __init__(self, kept: list[int], missed: int = 0, first: int = 0, until: int = 0, *, more: bool = False) -> None:
        self.kept = kept
        self.missed = missed
        """How many came before those."""
        self.first = first
        self.until = until
        """The first and the last of these; 0: there are none."""
        self.more = more
        """Whether there are more than ``missed`` says, and nobody has counted them."""


class Times(Protocol):
    """When to start."""

    def after(self, moment: int) -> int:
        """Return the first time behind a moment; 0: there is none."""
        ...

    def due(self, first: int, now: int, keep: int) -> Due:
        """Return the times from ``first``, which is one of them, to ``now``; the last ``keep`` of them one by one."""
        ...


def _split(times: list[int], keep: int) -> Due:
    missed = times[: max(0, len(times) - keep)]
    return Due(times[len(missed) :], len(missed), missed[0], missed[-1]) if missed else Due(times)


class Once:
    """One time."""

    def __init__(self, at: int) -> None:
        self._at = at

    def after(self, moment: int) -> int:
        """Return it, if it is behind the moment."""
        return self._at if self._at > moment else 0

    def due(self, first: int, now: int, keep: int) -> Due:
        """Return it, if it has come."""
        return _split([first] if first <= now else [], keep)


class Interval:
    """A grid: a time, and every so many microseconds from then on."""

    def __init__(self, anchor: int, every: int) -> None:
        self._anchor = anchor
        self._every = every

    def after(self, moment: int) -> int:
        """Return the first one of the grid that is behind the moment."""
        found = max(self._anchor, self._anchor + ((moment - self._anchor) // self._every + 1) * self._every)
        return found if found < LATEST else 0

    def due(self, first: int, now: int, keep: int) -> Due:
        """Return the last ones by what they are: a grid can be counted without looking at each."""
        count = max(0, (now - first) // self._every + 1)
        missed = max(0, count - keep)
        kept = [first + n * self._every for n in range(missed, count)]
        return Due(kept, missed, first, first + (missed - 1) * self._every) if missed else Due(kept)


class Cron:
    """The times of a cron expression in a time zone, as ``cronsim`` tells them: like Debian's cron, DST included.

    Raises:
        ValueError: there is no such time zone here.
        ExtraMissing: ``cronsim`` is not installed.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self._make = _cronsim()
        self._expression = expression
        self._zone = _zone(timezone)

    def after(self, moment: int) -> int:
        """Return the first time behind the moment; 0: there is none in the next 50 years."""
        return next(self._from(moment), 0)

    def due(self, first: int, now: int, keep: int) -> Due:
        """Return the last ones; where they are many, those in between are not looked at."""
        found = list(islice(self._between(first - 1, now), COUNTED + keep + 1))
        if len(found) <= COUNTED + keep:
            return _split(found, keep)
        last = self._last(first, now, keep + 1)
        return Due(last[1:], COUNTED, first, last[0], more=True)

    def _from(self, moment: int) -> Iterator[int]:
        last = moment
        try:
            for time in self._make(self._expression, self._local(moment)):
                found = (time - EPOCH) // timedelta(microseconds=1)
                if found >= LATEST:
                    return
                if found > last:  # what begins in an hour that is there twice is told from its first copy on
                    yield (last := found)
        except OverflowError:
            return

    def _between(self, moment: int, now: int) -> Iterator[int]:
        for time in self._from(moment):
            if time > now:
                return
            yield time

    def _last(self, first: int, now: int, count: int) -> list[int]:
        """Return the last times: from some way before the latest one on, and from further before if that's too late."""
        latest = next(self._make(self._expression, self._local(now + _SECOND), reverse=True))
        end, span = min(now, (latest - EPOCH) // timedelta(microseconds=1)), count * _SECOND
        while True:
            begin = max(first - 1, end - span)
            found = deque(self._between(begin, now), maxlen=count)
            if len(found) == count or begin < first:
                return list(found)
            span *= 2

    def _local(self, moment: int) -> datetime:
        return (EPOCH + timedelta(microseconds=moment)).astimezone(self._zone)


def _cronsim() -> "type[CronSim]":
    try:
        from cronsim import CronSim  # here, for it is an extra
    except ModuleNotFoundError as error:
        raise ExtraMissing("cron expressions are read by cronsim: pip install 'understudy[cron]'") from error
    return CronSim


def check_cron(expression: str, timezone: str, now: int) -> None:
    """Make sure that a cron expression says when.

    Raises:
        ValueError: it can't be read or never comes true, or there is no such time zone.
        ExtraMissing: ``cronsim`` is not installed.
    """
    times = Cron(expression, timezone)
    from cronsim import CronSimError

    try:
        found = times.after(now)
    except CronSimError as error:
        raise ValueError(
            f"cron={expression!r:.250} can't be read ({error}); write minute, hour, day of the month, month and day of "
            'the week, "0 3 * * *" for every night at three, say'
        ) from error
    if not found:
        raise ValueError(f"cron={expression!r:.250} names no day in the next 50 years, so it would never start")


def _zone(timezone: str) -> tzinfo:
    if timezone == "UTC":
        return UTC
    try:
        return ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:  # (KeyError: not found)
        raise ValueError(
            f'there is no time zone {timezone!r:.250} here; write one of the IANA\'s, timezone="Europe/Berlin" say '
            "(where a system has none of them: pip install tzdata)"
        ) from error
