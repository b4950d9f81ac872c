"""The group-commit writer: one order in, one order out, and nothing leaves before it is durable.

Turns enqueue batches and go on. What has queued up while the last group was being written becomes the next
one. Whatever must not leave the node before all that was enqueued ahead of it is durable (a reply, a message
to an actor that does I/O) is *held* here and released with the group.
Prior art: Netherite (VLDB 2022) and DeWitt et al., "Implementation Techniques for Main Memory Database
Systems" (SIGMOD 1984), where group commit comes from.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from persistence.errors import AppendFailed, JournalError
from persistence.intake import check
from persistence.journal import Batch, Journal, Written

GROUP_LIMIT = 4_000
"""The most events that one group holds before the next is begun, but for a batch that is larger by itself."""
HIGH_WATER = 20_000
"""With so many events enqueued and not yet durable the writer is :attr:`Writer.full`."""

Release = Callable[[bool], None]
"""Called once: with True when all that came before is durable, with False when that will never be known."""


class Group:
    """Batches that become durable together, and what is held until then.

    In one of ``submitted`` batches each is for itself: whether it can be written is found out only then, and told.
    """

    __slots__ = ("batches", "events", "held", "submitted")

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.held: list[Release] = []
        self.submitted: list[asyncio.Future[Written | JournalError]] = []
        self.events = 0


class Writer:
    """Writes to one journal; made and used on one event loop, and run as one task."""

    def __init__(
        self,
        journal: Journal,
        on_durable: Callable[[list[Batch], int], None],
        on_failure: Callable[[BaseException], Awaitable[None]],
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write to ``journal``; hand each group to ``on_durable`` with the position of its first event.

        ``on_failure`` must drop all that builds on what was lost before it first awaits anything: what is enqueued
        after that is written when it has returned. ``may_start`` is asked before a group follows the last one at
        once; where it says no, the next :meth:`kick` starts it.
        """
        self._may_start = may_start
        self._journal = journal
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._groups: deque[Group] = deque()
        """In order; the first one may be on its way to the disk."""
        self._open: Group | None = None
        """The last one, while it takes more."""
        self.settled = True
        """Whether all that was enqueued is durable, so that nothing need be held."""
        self._writing = False
        self._wake: asyncio.Event = asyncio.Event()
        self.pending = 0
        """Events enqueued and not yet durable."""
        self.groups = 0
        """Groups written since the start."""
        self.stopwatch: Callable[[], float] = time.perf_counter
        """Tells time in seconds."""
        self.on_group: Callable[[int, float], None] = lambda _events, _seconds: None
        """Told of each group that was written: its events, and the seconds that it took."""
        self.prepare: Callable[[], Awaitable[None]] | None = None
        """Awaited before each group is written, of which nothing is if it raises: what must be durable before it."""
        self.ended = False
        """Whether it has stopped for good: nothing becomes durable any more."""
        self.error: BaseException | None = None
        """Why nothing could be written of late; None: the last group became durable."""

    @property
    def full(self) -> bool:
        """Whether turns should wait until the disk has caught up."""
        return self.pending >= HIGH_WATER

    def enqueue(self, batch: Batch) -> None:
        """Put a batch at the end of the order. It will be written whole, or not at all.

        Raises:
            NotEncodable: it holds what can't be stored, and would spoil its group; it is not in the order.
        """
        if len(batch) == 1:  # as most are
            append = batch[0]
            events, sound = len(append.events), append.sound
        else:
            events, sound = sum([len(append.events) for append in batch]), all(append.sound for append in batch)
        if not sound:
            check((batch,), self._journal.max_payload)
        group = self._open
        if group is None or group.events >= GROUP_LIMIT or group.submitted:
            if self.ended:
                return
            group = self._begin()
        group.batches.append(batch)
        group.events += events
        self.pending += events

    def submit(self, batch: Batch) -> "asyncio.Future[Written | JournalError]":
        """Put a batch at the end of the order of which only the journal can tell whether it can be written.

        Nothing may build upon it before that is known. The future raises AppendFailed where it will never be.
        """
        outcome: asyncio.Future[Written | JournalError] = asyncio.get_running_loop().create_future()
        if self.ended:
            outcome.set_exception(AppendFailed(f"nothing is written any more: {self.error or 'it was closed'}"))
            return outcome
        group = self._open
        if group is None or group.events >= GROUP_LIMIT or not group.submitted:
            group = self._begin()
        group.submitted.append(outcome)
        group.batches.append(batch)
        events = sum(len(append.events) for append in batch)
        group.events += events
        self.pending += events
        return outcome

    def _begin(self) -> Group:
        group = self._open = Group()
        self._groups.append(group)
        self.settled = False
        return group

    def hold(self, release: Release) -> None:
        """Call ``release`` when all that was enqueued so far is durable; at once, if it is."""
        if self._groups:
            self._groups[-1].held.append(release)
        else:
            release(not self.ended)

    def enqueued(self) -> Iterator[Batch]:
        """Yield what is enqueued and not durable yet, in order."""
        for group in self._groups:
            yield from group.batches

    def kick(self) -> None:
        """Start a group with what is enqueued, unless one is being written."""
        if self._groups and not self._writing:
            self._wake.set()

    async def barrier(self) -> bool:
        """Wait until all that was enqueued so far is durable; False: it never will be known."""
        if not self._groups:
            return not self.ended
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def release(durable: bool) -> None:
            if not done.done():
                done.set_result(durable)

        self.hold(release)
        self.kick()
        return await done

    async def run(self) -> None:
        """Write groups until cancelled; the journal writes the one on its way to its end first.

        Whatever ends it, nobody is left waiting: what is still held is told that the outcome is unknown.
        """
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                first = True
                while self._groups and (first or len(self._groups) > 1 or self._may_start()):
                    first = False
                    await self._write()
        finally:
            self.ended = True
            self._drop()

    def end(self, error: BaseException) -> None:
        """Write nothing any more, for this reason. Who is still held is told that the outcome is unknown."""
        self.ended = True
        self.error = error
        self._drop()

    async def _write(self) -> None:
        self._writing = True
        group = self._groups[0]
        if group is self._open:
            self._open = None
        began = self.stopwatch()
        try:
            if self.prepare is not None:
                await self.prepare()
            if group.submitted:
                first, batches = await self._write_each(group)
            else:
                first, batches = await self._journal.append(group.batches), group.batches
        except Exception as error:  # noqa: BLE001 (whatever it was: none of the queue may follow)
            self.error = error
            self._drop()
            await self._on_failure(error)
        else:
            if not self.ended:
                self.on_group(group.events, self.stopwatch() - began)
                self._settle(group, first, batches)

    async def _write_each(self, group: Group) -> tuple[int, list[Batch]]:
        """Write submitted batches; return the position of the first event, and the batches that were written."""
        outcomes = await self._journal.append_each(group.batches)
        written: list[Batch] = []
        first = 0
        for future, batch, outcome in zip(group.submitted, group.batches, outcomes, strict=True):
            if isinstance(outcome, Written) and any(append.events for append in batch):
                first = first or outcome.position
                written.append(_at(batch, outcome.versions))
            if not future.done():
                future.set_result(outcome)
        return first, written

    def _settle(self, group: Group, first: int, batches: list[Batch]) -> None:
        self._groups.popleft()
        self._writing = False
        self.settled = not self._groups
        self.error = None
        self.pending -= group.events
        self.groups += 1
        for release in group.held:
            release(True)
        if batches:
            self._on_durable(batches, first)

    def _drop(self) -> None:
        lost = list(self._groups)
        self._groups.clear()
        self._open = None
        self._writing = False
        self.settled = not self.ended
        self.pending = 0
        for group in lost:
            for future in group.submitted:
                if not future.done():
                    future.set_exception(AppendFailed("the journal could not be written"))
                    future.exception()  # it may be that nobody looks any more
            for release in group.held:
                release(False)


def _at(batch: Batch, versions: Sequence[int]) -> Batch:
    """Return a batch as one who knew the streams' versions would have written it; ``versions`` are those after it."""
    return tuple(
        msgspec.structs.replace(append, expected=version - len(append.events))
        for append, version in zip(batch, versions, strict=True)
    )
