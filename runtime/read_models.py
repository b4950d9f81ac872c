"""The read models of a node, from opening their databases to closing them."""

from contextlib import AsyncExitStack

from actors import ReadModel, ReadModelBehind, Saga, Service
from persistence import NEVER, Journal, JournalError
from runtime.log import log
from runtime.node import Node
from runtime.observed_projector import ObservedProjector
from runtime.projection import Projection
from runtime.projector import Projector
from runtime.views import view_of

FOLLOW = 60.0
"""Seconds for which one wait for other processes' events lasts."""
AGAIN = 1.0
"""Seconds after which a journal that can't be looked at is looked at again."""


async def open_read_models(node: Node, stack: AsyncExitStack) -> None:
    """Open the databases of all read models, and give the node a projector for each; ``stack`` closes them."""
    producers = [*node.directory.kinds(Service), *node.directory.kinds(Saga)]
    for kind in node.directory.kinds(ReadModel):
        view = view_of(kind, producers, node.journal)
        make = ObservedProjector if node.observer.on else Projector
        projection = Projection(kind, producers)
        projector = make(kind, projection, node.journal, view, node.delays, node.clock.now)
        node.projectors[kind.name] = projector
        if isinstance(projector, ObservedProjector):
            projector.observer = node.observer
        await view.open(node.journal.position)
        stack.push_async_callback(view.close)


async def follow(node: Node) -> None:
    """Have the read models look at what other processes write, until cancelled."""
    position = node.journal.position
    while True:
        try:
            position = await node.journal.changed(position, FOLLOW)
        except JournalError as error:
            log.warning("the journal can't be followed", error=str(error), retry_in=AGAIN)
            await node.delays.pause(AGAIN)
        for projector in node.projectors.values():
            projector.look()


async def head(journal: Journal) -> int:
    """Return the position of the last event that was committed before this call, whoever wrote it.

    Raises:
        ReadModelBehind: it can't be known now.
    """
    if not journal.shared:
        return journal.position
    try:
        return await journal.changed(NEVER, 0)
    except JournalError as error:
        raise ReadModelBehind(f"how far the journal is can't be known now: {error}; ask again later") from error
