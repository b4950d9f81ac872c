"""A node: the parts of one running runtime, wired together. What cells know of the world around them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

from anyio.abc import TaskGroup

from actors import Actor, Address, NotTaken, Parked, Request, Saga, Service, UnknownActor
from persistence import Batch, Journal, Stream
from persistence.journal import to_records
from persistence.writer import Writer
from runtime.actor_cell import ActorCell
from runtime.alarm import Alarm
from runtime.cells import Cell, Phase
from runtime.chaos import Chaos
from runtime.clock import Clock
from runtime.directory import Directory
from runtime.dispatcher import Dispatcher
from runtime.log import log
from runtime.mailbox import Envelope
from runtime.projector import Projector
from runtime.promises import Promises
from runtime.recovery import Recovery
from runtime.reminders import Reminders
from runtime.saga_cell import SagaCell
from runtime.service_cell import ServiceCell
from runtime.timers import Timers

A = TypeVar("A")
R = TypeVar("R")


ENOUGH = 256
"""With so many events enqueued a group starts, even if an actor that is about to wake would add to it."""


class _Done:
    """An awaitable that is done, shared by all senders who need not wait."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


DONE = _Done()


class Node:
    """The parts of one runtime, made and used on one event loop."""

    def __init__(
        self, journal: Journal, actors: Sequence[type], clock: Clock, chaos: Chaos | None, tasks: TaskGroup
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.clock = clock
        self.random = Random()
        self.tasks = tasks
        self.timers = Timers(clock)
        self.writer = Writer(journal, self._durable, self._lost, self._may_start)
        self.dispatcher = Dispatcher(self.writer, self._start_group, chaos)
        self.recovery = Recovery(journal, self.writer, self._settle)
        self.directory = Directory(
            [*actors, Reminders],
            {
                Service: lambda address, kind: ServiceCell(self, address, kind),
                Saga: lambda address, kind: SagaCell(self, address, kind),
                Actor: lambda address, kind: ActorCell(self, address, kind),
            },
        )
        self.ready = self.dispatcher.ready
        self.recover = self.recovery.request
        self.release = self.directory.release
        self.find = self.directory.find
        self.cell = self.directory.cell
        self.kind = self.directory.kind
        self.check = self.directory.check
        self.alarm = Alarm(journal, self.timers, self.spawn, self._ring)
        self.projectors: dict[str, Projector] = {}
        self.promises = Promises(self.writer, self.timers)
        self.spawned = 0
        """Tasks of plain actors and of repeated commands that are under way."""
        self._none_spawned = asyncio.Event()
        self._attempts = 0
        """How often the journal has been lost since something became durable."""
        self._name = os.urandom(6).hex()
        self._count = 0

    def new_id(self) -> str:
        """Return an id for a message that came without one."""
        self._count += 1
        return f"{self._name}-{self._count}"

    def due(self, timeout: float | None) -> int | None:
        """Return when a timeout of so many seconds from now is over, in microseconds since 1970; never early."""
        return None if timeout is None or timeout == float("inf") else self.clock.now() + int(timeout * 1e6) + 1

    def spawn(self, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run something as a task of the node."""
        self.spawned += 1
        self.tasks.start_soon(self._watched, work, args)

    async def _watched(self, work: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            await work(*args)
        finally:
            self.spawned -= 1
            if not self.spawned:
                self._none_spawned.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way but timers."""
        return self.dispatcher.idle and self.recovery.idle and not self.spawned and not self.writer.pending

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        correlation: str | None = None,
        timeout: float | None = None,
    ) -> R:
        """Send a command and wait for the reply."""
        self.directory.check(address, request)
        cell = self.directory.cell(address)
        due = self.due(timeout)
        if cell.crowded:
            await cell.room(cell.line_up(due))
            cell = self.directory.cell(address)  # another one, if the journal was lost meanwhile
        promise = self.promises.make(address, request)
        cell.put(Envelope(request, request_id, promise, correlation))
        reply: R = await promise.wait(due)
        return reply

    def tell(self, address: Address[Any], message: Any, message_id: str | None = None) -> Awaitable[None]:
        """Send a command without waiting for a reply."""
        self.check(address, message)
        cell = self.cell(address)
        if cell.crowded:
            sent = self.loop.create_future()
            self.spawn(self._tell_later, cell, cell.line_up(), Envelope(message, message_id), sent)
            return sent
        cell.put(Envelope(message, message_id))
        return DONE

    async def _tell_later(
        self, cell: Cell, sender: asyncio.Future[None], envelope: Envelope, sent: asyncio.Future[None]
    ) -> None:
        await cell.room(sender)
        self.cell(cell.address).put(envelope)
        if not sent.done():
            sent.set_result(None)

    async def drain(self) -> None:
        """Wait until nothing is under way but timers, and the read models have caught up. No reminder comes then."""
        self.alarm.close()
        while not self.idle and not self.writer.ended:
            self.dispatcher.arm()
            await self.writer.barrier()
            if self.spawned and self.dispatcher.idle and self.recovery.idle:
                self._none_spawned = asyncio.Event()
                await self._none_spawned.wait()
            else:
                await asyncio.sleep(0)
        for projector in self.projectors.values():
            with suppress(Parked):  # it was told when that happened
                if not projector.failures:  # one that fails goes on from its checkpoint, another time
                    await projector.reached(self.journal.position)

    async def wake_unfinished(self) -> int:
        """Bring back the actors whose work is unfinished, and set the alarm for others; return how many."""
        woken = 0
        for actor, key in await self.journal.unfinished():
            try:
                cell = self.directory.cell(Address(actor, key))
            except (UnknownActor, NotTaken) as error:
                log.error("unfinished work of an unknown actor", actor=f"{actor}/{key}", error=str(error))
                continue
            woken += 1
            if cell.phase is Phase.STOPPED:
                cell.revive()
        await self.alarm.open()
        return woken

    def _ring(self, stream: Stream) -> bool:
        """Wake a service, for a reminder of its own is due; return whether it is there."""
        address = Address[Any](*stream)
        try:
            cell = self.directory.cell(address)
        except (UnknownActor, NotTaken) as error:
            log.error("reminders of an unknown actor", actor=str(address), error=str(error))
            return False
        if not isinstance(cell, ServiceCell):
            log.error("reminders of an actor that is no service any more", actor=str(address))
            return False
        cell.ring()
        return True

    def dead_letter(self, address: Address[Any], message: object, error: Exception) -> None:
        """Log a message that nobody waits for and that could not be handled."""
        log.warning("dead letter", actor=str(address), message=type(message).__name__, error=repr(error))

    def _may_start(self) -> bool:
        """Whether the next group may start: not while turns that would share it are only a short read away."""
        return not self.recovery.opening or self.writer.pending >= ENOUGH

    def _start_group(self) -> None:
        if self._may_start():
            self.writer.kick()

    def _settle(self) -> None:
        if self.dispatcher.idle:
            self._start_group()

    def _durable(self, batches: list[Batch], first: int) -> None:
        self._attempts = 0
        self.alarm.note(batches)
        if self.projectors:
            records = to_records(batches, first)
            for projector in self.projectors.values():
                projector.offer(records)

    async def _lost(self, error: BaseException) -> None:
        """Drop all that rests on events that may be lost, and begin again from what the journal holds."""
        log.error("the journal could not be written", error=repr(error))
        self.recovery.clear()
        self.directory.clear(keep=ActorCell)
        self.promises.lose_all("the journal could not be written")
        while True:
            self._attempts += 1
            if self._attempts > 2:
                # Nothing has become durable in the meantime: a full disk, say. Waking would send all again.
                await self.timers.pause(min(0.1 * 2 ** min(self._attempts - 3, 6), 5.0))
            try:
                await self.journal.recover()
                for projector in self.projectors.values():
                    projector.look()  # what failed may have been written all the same
                await self.wake_unfinished()
                return
            except Exception as again:  # noqa: BLE001 (a full or a broken disk; it is tried until it is mended)
                log.error("the journal is not usable", error=repr(again), attempt=self._attempts)
