"""Whether a command, and today's code, fit a saga's story."""

from contextlib import suppress
from typing import Any

import msgspec

from actors import Address, Command, CommandIdReused, Saga, SagaMismatch
from persistence import NotDecodable
from runtime.kinds import Kind
from runtime.saga_story import Story


def check_same(
    address: Address[Any], kind: Kind, command: Command[Any, Any], stored: msgspec.Raw, what: str = ""
) -> None:
    """Make sure that a command is the one that was stored, as today's classes read it.

    Raises:
        CommandIdReused: it is another one.
    """
    with suppress(NotDecodable):
        if kind.command(stored) == command:
            return
    if what:
        raise CommandIdReused(f"{address} has taken another command as {what}; give this one an id of its own")
    raise CommandIdReused(
        f"{address} was started with another command; a saga's address names one story for ever, so give this one a "
        "key of its own"
    )


def code_of(kind: Kind, story: Story) -> type[Saga[Any, Any]]:
    """Return the class by which a story goes on: the one of its version.

    Raises:
        SagaMismatch: it is not there any more.
    """
    cls: type[Saga[Any, Any]] = kind.cls
    version = cls.version if story.started is None else story.started.version
    for code in (cls, *cls.older):
        if code.version == version:
            return code
    raise SagaMismatch(
        f"it was started with version {version} of {kind.name}'s code, and today's is {cls.version}; keep the class "
        f"that it had then: older = [{kind.name}V{version}]"
    )
