"""Verbs: what a person or a program tells a saga to do. Who wants it and why are kept in the saga's story."""

from typing import Any

import msgspec

from actors.messages import Command


class Verb(msgspec.Struct, frozen=True):
    """What a person or a program tells a saga to do; ``by`` and ``reason`` are kept in its story."""

    by: str
    reason: str


class Retry(Verb, frozen=True):
    """Go on, with new budgets; where a step is named, with another command or undo for it."""

    step: str = ""
    command: Command[Any, Any] | None = None
    undo: Command[Any, Any] | None = None


class Skip(Verb, frozen=True):
    """Take a step as done with this reply or, where the saga goes back, its undo as done."""

    step: str = ""
    reply: Any = None


class Compensate(Verb, frozen=True):
    """Go back, also from the end; answered when that is done. It is also how a saga undoes one that it has asked."""

    unless_completed: bool = False
    """Whether one that has completed stays so."""


class Kill(Verb, frozen=True):
    """End where it stands."""
