"""The cell of a service: decide, evolve, enqueue, reply, all in one synchronous turn."""

from typing import Any

import msgspec

from actors import (
    Address,
    Command,
    Decision,
    Refused,
)
from persistence import Append, NewEvent, NotEncodable
from persistence.codec import encode, encode_sound
from persistence.intake import check_text
from persistence.limits import ID_LENGTH, MOST_EVENTS
from runtime.cells import Phase, World
from runtime.conditions import Told, submit, tag
from runtime.failures import failure, no_decision, no_state
from runtime.fingerprint import fingerprint_of
from runtime.kinds import FENCED, HANDLED, EventMeta, Kind
from runtime.lock_mail import LockMail
from runtime.mailbox import Envelope
from runtime.origin import Origin
from runtime.reminder_events import Pending, PendingByName, wake_of
from runtime.reminder_mail import ReminderMail
from runtime.repeats import answer_again, first_reply
from runtime.saga_mail import StepReturn
from runtime.service_locks import ServiceLocks
from runtime.service_mail import ServiceMail
from runtime.service_memory import Fenced, ServiceMemory
from runtime.service_queries import answer
from runtime.service_reminders import ServiceReminders, changes_of
from runtime.transaction import Outcome, Part
from runtime.upkeep import keep_up


class ServiceCell(ServiceMemory):
    """A service at work."""

    __slots__ = ("_locking", "_part", "_reminders", "_submitted")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._part: Envelope | None = None
        """The part of a transaction that it waits in."""
        self._submitted = False
        """Whether it waits for the journal to say whether what it has decided may be."""
        self._reminders: ServiceReminders | None = None
        self._locking: ServiceLocks | None = None

    @property
    def unfinished(self) -> bool:
        """Whether it must live on: there is mail, somebody waits for a lock, or a reminder of its own is under way."""
        waiting = self._locking is not None and bool(self._locking.lines)
        return super().unfinished or waiting or (self._reminders is not None and bool(self._reminders.under_way))

    @property
    def reminders(self) -> ServiceReminders:
        """Its reminders at work; most services have none, and pay nothing for it."""
        if self._reminders is None:
            self._reminders = ServiceReminders(self)
        return self._reminders

    @property
    def locking(self) -> ServiceLocks:
        """Its locks at work; most services have none, and pay nothing for it."""
        if self._locking is None:
            self._locking = ServiceLocks(self)
        return self._locking

    # -- life ---------------------------------------------------------------------------------------------------

    def recovered(self) -> None:
        """Go on, with what has become due meanwhile."""
        super().recovered()
        if self.pending:
            self.reminders.send_due()

    def ring(self) -> None:
        """Send what is due: the alarm has rung. A service that is not awake does it when it is."""
        if self.world.closing:
            return  # another time
        if self.phase is Phase.STOPPED:
            self.revive()
        elif self.phase is Phase.RUNNING:
            self.reminders.rung()

    def park(self, error: BaseException) -> None:
        """Set the service aside; its reminders are sent again when the alarm rings after it is back."""
        super().park(error)
        if self._reminders is not None:
            self._reminders.under_way.clear()

    def forget(self) -> None:
        """Drop state and ids. What waits for a lock, or in a transaction, comes again, before all other mail."""
        super().forget()
        self._submitted = False
        self.let_go()
        if self._part is not None:
            self.put_back((self._part,), self.world.clock.steady())
            self._part.message.left(self)
            self._part = None

    def let_go(self) -> None:
        """Put what waits for locks back into the mailbox."""
        if self._locking is not None:
            self._locking.lines.put_back()

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory, and nobody would notice."""
        return self._part is None and not self._submitted and super().resting

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Handle one command to its end."""
        message, command_id = envelope.message, envelope.id
        try:
            if command_id is None:
                if type(message) not in self.kind.takes:
                    self._handle(envelope)
                    return
            elif self._seen(envelope, command_id):
                return
            takes = command_id is not None and envelope.lock
            if (takes or self.locks is not None) and not self.locking.admit(envelope):
                return
            if envelope.undoes is not None and self.seen.get(envelope.undoes, 0) <= 0:
                if self.buried:
                    if envelope.reply is not None:
                        envelope.reply.done(None)  # there is nothing to undo, and the step will be refused
                    return
                outcome = self._fence(envelope, envelope.undoes)
            else:
                decision = self._decide(message)
                if command_id is None and not (decision.events or decision.reminders or decision.conditions):
                    if envelope.reply is not None:  # nothing to write; the shortest way
                        self.kind.check_reply(message.__class__, decision.reply)
                        envelope.reply.done(decision.reply)
                    return
                outcome = self._outcome(message, decision, command_id, envelope.origin, envelope.data)
                if takes:
                    self.locking.take(envelope, outcome)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self.give_back(envelope, failure(self.address, message, error))
            return
        if outcome.conditions:
            self.submit(outcome, lambda error: self._tell(envelope, outcome.reply, error))
            return
        if outcome.append is not None:
            self.carry_out(outcome)
        if (reply := envelope.reply) is not None:
            if type(reply) is StepReturn:
                reply.told = outcome.told  # the saga writes the same
            reply.done(outcome.reply)

    def _handle(self, envelope: Envelope) -> None:
        """Handle what is no command."""
        message = envelope.message
        if type(message) is Part:
            self._arrive(envelope, message)
        elif isinstance(message, ReminderMail):
            self.reminders.turn(envelope)
        elif isinstance(message, LockMail):
            self.locking.turn(envelope)
        elif isinstance(message, ServiceMail):
            keep_up(self, envelope)
        else:
            answer(self, envelope)

    def _tell(self, envelope: Envelope, reply: Any, error: Exception | None) -> None:
        if error is not None:
            self.give_back(envelope, error)
        elif envelope.reply is not None:
            envelope.reply.done(reply)

    def _seen(self, envelope: Envelope, command_id: str) -> bool:
        """Answer a command that has been seen; whether it has been may be for the journal to say."""
        seen, undoes = self.seen, envelope.undoes
        if version := seen.get(command_id):
            self._repeat(envelope, version)
            return True
        older = seen.older
        if older is None or (undoes is None and not older.may_hold(command_id)):
            return False
        return self.look_up(envelope, command_id, undoes)

    def _decide(self, command: Command[Any, Any]) -> Decision:
        assert self.service is not None
        decision = self.service.decide(self.state, command)
        if type(decision) is not Decision:
            raise no_decision(self.kind.name, decision)
        return decision

    def consider(
        self,
        command: Command[Any, Any],
        command_id: str | None,
        origin: Origin | None,
        data: bytes | None = None,
        fired: Pending | None = None,
        path: tuple[Address[Any], ...] = (),
    ) -> Outcome:
        """Work out what a command does to the state as it is, without doing it; ``fired`` is its reminder.

        An event that can't be applied, or can't be stored, is never written: it raises here. So do Locked and MustWait,
        where a saga that is not in ``path`` holds a lock that the command needs.
        """
        if self.locks is not None:
            self.locking.check(command, path)
        return self._outcome(command, self._decide(command), command_id, origin, data, fired)

    def _outcome(
        self,
        command: Command[Any, Any],
        decision: Decision,
        command_id: str | None,
        origin: Origin | None,
        data: bytes | None,
        fired: Pending | None = None,
    ) -> Outcome:
        service, kind, state, events, told = self.service, self.kind, self.state, decision.events, None
        assert service is not None
        try:
            for event in events:
                state = service.evolve(state, event)
        except Exception:
            kind.check_named(events)  # else what evolve says of an event that it can't know hides the mistake
            raise
        if type(state) is not kind.first and not isinstance(state, kind.cls.state_type):
            raise no_state(kind.name, kind.cls.state_type, state)
        cause = command_id or self.world.new_id()
        correlation, context = (cause, None) if origin is None else (origin.correlation or cause, origin.context)
        if command_id is None:
            kind.check_reply(command.__class__, decision.reply)
            meta = encode_sound(EventMeta(cause, correlation, context=context))
        else:
            check_text("a command's id", command_id, ID_LENGTH)
            told = kind.reply(command.__class__).encode(decision.reply, "the reply")
            print_ = fingerprint_of(command, data, kind.codec)
            meta = encode_sound(EventMeta(cause, correlation, print_, msgspec.Raw(told), context=context))
        new = kind.new_events(events, meta) if events else []
        if kind.tagged:
            tag(service, events, new)
        conditions = decision.conditions
        changes = None
        if decision.reminders or fired is not None:
            version, now = self.version + len(new), self.world.clock.now()
            changes = changes_of(self, decision.reminders, fired, version, now, Origin(correlation, context))
            new += changes.events
        if not new:
            if command_id is None:  # it dropped a reminder that was not there, or only asks whether something holds
                return Outcome(state, decision.reply, self._append([], None) if conditions else None, None, conditions)
            new = [NewEvent(HANDLED, b"{}", meta)]
        if len(new) > 1:
            rest = encode_sound(EventMeta(cause, correlation, context=context))
            for other in new[1:]:
                other.meta = rest
        if changes is not None:
            new[0].meta = meta  # it may be a reminder's
        if kind.revised:
            kind.stamp(new)
        append = self._append(new, command_id)
        if changes is None:
            return Outcome(state, decision.reply, append, None, conditions, None, told)
        append.wake = wake_of(changes.pending)
        return Outcome(state, decision.reply, append, changes.pending, conditions)

    def _append(self, events: list[NewEvent], command_id: str | None) -> Append:
        if len(events) > MOST_EVENTS:
            raise NotEncodable(f"a decision has up to {MOST_EVENTS:,} events, not {len(events):,}; make several")
        address, now = self.address, self.world.clock.now()
        return Append((address.actor, address.key), self.version, events, now, command_id, sound=True)

    def carry_out(self, outcome: Outcome) -> None:
        """Enqueue an outcome's events, and make its state the service's own."""
        append = outcome.append
        assert append is not None
        self.world.writer.enqueue((append,))
        self.apply(outcome)
        if self.version >= self.snapshot_at:
            self.keep(append)

    def submit(self, outcome: Outcome, told: Told) -> None:
        """Have the journal write an outcome if its conditions hold; take no turns until that is known."""
        self.runnable, self._submitted, self.written = False, True, True
        incarnation = self.incarnation

        def settle(error: Exception | None) -> None:
            if self.incarnation == incarnation:  # else it has begun anew, with what the journal holds
                if error is None:
                    self.apply(outcome)
                    if self.version >= self.snapshot_at:
                        self.rest()
                self.leave()
            told(error)

        submit(self.world, [(self.address, outcome)], settle)

    def apply(self, outcome: Outcome) -> None:
        """Make the outcome's state the service's own; its events have been enqueued, or will be in this turn."""
        append = outcome.append
        if append is not None:
            self.state = outcome.state
            if append.command is not None:
                self.seen.note(append.command, self.version + 1)
            self.version += len(append.events)
            self.written = True
            if outcome.pending is not None:
                self.pending = outcome.pending
                if outcome.lock is not None:
                    self.lock(outcome.lock)

    def roll_back(self, state: Any, version: int, pending: PendingByName) -> None:
        """Take back what :meth:`apply` did since the service was there; none of it was enqueued."""
        if self.version != version:
            self.seen.roll_back(version)
        self.state = state
        self.version = version
        self.pending = pending

    def _fence(self, envelope: Envelope, step: str) -> Outcome:
        """Undo a step that has not come: nothing to undo, but it must not come later. P9."""
        command_id = envelope.id or self.world.new_id()
        fingerprint = fingerprint_of(envelope.message, envelope.data, self.kind.codec)
        origin = envelope.origin or Origin()
        meta = EventMeta(command_id, origin.correlation or command_id, fingerprint, context=origin.context)
        append = self._append([NewEvent(FENCED, encode(Fenced(step)), encode(meta))], command_id)
        self.seen.note(step, -(self.version + 1))
        if self._locking is not None:
            self._locking.lines.fenced(step)
        return Outcome(self.state, None, append)

    # -- repeats ------------------------------------------------------------------------------------------------

    def _repeat(self, envelope: Envelope, version: int) -> None:
        if envelope.reply is None:
            return
        if version < 0:
            self.give_back(envelope, Refused(f"step {envelope.id} was undone before it arrived at {self.address}"))
        else:
            self.world.spawn(answer_again(self, envelope, version, envelope.reply))

    async def first_reply(self, command: Command[Any, Any], version: int, data: bytes | None = None) -> Any:
        """Return the reply that a command got when it took effect; see :func:`runtime.repeats.first_reply`."""
        return await first_reply(self, command, version, data)

    # -- transactions -------------------------------------------------------------------------------------------

    def _arrive(self, envelope: Envelope, part: Part) -> None:
        if self.seen.older is not None and self.look_up(envelope, *part.ids(self)):
            return
        self._part = envelope
        self.runnable = False
        part.arrived(self)

    def wait(self, lock: str, envelope: Envelope) -> None:
        """Let a message wait for a lock; see :meth:`runtime.lock_lines.LockLines.wait`."""
        self.locking.lines.wait(lock, envelope)

    def leave(self) -> None:
        """Go on with other mail: the transaction is over, or the journal has answered."""
        self._part, self._submitted = None, False
        self.runnable = True
        if (self.mail or self.control) and not self.queued:
            self.ready_again()

    # -- older ids ----------------------------------------------------------------------------------------------

    def look_up(self, envelope: Envelope, *ids: str | None) -> bool:
        """Have the journal asked for the ids of which only it can tell, if there are any; the message comes again then.

        Meanwhile it lies in the mailbox before all others, and the service takes no turns.
        """
        unsure = [one for one in ids if one is not None and self.seen.unsure(one)]
        if unsure:
            self.put_back((envelope,), self.world.clock.steady())
            self.runnable = False
            self.world.spawn(self._look_up(unsure, self.incarnation))
        return bool(unsure)

    async def _look_up(self, ids: list[str], incarnation: int) -> None:
        world, found = self.world, dict[str, int]()
        try:
            if not await world.writer.barrier():
                return  # whoever comes next will read it all anew
            for one in ids:
                found[one] = await world.journal.find(self.stream, one) or 0
        except Exception as error:  # noqa: BLE001 (a lost disk, or a damaged record: as in recovery)
            if self.incarnation == incarnation:
                self.crashed(error)
            return
        if self.incarnation == incarnation:
            self.seen.update(found)
            self.leave()
