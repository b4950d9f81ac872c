"""Commands that wait at a service for locks, in line for each lock.

Like mail, what waits belongs to the address: when the service crashes it goes back into the mailbox, in its order, and
the next incarnation lets it wait again or not.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from actors import Address, Deadlock, MailboxFull, Refused
from runtime.cells import World
from runtime.kinds import Kind
from runtime.lock_events import Locks
from runtime.lock_waits import Waiting
from runtime.mailbox import Envelope, ReplyTo


class Owner(Protocol):
    """A service at which commands wait."""

    world: World
    kind: Kind
    address: Address[Any]
    locks: Locks | None

    def put_back(self, envelopes: Iterable[Envelope], now: int) -> None:
        """Put messages before all others, the last one first."""
        ...

    def give_back(self, envelope: Envelope, error: Exception) -> None:
        """Say why a message was not handled."""
        ...

    def expired(self, envelope: Envelope, now: int) -> bool:
        """Whether nobody waits for the reply any more."""
        ...

    def full_error(self) -> MailboxFull:
        """Return the error for those for whom there is no room."""
        ...


class LockLines:
    """All who wait at one service; as many as its mailbox may hold."""

    __slots__ = ("_by_id", "_count", "_lines", "_owner", "address")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.address = owner.address
        self._count = 0
        """How many have ever waited: each gets the next number."""
        self._lines: dict[str, OrderedDict[int, Waiting]] = {}
        """Who waits for each lock, by number."""
        self._by_id: dict[str, Waiting] = {}

    def __len__(self) -> int:
        """Return how many commands wait."""
        return sum(map(len, self._lines.values()))

    def count(self, lock: str) -> int:
        """Return how many commands wait for a lock."""
        return len(self._lines.get(lock, ()))

    def holders(self, lock: str) -> Iterable[Address[Any]]:
        """Return who holds a lock."""
        locks = self._owner.locks
        return () if locks is None else locks.holders(lock)

    # -- waiting ------------------------------------------------------------------------------------------------

    def wait(self, lock: str, envelope: Envelope) -> None:
        """Let a command wait behind those who wait for the same lock; one that waits already, once.

        Raises:
            Deadlock: it would wait for ever, and others with it.
            MailboxFull: too many wait.
        """
        owner, waits = self._owner, self._owner.world.lock_waits
        first = None if envelope.id is None else self._by_id.get(envelope.id)
        if first is not None and first.lock == lock and first.envelope.message == envelope.message:
            _join(first.envelope, envelope)
            return
        line = self._lines.get(lock, OrderedDict())
        last = next(reversed(line.values())) if line else None
        before = last if last is None or last.taker is not None else last.before
        waiting = Waiting(self, lock, envelope, self._count, before)
        if envelope.path and (circle := waits.circle(waiting)) is not None:
            holder = next(iter(self.holders(lock)), "")
            raise Deadlock(
                f"each would wait for the next for ever, so this one is refused, and the others go on: {circle}",
                lock,
                str(holder),
            )
        if len(self) >= owner.kind.mailbox.limit and not self._sweep():
            raise owner.full_error()
        self._count += 1
        self._lines.setdefault(lock, line)[waiting.number] = waiting
        if envelope.id is not None and first is None:
            self._by_id[envelope.id] = waiting
        waits.add(waiting)

    def _sweep(self) -> bool:
        """Let those go for whose reply nobody waits any more; return whether there were any."""
        now = self._owner.world.clock.steady()
        found = [one for line in self._lines.values() for one in line.values()]
        gone = [one for one in found if self._owner.expired(one.envelope, now)]
        for one in gone:
            self._remove(one)
        return bool(gone)

    def _remove(self, waiting: Waiting) -> None:
        line = self._lines[waiting.lock]
        del line[waiting.number]
        if not line:
            del self._lines[waiting.lock]
        command_id = waiting.envelope.id
        if command_id is not None and self._by_id.get(command_id) is waiting:
            del self._by_id[command_id]
        self._owner.world.lock_waits.remove(waiting)

    def fenced(self, step: str) -> None:
        """Refuse a step that waits, for it was undone before its turn came."""
        waiting = self._by_id.get(step)
        if waiting is not None:
            self._remove(waiting)
            self._owner.give_back(
                waiting.envelope, Refused(f"step {step} was undone while it waited for a lock at {self.address}")
            )

    def put_back(self) -> None:
        """Put all that waits back into the mailbox, in the order of its coming."""
        waiting = [one for line in self._lines.values() for one in line.values()]
        waiting.sort(key=lambda one: one.number, reverse=True)
        for one in waiting:
            self._remove(one)
        if waiting:
            self._owner.put_back([one.envelope for one in waiting], self._owner.world.clock.steady())

    def take(self, lock: str) -> Envelope | None:
        """Take the first command out of the line for a lock that may pass, if there is one."""
        waiting = self._first(lock)
        if waiting is None:
            return None
        self._remove(waiting)
        return waiting.envelope

    def _first(self, lock: str) -> Waiting | None:
        line, locks = self._lines.get(lock), self._owner.locks
        if not line:
            return None
        first = next(iter(line.values()))
        if locks is None or not locks.blocks(lock, first.envelope.path):
            return first
        # Steps of those who hold it may pass, wherever they stand.
        waits = self._owner.world.lock_waits
        found = [one for holder in locks.holders(lock) for one in waits.of(holder)]
        mine = [one for one in found if one.line is self and one.lock == lock]
        return min(mine, key=lambda one: one.number, default=None)


def _join(first: Envelope, again: Envelope) -> None:
    """Let one who has asked again, with the same id, wait in the place of the first copy; both get the reply."""
    first.due = max(first.due, again.due) if first.due and again.due else 0
    one, other = first.reply, again.reply
    if one is None or one.gone or one == other:
        first.reply = other
    elif other is not None:
        first.reply = BothOf(one, other)


class BothOf(msgspec.Struct, gc=False):
    """Where a reply goes that two wait for."""

    one: ReplyTo
    other: ReplyTo

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the reply any more."""
        return self.one.gone and self.other.gone

    def done(self, value: Any) -> None:
        """Give the reply."""
        self.one.done(value)
        self.other.done(value)

    def failed(self, error: Exception) -> None:
        """Say that there is none."""
        self.one.failed(error)
        self.other.failed(error)
