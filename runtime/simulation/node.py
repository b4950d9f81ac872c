"""A node, and a runtime, on a simulated machine: the real ones, with what they take from outside replaced."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

from actors import Actor, Address, Command, Request, Saga, Service
from persistence import Journal
from persistence.views import Shelf
from runtime.actor_cell import ActorCell
from runtime.actor_life import Handling, Life
from runtime.cells import World
from runtime.chaos import Chaos
from runtime.directory import MakeCell
from runtime.dispatcher import Dispatcher
from runtime.kinds import Kind
from runtime.mailbox import NO_MAIL
from runtime.node import Node
from runtime.observed_cells import makers
from runtime.runtime import Runtime
from runtime.simulation.acks import Acks
from runtime.simulation.journal import SimulatedJournal
from runtime.simulation.labels import CLIENT, sender_of, what_of
from runtime.simulation.machine import Machine
from runtime.simulation.shelf import SimulatedShelf
from runtime.simulation.simulated_service import service_cell
from runtime.simulation.turns import SimulatedDispatcher
from runtime.views import Views

A = TypeVar("A")
R = TypeVar("R")


class SimulatedActorCell(ActorCell):
    """An async plain actor at work, with what goes wrong at its messages."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._machine = machine

    async def _guarded(self, life: Life, now: Handling, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        envelope = now.envelope
        if envelope is None:
            return await super()._guarded(life, now, work)
        machine, what = self._machine, what_of(envelope)
        sort = f"{self.kind.name}: {type(envelope.message).__name__}"
        faults = machine.at("handling", f"{self.name} handles {what}", sort)
        for fault in faults:
            if fault.how == "before":
                return await self._end_at(machine, fault.what)
        machine.note("message", sender_of(envelope), self.name, what)
        result = await super()._guarded(life, now, work)
        for fault in faults:
            return await self._end_at(machine, fault.what)
        return result

    async def _end_at(self, machine: Machine, what: str) -> tuple[None, BaseException]:
        """Let the process, or the actor, die in the middle of a message."""
        if what == "crash":
            await machine.end_here()
        self.kill()
        return None, asyncio.CancelledError()


class SimulatedNode(Node):
    """A node on a simulated machine."""

    def __init__(self, machine: Machine, acks: Acks, *args: Any) -> None:
        self._machine, self._acks = machine, acks
        self._seeds = Random(machine.plan.seed * 1_000 + machine.processes)
        super().__init__(*args)
        self.promises.new = acks.promise
        machine.on_end.append(self._dismantle)
        self.passivator.stretch = 2

    def _dismantle(self) -> None:
        """Let go of all cells of a node that is dead.

        Messages and where their replies go are hidden from the garbage collector, for there are many of them. So what
        lies in a mailbox that nobody will ever empty would keep its whole node alive.
        """
        for cell in self.directory:
            cell.mail = cell.control = NO_MAIL
        vars(self.directory)["_cells"].clear()

    def _new_random(self) -> Random:
        return Random(self._seeds.getrandbits(64))

    def _new_name(self) -> str:
        return f"{self._seeds.getrandbits(48):012x}"

    def _new_dispatcher(self, chaos: Chaos | None) -> Dispatcher:  # noqa: ARG002 (it has its own)
        return SimulatedDispatcher(self._machine, self._acks, self.writer, self.clock, self._start_group)

    def _makers(self) -> dict[type, MakeCell]:
        usual = makers(self)

        def make_actor(address: Address[Any], kind: Kind) -> Any:
            if kind.cls.is_async:
                return SimulatedActorCell(self._machine, self, address, kind)
            return usual[Actor](address, kind)

        return {Service: partial(service_cell, self._machine, self), Saga: usual[Saga], Actor: make_actor}


class SimulatedViews(Views):
    """The places of read models on a simulated machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(None)
        self._shelf = SimulatedShelf(machine, machine.views)

    def shelf(self, kind: Kind, journal: Journal) -> Shelf:  # noqa: ARG002 (there is one for all)
        """Return where the databases of a read model are."""
        return self._shelf

    def checkpoint(self, kind: Kind, journal: Journal) -> Shelf:  # noqa: ARG002 (there is one for all)
        """Return where the checkpoints of subscribers are."""
        return self._shelf


class SimulatedRuntime(Runtime):
    """A runtime on a simulated machine. Replies that its clients get are kept, to be compared with later ones."""

    def __init__(self, machine: Machine, actors: Sequence[type], acks: Acks, **options: Any) -> None:
        self.journal = SimulatedJournal(machine)
        super().__init__(self.journal, actors, clock=machine.clock, **options)
        self._views = SimulatedViews(machine)
        self._machine, self._acks = machine, acks
        machine.on_kill = self._kill_read_model

    def _kill_read_model(self, name: str) -> None:
        if self._inside is not None and name in self._inside.projectors:
            self._inside.projectors[name].kill()

    @property
    def _make_node(self) -> Callable[..., Node]:  # type: ignore[override]
        return partial(SimulatedNode, self._machine, self._acks)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way but timers."""
        return self._inside is None or self._inside.idle

    @property
    def behind(self) -> bool:
        """Whether a read model is not where the journal is, and on its way there."""
        projectors = () if self._inside is None else self._inside.projectors.values()
        return any(one.error is None and one.position < self.journal.position for one in projectors)

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
        after: int | None = None,
    ) -> R:
        """Send a request and wait for its reply; see :meth:`Runtime.ask`."""
        machine, what, who = self._machine, type(request).__name__, str(address)
        try:
            reply: R = await super().ask(address, request, id=id, timeout=timeout, consistent=consistent, after=after)
        except Exception as error:
            machine.note("reply", who, CLIENT, f"{type(error).__name__}: {error}")
            raise
        machine.note("reply", who, CLIENT, f"reply to {what}")
        if self._inside is not None and isinstance(request, Command):
            cls = self._inside.kind(address.actor).cls
            if issubclass(cls, Saga) or (id is not None and issubclass(cls, Service)):
                # What a plain actor answers is the outside world's business.
                self._acks.take(who, what, "" if issubclass(cls, Saga) else str(id), reply)
        return reply

    async def transact(
        self,
        *requests: Any,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
    ) -> Any:
        """Send commands to several services; see :meth:`Runtime.transact`."""
        replies = await super().transact(*requests, id=id, timeout=timeout)
        if id is not None:
            self._acks.take("a transaction", " and ".join(type(one).__name__ for _, one in requests), id, replies)
        return replies
