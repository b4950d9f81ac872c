"""Asking: who answers a query, and how much it must have seen."""

from typing import TypeVar

from actors import Address, Query, ReadModel
from actors.address import check_address
from runtime.actor_life import handling, origin_here
from runtime.answering import head
from runtime.cells import World
from runtime.clock import seconds
from runtime.cluster.payloads import ReadModelQuery

A = TypeVar("A")
R = TypeVar("R")


async def ask(
    world: World,
    address: Address[A],
    query: Query[A, R],
    *,
    timeout: float | None = None,
    consistent: bool = False,
    after: int | None = None,
) -> R:
    """Have a query answered: by the read model, or by the actor itself in a turn, which has seen all there is to see.

    A query has no id: it has no effect that could be one too many.

    Raises:
        NotTaken, UnknownActor: nobody here answers it.
        ReadModelBehind: the read model has not come so far in time.
        Parked: it will not, by itself.
        Exception: whatever else the answer's author lets it raise.
    """
    check_address(address)
    projector = world.projectors.get(address.actor)
    if projector is None:
        asked, kind = query, world.kind(address.actor)
        if kind.remote and issubclass(kind.cls, ReadModel):
            asked = ReadModelQuery(query, consistent, after)
        return await world.ask(address, asked, origin=origin_here(), timeout=timeout)
    position = max(await head(world.journal) if consistent else 0, after or 0)
    reply: R = await projector.ask(query, position, _left(world, timeout))
    return reply


def _left(world: World, timeout: float | None) -> float | None:
    """Return how many seconds there are, also for the actor's own asker, if it is one that asks."""
    given = None if timeout is None else seconds(timeout)
    now = handling()
    if now is None or not now.due:
        return given
    left = max((now.due - world.clock.steady()) / 1e6, 0.0)
    return left if given is None else min(given, left)
