"""Finishes what an earlier process has left unfinished in the journal."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from actors import Address, Saga
from demos.page import Page
from demos.report import Endings, Tally
from runtime import Runtime

G = TypeVar("G", bound=Saga[Any, Any])


async def finish(
    runtime: Runtime,
    saga: type[G],
    endings: Endings,
    help_on: Callable[[Runtime, Address[G]], Awaitable[None]],
    tally: Tally,
    page: Page,
) -> int:
    """Wait for the sagas that a runtime has found unfinished and goes on with by itself; return how many.

    ``help_on`` does what one of them may be waiting for: whoever was to do it is gone.
    """
    found = [saga.at(one.key) for one in await runtime.unfinished() if one.actor == saga.__name__]
    if not found:
        return 0
    if len(found) == 1:
        thing = endings.things.removesuffix("s")
        page.say(f"This journal holds an unfinished {thing}, {found[0].key}. It is finished first.")
    else:
        page.say(f"This journal holds {len(found):,} unfinished {endings.things}. They are finished first.")
    before = tally.done, tally.refused, tally.parked
    for one in found:
        await help_on(runtime, one)
        await tally.count(runtime.result(one))
    done, refused, parked = tally.done - before[0], tally.refused - before[1], tally.parked - before[2]
    page.say(f"Done: {done:,} {endings.done}, {refused:,} {endings.refused}, {parked:,} parked.")
    return len(found)


async def begun_with(runtime: Runtime, saga: Address[Any]) -> dict[str, Any]:
    """Return the command that a saga was started with, as it stands in the journal."""
    async for entry in runtime.history(saga):
        if entry.type == "saga.started":
            command: dict[str, Any] = entry.event["command"]
            return command
    raise AssertionError(f"{saga} is unfinished, and was never started")
