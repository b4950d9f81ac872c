"""Building a read model beside the process that holds the journal, or without one; the next start takes it over."""

from collections.abc import Callable, Sequence

import anyio

from actors import ReadModel, Subscriber
from persistence import Journal
from persistence.codec import PLAIN, Codec
from persistence.views import Build, Shelf
from runtime.built_in import BUILT_IN
from runtime.clock import SystemClock
from runtime.fold_projection import projection_of, schema_of
from runtime.footing import journal_head
from runtime.kinds import Kind, kind_of
from runtime.observed_projector import projector_for
from runtime.projector import Projector
from runtime.slow_turns import SlowTurns
from runtime.subscribers import producers_among
from runtime.timers import Timers
from runtime.views import fingerprint


def kinds_of(actors: Sequence[type], codec: Codec = PLAIN) -> tuple[list[Kind], list[Kind]]:
    """Return the read models and subscribers among classes, and those that write events."""
    kinds = [kind_of(cls, codec) for cls in [*actors, *BUILT_IN]]
    return [kind for kind in kinds if issubclass(kind.cls, ReadModel | Subscriber)], producers_among(kinds)


async def build_beside(
    journal: Journal,
    kind: Kind,
    producers: list[Kind],
    shelf: Shelf,
    progress: Callable[[int, int], None],
    *,
    strict: bool = True,
) -> Build:
    """Build a read model's tables from the whole journal; return what was built, ready to take over.

    ``progress`` is told how far it is, and of how many events.

    Raises:
        Parked: it came to an event that can't be projected; nothing is left of what was built.
        JournalUnusable: the tables can't be made.
    """
    name, today = kind.name, fingerprint(kind, producers, journal)
    ours = [build.generation for build in await shelf.builds(name) if build.fingerprint == today]
    build = Build(today, max(ours) + 1 if ours else 0)
    clock = SystemClock()
    timers = Timers(clock, clock.steady)
    view = shelf.view(name, build, schema_of(kind), journal.identity, clock.now)
    view.partitions = kind.cls.partitions
    make, projection = projector_for(kind, observed=False), projection_of(kind, producers)
    projector = make(kind, projection, journal, view, timers, clock.now, SlowTurns(clock, None))
    projector.strict = strict
    done, failure = False, None
    try:
        await view.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(projector.run)
            try:
                await _catch_up(projector, await journal_head(journal), progress)
            except Exception as error:  # noqa: BLE001 (raised below: the task group would wrap it into a group)
                failure = error
            projector.retire()
        if failure is not None:
            raise failure
        done = True
    finally:
        timers.close()
        with anyio.CancelScope(shield=True):
            await view.close()
            if not done:
                await shelf.drop(name, build)
    return build


async def _catch_up(projector: Projector, head: int, progress: Callable[[int, int], None]) -> None:
    projector.on_advance = lambda: progress(min(projector.position, head), head)
    await projector.reached(head)
    await projector.orders.give(projector.keep_ready)
