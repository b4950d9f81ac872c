"""What the runtime writes into a service's stream about its reminders, and what follows from it: what is pending."""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors import Address
from actors.reminders import Remind
from actors.request_context import Texts
from persistence import NEVER, NewEvent, Record
from persistence.codec import WRAPPING, Decoder, encode
from runtime.kinds import FORGOTTEN, REMINDED, REMINDER, RESENT, decoded, out_of_place
from runtime.origin import Origin, origin_of

PENDING_LIMIT = 1_000
"""How many reminders a service may have pending. Those that the runtime sets are counted for each address apart."""


class ReminderSet(msgspec.Struct, omit_defaults=True):
    """A command is to be sent at ``due`` (microseconds since 1970), and every so many microseconds from then on."""

    name: str
    command: msgspec.Raw
    due: int
    every: int = 0
    to: Address[Any] | None = None
    correlation: str = ""
    context: Texts | None = None


class Reminded(msgspec.Struct, omit_defaults=True):
    """The command that was due has taken effect, or was refused; ``next`` is when it is due again, or 0."""

    name: str
    due: int
    next: int = 0
    refused: str = ""


class Resent(msgspec.Struct, omit_defaults=True):
    """The command is about to be sent after a crash of the process, at which it may have been under way.

    ``crashes`` counts those in a row, this one included. 0: the command has failed since, and the process lives.
    """

    name: str
    crashes: int = 0


class Forgotten(msgspec.Struct):
    """A reminder was dropped."""

    name: str


class Pending(msgspec.Struct, frozen=True):
    """A reminder that waits for its time. ``version`` is that of the event that set it."""

    name: str
    version: int
    due: int
    every: int
    command: bytes
    to: Address[Any] | None
    correlation: str
    retry: int = 0
    """When it is tried again after a failure; in memory only, but for the stream's wake time."""
    crashes: int = 0
    """How often in a row the process has crashed while it was overdue, as far as that is counted."""
    position: int = 0
    """The position of the last event about it that was read from the journal; 0: it was written since."""
    context: Texts | None = None
    """The request context in which it was set."""

    @property
    def origin(self) -> Origin | None:
        """In whose name its command is sent."""
        return origin_of(self.correlation, self.context)

    @property
    def time(self) -> int:
        """When to send it, in microseconds since 1970."""
        return max(self.due, self.retry)

    @property
    def key(self) -> "FiringKey":
        """What tells this firing from all others of the service."""
        return (self.name, self.version, self.due)

    def id_at(self, service: str) -> str:
        """Return the id of the command that is sent at ``due``: the same each time it is sent for that time."""
        return f"{service}~{self.name}/{self.version}@{self.due}"

    def next_after(self, now: int) -> int:
        """Return the first time behind ``now`` at which it is due again, on the grid of its interval; 0: never."""
        return 0 if not self.every else self.due + ((now - self.due) // self.every + 1) * self.every


FiringKey = tuple[str, int, int]
"""A reminder's name, the version of the event that set it, and the time at which it was due."""
PendingByName = Mapping[str, Pending]

NOTHING_PENDING: PendingByName = {}
"""Shared by all services without reminders."""

ReminderEvent = ReminderSet | Reminded | Resent | Forgotten
REMINDERS = {
    REMINDER: Decoder(ReminderSet, WRAPPING),
    REMINDED: Decoder(Reminded, WRAPPING),
    RESENT: Decoder(Resent, WRAPPING),
    FORGOTTEN: Decoder(Forgotten, WRAPPING),
}
"""What reads each of the events about reminders."""


def replayed(pending: PendingByName, record: Record) -> PendingByName:
    """Return what is pending after one more event of the stream; what was given belongs to this replay alone."""
    found: dict[str, Pending] = {} if pending is NOTHING_PENDING else pending  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    event = decoded(REMINDERS[record.type], record, record.data)
    try:
        _apply(found, event, record.version, record.position)
    except KeyError as error:
        raise out_of_place(record, f"no reminder {error} is pending") from error
    return found


def _apply(pending: dict[str, Pending], event: ReminderEvent, version: int, position: int = 0) -> None:
    if isinstance(event, ReminderSet):
        command = bytes(event.command)
        pending[event.name] = Pending(
            event.name,
            version,
            event.due,
            event.every,
            command,
            event.to,
            event.correlation,
            position=position,
            context=event.context,
        )
    elif isinstance(event, Reminded) and event.next:
        pending[event.name] = msgspec.structs.replace(
            pending[event.name], due=event.next, retry=0, crashes=0, position=position
        )
    elif isinstance(event, Resent):
        pending[event.name] = msgspec.structs.replace(pending[event.name], crashes=event.crashes, position=position)
    else:
        del pending[event.name]


def wake_of(pending: PendingByName) -> int:
    """Return when the service must be awake for the first of its reminders."""
    return min((reminder.time for reminder in pending.values()), default=NEVER)


class Changes:
    """Changes of what is pending, and the events that say so, to be written behind a version of the stream."""

    def __init__(self, pending: PendingByName, version: int) -> None:
        self.pending = dict(pending)
        self.events: list[NewEvent] = []
        self._version = version

    def set(self, reminder: Remind, command: bytes, now: int, origin: Origin) -> None:
        """Set a reminder; it replaces the one of the same name.

        Raises:
            ValueError: too many are pending.
        """
        if reminder.name not in self.pending and len(self.pending) >= PENDING_LIMIT:
            raise ValueError(
                f"{PENDING_LIMIT:,} reminders are pending, which is the most that one service may have; forget some "
                f"before {reminder.name!r} is set, or let several services share them"
            )
        due, every = reminder.first(now), reminder.interval
        raw = msgspec.Raw(command)
        name, to = reminder.name, reminder.to
        self._add(REMINDER, ReminderSet(name, raw, due, every, to, origin.correlation, origin.context))

    def forget(self, name: str) -> None:
        """Drop a reminder, if there is one of this name."""
        if name in self.pending:
            self._add(FORGOTTEN, Forgotten(name))

    def reminded(self, reminder: Pending, now: int, refused: str = "") -> None:
        """Note that what was due is done; a reminder without an interval is gone with it."""
        self._add(REMINDED, Reminded(reminder.name, reminder.due, reminder.next_after(now), refused))

    def resent(self, reminder: Pending, crashes: int) -> None:
        """Note that what is due is sent after a crash; or (0) that it has come back since."""
        self._add(RESENT, Resent(reminder.name, crashes))

    def _add(self, name: str, event: ReminderEvent) -> None:
        self._version += 1
        self.events.append(NewEvent(name, encode(event, f"reminder {event.name!r}"), b""))
        _apply(self.pending, event, self._version)
