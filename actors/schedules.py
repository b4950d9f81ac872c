"""Schedules: sagas that are started at planned times. What a run's key says, for the saga that runs."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from actors.reminders import EPOCH

Overlap = Literal["skip", "allow", "queue", "cancel"]
"""What becomes of a run whose time comes while one before it has not ended."""


def run_key(name: str, planned: int) -> str:
    """Return the key of the saga that a schedule starts for a time (microseconds since 1970)."""
    time = (EPOCH + timedelta(microseconds=planned)).replace(tzinfo=None)
    return f"{name}@{time.isoformat()}Z"


def planned_time(key: str) -> datetime:
    """Return for which time a schedule has started the saga with this key, in UTC: ``planned_time(self.key)``.

    The key is the schedule's name and that time, ``nightly@2026-11-28T03:00:00Z``: the time at which the run was to
    begin, not the one at which it did.

    Raises:
        ValueError: no schedule has made this key.
    """
    _, at, text = key.rpartition("@")
    try:
        if at and text.endswith("Z"):
            return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise ValueError(f"{key!r:.250} is no key of a scheduled run; they end like nightly@2026-11-28T03:00:00Z")
