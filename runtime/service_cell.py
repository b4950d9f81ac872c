"""The cell of a service: decide, evolve, enqueue, reply, all in one synchronous turn."""

from functools import reduce
from types import CoroutineType
from typing import Any

import msgspec

from actors import (
    Address,
    Command,
    CommandIdReused,
    Decision,
    Failed,
    OutcomeUnknown,
    Refused,
    Service,
)
from persistence import Append, JournalError, NewEvent, NotDecodable, Record
from persistence.codec import encode
from runtime.cells import Cell, Phase, World
from runtime.evolution import Several
from runtime.failures import failure
from runtime.fingerprint import fingerprint_of, fingerprints_of
from runtime.kinds import FENCED, HANDLED, INTERNAL, EventMeta, Kind, meta_of
from runtime.mailbox import Envelope, ReplyTo
from runtime.reminder_events import NOTHING_PENDING, Pending, PendingByName, replayed, wake_of
from runtime.reminder_mail import ReminderMail
from runtime.service_reminders import ServiceReminders, changes_of
from runtime.transaction import Outcome, Part


class Fenced(msgspec.Struct):
    """An undo overtook its step: the step, should it still come, is refused."""

    step: str


class ServiceCell(Cell):
    """A service at work.

    ``seen`` maps the ids of commands that took effect to the version of their first event (P3), and the ids of
    steps that were undone before they came to minus that of the fence (P9). It is rebuilt from the stream, so it
    has an entry for each command with an id that the stream holds.
    """

    __slots__ = ("_part", "_reminders", "pending", "seen", "service", "state", "version")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self.service: Service[Any, Any, Any] | None = None
        self.state: Any = None
        self.version = 0
        self.seen: dict[str, int] = {}
        self._part: Envelope | None = None
        """The part of a transaction that it waits in."""
        self.pending: PendingByName = NOTHING_PENDING
        """Its reminders; replaced as a whole, never changed."""
        self._reminders: ServiceReminders | None = None

    @property
    def unfinished(self) -> bool:
        """Whether it must live on: there is mail, or a reminder of its own is under way."""
        return super().unfinished or (self._reminders is not None and bool(self._reminders.under_way))

    @property
    def reminders(self) -> ServiceReminders:
        """Its reminders at work; most services have none, and pay nothing for it."""
        if self._reminders is None:
            self._reminders = ServiceReminders(self)
        return self._reminders

    # -- life ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start from the initial state."""
        self.forget()
        self.service = self.kind.cls(self.address.key)
        self.state = self.kind.cls.initial

    def replay(self, record: Record) -> None:
        """Take in one event of the stream."""
        if record.type not in INTERNAL:
            assert self.service is not None
            event = self.kind.event(record)
            if type(event) is Several:
                self.state = reduce(self.service.evolve, event, self.state)
            else:
                self.state = self.service.evolve(self.state, event)
        elif record.type == FENCED:
            self.seen[_step(record)] = -record.version
        elif record.type != HANDLED:
            self.pending = replayed(self.pending, record)
        if record.command is not None:
            self.seen[record.command] = record.version
        self.version = record.version

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
        """Drop state and ids. A transaction that waits here comes again, before all other mail."""
        self.service = None
        self.state = None
        self.version = 0
        self.seen = {}
        self.pending = NOTHING_PENDING
        if self._part is not None:
            self.put_back((self._part,), self.world.clock.steady())
            self._part.message.left(self)
            self._part = None

    @property
    def resting(self) -> bool:
        """Whether it could leave the memory, and nobody would notice."""
        return self._part is None and super().resting

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self, envelope: Envelope) -> None:
        """Handle one command to its end."""
        message, command_id = envelope.message, envelope.id
        try:
            if command_id is None:
                if type(message) is Part:
                    self._arrive(envelope, message)
                    return
                if isinstance(message, ReminderMail):
                    self.reminders.turn(envelope)
                    return
            elif command_id in self.seen:
                self._repeat(envelope, self.seen[command_id])
                return
            if envelope.undoes is not None and self.seen.get(envelope.undoes, -1) < 0:
                outcome = self._fence(envelope, envelope.undoes)
            else:
                decision = self._decide(message)
                if command_id is None and not decision.events and not decision.reminders:
                    if envelope.reply is not None:  # nothing to write; the shortest way
                        self.kind.check_reply(message.__class__, decision.reply)
                        envelope.reply.done(decision.reply)
                    return
                outcome = self._outcome(message, decision, command_id, envelope.correlation, envelope.data)
        except Exception as error:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            self.give_back(envelope, failure(self.address, message, error))
            return
        if outcome.append is not None:
            self.carry_out(outcome)
        if envelope.reply is not None:
            envelope.reply.done(outcome.reply)

    def _decide(self, command: Command[Any, Any]) -> Decision:
        assert self.service is not None
        decision = self.service.decide(self.state, command)
        if type(decision) is not Decision:
            raise _no_decision(self.kind.name, decision)
        return decision

    def consider(
        self,
        command: Command[Any, Any],
        command_id: str | None,
        correlation: str | None,
        data: bytes | None = None,
        fired: Pending | None = None,
    ) -> Outcome:
        """Work out what a command does to the state as it is, without doing it; ``fired`` is its reminder.

        An event that can't be applied, or can't be stored, is never written: it raises here.
        """
        return self._outcome(command, self._decide(command), command_id, correlation, data, fired)

    def _outcome(
        self,
        command: Command[Any, Any],
        decision: Decision,
        command_id: str | None,
        correlation: str | None,
        data: bytes | None,
        fired: Pending | None = None,
    ) -> Outcome:
        service, state, events = self.service, self.state, decision.events
        assert service is not None
        for event in events:
            state = service.evolve(state, event)
        cause = command_id or self.world.new_id()
        correlation = correlation or cause
        if command_id is None:
            self.kind.check_reply(type(command), decision.reply)
            meta = encode(EventMeta(cause, correlation))
        else:
            raw = msgspec.Raw(self.kind.reply(type(command)).encode(decision.reply, "the reply"))
            meta = encode(EventMeta(cause, correlation, fingerprint_of(command, data, self.kind.codec), raw))
        new = self.kind.new_events(events, meta) if events else []
        changes = None
        if decision.reminders or fired is not None:
            version, now = self.version + len(new), self.world.clock.now()
            changes = changes_of(self, decision.reminders, fired, version, now, correlation)
            new += changes.events
        if not new:
            if command_id is None:
                return Outcome(state, decision.reply, None)  # it dropped a reminder that was not there
            new = [NewEvent(HANDLED, b"{}", meta)]
        if len(new) > 1:
            rest = encode(EventMeta(cause, correlation))
            for other in new[1:]:
                other.meta = rest
        new[0].meta = meta
        if self.kind.revised:
            self.kind.stamp(new)
        append = self._append(new, command_id)
        if changes is None:
            return Outcome(state, decision.reply, append)
        append.wake = wake_of(changes.pending)
        return Outcome(state, decision.reply, append, changes.pending)

    def _append(self, events: list[NewEvent], command_id: str | None) -> Append:
        return Append(self.stream, self.version, events, self.world.clock.now(), command_id)

    def carry_out(self, outcome: Outcome) -> None:
        """Enqueue an outcome's events, and make its state the service's own."""
        assert outcome.append is not None
        self.world.writer.enqueue((outcome.append,))
        self.apply(outcome)

    def apply(self, outcome: Outcome) -> None:
        """Make the outcome's state the service's own; its events have been enqueued, or will be in this turn."""
        append = outcome.append
        if append is not None:
            self.state = outcome.state
            if append.command is not None:
                self.seen[append.command] = self.version + 1
            self.version += len(append.events)
            self.written = True
            if outcome.pending is not None:
                self.pending = outcome.pending

    def roll_back(self, state: Any, version: int, pending: PendingByName) -> None:
        """Take back what :meth:`apply` did since the service was there; none of it was enqueued."""
        if self.version != version:
            self.seen = {command: at for command, at in self.seen.items() if abs(at) <= version}
        self.state = state
        self.version = version
        self.pending = pending

    def _fence(self, envelope: Envelope, step: str) -> Outcome:
        """Undo a step that has not come: nothing to undo, but it must not come later. P9."""
        command_id = envelope.id or self.world.new_id()
        fingerprint = fingerprint_of(envelope.message, envelope.data, self.kind.codec)
        meta = EventMeta(command_id, envelope.correlation or command_id, fingerprint)
        append = self._append([NewEvent(FENCED, encode(Fenced(step)), encode(meta))], command_id)
        self.seen[step] = -(self.version + 1)
        return Outcome(self.state, None, append)

    # -- repeats ------------------------------------------------------------------------------------------------

    def _repeat(self, envelope: Envelope, version: int) -> None:
        if envelope.reply is None:
            return
        if version < 0:
            self.give_back(envelope, Refused(f"step {envelope.id} was undone before it arrived at {self.address}"))
        else:
            self.world.spawn(self._answer_again(envelope, version, envelope.reply))

    async def _answer_again(self, envelope: Envelope, version: int, reply: ReplyTo) -> None:
        """Answer a repeated command with its first reply, from the journal."""
        try:
            value = await self.first_reply(envelope.message, version, envelope.data)
        except Exception as error:  # noqa: BLE001 (goes to the asker, who may ask again)
            reply.failed(error)
        else:
            reply.done(value)

    async def first_reply(self, command: Command[Any, Any], version: int, data: bytes | None = None) -> Any:
        """Return the reply that a command got when it took effect.

        Raises:
            CommandIdReused: it was another command.
            OutcomeUnknown: the journal can't be read now.
        """
        try:
            durable = await self.world.writer.barrier()
            page = await self.world.journal.read(self.stream, version - 1, 1) if durable else []
        except JournalError as error:
            raise OutcomeUnknown(f"the first reply of {self.address} can't be read: {error}") from error
        if not page:
            raise OutcomeUnknown(f"the first reply of {self.address} may be lost: the journal could not be written")
        record = page[0]
        meta = meta_of(record)
        if meta.fingerprint not in fingerprints_of(command, data, self.kind.codec):
            raise CommandIdReused(
                f"{self.address} has already handled another command with the id {record.command!r}; "
                f"give this {type(command).__name__} an id of its own"
            )
        if record.type == FENCED:
            return None  # an undo that found nothing to undo got no reply of the author's
        try:
            return self.kind.reply(type(command)).decode(meta.reply)
        except NotDecodable as error:
            raise Failed(f"the first reply to {record.command!r} can't be read: {error}") from error

    # -- transactions -------------------------------------------------------------------------------------------

    def _arrive(self, envelope: Envelope, part: Part) -> None:
        self._part = envelope
        self.runnable = False
        part.arrived(self)

    def leave(self) -> None:
        """Go on with other mail: the transaction is over."""
        self._part = None
        self.runnable = True
        if (self.mail or self.control) and not self.queued:
            self.ready_again()


def _step(record: Record) -> str:
    return msgspec.json.decode(record.data, type=Fenced).step


def _no_decision(name: str, returned: object) -> TypeError:
    """Return the error for what is none; what it was is told by its type, for it may hold what a message held."""
    what = "None" if returned is None else f"a {type(returned).__name__}"
    if isinstance(returned, CoroutineType):
        returned.close()
        what += "; write def decide, without async"
    return TypeError(f"{name}.decide must return command.reply(...), not {what}")
