"""What the cells of plain actors share: the context in which an actor tells, watches, spawns, waits and ends."""

from collections.abc import Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from actors import (
    Actor,
    ActorMisuse,
    Address,
    Command,
    Elsewhere,
    Failed,
    MailboxFull,
    NotTaken,
    ReadModel,
    Request,
    Saga,
    Stopped,
    Subscriber,
)
from actors.actor import Timer
from actors.reminders import Remind
from persistence import Record
from runtime import reminders
from runtime.actor_timer import ActorTimer
from runtime.cells import Cell, Phase, World
from runtime.kinds import Kind
from runtime.mailbox import NO_MAIL, Envelope
from runtime.origin import Origin
from runtime.saga_mail import join
from runtime.supervision import Supervisor

A = TypeVar("A")
R = TypeVar("R")

MOST_WATCHES = 10_000
"""How many others one actor may watch."""
MOST_TIMERS = 10_000
"""How many timers one actor may have."""


class PlainCell(Cell):
    """A plain actor's place in the runtime, and its context."""

    __slots__ = ("_children", "_envelope", "_sent", "_stash", "_timers", "_watching", "actor")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self.actor: Actor | None = None
        self._envelope: Envelope | None = None
        """The message that is being handled, where that is one at a time."""
        self._sent = 0
        """How many requests have been sent for it."""
        self._stash: list[Envelope] | None = None
        self._timers: set[ActorTimer] | None = None
        self._watching: set[Address[Any]] | None = None
        self._children: Supervisor | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Do nothing: a plain actor is not brought back by replay."""

    def replay(self, record: Record) -> None:
        """Do nothing: a plain actor has no stream."""

    @property
    def alive(self) -> bool:
        """Whether there is an incarnation, or one is about to begin."""
        return self.phase in (Phase.RUNNING, Phase.RECOVERING)

    @property
    def latest(self) -> int:
        """The incarnation that is there, or about to begin, or else the last one."""
        return self.incarnation

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory, and nobody would notice."""
        tied = self._timers or self._watching or self._children or self._stash
        return not tied and self.address not in self.world.owners and super().resting and not self._watched

    @property
    def _watched(self) -> bool:
        return self.address in self.world.watches

    def closed(self) -> bool:
        """Whether the node is closing, so that nothing begins any more; what waits here is told."""
        if self.world.closing:
            self.turn_away(lambda: Failed(f"{self.address} was not given it: the runtime was closed"))
        return self.world.closing

    def gone(self) -> None:
        """Take note that it has finished, and that nothing brings it back for now."""
        owner = self.world.owners.get(self.address)
        if owner is not None:
            owner.finished(self.address)
        self.world.release(self)

    def forget(self) -> None:
        """Drop what is the incarnation's own: timers, watches, children, and what they had to say."""
        self.actor = None
        self.control = NO_MAIL
        for timer in self._timers or ():
            timer.drop()
        for address in self._watching or ():
            self.world.watches.remove(self.address, address)
        self._timers = self._watching = None
        self.unstash()
        if self._children is not None:
            children, self._children = self._children, None
            children.end()

    # -- the context of the actor -------------------------------------------------------------------------------

    @property
    def envelope(self) -> Envelope | None:
        """The message that is being handled."""
        return self._envelope

    @property
    def origin(self) -> Origin | None:
        """In whose name it acts."""
        return None if self._envelope is None else self._envelope.origin

    @property
    def message_id(self) -> str:
        """The id of the message that is being handled."""
        envelope = self.envelope
        if envelope is None:
            raise ActorMisuse(f"{self.address} handles no message now, so there is no message_id")
        if envelope.id is None:
            envelope.id = self.world.new_id()
        return envelope.id

    def next_id(self, envelope: Envelope) -> str:
        """Return the id of the next request that is sent for a message: the same, should the message come again."""
        self._sent += 1
        return f"{envelope.id}>{self._sent}"

    def ask(
        self,
        address: Address[A],
        request: Request[A, R],  # noqa: ARG002
        /,
        *,
        id: str | None = None,  # noqa: A002, ARG002
        timeout: float | None = None,  # noqa: ARG002
        consistent: bool = False,  # noqa: ARG002
    ) -> Coroutine[Any, Any, R]:
        """Refuse: only an async actor can wait for a reply."""
        raise ActorMisuse(
            f"{self.kind.name} can't ask {address}: it would have to wait; write async def receive, or tell it"
        )

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command without waiting for anything."""
        world = self.world
        cell = world.find(address)
        if cell is None or type(message) not in cell.kind.takes:
            cell = world.taker(address, message)
        envelope = self._envelope
        origin = None
        if envelope is not None:
            origin = envelope.origin
            if id is None and envelope.id is not None:
                id = self.next_id(envelope)  # noqa: A001
        cell.put_from_inside(Envelope(message, id, None, origin, self.address))

    def watch(self, address: Address[Any], /) -> None:
        """Have the actor told when another one ends; at once, if it is not alive."""
        kind = self.world.kind(address.actor)
        if kind.remote:
            raise Elsewhere(f"{address} lives on another node, so its end is not told here; ask it how it is instead")
        if Stopped not in self.kind.takes:
            raise NotTaken(f"{self.kind.name} watches {address}, so its receive must take Stopped as well")
        if issubclass(kind.cls, ReadModel | Subscriber) or kind.pool is not None:
            raise NotTaken(f"{address} can't be watched; only services, sagas and single plain actors can")
        if self._watching is None:
            self._watching = set()
        if len(self._watching) >= MOST_WATCHES and address not in self._watching:
            raise ActorMisuse(f"{self.address} watches {MOST_WATCHES:,} others already; unwatch some")
        self._watching.add(address)
        watches = self.world.watches
        cell = self.world.find(address)
        watches.add(self.address, address, cell.latest if isinstance(cell, PlainCell) else 0)
        if issubclass(kind.cls, Saga):
            join(self.world.cell(address))
            return
        if cell is not None and cell.phase is Phase.PARKED:
            watches.ended(address, "parked", cell.error)
        elif issubclass(kind.cls, Actor) and not (isinstance(cell, PlainCell) and cell.alive):
            watches.ended(address, "finished")

    def unwatch(self, address: Address[Any], /) -> None:
        """Take a watch back."""
        if self._watching is not None:
            self._watching.discard(address)
            self.world.watches.remove(self.address, address)

    def notice(self, stopped: Stopped) -> None:
        """Take in the end of one that was watched: behind all that it had sent, before all other mail."""
        if self._watching is None or stopped.address not in self._watching:
            return
        self._watching.discard(stopped.address)
        envelope = Envelope(stopped, sender=stopped.address)
        last = max((n for n, mail in enumerate(self.mail) if mail.sender == stopped.address), default=None)
        if last is None:
            self.post(envelope)
        else:
            self.mail.insert(last + 1, envelope)

    def spawn(self, address: Address[Any], /) -> None:
        """Start a child."""
        kind = self.world.kind(address.actor)
        if not issubclass(kind.cls, Actor) or kind.pool is not None or kind.remote:
            raise NotTaken(f"{address} can't be a child; only single plain actors of this node can")
        owner = self.world.owners.get(address)
        if owner is not None or address in self._ancestors():
            whose = f"belongs to {owner}" if owner is not None else f"is above {self.address}"
            raise ActorMisuse(f"{address} can't become a child of {self.address}: it {whose}")
        cell = self.world.cell(address)
        if self._children is None:
            children = self.kind.cls.children
            self._children = Supervisor(self.world, children, parent=self.address, escalate=self.crashed)
        self._children.add(address)
        if cell.phase is Phase.PARKED:
            cell.pardon()
        if cell.phase is Phase.STOPPED:
            cell.revive()

    def _ancestors(self) -> Iterator[Address[Any]]:
        address: Address[Any] | None = self.address
        while address is not None:
            yield address
            owner = self.world.owners.get(address)
            address = None if owner is None else owner.parent

    def after(self, delay: timedelta, message: Command[Any, Any], every: timedelta | None, /) -> Timer:
        """Send the actor a message later."""
        self.world.check(self.address, message)
        if self._timers is None:
            self._timers = set()
        if len(self._timers) >= MOST_TIMERS:
            raise ActorMisuse(f"{self.address} has {MOST_TIMERS:,} timers already; cancel some")
        timer = ActorTimer(self.world.delays, self._timers, self.post, message, delay, every)
        self._timers.add(timer)
        return timer

    async def remind(self, reminder: Remind, /) -> None:
        """Set a reminder for the actor, which is durable."""
        await reminders.remind(self.world, reminder, self.origin)

    async def forget_reminder(self, name: str, /) -> None:
        """Drop a reminder of the actor."""
        await reminders.forget(self.world, self.address, name, self.origin)

    # -- stash --------------------------------------------------------------------------------------------------

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        envelope = self.envelope
        if envelope is None:
            raise ActorMisuse(f"{self.address} handles no message now, so there is none to stash")
        if self._stash is None:
            self._stash = []
        if len(self._stash) >= self.kind.mailbox.limit:
            raise MailboxFull(f"{self.address} has {len(self._stash):,} messages stashed, which is the limit")
        self._stash.append(envelope)

    def unstash(self) -> None:
        """Put all that was put aside back, before all other mail."""
        if self._stash:
            self.put_back(reversed(self._stash), self.world.clock.steady())
            self._stash = None

    def take_back(self, envelope: Envelope) -> None:
        """Take a message out of the stash: it has failed after it was put there, and its asker was told."""
        if self._stash:
            self._stash = [other for other in self._stash if other is not envelope]

    def finish(self) -> None:
        """End in order, after this message."""
        if self.envelope is None:
            raise ActorMisuse(f"{self.address} handles no message now, after which it could stop; raise, to end it")
