"""A service's reminders at work: sends what is due, writes down what became of it, and tries again what failed.

When to be awake next is written with every change, as the stream's wake time: the alarm (``alarm.py``) rings then,
whether the service is in memory or not. So there is no timer here, and a retry outlives the service's memory too.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from actors import (
    Address,
    Command,
    CommandIdReused,
    Locked,
    MailboxFull,
    NotTaken,
    PoisonMessage,
    Refused,
    ReplyErased,
    RetryPolicy,
)
from actors.reminders import Forget, Remind
from persistence import Append, NewEvent, Stream
from persistence.codec import encode
from runtime.cells import World
from runtime.conditions import Told
from runtime.kinds import EventMeta, Kind
from runtime.lock_mail import MustWait
from runtime.log import log
from runtime.mailbox import Envelope
from runtime.origin import Origin
from runtime.reminder_events import Changes, FiringKey, Pending, PendingByName, wake_of
from runtime.reminder_mail import Due, Look, ReminderMail, ReminderReturn, Resend, Sent
from runtime.seen import Seen
from runtime.suspects import Suspect
from runtime.transaction import Outcome

SHORTEST_RETRY, LONGEST_RETRY = 1_000_000, 60_000_000
"""Bounds, in microseconds, of the pause before a reminder that failed is sent again."""
CRASHES = RetryPolicy().crashes
"""More crashes of the process in a row than this, with a reminder under way: it is given up. As for a saga's step."""


