"""The events of a saga's stream: each step's intent and outcome, and the saga's own end."""

from datetime import timedelta
from typing import Any

import msgspec

from actors import Address, Backoff, RetryPolicy
from persistence.codec import WRAPPING, Decoder

NOTHING = msgspec.Raw(b"null")
"""JSON for what isn't there."""


class SagaEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """An event of a saga's own; its stable name is ``saga.`` and the class's name in lower case."""


class Queued(SagaEvent):
    """The saga was asked to begin, and waits for one of its class's places. ``path`` as in :class:`Started`."""

    command: msgspec.Raw
    priority: int = 0
    path: tuple[Address[Any], ...] = ()


class Started(SagaEvent):
    """The saga begins. ``deadline``: microseconds since 1970, 0 for none.

    ``path`` names the actors that wait for its end, the first one first; kept, so that a circle is found also by a saga
    that was brought back. Of a saga that was queued, command and path stand there. ``version`` is that of the code by
    which it goes on. ``placed``: it has one of its class's places until it has ended, and stays in memory.
    """

    command: msgspec.Raw = NOTHING
    deadline: int = 0
    path: tuple[Address[Any], ...] = ()
    version: int = 1
    placed: bool = False


class UndoRetry(msgspec.Struct, omit_defaults=True):
    """A retry policy in the journal, so that going back needs nothing of the author's code."""

    backoff: Backoff = Backoff()
    budget: timedelta = timedelta(minutes=10)
    crashes: int = 5
    final: tuple[str, ...] = ()

    def policy(self) -> RetryPolicy:
        """Return the policy."""
        return RetryPolicy(self.backoff, self.budget, self.crashes, self.final)


class Asked(SagaEvent):
    """A step is about to be sent, and this is how it would be undone. Written before it can have any effect."""

    step: str
    kind: str
    to: Address[Any] | None = None
    command: msgspec.Raw = NOTHING
    undo: msgspec.Raw = NOTHING
    due: int = 0
    """When a sleep, or the patience of a receive, ends, in microseconds since 1970; 0: never."""
    awaits: str = ""
    """The stable name of the messages that a receive waits for."""
    optional: bool = False
    """Whether a refusal is a value."""
    undo_retry: UndoRetry | None = None
    """How its undo is retried, where it has a way of its own."""
    lock: bool = False
    """Whether it takes the lock of the service that it needs."""


class Answered(SagaEvent):
    """A step is done. The reply to a receive is the number of the message that it has taken, null for none."""

    step: str
    reply: msgspec.Raw


class Refused(SagaEvent):
    """A step was refused: a business 'no'.

    ``uncertain``: it had been sent before, and may have taken effect then; so going back undoes it all the same.
    """

    step: str
    reason: str
    uncertain: bool = False


class Failed(SagaEvent):
    """A step, or its undo, failed for a technical reason, and will be tried again.

    ``parked``: the saga that it asks is parked, so that it waits for a person, and not on its budget.
    """

    step: str
    error: str
    undo: bool = False
    parked: bool = False


class Received(SagaEvent):
    """A message has come, and waits until the story takes it."""

    message: msgspec.Raw
    id: str


class UndoRevised(SagaEvent):
    """A step that was done would be undone in this way from here on."""

    step: str
    undo: msgspec.Raw


class Dropped(SagaEvent):
    """A step is not waited for any more, and is undone while the story goes on."""

    step: str


class Compensating(SagaEvent):
    """From here on the saga goes back: what was done is undone in reverse. ``by`` says who wants it, if not itself."""

    reason: str
    by: str = ""


class Undone(SagaEvent):
    """A step's undo is done."""

    step: str


class Completed(SagaEvent):
    """The story has come to its end; this is the result."""

    result: msgspec.Raw


class Compensated(SagaEvent):
    """All that was done is undone."""

    reason: str


class Released(SagaEvent):
    """The locks that the saga held when it ended were given back, all of them."""


class Resumed(SagaEvent):
    """The saga is about to go on after a crash of the process, at which it may have been under way.

    ``crashes`` counts those in a row, without progress in between, this one included. 0: it did go on, and now waits
    for its time, or for another saga, so that it can't have a hand in the next one.
    """

    crashes: int = 0


class Parked(SagaEvent):
    """The saga was set aside because it can't go on by itself."""

    error: str


class Retried(SagaEvent):
    """Somebody has the saga try again, with new budgets; with another command or undo, where a step is named."""

    by: str
    reason: str
    step: str = ""
    command: msgspec.Raw = NOTHING
    undo: msgspec.Raw = NOTHING


class Skipped(SagaEvent):
    """Somebody says that a step counts as done, with this reply, or that its undo does."""

    step: str
    by: str
    reason: str
    reply: msgspec.Raw = NOTHING
    undo: bool = False


class Killed(SagaEvent):
    """Somebody has ended the saga where it stood."""

    by: str
    reason: str


_CLASSES = (
    Queued,
    Started,
    Asked,
    Answered,
    Refused,
    Failed,
    Received,
    UndoRevised,
    Dropped,
    Compensating,
    Undone,
    Completed,
    Compensated,
    Released,
    Resumed,
    Parked,
    Retried,
    Skipped,
    Killed,
)
NAMES: dict[type[SagaEvent], str] = {cls: f"saga.{cls.__name__.lower()}" for cls in _CLASSES}
DECODERS: dict[str, Decoder] = {name: Decoder(cls, WRAPPING) for cls, name in NAMES.items()}

TOLD_LENGTH = 2_000
"""How much of an error's text is kept in the journal, in characters."""


def told(error: BaseException) -> str:
    """Return an error as text that can be stored, whatever is in it."""
    return f"{type(error).__name__}: {error}"[:TOLD_LENGTH].encode("utf-8", "replace").decode()
