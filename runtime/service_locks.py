"""A service's locks at work: who is refused, who waits, who takes a lock, and how it is given back."""

from collections.abc import Iterable
from typing import Any, Protocol

from actors import Address, Locked, MailboxFull, OutcomeUnknown, Service
from actors.errors import in_words
from persistence import Append, NewEvent, Stream
from persistence.codec import encode
from runtime.cells import World
from runtime.kinds import FENCED, HANDLED, EventMeta, Kind
from runtime.lock_events import MOST_LOCKS, Held, Locks, Others, locked, unlocked
from runtime.lock_lines import LockLines
from runtime.lock_mail import LockMail, LookAtLocks, MustWait, Next, Unlock
from runtime.mailbox import Envelope
from runtime.origin import Origin
from runtime.seen import Seen
from runtime.service_memory import Fenced
from runtime.transaction import Outcome


class Owner(Protocol):
    """A service whose locks are taken."""

    world: World
    kind: Kind
    address: Address[Any]
    name: str
    version: int
    state: Any
    seen: Seen
    pending: Any
    service: Any
    locks: Locks | None

    @property
    def stream(self) -> Stream:
        """The name of the service's stream."""
        ...

    @property
    def buried(self) -> bool:
        """Whether it was deleted for good."""
        ...

    def post(self, envelope: Envelope) -> None:
        """Put a message into the control lane."""
        ...

    def put_back(self, envelopes: Iterable[Envelope], now: int) -> None:
        """Put messages before all others, the last one first."""
        ...

    def turn(self, envelope: Envelope) -> None:
        """Handle one message to its end."""
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

    def crashed(self, error: BaseException) -> None:
        """Stop after an error."""
        ...

    def unlock(self, held: Iterable[Held]) -> None:
        """Take note of locks that were given back."""
        ...

    def look_up(self, envelope: Envelope, *ids: str | None) -> bool:
        """Have the journal asked for the ids of which only it can tell; the message comes again then."""
        ...

    def carry_out(self, outcome: Outcome) -> None:
        """Enqueue an outcome's events and make its state the service's own."""
        ...


