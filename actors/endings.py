"""What read models can follow of every saga, beside its result: where its story has come to.

These are events of the saga's own stream, so ``meta.actor`` and ``meta.key`` say which saga it is. A result that is an
event, ``TripBooked`` say, tells that a saga has completed; that it was taken back after that, or never came so far,
only these tell.
"""

from actors.messages import Event


class SagaQueued(Event, tag="saga.queued"):
    """A saga of a class with ``at_once`` waits for its place; ``SagaStarted`` comes when it has it."""

    priority: int = 0


class SagaStarted(Event, tag="saga.started"):
    """A saga was started."""


class SagaCompleted(Event, tag="saga.completed"):
    """A saga has come to its end. It may still be compensated later, by who asked it or by a person."""


class SagaCompensated(Event, tag="saga.compensated"):
    """All that a saga had done is undone."""

    reason: str


class SagaParked(Event, tag="saga.parked"):
    """A saga was set aside, because it can't go on by itself."""

    error: str


class SagaWasKilled(Event, tag="saga.killed"):
    """A saga was ended where it stood, by a person or a program."""

    reason: str
    by: str


ENDINGS: tuple[type[Event], ...] = (SagaQueued, SagaStarted, SagaCompleted, SagaCompensated, SagaParked, SagaWasKilled)
"""All of them."""
