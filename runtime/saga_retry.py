"""When a saga tries a step again that failed, and when it gives up."""

from random import Random
from typing import Any

from actors import (
    AskCycle,
    CommandIdReused,
    DefinitionError,
    NotTaken,
    PoisonMessage,
    ReplyErased,
    RetryPolicy,
    Saga,
    SagaGaveUp,
    SagaKilled,
    UnknownActor,
)
from persistence import NotEncodable
from runtime.saga_story import StepStory

FINAL = (
    AskCycle,
    UnknownActor,
    NotTaken,
    CommandIdReused,
    DefinitionError,
    NotEncodable,
    PoisonMessage,
    ReplyErased,
    SagaKilled,
)
"""Failures that no retry can mend."""
SOON, SELDOM = 60.0, 3_600.0
"""A saga that asks one that is parked asks again after so many seconds, then twice as long each time, up to the second.
"""


def pause_before_retry(
    saga: type[Saga[Any, Any]],
    own: RetryPolicy | None,
    step: StepStory,
    error: Exception,
    now: int,
    random: Random,
    *,
    undo: bool,
    parked: bool,
) -> float:
    """Return the seconds to wait before a step, or its undo, is sent again; its failure is in the story already.

    ``own`` is the step's own policy, where the code that gave it one is at hand. ``parked``: the saga that it asks is
    parked, and a person has been told of that one; so it is asked again for as long as that takes, ever more seldom.

    Raises:
        SagaGaveUp: the budget is spent, or no retry can help; a person or a program has to look.
    """
    stored = step.asked.undo_retry
    policy = (stored.policy() if stored is not None else saga.undo_retry) if undo else own or saga.retry
    failures = step.undo_failures if undo else step.failures
    spent = not parked and (now - step.failing_since) / 1e6 >= policy.budget.total_seconds()
    if spent or isinstance(error, FINAL) or policy.is_final(error):
        what = f"the undo of step {step.asked.step!r}" if undo else f"step {step.asked.step!r}"
        why = f"after {failures} failures in {policy.budget}" if spent else "as no retry can help"
        raise SagaGaveUp(f"{what} was given up {why}: {error}") from error
    return min(SOON * 2.0 ** min(failures - 1, 10), SELDOM) if parked else policy.backoff.pause(failures, random)
