"""A node: the parts of one running runtime, wired together. What cells know of the world around them."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from actors import Address, Group, Parked, Request, RuntimeClosed, Stopped
from persistence import Batch, Journal
from persistence.records import to_records
from runtime import queries
from runtime.actor_cell import ActorCell
from runtime.actor_life import handling
from runtime.after_loss import start_again
from runtime.alarm import Alarm
from runtime.asking import Asks, AsksQuery
from runtime.built_in import built_in
from runtime.cells import Cell
from runtime.chance import Chance
from runtime.chaos import Chaos
from runtime.clock import Clock, seconds, stopwatch
from runtime.dead_letters import DeadLetters
from runtime.deliverer import Deliverer
from runtime.directory import Directory, MakeCell
from runtime.dispatcher import Dispatcher
from runtime.disturbed_turns import new_dispatcher
from runtime.flow import Flow
from runtime.follower import Follower
from runtime.lock_waits import LockWaits
from runtime.log import log
from runtime.log_watch import LogWatch
from runtime.mailbox import Envelope
from runtime.news import News
from runtime.observed_cells import ObservedSaga, makers
from runtime.observed_writer import new_writer
from runtime.observer import Observer
from runtime.origin import Origin
from runtime.own_loop import check_loop
from runtime.owner import Owner
from runtime.passivation import ACTIVE, Passivator
from runtime.personal import PersonalData
from runtime.plain_cell import PlainCell
from runtime.pool_cell import PoolCell
from runtime.projector import Projector
from runtime.promises import Promise, Promises
from runtime.recovery import Recovery
from runtime.saga_alerts import Alerts, OnAlert
from runtime.service_cell import ServiceCell
from runtime.slow_turns import SlowTurns
from runtime.stats import Groups
from runtime.supervision import Supervisor
from runtime.suspects import Suspects
from runtime.tasks import Tasks
from runtime.timers import Timers
from runtime.trouble import Trouble
from runtime.waking import Waking
from runtime.watches import Watches

A = TypeVar("A")
R = TypeVar("R")

ENOUGH = 256
"""With so many events enqueued a group starts, even if an actor that is about to wake would add to it."""

GRACE = 5.0
"""Seconds for which closing waits for a task that it has cancelled, and that resists."""


class Node(Chance):
    """The parts of one runtime, made and used on one event loop."""

    ask_inside: Asks
    query_inside: AsksQuery

    def __init__(
        self,
        journal: Journal,
        actors: Sequence[type],
        clock: Clock,
        chaos: Chaos | None = None,
        groups: Sequence[Group] = (),
        active: int = ACTIVE,
        slow_turn: timedelta | None = None,
        observer: Observer | None = None,
        personal: PersonalData | None = None,
        on_alert: OnAlert | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = self.loop.create_future()
        """Done already; shared by all senders who need not wait."""
        self.sent.set_result(None)
        self.journal, self.clock = journal, clock
        self.personal = personal or PersonalData()
        self.observer = observer or Observer(clock)
        self._observed = self.observer.on
        self.random = self._new_random()
        self.tasks = Tasks()
        self.timers, self.delays = Timers(clock, loop=self.loop), Timers(clock, clock.steady, self.loop)
        self.suspects, self.lock_waits = Suspects(journal, clock, self.delays, self._new_name()), LockWaits()
        self.writer = new_writer(self.observer, journal, self._durable, self._lost, self._may_start)
        self.writer.prepare = self.personal.prepare
        self.written = Groups()
        self.writer.on_group, self.writer.stopwatch = self._written, stopwatch(clock)
        self.slow = SlowTurns(clock, slow_turn)
        self.dispatcher = self._new_dispatcher(chaos)
        self.recovery = Recovery(journal, self.writer, self._settle)
        pools = partial(PoolCell, self)
        self.directory = Directory([*actors, *built_in(self)], self._makers(), pools, self.personal.codec)
        self.dead_letters = DeadLetters(clock, self.observer.dead_letter)
        self.passivator = Passivator(self.directory, self.delays, active)
        self.directory.on_new = self.passivator.added
        self.ready, self.recover = self.dispatcher.ready, self.recovery.request
        self.release, self.find = self.directory.release, self.directory.find
        self.cell, self.taker = self.directory.cell, self.directory.taker
        self.answerer = self.directory.answerer
        self.kind, self.check = self.directory.kind, self.directory.check
        self.dead_letter, self.spawn = self.dead_letters.add, self.tasks.start
        self.watches, self.news = Watches(self._notice), News()
        self.owners: dict[Address[Any], Owner] = {}
        self.groups = [Supervisor(self, group) for group in groups]
        self.waking = Waking(self.cell)
        self.flow = Flow(journal, self.delays, self.spawn, self.directory.all_kinds, self.waking.begin)
        self.alarm = Alarm(journal, self.timers, self.spawn, self.waking.ring)
        self.projectors, self.builders = dict[str, Projector](), dict[str, Projector]()  # these build beside those
        self.deliverers = dict[str, Deliverer]()
        self.promises = Promises(self.writer, self.delays)
        self._log_watch, self.trouble = LogWatch("the journal"), Trouble(self.writer, self.promises, self.delays)
        self.alert = Alerts(self.writer, on_alert).tell
        self._name, self._count, self.closing = self._new_name(), 0, False
        self.ask_inside, self.query_inside = self.ask, partial(queries.ask, self)

    # What a simulation puts its own in the place of.

    def _new_dispatcher(self, chaos: Chaos | None) -> Dispatcher:
        return new_dispatcher(chaos, self.writer, self.clock, self._start_group, self.slow)

    def _makers(self) -> dict[type, MakeCell]:
        return makers(self)

    def new_id(self) -> str:
        """Return an id for a message that came without one."""
        self._count += 1
        return f"{self._name}-{self._count}"

    def due(self, timeout: float | None) -> int:
        """Return when a timeout of so many seconds from now is over, in microseconds of steady time; 0: never."""
        return 0 if timeout in (None, float("inf")) else self.clock.steady() + int(seconds(timeout) * 1e6) + 1

    def _notice(self, watcher: Address[Any], stopped: Stopped) -> None:
        cell = self.find(watcher)
        if isinstance(cell, PlainCell):
            cell.notice(stopped)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way but timers."""
        return self.dispatcher.idle and self.recovery.idle and not self.tasks and not self.writer.pending

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        *,
        request_id: str | None = None,
        origin: Origin | None = None,
        timeout: float | None = None,
    ) -> R:
        """Send a command, or a query of the actor's own, and wait for the reply."""
        cell = self.find(address)
        if cell is None or type(request) not in cell.kind.takes:
            cell = self.answerer(address, request)
        now = handling()
        path = now.path if now is not None else ()
        due = self.deadline(timeout)
        if cell.limit <= len(cell.mail) or cell.gate is not None or path:
            cell = await self.room(cell, request, due, path)
        promise = self.promises.make(address, request)
        cell.put(Envelope(request, request_id, promise, origin, None, due, path))
        reply: R = await promise.wait(due)
        return reply

    def check_path(self, cell: Cell) -> None:
        """Make sure that an actor doesn't wait for one that waits for it.

        Raises:
            AskCycle: it would.
        """
        now = handling()
        if now is not None and (error := cell.circle(now.path)) is not None:
            raise error

    def deadline(self, timeout: float | None) -> int:
        """Return when to stop waiting: after the timeout, or when those do for whom an actor asks."""
        due, now = self.due(timeout), handling()
        return due if now is None else min(due or now.due, now.due or due)

    async def services(self, addresses: Sequence[Address[Any]], due: int) -> list[ServiceCell]:
        """Return the cells of services, when each has room for a message.

        Raises:
            MailboxFull: one had no room in time.
        """
        let_in: set[Address[Any]] = set()
        while True:
            cells = [cell for cell in map(self.cell, addresses) if isinstance(cell, ServiceCell)]
            assert len(cells) == len(addresses)
            crowded = next((cell for cell in cells if cell.crowded and (cell.full or cell.address not in let_in)), None)
            if crowded is None:
                return cells
            await self.room(crowded, None, due)
            let_in.add(crowded.address)

    def send(self, address: Address[Any], request: Any, request_id: str | None) -> Promise | None:
        """Send a command from outside of all actors, if its mailbox has room; return the promise of the reply."""
        cell = self.find(address)
        if cell is None or type(request) not in cell.kind.takes:
            cell = self.taker(address, request)
        if cell.limit <= len(cell.mail) or cell.gate is not None or handling() is not None:
            return None
        promise = self.promises.make(address, request)
        cell.put(Envelope(request, request_id, promise))
        return promise

    async def room(self, cell: Cell, message: object, due: int, path: tuple[Address[Any], ...] = ()) -> Cell:
        """Return the cell that a message is for, when it has room for it.

        Raises:
            MailboxFull: it had none in time.
        """
        cell = cell.target(message, path)
        if (error := cell.circle(path, message)) is not None:
            raise error
        if cell.crowded:
            check_loop(self.loop)
            if cell.kind.mailbox.overflow != "wait":
                raise cell.full_error()
            await cell.room(cell.line_up(self.delays, due))
            cell = self.cell(cell.address)  # another one, if the journal was lost meanwhile
        return cell

    def tell(self, address: Address[Any], message: Any, message_id: str | None = None) -> Awaitable[None]:
        """Send a command without waiting for a reply."""
        cell = self.find(address)
        if cell is None or type(message) not in cell.kind.takes:
            cell = self.taker(address, message)
        mail = cell.mail
        if cell.limit > len(mail) and cell.gate is None:
            if mail and cell.queued and cell.runnable and not self._observed:
                # What put would do, in the most frequent case.
                mail.append(Envelope(message, message_id))
            else:
                cell.put(Envelope(message, message_id))
            return self.sent
        return self._tell_crowded(cell.target(message), Envelope(message, message_id))

    def tell_for(
        self, origin: Origin | None, address: Address[Any], message: Any, message_id: str | None
    ) -> Awaitable[None]:
        """Send a command in somebody's name, without waiting for a reply."""
        cell, envelope = self.taker(address, message), Envelope(message, message_id, origin=origin)
        if cell.limit <= len(cell.mail) or cell.gate is not None:
            return self._tell_crowded(cell.target(message), envelope)
        cell.put(envelope)
        return self.sent

    def _tell_crowded(self, cell: Cell, envelope: Envelope) -> Awaitable[None]:
        if not cell.crowded:
            cell.put(envelope)
            return self.sent
        overflow = cell.kind.mailbox.overflow
        if overflow == "refuse":
            raise cell.full_error()
        if overflow == "drop":
            self.dead_letter(cell.address, envelope.message, cell.full_error())
            return self.sent
        check_loop(self.loop)
        envelope.trace = self.observer.tracing.here()
        sent = self.loop.create_future()
        sender = cell.line_up(self.delays)
        sent.add_done_callback(lambda _: sender.cancel())  # where who waits is cancelled; else it is done already
        self.spawn(self._tell_later(cell, sender, envelope, sent))
        return sent

    async def _tell_later(
        self, cell: Cell, sender: asyncio.Future[None], envelope: Envelope, sent: asyncio.Future[None]
    ) -> None:
        try:
            await cell.room(sender)
        except asyncio.CancelledError:
            if not sent.done():
                sent.set_exception(RuntimeClosed(f"it was closed before {cell.address} had room; nothing was sent"))
                sent.exception()  # it need not be awaited, so nobody may ever look
            raise
        if sent.cancelled():
            cell.let_in()  # the next one: this one went away on the way in
        else:
            self.cell(cell.address).put(envelope)
            sent.set_result(None)

    async def drain(self) -> None:
        """Wait until nothing is under way but timers, and the read models have caught up. No reminder comes then."""
        self.alarm.close()
        self.suspects.close()
        self.flow.close()
        for deliverer in self.deliverers.values():
            deliverer.prepare_end()
        while not self.idle and not self.writer.ended:
            self.dispatcher.arm()
            await self.writer.barrier()
            if self.tasks and self.dispatcher.idle and self.recovery.idle:
                await self.tasks.none()
            else:
                await asyncio.sleep(0)
        for deliverer in self.deliverers.values():
            await deliverer.finish()
        for projector in self.projectors.values():
            with suppress(Parked, RuntimeClosed):  # it was told when that happened
                if not projector.failures:  # one that fails goes on from its checkpoint, another time
                    await projector.reached(self.journal.position)

    async def stop_actors(self) -> None:
        """End the plain actors in order, so that they can clean up; none is started again."""
        self.closing = True
        for cell in self.directory:
            if isinstance(cell, PlainCell):
                cell.stop(None)
        await self.drain()  # what they said at their end is heard

    async def cut_off(self) -> None:
        """End what is still under way, now."""
        self.closing = True
        for cell in self.directory:
            if isinstance(cell, ActorCell):
                cell.cut_off()
            elif isinstance(cell, ObservedSaga):
                cell.left()
        await self.tasks.close(GRACE)
        for cell in self.directory:
            self.directory.lose_mail(cell, "the runtime was closed")  # what waits for a restart, say

    async def wake_unfinished(self) -> int:
        """Bring back the actors whose work is unfinished, and set the alarm for others; return how many."""
        woken = await self.waking.unfinished(self.journal, self.flow.under_way)
        await self.alarm.open()
        await self.flow.lines.open()
        return woken

    def _may_start(self) -> bool:
        """Whether the next group may start: not while turns that would share it are only a short read away."""
        return not self.recovery.opening or self.writer.pending >= ENOUGH

    def _start_group(self) -> None:
        if self._may_start():
            self.writer.kick()

    def _settle(self) -> None:
        if self.dispatcher.idle:
            self._start_group()

    def _written(self, events: int, seconds: float) -> None:
        self.written.add(events, seconds)
        self.observer.group_written(events, seconds)

    def _durable(self, batches: list[Batch], first: int) -> None:
        self.trouble.over()
        self.news.tell(batches)
        self._log_watch.look(self.journal.log_bytes)
        self.alarm.note(batches)
        self.suspects.look()
        if self.projectors or self.deliverers:
            records = to_records(batches, first)
            for follower in self.followers:
                follower.offer(records)

    @property
    def followers(self) -> list[Follower]:
        """All who follow the journal."""
        return [*self.projectors.values(), *self.builders.values(), *self.deliverers.values()]

    async def _lost(self, error: BaseException) -> None:
        """Drop all that rests on events that may be lost, and begin again from what the journal holds."""
        log.error("the journal could not be written", error=repr(error))
        self.recovery.clear()
        self.suspects.clear()
        self.flow.reset()
        supervised = {address: cell.phase for address in self.owners if (cell := self.find(address)) is not None}
        self.directory.clear(keep=ActorCell, error=error)
        self.promises.lose_all(f"the journal could not be written ({error})")

        async def begin_again() -> None:
            await self.journal.recover()
            self.news.tell_all()
            for follower in self.followers:
                follower.look()  # what failed may have been written all the same
            await self.wake_unfinished()
            start_again(self, supervised)

        await self.trouble.mend(error, begin_again)
