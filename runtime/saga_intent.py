"""A step's intent: whether a saga may take it, and what is written of it before it can have any effect."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from actors import Address, Command, NotTaken, ReadModel, Request, RetryPolicy, SagaMisuse, Service, Step
from actors.address import check_address
from actors.messages import is_query, name_of
from actors.reminders import EPOCH
from persistence.codec import WRAPPING, Codec, Decoder
from runtime.kinds import Kind
from runtime.saga_events import Asked, UndoRetry
from runtime.saga_story import COMPENSATE, SOMEDAY, Story
from runtime.takers import check_key, check_takes

MAX_STEPS = 10_000
"""How many steps one saga may have; one that asks for more is looping, and is parked."""

_undo_retry = Decoder(UndoRetry, WRAPPING)


def check_new(
    address: Address[Any],
    story: Story,
    step: Step[Any],
    kind: Callable[[str], Kind],
    *,
    alone: bool,
) -> None:
    """Make sure that a saga may take a step that it has not taken before.

    Raises:
        SagaMisuse: it may not; the message says what to write instead.
        NotTaken, UnknownActor: nobody takes its command, or its undo.
    """
    if len(story.steps) >= MAX_STEPS:
        raise SagaMisuse(f"{address} has asked for more than {MAX_STEPS:,} steps; it seems to loop")
    undo = None if step.undo is msgspec.UNSET else step.undo
    if story.pivot is not None and (step.kind == "pivot" or undo is not None):
        what = "is a second pivot" if step.kind == "pivot" else "has an undo"
        raise SagaMisuse(
            f"{address}: step {step.name!r} {what} but comes after the pivot {story.pivot.asked.step!r}, and past "
            "the pivot a saga only goes forward"
        )
    if step.kind == "pivot" and not alone:
        raise SagaMisuse(f"{address}: the pivot {step.name!r} must be awaited alone, not in parallel or in a select")
    target = step.target
    if target is None and step.kind not in ("ask", "pivot"):
        return
    if type(target) is not Address or type(target.key) is not str:
        check_address(target)
        assert target is not None  # or the check would have raised
    check_key(target)
    if target == address:
        raise SagaMisuse(f"{address}: step {step.name!r} asks the saga itself, which would wait for ever")
    to = kind(target.actor)
    if step.lock and not issubclass(to.cls, Service):
        raise SagaMisuse(
            f"{address}: step {step.name!r} takes a lock of {step.target}, but only services have locks; leave "
            "out lock="
        )
    if step.command is not None and is_query(step.command):
        _check_query(address, step, to)
        return
    if undo is not None and to.is_saga:
        raise _no_saga_undo(address, step, to)
    check_takes(to, target, step.command)
    if undo is not None:
        check_takes(to, target, undo)


def _no_saga_undo(address: Address[Any], step: Step[Any], to: Kind) -> SagaMisuse:
    """Return why a step that asks a saga has no undo of its own."""
    if type(step.command) in to.messages:
        return SagaMisuse(
            f"{address}: step {step.name!r} sends a message to another saga, which can't be undone; leave out undo=, "
            "and let its story deal with what it was told"
        )
    return SagaMisuse(
        f"{address}: step {step.name!r} asks another saga, which can't be undone by a command: going back "
        "compensates it; leave out undo=, or write undo=None to leave it as it is"
    )


def _check_query(address: Address[Any], step: Step[Any], to: Kind) -> None:
    """Make sure that a step which only asks can be: its answer is kept as its reply, and nothing is to be undone."""
    query = type(step.command)
    if step.kind == "pivot" or isinstance(step.undo, Command) or step.lock:
        raise SagaMisuse(
            f"{address}: step {step.name!r} asks the query {query.__name__}, which changes nothing, so it is no pivot "
            "and has no undo and no lock; write self.ask(name, address, query)"
        )
    if issubclass(to.cls, ReadModel):
        raise SagaMisuse(
            f"{address}: step {step.name!r} asks the read model {to.name}, which reads a database; let a plain actor "
            "ask it, and ask that, or ask the service itself"
        )
    if query not in to.queries:
        raise NotTaken(f"{step.target} answers no {query.__name__}; name it in the annotation of {to.name}.answer")


def intent(step: Step[Any], story: Story, codec: Codec, kind: Callable[[str], Kind], now: int) -> Asked:
    """Return what is written of a step; ``now`` is the time of the turn, in microseconds since 1970."""
    asked = Asked(step.name, step.kind, step.target, optional=step.optional, lock=step.lock)
    if step.command is not None and step.target is not None:
        asked.command = msgspec.Raw(codec.encode(step.command, f"step {step.name!r}"))
        if step.undo is msgspec.UNSET:
            if step.kind == "ask" and story.pivot is None and _starts_a_saga(step.command, kind(step.target.actor)):
                asked.undo = COMPENSATE
        elif step.undo is not None:
            asked.undo = msgspec.Raw(codec.encode(step.undo, f"the undo of step {step.name!r}"))
        if step.undo_retry is not None:
            asked.undo_retry = _stored(step.undo_retry, f"the undo_retry of step {step.name!r}")
    elif step.until is not None:
        asked.due = max(1, (step.until - EPOCH) // timedelta(microseconds=1))
    elif step.duration is not None:
        asked.due = later(now, step.duration)
    if step.awaits is not None:
        asked.awaits = name_of(step.awaits)
    return asked


def later(now: int, duration: timedelta) -> int:
    """Return the time behind a duration, in microseconds since 1970; one that no journal can hold is never."""
    return min(max(now + duration // timedelta(microseconds=1), 1), SOMEDAY)


def _starts_a_saga(request: Request[Any, Any], to: Kind) -> bool:
    return to.is_saga and type(request) not in to.messages and type(request) not in to.queries


def _stored(policy: RetryPolicy, name: str) -> UndoRetry:
    """Return a policy as it is written, having made sure that it reads back: JSON has no infinite factor, say."""
    stored = UndoRetry(policy.backoff, policy.budget, policy.crashes, policy.final_names)
    _undo_retry.encode(stored, name)
    return stored
