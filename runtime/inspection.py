"""What can be seen of a running runtime: its past, its actors, and what is on its way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from actors import Address, Interceptor, NotTaken, RuntimeClosed, Saga, Service, State
from actors.request_context import FIRST_USE
from runtime import history as past
from runtime.cells import Phase
from runtime.cluster.cluster import Cluster
from runtime.dead_letters import DeadLetter
from runtime.differences import Difference, Moment, difference
from runtime.doors import Doors
from runtime.history import HistoryEntry
from runtime.kinds import Kind
from runtime.node import Node
from runtime.own_loop import check_loop
from runtime.reminders import PendingReminder, reminders_of
from runtime.replay import check_come, to_past
from runtime.stats import Stats, actor_stats, read_model_stats, subscriber_stats

S = TypeVar("S", bound=State)


class Inspection:
    """The part of a runtime that changes nothing."""

    _node: Node | None
    """Where requests go, while they are let in."""
    _inside: Node | None
    """What runs, from entering to leaving."""
    _plain: Node | None
    """Where requests go at once, while nothing stands before the doors."""
    _cluster: Cluster | None
    """The part that speaks with other nodes."""
    _doors: Doors | None
    """Where they go else."""

    def _open_doors(self, node: Node, interceptors: Sequence[Interceptor]) -> None:
        """Let requests in: by the shortest way that there is."""
        doors, self._node = Doors(node, interceptors), node
        if doors.stand:
            self._doors, node.ask_inside, node.query_inside = doors, doors.ask_inside, doors.query_inside
        elif FIRST_USE.begun:
            self._doors = doors
        else:
            self._plain = node
            FIRST_USE.tell(self._look_for_context)

    def _look_for_context(self) -> None:
        """Look at the request context from here on."""
        if self._plain is not None:
            self._doors, self._plain = Doors(self._plain), None

    def _doors_open(self) -> Doors:
        self._seen_node()
        assert self._doors is not None
        return self._doors

    def _let_nobody_in(self, _: object = None) -> None:
        self._node = self._plain = None
        if self._inside is not None:
            self._inside.news.close()

    async def replaced(self) -> Exception:
        """Wait until another process has taken this one's place; return the error that names it.

        At the journal that happens on PostgreSQL only, and on the network where two nodes that serve one class from two
        journals have started in the same moment. Whoever waits is cancelled when the runtime is closed.
        """
        return await asyncio.shield((self._inside or self._open_node()).trouble.taken)

    def _open_node(self) -> Node:
        node = self._seen_node()
        check_loop(node.loop)
        return node

    def _seen_node(self) -> Node:
        """Return the node to be looked at, also from another thread."""
        if self._node is None:
            if self._inside is not None:
                taken = self._inside.trouble.taken.result()
                raise RuntimeClosed(f"nothing can be asked here any more: {taken}") from taken
            raise RuntimeClosed("the runtime is not open; use it inside: async with Runtime(...) as runtime")
        return self._node

    @property
    def position(self) -> int:
        """The position of the last durable event; a token for ``ask(..., after=position)``."""
        return self._seen_node().journal.position

    @property
    def groups(self) -> int:
        """How many groups have been written to the journal since the runtime was entered."""
        return self._seen_node().writer.groups

    def stats(self) -> Stats:
        """Return what the runtime is doing, in numbers. It looks at each actor in memory, so it costs more with more.

        May be called from another thread, say by a scraper's; the numbers are then not all of one moment.
        """
        node = self._seen_node()
        actors = actor_stats(node.directory, node.clock.steady())
        return Stats(
            actors=actors,
            journal=node.written.stats(node.journal, node.writer, node.trouble.damage),
            read_models=read_model_stats(node.projectors.values(), node.builders, node.journal),
            active=sum(stats.active for stats in actors.values()),
            dead_letters=node.dead_letters.count,
            timers=len(node.timers) + len(node.delays),
            queues=node.flow.queues(),
            rates=node.flow.waiting(),
            subscribers=subscriber_stats(node.deliverers.values(), node.journal),
            network=None if self._cluster is None else self._cluster.stats(),
        )

    async def state_of(
        self,
        address: Address[Service[S, Any, Any]],
        *,
        version: int | None = None,
        at: datetime | None = None,
        position: int | None = None,
    ) -> S:
        """Return a service's state by replay of what is durable; by default as it is now.

        ``version``, ``at`` and ``position`` stop behind that event, moment or position, which must have come: what is
        told of it stays so.

        Raises:
            NotTaken: the actor is no service, and has no state.
            EventsErased: what it was then can't be told any more.
            NotYet: ``version`` is beyond its last one, ``position`` beyond the journal's, or ``at`` in the future.
            ValueError: ``at`` doesn't say in which time zone it is, or a number is negative.
        """
        node, kind = self._open_node(), self._service_kind(address)
        moment = to_past(version, at, position)
        await check_come(node.journal, address, moment, node.clock.now())
        state: S = await past.state_of(node.journal, address, kind, moment)
        return state

    async def diff(self, address: Address[Service[S, Any, Any]], a: Moment, b: Moment | None = None) -> Difference[S]:
        """Return what is between two moments of a service: the parts of its state that differ, and the events.

        A moment is a version of the service's stream, a time, or a :class:`Position` of the journal; None: now.

        Raises:
            NotTaken: the actor is no service, and has no state.
            EventsErased: what it was at one of them can't be told any more.
            NotYet: one of them has not come; see :meth:`state_of`.
            ValueError: a time doesn't say in which time zone it is, or it is no moment.
        """
        node, kind = self._open_node(), self._service_kind(address)
        return await difference(node.journal, address, kind, a, b, node.clock.now())

    def _service_kind(self, address: Address[Any]) -> Kind:
        kind = self._open_node().directory.own_kind(address)
        if not issubclass(kind.cls, Service):
            raise NotTaken(f"{address} is no service; only services have a state that can be told from their events")
        return kind

    async def history(self, address: Address[Any]) -> AsyncIterator[HistoryEntry]:
        """Yield the events of one actor's stream, oldest first: its audit trail."""
        node = self._open_node()
        async for entry in past.history(node.journal, address, node.directory.own_kind(address)):
            yield entry

    async def trail(self, address: Address[Saga[Any, Any]]) -> list[HistoryEntry]:
        """Return every event of every actor that took part in a saga, in order."""
        node = self._open_node()
        node.directory.own_kind(address)
        return await past.trail(node.journal, address, node.directory)

    def dead_letters(self) -> list[DeadLetter]:
        """Return the last messages that nobody waited for and that could not be handled, oldest first."""
        return list(self._seen_node().dead_letters.recent)

    def parked(self) -> dict[Address[Any], str]:
        """Return the actors, read models and subscribers that are parked, each with what went wrong.

        Sagas that were parked by their own story are not among them: these are ``unfinished``, and their history says
        why.
        """
        node = self._seen_node()
        found = {cell.address: str(cell.error) for cell in node.directory if cell.phase is Phase.PARKED}
        for follower in (*node.projectors.values(), *node.deliverers.values()):
            if follower.error is not None:
                found[Address(follower.kind.name)] = str(follower.error)
        return found

    async def reminders(self, address: Address[Any], /) -> list[PendingReminder]:
        """Return the reminders that are pending for an actor, and those that it has set as a service; soonest first.

        Raises:
            UnknownActor: there is no such class of actors.
            Parked: they can't be read.
        """
        node = self._open_node()
        return await reminders_of(node, node.promises, address)
