"""The runtime: one node, from opening its journal to closing it. What programs embed."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from actors import (
    Address,
    Command,
    Group,
    Interceptor,
    Request,
    RuntimeClosed,
    State,
)
from actors.interceptors import check_interceptors
from actors.messages import is_query
from actors.reminders import Remind
from actors.request_context import FIRST_USE, turn
from persistence import Journal, Keys
from persistence.connection import shielded
from persistence.opening import journal_for
from persistence.sqlite import Durability
from runtime import queries, reminders
from runtime.cells import Cell
from runtime.chaos import Chaos
from runtime.clock import Clock, SystemClock
from runtime.cluster.cluster import Cluster
from runtime.cluster.network import Network
from runtime.cluster.opening import network_for
from runtime.follower import Follower
from runtime.forgetting import Forgetting, reconcile, tell
from runtime.instruments import Instrument
from runtime.kinds import check_actors
from runtime.locks import Locking
from runtime.log import log
from runtime.node import Node
from runtime.observer import Observer
from runtime.origin import caller
from runtime.passivation import ACTIVE
from runtime.personal import PersonalData
from runtime.projecting import Projecting
from runtime.read_models import follow, open_read_models
from runtime.saga_alerts import OnAlert
from runtime.sagas import Sagas
from runtime.scheduling import Scheduling
from runtime.slow_turns import SLOW_TURN
from runtime.subscription_queries import SubscriptionQueries
from runtime.subscriptions import open_subscribers
from runtime.tracing import Tracing
from runtime.transactions import Transacting
from runtime.views import Views, ViewsOption

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S", bound=State)

SHUTDOWN_TIMEOUT = 30.0
"""Seconds that closing may take before what is still under way is cut off, visibly."""


class Runtime(Forgetting, Locking, Projecting, Sagas, Scheduling, SubscriptionQueries, Transacting):
    """One node: runs actors on a journal.

    ``journal`` is a URL (``"sqlite:trips.db"``, ``"postgresql://user@host/database?schema=trips"``, ``"memory:"``) or a
    journal; ``actors`` are the classes that live here. Use it as ``async with Runtime(...) as runtime``, on asyncio or
    on uvloop (``understudy[uvloop]``: ``uvloop.run(main())``). ``groups`` are supervised together, and started when it
    opens. ``active`` is how many actors may be in memory; beyond it, those that have rested longest leave. A turn that
    takes longer than ``slow_turn`` is named in the log; None: never. ``instruments`` are told of what happens, and
    ``tracing`` follows each request (``docs/observability.md``). ``keys`` seal what is personal
    (``docs/personal_data.md``). ``on_alert`` is told when a saga needs a person: it is parked, or an undo fails.
    ``views`` is where read models are, a URL for all or URLs by class; subscribers' checkpoints are with the journal,
    unless theirs is given by class. ``interceptors`` stand around each request, the first one outermost
    (``docs/interceptors.md``). ``remote`` are classes that live on other nodes, which ``network`` leads to, a URL
    (``"nats://127.0.0.1:4222"``) or a network; there, ``actors`` can be asked by others (``docs/cluster.md``).

    Entering opens the journal and wakes what is unfinished in it. Leaving takes no more requests from outside, lets
    turns finish, makes everything durable, catches the read models up, lets subscribers and plain actors end what they
    do and clean up, and closes; all of it within ``shutdown_timeout`` seconds, and what is still under way then is cut
    off.
    ``durability="normal"`` gives up that a power cut (on PostgreSQL: a crash of the server) loses nothing that was
    acknowledged; a crash of the process still loses nothing. No event, command or reply that is larger than
    ``max_payload`` bytes of JSON is written or read (default: 1 MiB; a journal that is given has its own).

    Where another process takes this one's place at the journal (PostgreSQL), nothing that is asked of this one gets
    done any more: its callers are told that the outcome is unknown, and the next ones get RuntimeClosed, which names
    the other. :meth:`replaced` waits for it. Leave the block then.

    Raises:
        BadJournalUrl, DefinitionError, ValueError: at once.
        JournalError: on entering, where the journal can't be opened.
    """

    def __init__(
        self,
        journal: str | Journal,
        actors: Sequence[type],
        *,
        durability: Durability = "full",
        max_payload: int | None = None,
        clock: Clock | None = None,
        chaos: Chaos | None = None,
        groups: Sequence[Group] = (),
        active: int = ACTIVE,
        slow_turn: timedelta | None = SLOW_TURN,
        instruments: Sequence[Instrument] = (),
        tracing: Tracing | None = None,
        keys: Keys | None = None,
        views: ViewsOption = None,
        on_alert: OnAlert | None = None,
        interceptors: Sequence[Interceptor] = (),
        remote: Sequence[type] = (),
        network: str | Network | None = None,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
    ) -> None:
        check_interceptors("Runtime", interceptors)
        self._journal = journal_for(journal, durability, max_payload)
        self._actors = check_actors(actors)
        self._clock = clock or SystemClock()
        self._chaos, self._groups, self._active, self._slow_turn = chaos, groups, active, slow_turn
        self._observer = Observer(self._clock, instruments, tracing)
        self._remote, self._network, self._cluster = remote, network_for(network, remote), None
        every = (*actors, *remote)
        self._keys, self._personal = keys, PersonalData(keys, every, max_payload=self._journal.max_payload)
        self._views, self._on_alert, self._interceptors = Views(views), on_alert, tuple(interceptors)
        self._shutdown_timeout, self._stack = shutdown_timeout, AsyncExitStack()
        self._entered, self._node, self._inside, self._plain, self._doors = False, None, None, None, None

    _make_node: Callable[..., Node] = Node
    """What makes its node; a simulation makes another one."""

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeClosed("a runtime is entered once; make another one")
        with turn():  # what goes on by itself is in the request context of nobody who happens to open it
            await self._enter()
        return self

    async def _enter(self) -> None:
        failure: Exception | None = None
        async with AsyncExitStack() as stack:
            if self._keys is not None:
                await self._keys.open()
                stack.push_async_callback(self._keys.close)
            await self._journal.open()
            stack.push_async_callback(self._journal.close)
            tasks = anyio.create_task_group()
            node = self._make_node(
                self._journal,
                self._actors,
                self._clock,
                self._chaos,
                self._groups,
                self._active,
                self._slow_turn,
                self._observer,
                self._personal,
                self._on_alert,
            )
            self._cluster = None if self._network is None else Cluster(node, self._network, self._remote)
            untold = await reconcile(node)
            self._keepers = await open_read_models(node, self._views, stack)
            subscriptions = await open_subscribers(node, self._views, stack)
            await stack.enter_async_context(tasks)
            stack.callback(_stop, tasks)
            stack.callback(node.timers.close)
            stack.callback(node.delays.close)
            tasks.start_soon(node.writer.run)
            tasks.start_soon(node.recovery.run)
            tasks.start_soon(node.trouble.look, node.journal)
            for keeper in self._keepers.values():
                keeper.run(tasks)
            if node.followers and self._journal.owner:
                tasks.start_soon(follow, node)
            stack.push_async_callback(node.cut_off)
            try:
                if self._cluster is not None:
                    await self._cluster.join(stack)
                await tell(node, untold)
                for subscription in subscriptions:
                    await subscription.begin(tasks)
                await node.wake_unfinished()
                for group in node.groups:
                    group.start()
                if self._cluster is not None:
                    await self._cluster.serve()
            except Exception as error:  # noqa: BLE001 (raised below: the task group would wrap it into a group)
                failure = error
            else:
                self._entered, self._inside, self._stack = True, node, stack.pop_all()
                self._open_doors(node, self._interceptors)
                node.trouble.taken.add_done_callback(self._let_nobody_in)
        if failure is not None:
            raise failure

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        node, self._inside = self._inside, None
        self._let_nobody_in()
        FIRST_USE.forget(self._look_for_context)
        assert node is not None
        try:
            await shielded(self._finish(node))
        finally:
            node.promises.close()
            node.news.close()
            if not node.trouble.taken.done():
                node.trouble.taken.cancel()
            # Not given the error: a task group would wrap it into a group, and the caller's own error is enough.
            await self._stack.__aexit__(None, None, None)

    async def _finish(self, node: Node) -> None:
        """Bring to its end what is under way: turns, the journal, read models, plain actors, in this order."""
        with anyio.move_on_after(self._shutdown_timeout) as deadline:
            if self._cluster is not None:
                await self._cluster.leave()
            await node.drain()
            await node.stop_actors()
            if self._cluster is not None:
                await self._cluster.settle()
        if deadline.cancelled_caught:
            log.warning("closing took too long, and cuts off what is under way", seconds=self._shutdown_timeout)

    # -- talking ------------------------------------------------------------------------------------------------

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002 (the word that the design and its users have for it)
        timeout: float | None = None,
        consistent: bool = False,
        after: int | None = None,
    ) -> R:
        """Send a request and wait for its reply; what led to the reply is durable then.

        ``id`` names a command for ever: sent again, also after a crash, it takes effect once and gets its first
        reply. ``timeout`` is in seconds. Of a read model, ``consistent=True`` sees all that was committed before the
        call, and ``after`` all up to a position; else a query sees what is there now. A service, a saga or a plain
        actor answers queries itself, in their turn: each sees all that came before it.

        Raises:
            Refused: a business 'no'; nothing was written.
            Failed: the actor could not handle it; nothing was written.
            OutcomeUnknown: it may or may not have taken effect; ask again with the same id.
            Parked: the actor is set aside.
            CommandIdReused: the id belongs to another command.
            MailboxFull: there was no room in the mailbox within ``timeout``; nothing was sent.
            NotTaken, UnknownActor: nobody here takes this.
            WrongLoop: this is another event loop than the one that opened the runtime.
        """
        node = self._plain
        if node is None:
            doors = self._doors_open()
            reply: R = await doors.ask(address, request, id, timeout, consistent=consistent, after=after)
            return reply
        if is_query(request):
            return await queries.ask(node, address, request, timeout=timeout, consistent=consistent, after=after)
        promise = node.send(address, request, id) if timeout is None else None
        if promise is None:
            return await node.ask(address, request, request_id=id, timeout=timeout)
        try:
            answer: R = await promise.future
        except BaseException as error:
            promise.let_go(error)
            raise
        finally:
            promise.forget()
        return answer

    def tell(
        self,
        address: Address[A],
        message: Command[A, Any],
        /,
        *,
        id: str | None = None,  # noqa: A002
    ) -> Awaitable[None]:
        """Send a command without waiting for a reply; await the result to wait for room in the mailbox.

        From another thread: ``loop.call_soon_threadsafe(runtime.tell, address, message)``. It is too quick to look
        whether it is in one, and from there it might not be heard for long.

        Raises:
            MailboxFull: at once, where the mailbox refuses what it has no room for, or 10,000 senders wait already.
            Failed: at once, where a pool can't tell the key of the message.
            NotTaken, UnknownActor: at once; nobody here takes this.
            RuntimeClosed: when awaited; the runtime was closed before there was room.
        """
        return (self._plain or self._doors_open()).tell(address, message, id)

    async def remind(
        self,
        address: Address[A],
        name: str,
        command: Command[A, Any],
        /,
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        every: timedelta | None = None,
    ) -> None:
        """Have a command sent to an actor later; durable when this returns.

        Once, ``after`` a time from now or ``at`` a time; again and again with ``every``. The same name again replaces
        it. It never comes early, one that was missed comes once, and one that fails is sent again until it works. A
        saga is started by it; a plain actor may get one twice, with the same ``message_id``.

        Raises:
            ValueError: the name is empty, or the times can't be meant; see :class:`actors.reminders.Remind`.
            NotTaken, UnknownActor: nobody here takes this.
            Failed: it can't be stored, or 1,000 are pending for this actor.
            OutcomeUnknown: it may or may not have been set; set it again.
        """
        reminder = Remind(name, command, after, at, every, address)
        if self._plain is not None:
            await reminders.remind(self._plain, reminder, None)
        else:
            await self._doors_open().remind(reminder)

    async def forget(self, address: Address[Any], name: str, /) -> None:
        """Drop a reminder that :meth:`remind`, or the plain actor itself, has set; durable when this returns.

        One whose time has come may be on its way already. What a service's ``decide`` has set, its ``decide`` drops.

        Raises:
            UnknownActor: there is no such class of actors.
            OutcomeUnknown: it may or may not have been dropped; drop it again.
        """
        await reminders.forget(self._open_node(), address, name, caller())

    def unpark(self, address: Address[Any]) -> None:
        """Let a parked actor try again at once, with a new budget of restarts; does nothing where it is not parked."""
        actor = self._in_memory(address)
        if actor is not None:
            actor.unpark()

    # -- breaking -----------------------------------------------------------------------------------------------

    async def kill(self, address: Address[Any]) -> None:
        """Let an actor crash: it loses what it has in memory, and the next message revives it from the journal."""
        actor = self._in_memory(address)
        if actor is not None:
            actor.kill()

    def _in_memory(self, address: Address[Any]) -> Follower | Cell | None:
        node = self._open_node()
        name = node.directory.own_kind(address).name
        return node.projectors.get(name) or node.deliverers.get(name) or node.directory.find(address)


def _stop(tasks: TaskGroup) -> None:
    tasks.cancel_scope.cancel()
