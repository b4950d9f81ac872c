"""What comes to a service about its reminders: one is due, one that was sent has an outcome, somebody looks at them."""

from collections.abc import Callable
from typing import Any

import msgspec

from actors import Address
from runtime.cells import Cell
from runtime.mailbox import Envelope
from runtime.reminder_events import FiringKey
from runtime.service_mail import ServiceMail


class ReminderMail(ServiceMail):
    """What comes about reminders."""


class Due(ReminderMail):
    """A reminder to the service itself is due."""

    key: FiringKey


class Resend(ReminderMail):
    """After a crash of the process it is a reminder's turn to be sent again."""

    key: FiringKey


class Sent(ReminderMail):
    """A reminder that went to another actor has arrived, or (``error``) has not."""

    key: FiringKey
    error: Exception | None = None


class Look(ReminderMail):
    """Somebody asks what is pending; answered by a list of :class:`Pending`."""


class ReminderReturn(msgspec.Struct, gc=False):
    """Where the reply to a reminder goes: into the mailbox of the service that set it."""

    find: Callable[[Address[Any]], Cell | None]
    service: Address[Any]
    key: FiringKey

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more: never, for the reminder is pending until it comes."""
        return False

    def done(self, value: Any) -> None:  # noqa: ARG002 (nobody asked for the reply)
        """Note that it has arrived."""
        self._post(Sent(self.key))

    def failed(self, error: Exception) -> None:
        """Note that it was refused, or that something went wrong."""
        self._post(Sent(self.key, error))

    def _post(self, sent: Sent) -> None:
        # A service that has left memory meanwhile is woken by the alarm, and sends it again.
        cell = self.find(self.service)
        if cell is not None:
            cell.post(Envelope(sent))
