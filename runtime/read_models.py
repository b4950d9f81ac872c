"""The read models of a node, from opening their databases to closing them."""

from contextlib import AsyncExitStack

from actors import ReadModel, Saga, Service
from runtime.node import Node
from runtime.observed_projector import ObservedProjector
from runtime.projector import Projector
from runtime.views import view_of


async def open_read_models(node: Node, stack: AsyncExitStack) -> None:
    """Open the databases of all read models, and give the node a projector for each; ``stack`` closes them."""
    producers = [*node.directory.kinds(Service), *node.directory.kinds(Saga)]
    for kind in node.directory.kinds(ReadModel):
        view = view_of(kind, producers, node.journal)
        make = ObservedProjector if node.observer.on else Projector
        projector = node.projectors[kind.name] = make(kind, producers, node.journal, view, node.delays)
        if isinstance(projector, ObservedProjector):
            projector.observer = node.observer
        await view.open(node.journal.position)
        stack.push_async_callback(view.close)
