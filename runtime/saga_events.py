"""The events of a saga's stream: each step's intent and outcome, and the saga's own end."""

from typing import Any

import msgspec

from actors import Address
from persistence.codec import WRAPPING, Decoder

NOTHING = msgspec.Raw(b"null")
"""JSON for what isn't there."""


class SagaEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """An event of a saga's own; its stable name is ``saga.`` and the class's name in lower case."""


class Started(SagaEvent):
    """The saga was asked to begin. ``deadline``: microseconds since 1970, 0 for none.

    ``path`` names the actors that wait for its end, the first one first; kept, so that a circle is found also by a saga
    that was brought back.
    """

    command: msgspec.Raw
    deadline: int = 0
    path: tuple[Address[Any], ...] = ()


class Asked(SagaEvent):
    """A step is about to be sent, and this is how it would be undone. Written before it can have any effect."""

    step: str
    kind: str
    to: Address[Any] | None = None
    command: msgspec.Raw = NOTHING
    undo: msgspec.Raw = NOTHING
    due: int = 0
    """When a sleep ends, in microseconds since 1970."""


class Answered(SagaEvent):
    """A step is done."""

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
    """A step, or its undo, failed for a technical reason, and will be tried again."""

    step: str
    error: str
    undo: bool = False


class Compensating(SagaEvent):
    """From here on the saga goes back: what was done is undone in reverse."""

    reason: str


class Undone(SagaEvent):
    """A step's undo is done."""

    step: str


class Completed(SagaEvent):
    """The story has come to its end; this is the result."""

    result: msgspec.Raw


class Compensated(SagaEvent):
    """All that was done is undone."""

    reason: str


class Resumed(SagaEvent):
    """The saga is about to go on after a crash of the process, at which it may have been under way.

    ``crashes`` counts those in a row, without progress in between, this one included. 0: it did go on, and now waits
    for its time, or for another saga, so that it can't have a hand in the next one.
    """

    crashes: int = 0


class Parked(SagaEvent):
    """The saga was set aside because it can't go on by itself."""

    error: str


_CLASSES = (Started, Asked, Answered, Refused, Failed, Compensating, Undone, Completed, Compensated, Resumed, Parked)
NAMES: dict[type[SagaEvent], str] = {cls: f"saga.{cls.__name__.lower()}" for cls in _CLASSES}
DECODERS: dict[str, Decoder] = {name: Decoder(cls, WRAPPING) for cls, name in NAMES.items()}

TOLD_LENGTH = 2_000
"""How much of an error's text is kept in the journal, in characters."""


def told(error: BaseException) -> str:
    """Return an error as text that can be stored, whatever is in it."""
    return f"{type(error).__name__}: {error}"[:TOLD_LENGTH].encode("utf-8", "replace").decode()
