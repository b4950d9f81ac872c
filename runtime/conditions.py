"""Decisions on condition: only the journal can tell whether they hold, in the moment in which they are written.

Nothing may build upon such a decision before that is known, so its services wait meanwhile. It goes through the
writer like everything else, in its order.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from actors import Address, DefinitionError, Event, Failed, Refused
from actors.messages import Condition, name_of
from persistence import (
    ANY,
    Append,
    AppendFailed,
    ConditionFailed,
    JournalError,
    Match,
    NewEvent,
    NotEncodable,
    Unless,
    Written,
)
from persistence.intake import check_text
from persistence.limits import TAG_LENGTH
from persistence.query import MOST_NAMES
from runtime.cells import World

Told = Callable[[Exception | None], None]
"""Called when it is known: with None where the decision holds and is durable, else with what to tell who asked."""


class Decided(Protocol):
    """What a service would do, on conditions."""

    append: Append | None
    conditions: tuple[Condition, ...]


def submit(world: World, decided: Sequence[tuple[Address[Any], Decided]], told: Told) -> None:
    """Have the journal write what was decided, all of it, if all conditions hold, or nothing.

    ``told`` is not called where the journal is lost: all who wait are told then, and all services begin anew.
    """
    batch: list[Append] = []
    conditions: list[Condition] = []
    for _, one in decided:
        append = one.append
        assert append is not None
        batch.append(append)
        for condition in one.conditions:
            conditions.append(condition)
            # Each on an append of its own; a stream may be named again, and only looked at.
            batch.append(Append(append.stream, ANY, [], append.time, unless=_unless(condition)))
    outcome = world.writer.submit(tuple(batch))  # now, and not in the task: in its order
    world.spawn(_settle(world, outcome, conditions, decided[0][0], told))


def _unless(condition: Condition) -> Unless:
    types = tuple(name for event in condition.events for name in (name_of(event), *getattr(event, "aliases", ())))
    return Unless((Match(types, condition.tags),), condition.after)


async def _settle(
    world: World,
    future: "asyncio.Future[Written | JournalError]",
    conditions: Sequence[Condition],
    address: Address[Any],
    told: Told,
) -> None:
    try:
        outcome = await future
    except AppendFailed:
        return
    if isinstance(outcome, ConditionFailed):
        told(Refused(await _reason(world, conditions, outcome)))
    elif isinstance(outcome, NotEncodable):
        told(Failed(f"{address} can't have its decision written: {outcome}"))
    elif isinstance(outcome, Exception):
        told(Failed(f"{address} has changed under way, ask again: {outcome}"))
    else:
        told(None)


async def _reason(world: World, conditions: Sequence[Condition], failed: ConditionFailed) -> str:
    """Return why it is refused: of several conditions, the first that the event stands against."""
    if len(conditions) > 1:
        for record in await world.journal.read_all(failed.position - 1, 1):
            for condition in conditions:
                (match,) = _unless(condition).query
                if record.position > condition.after and match.meets(record.stream[0], record.type, record.tags):
                    return condition.because
    return conditions[0].because


class Tags(Protocol):
    """A service's tags."""

    def tags(self, event: Any, /) -> Iterable[str]:
        """Return the tags of an event."""
        ...


def tag(service: Tags, events: Iterable[Event], new: Sequence[NewEvent]) -> None:
    """Give new events the tags that their service has for them.

    Raises:
        DefinitionError: they are no texts, or too many.
        NotEncodable: one is too long, or UTF-8 can't hold it.
    """
    for event, one in zip(events, new, strict=True):
        tags = tuple(service.tags(event))
        if len(tags) > MOST_NAMES or any(type(name) is not str for name in tags):
            raise DefinitionError(
                f"{type(service).__name__}.tags must give up to {MOST_NAMES} texts for a {type(event).__name__}"
            )
        for name in tags:
            check_text("a tag", name, TAG_LENGTH)
        one.tags = tags