class Owner(Protocol):
    """A service that has reminders."""

    world: World
    kind: Kind
    address: Address[Any]
    name: str
    version: int
    state: Any
    seen: Seen
    pending: PendingByName

    @property
    def stream(self) -> Stream:
        """The name of the service's stream."""
        ...

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox."""
        ...

    def post(self, envelope: Envelope) -> None:
        """Put a message into the control lane."""
        ...

    def look_up(self, envelope: Envelope, *ids: str | None) -> bool:
        """Have the journal asked for the ids of which only it can tell; the message comes again then."""
        ...

    def consider(
        self,
        command: Any,
        command_id: str | None,
        origin: Origin | None,
        data: bytes | None = None,
        fired: Pending | None = None,
    ) -> Outcome:
        """Work out what a command does to the state as it is, without doing it."""
        ...

    def wait(self, lock: str, envelope: Envelope) -> None:
        """Let a message wait for a lock."""
        ...

    def carry_out(self, outcome: Outcome) -> None:
        """Enqueue an outcome's events and make its state the service's own."""
        ...

    def submit(self, outcome: Outcome, told: Told) -> None:
        """Have the journal write an outcome if its conditions hold."""
        ...


def changes_of(
    owner: Owner, decided: Sequence[Remind | Forget], fired: Pending | None, version: int, now: int, origin: Origin
) -> Changes:
    """Return what a decision changes about the reminders; ``fired`` is the one whose command was decided.

    Raises:
        NotTaken, UnknownActor: a reminder would go to an actor that doesn't take it.
        NotEncodable: it can't be stored.
        ValueError: too many are pending.
    """
    changes = Changes(owner.pending, version)
    if fired is not None:
        changes.reminded(fired, now)  # first, so that what the decision says about the same name stands
    for one in decided:
        if isinstance(one, Forget):
            changes.forget(one.name)
        else:
            changes.set(one, _data_of(owner, one), now, origin)
    return changes


def _data_of(owner: Owner, reminder: Remind) -> bytes:
    command, to, kind = reminder.command, reminder.to, owner.kind
    what = type(command).__name__
    if not issubclass(type(command), Command):
        raise NotTaken(f"reminder {reminder.name!r} must be a command, not {what}; only commands can be sent later")
    if to is not None:
        owner.world.check(to, command)
        kind = owner.world.kind(to.actor)
    elif type(command) not in kind.takes:
        raise NotTaken(
            f"{kind.name} sets a reminder {reminder.name!r} with {what}, which it doesn't take; add it to the "
            f"annotation, class {kind.name}(Service[..., ... | {what}, ...]), or name who takes it with to="
        )
    return kind.command_data(command)


class ServiceReminders:
    """The reminders of one service; made when the first one is due or looked at.

    ``under_way`` is what was sent and not heard of. Like mail it outlives the incarnation: the next one waits for the
    same outcome, and sends no second copy.
    """

    __slots__ = ("_owner", "under_way")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.under_way: set[FiringKey] = set()

    def send_due(self) -> bool:
        """Send what is due and not under way; return whether any is under way now."""
        owner = self._owner
        now = owner.world.clock.now()
        due = [one for one in owner.pending.values() if one.time <= now and one.key not in self.under_way]
        for one in sorted(due, key=lambda one: one.due):
            self.under_way.add(one.key)
            if self._suspect(one):
                self._line_up(one)
            else:
                self._deliver(one)
        return bool(self.under_way)

    def _deliver(self, one: Pending) -> None:
        if one.to is None:
            self._owner.put(Envelope(Due(one.key)))  # in its order, behind what might forget it
        else:
            self._send(one, one.to)

    def rung(self) -> None:
        """Send what is due; where nothing is, for the clock was set back, have the alarm ring again in time."""
        if not self.send_due() and self._owner.pending:
            self._write([], self._owner.pending, wake_of(self._owner.pending))
            self._owner.world.writer.kick()  # it is no turn's

    def _send(self, one: Pending, to: Address[Any]) -> None:
        world = self._owner.world
        reply = ReminderReturn(world.find, self._owner.address, one.key)
        try:
            command = world.kind(to.actor).command(msgspec.Raw(one.command))
            cell = world.cell(to)
        except Exception as error:  # noqa: BLE001 (a class that is gone or has changed: nothing here may stop the others)
            reply.failed(error)
            return
        cell.put_from_inside(Envelope(command, one.id_at(self._owner.name), reply, one.origin, data=one.command))

    # -- after a crash of the process ---------------------------------------------------------------------------

    def _suspect(self, one: Pending) -> bool:
        """Whether it may have been under way when the process before this one crashed, and was not sent since."""
        suspects = self._owner.world.suspects
        return 0 < one.position <= suspects.position and one.due <= suspects.time

    def _line_up(self, one: Pending) -> None:
        owner, resend = self._owner, Envelope(Resend(one.key))
        name, left = one.id_at(owner.name), CRASHES - one.crashes
        go, cleared = lambda: owner.post(resend), lambda: one.key not in self.under_way
        owner.world.suspects.line_up(Suspect(name, one.crashes, left, one.position, go, cleared))

    def _resend(self, one: Pending) -> None:
        """Count the crash, and send it when that is durable; give it up when there were too many."""
        crashes = one.crashes + 1
        if crashes > CRASHES:
            self.under_way.discard(one.key)
            error = PoisonMessage(f"the process crashed {crashes} times in a row while it was under way")
            self._give_up(one, error)
            return
        changes = Changes(self._owner.pending, self._owner.version)
        changes.resent(one, crashes)
        self._note(one, changes, None)  # the alarm has rung for it: no news
        self._owner.world.writer.hold(lambda durable: self._deliver(one) if durable else None)

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Take in one thing that happened."""
        message: ReminderMail = envelope.message
        if isinstance(message, Resend):
            one = self._owner.pending.get(message.key[0])
            if one is None or one.key != message.key:
                self.under_way.discard(message.key)  # forgotten or replaced
            elif self._suspect(one):
                self._resend(one)
        elif isinstance(message, Due | Sent):
            one = self._owner.pending.get(message.key[0])
            if one is None or one.key != message.key:
                self.under_way.discard(message.key)
                return  # forgotten, replaced, or done: a second copy
            if isinstance(message, Due) and self._owner.look_up(envelope, one.id_at(self._owner.name)):
                return
            self.under_way.discard(message.key)
            if isinstance(message, Due):
                self._fire(one, envelope)
            else:
                self._settle(one, message.error)
        elif isinstance(message, Look) and envelope.reply is not None:
            envelope.reply.done(sorted(self._owner.pending.values(), key=lambda one: one.due))

    def _fire(self, one: Pending, envelope: Envelope) -> None:
        """Have the service decide its own reminder: its events, and that it was reminded, are one append."""
        owner = self._owner
        if one.due > owner.world.clock.now():
            self._write([], owner.pending, wake_of(owner.pending))  # the clock was set back since it was sent: not yet
            return
        command_id = one.id_at(owner.name)
        if owner.seen.get(command_id):
            self._settle(one, None)  # somebody has sent it by hand
            return
        try:
            command = owner.kind.command(msgspec.Raw(one.command))
            outcome = owner.consider(command, command_id, one.origin, fired=one)
        except MustWait as must:
            self._wait(one, must.lock, envelope)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything)
            self._settle(one, error)
        else:
            if outcome.conditions:
                owner.submit(outcome, lambda error: self._refused(one, error))
            else:
                owner.carry_out(outcome)

    def _wait(self, one: Pending, lock: str, envelope: Envelope) -> None:
        """Let a reminder wait for a lock; it stays under way."""
        self.under_way.add(one.key)
        try:
            self._owner.wait(lock, envelope)
        except MailboxFull as full:
            self.under_way.discard(one.key)
            self._settle(one, full)

    def _refused(self, one: Pending, error: Exception | None) -> None:
        """Take in that the conditions don't hold, unless the service has begun anew meanwhile: then it fires again."""
        if error is not None and self._owner.pending.get(one.name) is one:
            self._settle(one, error)
            self._owner.world.writer.kick()  # it is no turn's

    def _settle(self, one: Pending, error: Exception | None) -> None:
        """Note that one was done or refused; or have it tried again, with the same id."""
        owner = self._owner
        now = owner.world.clock.now()
        if isinstance(error, ReplyErased):
            error = None  # it has arrived before, and nobody wants the reply
        # A lock that somebody holds is no answer: he gives it back, and nobody is there who could ask again but us.
        if error is None or (isinstance(error, Refused | CommandIdReused) and not isinstance(error, Locked)):
            if error is not None:
                log.warning("reminder refused", actor=owner.name, reminder=one.name, to=_to(one), error=str(error))
            self._done(one, "" if error is None else str(error))
            return
        if isinstance(error, PoisonMessage):
            self._give_up(one, error)
            return
        # As long as it has been failing already: this doubles, and needs no memory of attempts.
        pause = min(max(now - one.due, SHORTEST_RETRY), LONGEST_RETRY)
        pause = round(pause * (1.0 - 0.2 * owner.world.random.random()))
        log.warning(
            "reminder failed", actor=owner.name, reminder=one.name, to=_to(one), retry_in=pause / 1e6, error=repr(error)
        )
        changes = Changes(owner.pending, owner.version)
        if one.crashes:
            changes.resent(one, 0)  # it has come back, and the process lives
        changes.pending[one.name] = msgspec.structs.replace(changes.pending[one.name], retry=now + pause)
        self._note(one, changes, wake_of(changes.pending))

    def _give_up(self, one: Pending, error: PoisonMessage) -> None:
        log.error("reminder given up", actor=self._owner.name, reminder=one.name, to=_to(one), error=str(error))
        self._done(one, f"{type(error).__name__}: {error}")

    def _done(self, one: Pending, refused: str) -> None:
        owner = self._owner
        changes = Changes(owner.pending, owner.version)
        changes.reminded(one, owner.world.clock.now(), refused)
        self._note(one, changes, wake_of(changes.pending))

    def _note(self, one: Pending, changes: Changes, wake: int | None) -> None:
        command_id = one.id_at(self._owner.name)
        meta = encode(EventMeta(command_id, one.correlation or command_id, context=one.context))
        for event in changes.events:
            event.meta = meta
        self._write(changes.events, changes.pending, wake)

    def _write(self, events: list[NewEvent], pending: PendingByName, wake: int | None) -> None:
        owner = self._owner
        append = Append(owner.stream, owner.version, events, owner.world.clock.now(), None, wake, sound=True)
        owner.carry_out(Outcome(owner.state, None, append, pending))


def _to(one: Pending) -> str | None:
    return None if one.to is None else str(one.to)
