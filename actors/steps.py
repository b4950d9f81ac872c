"""What a saga awaits: steps, alone, several at once, or the first of several."""

import copy
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

import msgspec

from actors.address import Address
from actors.errors import Refused, SagaMisuse, in_words
from actors.messages import Command, Request
from actors.policies import RetryPolicy

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

NAME_LIMIT = 200
"""The longest name of a step, in characters: it is part of the ids of its commands."""
StepKind = Literal["ask", "pivot", "sleep", "receive"]

Undo = Command[Any, Any] | None | msgspec.UnsetType
"""How a step is undone. Unset: not at all or, where it asks another saga, by compensating that. None: not at all."""


class Step(msgspec.Struct, Generic[R_co], eq=False):
    """One step of a saga, to be awaited at once or handed to ``parallel`` or ``select``; await gives the reply.

    ``target`` and ``command`` are there for kinds ``ask`` and ``pivot``, ``awaits`` (the class of messages) for
    ``receive``. A sleep ends after ``duration`` or at ``until``; a receive without a message after ``duration``.
    """

    kind: StepKind
    name: str
    target: Address[Any] | None = None
    command: Request[Any, Any] | None = None
    undo: Undo = msgspec.UNSET
    duration: timedelta | None = None
    until: datetime | None = None
    awaits: type[Command[Any, Any]] | None = None
    timeout: timedelta | None = None
    retry: RetryPolicy | None = None
    undo_retry: RetryPolicy | None = None
    lock: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        """Make sure that it can be a step.

        Raises:
            SagaMisuse: it can't; the message says what to write instead.
        """
        name, undo = self.name, self.undo
        if not 0 < len(name) <= NAME_LIMIT or "#" in name or "!" in name:
            # These two mark a step and its undo in command ids; without the rule two ids could be one.
            raise SagaMisuse(
                f"a step can't be called {name!r:.250}; use a name without # and !, like 'flight', of {NAME_LIMIT} "
                "characters at the most"
            )
        if self.duration is not None:
            _check_length(name, self.duration)
        if self.timeout is not None:
            _check_length(name, self.timeout)
            if self.timeout <= timedelta(0):
                raise SagaMisuse(f"step {name!r} needs a timeout of more than 0, not {self.timeout}")
        if undo is not msgspec.UNSET and undo is not None and Command not in type(undo).__mro__:  # as in is_query
            raise _no_undo(name, undo)

    def made_optional(self) -> "Step[R_co | Refused]":
        """Return this step, with a refusal as one of its values."""
        if self.kind != "ask":
            raise SagaMisuse(f"step {self.name!r} is a {self.kind}; only an ask can be optional")
        step: Step[Any] = copy.copy(self)
        step.optional = True
        return step

    def __await__(self) -> "Generator[Step[Any], Any, R_co]":
        reply: R_co = yield self
        return reply


class Parallel(Generic[R_co]):
    """Several steps that run at once; await gives the tuple of their replies."""

    __slots__ = ("steps",)

    def __init__(self, steps: tuple[Step[Any], ...]) -> None:
        _check_steps("parallel", steps)
        self.steps = steps

    def __await__(self) -> "Generator[Parallel[Any], Any, R_co]":
        replies: Any = (yield self) if self.steps else ()  # none to wait for: go on at once
        return replies  # type: ignore[no-any-return]


class Chosen(msgspec.Struct, Generic[R_co], frozen=True):
    """Which of the steps of a ``select`` was done first, and its reply."""

    name: str
    reply: R_co


class Select(Generic[R_co]):
    """Several steps of which the first to be done counts; await gives a :class:`Chosen`."""

    __slots__ = ("steps",)

    def __init__(self, steps: tuple[Step[Any], ...]) -> None:
        if not steps:
            raise SagaMisuse("select needs a step to wait for")
        _check_steps("select", steps)
        self.steps = steps

    def __await__(self) -> "Generator[Select[Any], Any, Chosen[R_co]]":
        chosen: Chosen[R_co] = yield self
        return chosen


def _check_length(name: str, length: object) -> None:
    if not isinstance(length, timedelta):
        raise SagaMisuse(f"step {name!r} needs a length of time, timedelta(seconds=5) say, not {in_words(length)}")


def _no_undo(name: str, undo: object) -> SagaMisuse:
    return SagaMisuse(
        f"step {name!r} is undone by {in_words(undo)}, but an undo is a command to the same actor, kept as data; "
        "write undo=Release(...)"
    )


def _check_steps(method: str, steps: tuple[object, ...]) -> None:
    for step in steps:
        if not isinstance(step, Step):
            raise SagaMisuse(
                f"{method} takes steps, not {in_words(step)}; write self.{method}(self.ask(...), self.ask(...)), and a "
                f"list of them as self.{method}(*steps)"
            )


Awaited = Step[Any] | Parallel[Any] | Select[Any]
"""What a saga's ``run`` yields to who drives it, and is sent the value of."""
