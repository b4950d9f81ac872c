"""Nodes of one process in virtual time."""

from collections.abc import Awaitable, Callable

from runtime.simulation.clock import SimulatedClock
from runtime.simulation.loop import SimulatedLoop


def play(story: Callable[[SimulatedClock], Awaitable[None]]) -> None:
    """Play something in virtual time, which goes on when nobody has anything to do."""
    loop = SimulatedLoop(most_steps=200_000)

    async def main() -> None:
        await story(SimulatedClock(loop))

    try:
        loop.run(main())
    finally:
        loop.bury()