class ServiceLocks:
    """The locks of one service at work; made when the first one is asked for."""

    __slots__ = ("_owner", "lines")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.lines = LockLines(owner)

    # -- deciding -----------------------------------------------------------------------------------------------

    def admit(self, envelope: Envelope) -> bool:
        """Whether a command may be decided now. One that may not, but waits, has found its place in line.

        Raises:
            Locked: it is refused.
        """
        try:
            self.check(envelope.message, envelope.path, undoes=envelope.undoes is not None)
        except MustWait as must:
            try:
                self.lines.wait(must.lock, envelope)
            except MailboxFull as full:
                self._owner.give_back(envelope, full)
            return False
        return True

    def check(self, command: Any, path: tuple[Address[Any], ...], *, undoes: bool = False) -> None:
        """Make sure that a command may be decided, and have ``decide`` told what others hold.

        An undo may always be: it takes nothing, and must not be refused, nor wait for who may be waiting for its saga.

        Raises:
            Locked: a lock that it needs is held, and this service refuses then.
            MustWait: it is held, and here one waits.
        """
        locks, service = self._owner.locks, self._owner.service
        if locks is None:
            return
        service.locked_by = Others(locks, path)
        if undoes or service.when_locked == "tell":
            return
        lock = lock_of(service, command)
        if lock is None or not locks.blocks(lock, path):
            return
        if service.when_locked == "queue":
            raise MustWait(lock)
        holder = next(iter(locks.holders(lock)))
        raise Locked(
            f"{self._owner.address} is locked: {holder} is in the middle of something and holds {_words(lock)}; "
            "ask again when it has ended",
            lock,
            str(holder),
        )

    def take(self, envelope: Envelope, outcome: Outcome) -> None:
        """Have the lock of a saga's step taken, in the append of its events, unless the saga has it already.

        Raises:
            ValueError: too many are held.
        """
        owner, append = self._owner, outcome.append
        assert append is not None
        assert envelope.id is not None
        lock, saga = lock_of(owner.service, envelope.message), envelope.path[-1]
        held = owner.locks
        if lock is None or saga in self.lines.holders(lock):
            return
        if held is not None and len(held) >= MOST_LOCKS:
            raise ValueError(
                f"{MOST_LOCKS:,} locks are held at {self._owner.address}, which is the most that one service may have; "
                "let lock_of name fewer, or let several services share them"
            )
        outcome.lock = Held(lock, saga, envelope.id, append.time)
        if outcome.pending is None:
            outcome.pending = owner.pending  # so that who applies it sees that there is more than the state
        events = list(append.events)
        if events[0].type == HANDLED:
            events = [locked(outcome.lock, events[0].meta)]  # that carries the reply as well
        else:
            events.append(locked(outcome.lock, encode(_meta(envelope.id, envelope.origin))))
        append.events = events

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Take in one thing that happened."""
        message: LockMail = envelope.message
        if isinstance(message, Next):
            self._next(message.lock)
        elif isinstance(message, Unlock):
            self._unlock(envelope, message)
        elif isinstance(message, LookAtLocks) and envelope.reply is not None:
            held = [] if self._owner.locks is None else list(self._owner.locks)
            envelope.reply.done([(one, self.lines.count(one.lock)) for one in held])

    def has_next(self, lock: str) -> None:
        """Have who waits for a lock come, one after the other, before all other mail."""
        if self.lines.count(lock):
            self._owner.post(Envelope(Next(lock)))

    def _next(self, lock: str) -> None:
        """Handle the first command in line that may pass."""
        owner = self._owner
        envelope = self.lines.take(lock)
        if envelope is None:
            return
        self.has_next(lock)
        if owner.expired(envelope, owner.world.clock.steady()):
            return
        try:
            owner.turn(envelope)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (as the dispatcher does with what escapes a turn)
            owner.crashed(error)
            owner.give_back(envelope, OutcomeUnknown(f"{owner.name} crashed: {error!r}"))

    def _unlock(self, envelope: Envelope, message: Unlock) -> None:
        owner = self._owner
        if owner.buried:
            held: list[Held] = []
        elif owner.look_up(envelope, *message.unsettled):
            return
        else:
            held = self._held(message)
            self._give_back(envelope, message, held)
        if envelope.reply is not None:
            envelope.reply.done(len(held))

    def _held(self, message: Unlock) -> list[Held]:
        locks = self._owner.locks
        if locks is None:
            return []
        found = list(locks) if message.holder is None else locks.of(message.holder)
        return [one for one in found if message.lock is None or one.lock == message.lock]

    def _give_back(self, envelope: Envelope, message: Unlock, held: list[Held]) -> None:
        owner = self._owner
        cause = owner.world.new_id()
        meta = encode(_meta(cause, envelope.origin))
        events = [unlocked(one, message.reason, message.by, meta) for one in held]
        fences = [step for step in message.unsettled if not owner.seen.get(step, 0)]
        events += [NewEvent(FENCED, encode(Fenced(step)), meta) for step in fences]
        if not events:
            return
        owner.unlock(held)
        for number, step in enumerate(fences, owner.version + len(held) + 1):
            owner.seen.note(step, -number)
        append = Append(owner.stream, owner.version, events, owner.world.clock.now())
        owner.carry_out(Outcome(owner.state, None, append))
        for step in fences:
            self.lines.fenced(step)
        for lock in dict.fromkeys(one.lock for one in held):
            self.has_next(lock)


def lock_of(service: Service[Any, Any, Any], command: Any) -> str | None:
    """Return the lock that a command needs.

    Raises:
        TypeError: its service says something else.
    """
    lock = service.lock_of(command)
    if lock is not None and type(lock) is not str:
        raise TypeError(f"{type(service).__name__}.lock_of must return a text or None, not {in_words(lock)}")
    return lock


def _words(lock: str) -> str:
    return f"the lock {lock!r}" if lock else "its lock"


def _meta(cause: str, origin: Origin | None) -> EventMeta:
    if origin is None:
        return EventMeta(cause, cause)
    return EventMeta(cause, origin.correlation or cause, context=origin.context)
