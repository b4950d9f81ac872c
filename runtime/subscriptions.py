"""The subscribers of a node: from opening their checkpoints to closing them, and where each of them begins."""

from contextlib import AsyncExitStack
from datetime import datetime

from anyio.abc import TaskGroup

from actors import DefinitionError, Subscriber
from actors.reminders import EPOCH
from actors.subscriber import HOW_TO_WRITE
from persistence import Journal
from persistence.views import Build, View
from runtime.deliverer import Deliverer
from runtime.footing import fits, journal_head
from runtime.kinds import Kind
from runtime.log import log
from runtime.node import Node
from runtime.observed_deliverer import ObservedDeliverer
from runtime.projection import Following, mark_of
from runtime.subscribers import Known, NoteBegin, NotePosition, NoteTry, Subscribers, known, known_of, producers_among
from runtime.views import Views, checkpoint_of

NOTE_EVERY = 1_000
"""So many positions behind the last note the journal is told how far a subscriber has come. Where its checkpoint is
lost, so many events come again at the most, but for those behind the first that is set aside."""


class Subscription:
    """Keeps one subscriber's checkpoint, and what the journal knows of it."""

    def __init__(self, node: Node, kind: Kind, producers: list[Kind], views: Views) -> None:
        self._node = node
        self._kind = kind
        if not kind.cls.follows:
            raise DefinitionError(f"{kind.name} follows nothing; write async def handle(self, {HOW_TO_WRITE})")
        shelf = views.checkpoint(kind, node.journal)
        build = Build(checkpoint_of(node.journal))
        self.view: View = shelf.view(kind.name, build, "", node.journal.identity, node.clock.now)
        following = Following(kind, producers, kind.cls(), "subscriber")
        make = ObservedDeliverer if node.observer.on else Deliverer
        self.deliverer = make(node, kind, following, self.view, self._stand)
        self.deliverer.random = node.random
        self.deliverer.on_commit = self._moved
        self.deliverer.note_try = self._try
        self._noted = 0
        self._noting = False
        self._new = False

    async def begin(self, tasks: TaskGroup) -> None:
        """Have it begin. Where the journal doesn't know it yet, it is told first, so that nothing can be missed.

        Raises:
            OutcomeUnknown, JournalError: the journal can't be told.
        """
        node, name = self._node, self._kind.name
        there = await self._known()
        if there.began is None:
            self._new = True
            start = await _start(node.journal, self._kind.cls)
            await node.ask(known_of(name, node.journal), NoteBegin(start))
        self._noted = there.came or 0
        if node.journal.crashed:  # it may be one of our events that has ended the process
            self.deliverer.suspects_up_to = await journal_head(node.journal)
        tasks.start_soon(self.deliverer.run)

    async def _known(self) -> Known:
        journal = self._node.journal
        return await known(journal, self._node.kind(Subscribers.__name__), self._kind.name)

    async def _stand(self) -> None:
        """Make sure that the checkpoint is one in this journal; else begin where the journal says."""
        view, journal, name = self.view, self._node.journal, self._kind.name
        if view.checkpoint and not await fits(view, journal):
            log.error("the journal has another past than the subscriber's checkpoint", subscriber=name)
            await view.remake()
            self._new = False
        if view.ready:
            return
        there = await self._known()
        start = there.came if there.came is not None else there.began or 0
        if self._new:
            log.info("subscriber begins", subscriber=name, behind=start)
        else:
            log.error(
                "the subscriber's checkpoint was lost; events behind it come again", subscriber=name, behind=start
            )
        if start > view.checkpoint:
            (record,) = await journal.read_all(start - 1, 1)
            await view.apply([], start, mark=mark_of(record))
        await view.keep_ready()

    # -- what the journal is told -------------------------------------------------------------------------------

    def _moved(self) -> None:
        """Have the journal told how far it is, from time to time; what is set aside is not behind it."""
        deliverer = self.deliverer
        first = deliverer.aside.first(None)
        position = deliverer.position if first is None else min(deliverer.position, first.position - 1)
        if position - self._noted >= NOTE_EVERY and not self._noting and not self._node.closing:
            self._noting = True
            self._node.spawn(self._note(position))

    async def _try(self, position: int) -> int:
        """Have the journal told which event is about to be handled; return how often in a row it was before."""
        return await self._node.ask(known_of(self._kind.name, self._node.journal), NoteTry(position))

    async def _note(self, position: int) -> None:
        node = self._node
        try:
            await node.ask(known_of(self._kind.name, node.journal), NotePosition(position))
            self._noted = position
        except Exception as error:  # noqa: BLE001 (the journal can't be written now: another time)
            log.warning("how far a subscriber is was not noted", subscriber=self._kind.name, error=repr(error))
        finally:
            self._noting = False


async def open_subscribers(node: Node, views: Views, stack: AsyncExitStack) -> list[Subscription]:
    """Open the checkpoints of all subscribers, and give the node a deliverer for each; ``stack`` closes them."""
    subscriptions: list[Subscription] = []
    for kind in node.directory.kinds(Subscriber):
        subscription = Subscription(node, kind, producers_among(node.directory.all_kinds), views)
        stack.push_async_callback(subscription.view.close)
        await subscription.view.open()
        node.deliverers[kind.name] = subscription.deliverer
        subscriptions.append(subscription)
    return subscriptions


async def _start(journal: Journal, cls: type[Subscriber]) -> int:
    """Return behind which position a subscriber begins that is started for the first time."""
    since, head = cls.since, await journal_head(journal)
    if since == "beginning":
        return 0
    if isinstance(since, datetime):
        return await _before(journal, (since - EPOCH) // (EPOCH.resolution), head)
    return head if since == "now" else min(int(since), head)


async def _before(journal: Journal, time: int, head: int) -> int:
    """Return the position of the last event before a time, in microseconds since 1970."""
    low, high = 0, head  # all up to low are earlier, none behind high is
    while low < high:
        middle = (low + high + 1) // 2
        (record,) = await journal.read_all(middle - 1, 1)
        if record.time < time:
            low = middle
        else:
            high = middle - 1
    return low
