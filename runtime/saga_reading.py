"""Reads a saga's stream into its story; what can't follow what stands before it is told, and never guessed at."""

from typing import Any

import msgspec

from persistence import Record
from runtime import saga_events as events
from runtime.kinds import decoded, out_of_place
from runtime.saga_story import Story

UNFIT = (LookupError, TypeError, ValueError, AttributeError, AssertionError, RecursionError, msgspec.MsgspecError)
"""What goes wrong in a story where an event can't follow those before it."""


def take_in(story: Story, record: Record) -> events.SagaEvent | None:
    """Take the event of a record into a story, and return it; None: it is not one of the saga's own.

    Raises:
        JournalMismatch: it doesn't fit its class, or can't follow what stands before it.
    """
    event = own_event(record)
    if event is not None:
        follow(story, event, record)
    return event


def own_event(record: Record) -> events.SagaEvent | None:
    """Return the event of a record, if it is one of a saga's own.

    Raises:
        JournalMismatch: it doesn't fit its class.
    """
    decoder = events.DECODERS.get(record.type)
    event: events.SagaEvent | None = None if decoder is None else decoded(decoder, record, record.data)
    return event


def follow(story: Story, event: events.SagaEvent, record: Record) -> None:
    """Take an event, which was read from a record, into a story.

    Raises:
        JournalMismatch: it can't follow what stands before it.
    """
    wrong = _misplaced(story, event)
    if wrong:
        raise out_of_place(record, wrong)
    try:
        story.apply(event, record.time)
    except UNFIT as error:
        raise out_of_place(record, f"{type(error).__name__}: {error}") from error


def _misplaced(story: Story, event: events.SagaEvent) -> str:
    """Return why an event can't be the next one, where the story itself would not notice."""
    cls: Any = type(event)
    one: Any = event
    if cls is events.Asked:
        return f"step {one.step!r} was asked before" if one.step in story.steps else ""
    if cls is events.Answered or cls is events.Refused:
        return f"step {one.step!r} has its outcome already" if _is_over(story, one.step) else ""
    return "it has begun before" if cls is events.Started and story.started is not None else ""


def _is_over(story: Story, name: str) -> bool:
    step = story.steps.get(name)
    return step is not None and not step.open
