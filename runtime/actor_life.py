"""One incarnation of an async plain actor, and what its tasks are in the middle of."""

import asyncio
from typing import Any

from actors import Actor, Address
from actors.actor import Reason
from actors.request_context import Texts, Turn, Within, scope
from runtime.mailbox import Envelope
from runtime.origin import Origin, origin_of
from runtime.plain_cell import PlainCell

RESISTS = 10.0
"""Seconds after which an actor that was told to end and goes on is told again, and named in the log."""
TURNS = 16
"""Messages that an actor may handle before the event loop gets its turn, if it doesn't wait for anything itself."""


class Handling:
    """One message that is being handled by an async actor."""

    __slots__ = ("cell", "envelope", "number", "over", "overdue", "sent", "stashed")

    def __init__(self, cell: PlainCell, envelope: Envelope | None = None, number: int = 0) -> None:
        self.cell = cell
        self.envelope = envelope
        self.number = number
        self.sent = 0
        """How many requests have been sent for it."""
        self.stashed = False
        self.over = False
        """Whether it has ended, so that tasks which it has left behind no longer act in its name."""
        self.overdue = False
        """Whether it has taken too long, and was cancelled for that."""

    def begin(self) -> None:
        """Be what the running task handles."""
        scope.set(self)

    @property
    def origin(self) -> Origin | None:
        """In whose name it is."""
        return self.envelope.origin if self.envelope is not None else None

    @property
    def texts(self) -> Texts | None:
        """The request context of the message."""
        origin = self.origin
        return None if origin is None else origin.context

    @property
    def path(self) -> tuple[Address[Any], ...]:
        """The actors that wait while this goes on, the first asker first."""
        return (*(self.envelope.path if self.envelope is not None else ()), self.cell.address)

    @property
    def due(self) -> int:
        """When the asker stops waiting; 0: never."""
        return self.envelope.due if self.envelope is not None else 0


def handling() -> Handling | None:
    """Return what the running task handles, if it is an actor's; tasks that the author's code starts inherit it."""
    now = scope.get()
    if now is None:
        return None
    if isinstance(now, Within):
        now = now.around
    return now if isinstance(now, Handling) and not now.over else None


def origin_here() -> Origin | None:
    """Return in whose name the running task acts: in that of the message that its actor handles, or in a context."""
    now = scope.get()
    if isinstance(now, Handling) and not now.over:
        return now.origin
    if now is None or isinstance(now, Turn):
        return None
    handled = handling()
    origin = None if handled is None else handled.origin
    return origin_of("" if origin is None else origin.correlation, now.texts)


def acting_for(envelope: Envelope | None) -> Envelope | None:
    """Return what stands for the message that is being handled, where something is told within another context."""
    if not isinstance(scope.get(), Within):
        return envelope
    return Envelope(None, None if envelope is None else envelope.id, origin=origin_here())


class Life:
    """One incarnation: its actor object and its tasks."""

    __slots__ = (
        "actor",
        "busy",
        "error",
        "finishing",
        "for_good",
        "killed",
        "next_end",
        "number",
        "reason",
        "tasks",
        "unhandled",
    )

    def __init__(self, actor: Actor, number: int) -> None:
        self.actor = actor
        self.number = number
        self.tasks: list[asyncio.Task[Any]] = []  # an empty set is four times as large
        self.busy = 0
        """How many of the tasks are in the middle of a message."""
        self.finishing = False
        self.killed = False
        self.for_good = False
        """Whether it ends with its parent, so that what it has not handled is not for another one."""
        self.reason: Reason | None = None
        self.error: BaseException | None = None
        self.next_end: tuple[Reason, BaseException | None, int] | None = None
        """The end of an incarnation that was to follow and was stopped before it could begin: reason, error, number."""
        self.unhandled: list[tuple[int, Envelope]] = []
        """What it was in the middle of when it was killed."""
